"""Two groups compared: t tests, the ratio of variances, Wilcoxon's rank sum test; and the t test of paired numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import special

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Answer,
    Block,
    Contributions,
    Done,
    Field,
    Missingness,
    Next,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
    option,
)
from isthmus_methods.parts import persons
from isthmus_methods.parts.first_round import NO_ROWS
from isthmus_methods.parts.inference import number, t_limits, t_p
from isthmus_methods.parts.moments import zero_of
from isthmus_methods.parts.tables import group_values, rank_tests
from isthmus_methods.parts.tables.group_values import (
    Groups,
    Moments,
    Partial,
    after_first,
    distributions,
    moments,
    told,
)
from isthmus_methods.parts.value_grid import ValueGrid
from isthmus_methods.plausible import Bound

DIFFERENCE = "difference"


def groups_of(spec: Spec, method: TTest) -> Groups:
    """The two arms, the treated first. Raises `UsageError` where they are not two levels of the arm."""
    arm, outcome = spec.role("arm")[0], spec.role("outcome")[0]
    levels = spec.levels(arm)
    treated, control = str(option(spec, method, "treated")), str(option(spec, method, "control"))
    if not treated and not control and len(levels) == 2:
        control, treated = levels
    control = control or levels[0]
    if treated not in levels or control not in levels or treated == control:
        raise UsageError(
            "TWO_LEVELS",
            f"a t test compares two levels of {column_name(arm)!r}, and {treated!r} and {control!r} were given",
            f"name `treated` and `control`, two of: {', '.join(map(repr, levels))}",
        )
    grid = ValueGrid.of(outcome, spec) if option(spec, method, "ranks") else None
    return Groups(column_name(arm), (treated, control), zero_of(spec, outcome), grid)


class TTest:
    """Student's and Welch's t test of two arms, the F test of their variances, Wilcoxon's rank sum test.

    Source: Welch (1947), Biometrika 34, 28-35; Satterthwaite (1946), Biometrics Bulletin 2, 110-114. Answers are
    those of R's `t.test`, `var.test` and `wilcox.test(exact = FALSE)` on the pooled rows.
    """

    name: ClassVar[str] = "t_test"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Two-sample t test"
    leaves: ClassVar[Mapping[str, Field]] = {**group_values.FIELDS, "values": group_values.VALUES}
    bounds: ClassVar[tuple[Bound, ...]] = group_values.bounds_of("outcome")
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("what is compared", holds="number"),
        "arm": Role("the factor with the two groups", holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "treated": OptionRule("the level whose mean comes first; of two levels the one that is no reference", ""),
        "control": OptionRule("the level whose mean is taken from it; the reference without", ""),
        "ranks": OptionRule("Wilcoxon's rank sum test too, from how many rows have each value", True),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = group_values.NOTES
    rounds: ClassVar[tuple[int, int]] = (2, 2)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        groups = groups_of(spec, self)
        levels = spec.levels(spec.role("arm")[0])
        place = np.array([groups.names.index(x) if x in groups.names else -1 for x in levels], dtype=np.int64)
        return group_values.fold(
            block.numbers("outcome"),
            place[block.codes("arm")],
            block.subject,
            (block.rows_selected, block.persons_selected),
            groups,
            state,
        )

    def release(self, partial: Partial | None, spec: Spec, state: State, local: Any) -> Summary:
        return group_values.release(partial, groups_of(spec, self), state)

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        groups = groups_of(spec, self)
        if not state:
            return after_first(contributions, spec, groups)
        found = moments(contributions, spec, state, memory)
        ranked = bool(option(spec, self, "ranks"))
        more, said = told(spec, memory, "Wilcoxon's test" if ranked else "", groups.grid)
        answer: dict[str, Answer] = {
            "treated": _group(found, 0),
            "control": _group(found, 1),
            **_compared(found),
        }
        if ranked:
            shapes = distributions(groups, memory)
            answer["wilcoxon_normal_approx"] = (
                None if shapes is None else rank_tests.wilcoxon(rank_tests.by_value(shapes))
            )
        return Done({**answer, **more}, tuple(said))


def _group(found: Moments, g: int) -> dict[str, Answer]:
    n = int(found.n[g])
    return {"n": n, "mean": number(float(found.mean[g])), "sd": number(math.sqrt(found.variance[g]))}


def _compared(found: Moments) -> dict[str, Answer]:
    n, m = (float(x) for x in found.n)
    one, other = (float(x) for x in found.variance)
    difference = found.difference(0, 1)
    parts = one / n if n else math.nan, other / m if m else math.nan
    welch_se = math.sqrt(parts[0] + parts[1])
    below = parts[0] ** 2 / (n - 1.0) + parts[1] ** 2 / (m - 1.0) if n > 1 and m > 1 else math.nan
    welch_df = (parts[0] + parts[1]) ** 2 / below if below > 0 else math.nan
    df = n + m - 2.0
    together = float(found.squares.sum())
    pooled_se = math.sqrt(together / df * (1.0 / n + 1.0 / m)) if n and m and df > 0 else math.nan
    possible = n > 1 and m > 1 and other > 0
    ratio = one / other if possible else math.nan
    tails = (special.fdtr(n - 1.0, m - 1.0, ratio), special.fdtrc(n - 1.0, m - 1.0, ratio)) if possible else (math.nan,)
    return {
        "welch": _tested(difference, welch_se, welch_df),
        "pooled": _tested(difference, pooled_se, df if df > 0 else math.nan),
        "f_variance_ratio": {
            "F": number(ratio),
            "df1": int(n) - 1,
            "df2": int(m) - 1,
            "p": number(min(1.0, 2.0 * float(min(tails)))) if possible else None,
            "ci95": {
                end: number(ratio / float(special.fdtri(n - 1.0, m - 1.0, p))) if possible else None
                for end, p in (("lower", 0.975), ("upper", 0.025))
            },
        },
    }


def _tested(difference: float, se: float, df: float) -> dict[str, Answer]:
    t = difference / se if se > 0 else math.nan
    lower, upper = t_limits(difference, se, df)
    return {
        "t": number(t),
        "df": _degrees(df),
        "p": t_p(t, df),
        "se": number(se),
        "mean_difference": number(difference),
        "ci95": {"lower": lower, "upper": upper},
    }


def _degrees(df: float) -> float | int | None:
    """A whole number of degrees of freedom as one."""
    if math.isnan(df):
        return None
    return int(df) if df == int(df) else df


# --------------------------------------------------------------------------- paired


class PairedTTest:
    """Student's t test of the differences of two numbers of the same row.

    Source: Student (1908), Biometrika 6, 1-25. Answers are those of R's `t.test(first, second, paired = TRUE)`.
    """

    name: ClassVar[str] = "paired_t_test"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Paired t test"
    leaves: ClassVar[Mapping[str, Field]] = group_values.FIELDS
    bounds: ClassVar[tuple[Bound, ...]] = group_values.bounds_of()
    roles: ClassVar[Mapping[str, Role]] = {
        "first": Role("the number that the other is taken from", holds="number"),
        "second": Role("the number that is taken from it", holds="number"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {}
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {code: group_values.NOTES[code] for code in (NO_ROWS, persons.REPEATED)}
    rounds: ClassVar[tuple[int, int]] = (2, 2)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return group_values.fold(
            block.numbers("first") - block.numbers("second"),
            np.zeros(block.rows, dtype=np.int64),
            block.subject,
            (block.rows_selected, block.persons_selected),
            _DIFFERENCES,
            state,
        )

    def release(self, partial: Partial | None, spec: Spec, state: State, local: Any) -> Summary:
        return group_values.release(partial, _DIFFERENCES, state)

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        if not state:
            return after_first(contributions, spec, _DIFFERENCES)
        found = moments(contributions, spec, state, memory)
        more, said = told(spec, memory, "", None)
        n, mean = int(found.n[0]), float(found.mean[0])
        se = math.sqrt(found.variance[0] / n)
        tested = _tested(mean, se, n - 1.0 if n > 1 else math.nan)
        tested["mean"] = tested.pop("mean_difference")
        return Done({"n": n, **tested, "sd": number(math.sqrt(found.variance[0])), **more}, tuple(said))


_DIFFERENCES = Groups("pairs", (DIFFERENCE,), 0.0, None)
