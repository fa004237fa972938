"""The rules: each looks at one field and what supports it, and says whether it breaks the rule. No rule knows a method.

`judges.py` says which of them are asked for which kind of field. Comparisons are written so that what cannot be
compared (NaN) breaks the rule.
"""

from __future__ import annotations

import numpy as np

from isthmus_methods.contract import (
    BinSupport,
    CellSupport,
    Integers,
    ModelSupport,
    SumSupport,
)
from isthmus_node.egress.form import Violation
from isthmus_node.egress.thresholds import Limits

MERGE = "merge categories, arms or strata, or ask for fewer of them"
FEWER_TERMS = "fit fewer terms, or merge the levels of a factor"
COARSER = "fix a coarser grid of the variable in the study's dictionary, or ask for fewer groups"


# --------------------------------------------------------------------------- COUNT


def cells_are_large(support: CellSupport, limits: Limits) -> Violation | None:
    """Attacks 1, 5, 17: every cell is of k distinct persons or more, or of nobody where that may be shown."""
    if _too_small(support.persons, limits.cell_persons, limits):
        return Violation("SMALL_CELL", limits.rule("cell_persons", "zeros_shown"), MERGE)
    return None


def complements_are_large(support: CellSupport, limits: Limits) -> Violation | None:
    """Attack 2: n - 1 of n is a cell of 1. The rest of each total obeys the same rule as the cell itself.

    The total is `support.within` where the method names it, else what the cells along `support.axis` add up to. A
    single cell that is its own total has no rest.
    """
    if support.within is not None:
        rest = support.within - support.persons
    elif (
        support.persons.size == 0
        or (support.persons.size if support.axis is None else support.persons.shape[support.axis]) < 2
    ):
        return None
    else:
        rest = support.persons.sum(axis=support.axis, keepdims=True) - support.persons
    if _too_small(rest, limits.cell_persons, limits):
        return Violation("SMALL_CELL", limits.rule("cell_persons", "zeros_shown"), MERGE)
    return None


# --------------------------------------------------------------------------- SUM


def sums_have_persons(support: SumSupport, limits: Limits) -> Violation | None:
    """Each sum is over enough distinct persons, or over nobody where that may be shown."""
    if _too_small(support.persons, limits.sum_persons, limits):
        return Violation("FEW_PERSONS", limits.rule("sum_persons"), MERGE)
    return None


def sums_are_not_dominated(support: SumSupport, limits: Limits) -> Violation | None:
    """Attack 16, (n, k) rule: the two largest contributions are no more than a share of the sum of all."""
    used = support.persons > 0
    top = support.largest + support.second
    if np.any(used & ~(top <= limits.two_largest_share * support.total)):
        return _concentrated(limits)
    return None


def sums_leave_a_remainder(support: SumSupport, limits: Limits) -> Violation | None:
    """Attack 16, p-ratio: the second largest contributor cannot tell the largest to within a share of it."""
    used = support.persons > 0
    rest = support.total - support.largest - support.second
    if np.any(used & ~(rest >= limits.remainder_share * support.largest)):
        return _concentrated(limits)
    return None


def sums_vary(support: SumSupport, limits: Limits) -> Violation | None:
    """A sum of equal contributions is each person's value times n."""
    if np.any((support.persons > 0) & ~support.varied):
        return _concentrated(limits)
    return None


def _concentrated(limits: Limits) -> Violation:
    # one code for all three: which of them broke would itself say something about the values
    return Violation("CONCENTRATED_SUM", limits.rule("two_largest_share", "remainder_share"), MERGE)


# --------------------------------------------------------------------------- models


def model_has_persons(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attack 24: a model is over enough distinct persons, and a survival model over enough events."""
    if support.persons < limits.sum_persons or (support.events is not None and support.events < limits.sum_persons):
        return Violation("FEW_PERSONS", limits.rule("sum_persons"), FEWER_TERMS)
    return None


def model_is_not_saturated(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attack 13: residual degrees of freedom, and parameters against persons, or against events in survival models.

    A log-likelihood without covariates is judged as one parameter.
    """
    parameters = max(support.parameters, 1)
    if support.events is None:
        fits, share = parameters <= limits.parameters_per_person * support.persons, "parameters_per_person"
    else:
        fits, share = parameters <= limits.parameters_per_event * support.events, "parameters_per_event"
    if not fits or support.persons - support.parameters < limits.residual_df:
        return Violation("SATURATED_MODEL", limits.rule(share, "residual_df"), FEWER_TERMS)
    return None


def levels_are_large(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attack 12: every level on the rows really used, and the rest of the persons, as the cells of a count."""
    levels = np.array(list(support.level_persons.values()), dtype=np.int64)
    rest = support.persons - levels
    if _too_small(levels, limits.level_persons, limits) or _too_small(rest, limits.level_persons, limits):
        return Violation("SMALL_LEVEL", limits.rule("level_persons", "zeros_shown"), FEWER_TERMS)
    return None


def weights_are_spread(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attacks 26 to 29: a coefficient vector or a weight does not leave the sums to a few persons."""
    if not support.effective_persons >= limits.effective_persons:
        return Violation("FEW_EFFECTIVE_PERSONS", limits.rule("effective_persons"), FEWER_TERMS)
    return None


def leverage_is_bounded(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attack 14: no row determines its own fitted value."""
    if not support.leverage <= limits.leverage:
        return Violation("HIGH_LEVERAGE", limits.rule("leverage"), FEWER_TERMS)
    return None


def predictor_is_bounded(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attack 27: an exponential link does not magnify one person."""
    if not support.predictor <= limits.predictor:
        return Violation("EXTREME_PREDICTOR", limits.rule("predictor"), "centre or scale the covariates")
    return None


def outcome_is_of_many(support: ModelSupport, limits: Limits) -> Violation | None:
    """Attacks 1, 16: a model's sums hold its outcome's own, which is judged as a sum; of 0 and 1, as a count."""
    outcome = support.outcome
    if outcome is None:
        return None
    persons = np.array([outcome.persons, *([] if outcome.rest is None else [outcome.rest])], dtype=np.int64)
    if _too_small(persons, limits.sum_persons, limits):
        return Violation("FEW_PERSONS", limits.rule("sum_persons"), FEWER_TERMS)
    top = outcome.largest + outcome.second
    dominated = not top <= limits.two_largest_share * outcome.total
    told = not outcome.total - top >= limits.remainder_share * outcome.largest
    if outcome.persons and outcome.rest is None and (dominated or told):
        return _concentrated(limits)
    return None


# --------------------------------------------------------------------------- HISTOGRAM


def histogram_has_persons(support: BinSupport, limits: Limits) -> Violation | None:
    """A distribution is shown of enough distinct persons."""
    if support.total < limits.histogram_persons:
        return Violation("FEW_PERSONS", limits.rule("histogram_persons"), COARSER)
    return None


def bins_are_large(support: BinSupport, limits: Limits) -> Violation | None:
    """Attacks 18 to 20: no cell tells one person's value, nor, where zeros are not shown, that a value has nobody."""
    if np.any(support.persons < limits.bin_persons) or (support.gaps and not limits.zeros_shown):
        return Violation("SMALL_BIN", limits.rule("bin_persons", "zeros_shown"), COARSER)
    return None


def _too_small(persons: Integers, least: int, limits: Limits) -> bool:
    return bool(np.any((persons < least) & ~((persons == 0) & limits.zeros_shown)))
