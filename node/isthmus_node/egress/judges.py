"""The whole table of rules: for every kind of field, what must support it, and what is asked, in this order.

A kind without a line here cannot leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from isthmus_methods.contract import (
    Array,
    BinSupport,
    CellSupport,
    Integers,
    Item,
    Kind,
    MetricSupport,
    ModelSupport,
    RiskSetSupport,
    SumSupport,
    TimeSupport,
    UpdateSupport,
)
from isthmus_node.egress import form, rules, time_rules, update_rules
from isthmus_node.egress.form import Violation
from isthmus_node.egress.thresholds import Limits

S = TypeVar(
    "S",
    CellSupport,
    SumSupport,
    ModelSupport,
    TimeSupport,
    RiskSetSupport,
    BinSupport,
    UpdateSupport,
    MetricSupport,
)


@dataclass(frozen=True, slots=True)
class Judge(Generic[S]):
    """How one kind of field is judged.

    `fits` compares value and support, for open data too. `floors` hold the policy's thresholds. `nobody` says that
    the value is zero because there is nobody, or no event, behind it: it leaves where a count of nobody may.
    """

    support: type[S]
    whole: bool
    fits: Callable[[Array | Integers, S], bool]
    floors: tuple[Callable[[S, Limits], Violation | None], ...]
    nobody: Callable[[Array | Integers, S], bool] | None = None

    def form(self, item: Item) -> Violation | None:
        """What holds for everything that leaves."""
        if type(item.support) is not self.support:
            return form.WRONG_SUPPORT
        violation = form.number_violation(item, self.whole)
        if violation is None and not self.fits(item.value, item.support):
            return form.BAD_SUPPORT
        return violation

    def floor(self, item: Item, limits: Limits) -> Violation | None:
        """The first of the policy's rules that the field breaks."""
        if not isinstance(item.support, self.support):
            return form.WRONG_SUPPORT
        if limits.zeros_shown and self.nobody is not None and self.nobody(item.value, item.support):
            return None
        for rule in self.floors:
            violation = rule(item.support, limits)
            if violation is not None:
                return violation
        return None


def _model_of_nobody(value: Array | Integers, support: ModelSupport) -> bool:
    return (support.persons == 0 or support.events == 0) and not value.any()


def _table_of_nobody(value: Array | Integers, support: TimeSupport) -> bool:
    return support.persons == 0 or not value.any()


def _risk_sets_of_nobody(value: Array | Integers, support: RiskSetSupport) -> bool:
    return support.time.persons == 0 or not value.any()


def _bins_of_nobody(value: Array | Integers, support: BinSupport) -> bool:
    return support.total == 0 and not value.size


_MODEL = Judge(
    ModelSupport,
    whole=False,
    fits=form.model_fits,
    floors=(
        rules.model_has_persons,
        rules.model_is_not_saturated,
        rules.levels_are_large,
        rules.weights_are_spread,
        rules.leverage_is_bounded,
        rules.predictor_is_bounded,
        rules.outcome_is_of_many,
    ),
    nobody=_model_of_nobody,
)

AnyJudge = (
    Judge[CellSupport]
    | Judge[SumSupport]
    | Judge[ModelSupport]
    | Judge[TimeSupport]
    | Judge[RiskSetSupport]
    | Judge[BinSupport]
    | Judge[UpdateSupport]
    | Judge[MetricSupport]
)

JUDGES: Mapping[Kind, AnyJudge] = MappingProxyType(
    {
        Kind.COUNT: Judge(
            CellSupport,
            whole=True,
            fits=form.cells_fit,
            floors=(rules.cells_are_large, rules.complements_are_large),
        ),
        Kind.SUM: Judge(
            SumSupport,
            whole=False,
            fits=form.sums_fit,
            floors=(
                rules.sums_have_persons,
                rules.sums_are_not_dominated,
                rules.sums_leave_a_remainder,
                rules.sums_vary,
            ),
        ),
        Kind.CROSS_PRODUCT: _MODEL,
        Kind.SCORE: _MODEL,
        Kind.INFORMATION: _MODEL,
        Kind.ESTIMATE: _MODEL,
        Kind.EVENTS: Judge(
            TimeSupport,
            whole=True,
            fits=form.table_fits,
            floors=(time_rules.table_has_persons, time_rules.steps_have_leavers, time_rules.steps_have_risk),
            nobody=_table_of_nobody,
        ),
        Kind.HAZARD: Judge(
            TimeSupport,
            whole=False,
            fits=form.table_fits,
            floors=(time_rules.table_has_persons, time_rules.steps_have_leavers, time_rules.hazard_has_risk),
            nobody=_table_of_nobody,
        ),
        Kind.RISK_SETS: Judge(
            RiskSetSupport,
            whole=False,
            fits=form.risk_sets_fit,
            floors=(
                time_rules.risk_sets_have_persons,
                time_rules.risk_steps_have_leavers,
                time_rules.risk_sets_are_apart,
                time_rules.risk_sets_have_sound_weights,
            ),
            nobody=_risk_sets_of_nobody,
        ),
        Kind.HISTOGRAM: Judge(
            BinSupport,
            whole=True,
            fits=form.bins_fit,
            floors=(rules.histogram_has_persons, rules.bins_are_large),
            nobody=_bins_of_nobody,
        ),
        Kind.UPDATE: Judge(
            UpdateSupport,
            whole=False,
            fits=update_rules.update_fits,
            floors=update_rules.FLOORS,
        ),
        Kind.METRIC: Judge(
            MetricSupport,
            whole=False,
            fits=update_rules.metric_fits,
            floors=(update_rules.metric_has_persons,),
        ),
    }
)
# Kinds whose sums follow from the state that a round brings.
OF_MODELS = frozenset({Kind.CROSS_PRODUCT, Kind.SCORE, Kind.INFORMATION, Kind.ESTIMATE, Kind.RISK_SETS, Kind.HAZARD})
