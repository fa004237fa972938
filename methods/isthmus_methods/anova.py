"""Several groups compared: one-way analysis of variance, Welch's, Kruskal and Wallis's, Bartlett's test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

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
from isthmus_methods.parts.inference import chi_square, f_p, number
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


def groups_of(spec: Spec, method: Anova) -> Groups:
    """Every declared level; those without rows are left out at the end."""
    group, outcome = spec.role("group")[0], spec.role("outcome")[0]
    grid = ValueGrid.of(outcome, spec) if option(spec, method, "ranks") else None
    return Groups(column_name(group), spec.levels(group), zero_of(spec, outcome), grid)


class Anova:
    """One-way analysis of variance and its relatives.

    Source: Welch (1951), Biometrika 38, 330-336; Bartlett (1937), Proc. Royal Society A 160, 268-282. Answers are
    those of R's `aov`, `oneway.test`, `kruskal.test` and `bartlett.test` on the pooled rows.
    """

    name: ClassVar[str] = "anova"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "One-way analysis of variance"
    leaves: ClassVar[Mapping[str, Field]] = {**group_values.FIELDS, "values": group_values.VALUES}
    bounds: ClassVar[tuple[Bound, ...]] = group_values.bounds_of("outcome")
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("what is compared", holds="number"),
        "group": Role("the factor that makes the groups", holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "ranks": OptionRule("the Kruskal-Wallis test too, from how many rows have each value", True),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = group_values.NOTES
    rounds: ClassVar[tuple[int, int]] = (2, 2)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return group_values.fold(
            block.numbers("outcome"),
            block.codes("group"),
            block.subject,
            (block.rows_selected, block.persons_selected),
            groups_of(spec, self),
            state,
        )

    def release(self, partial: Partial | None, spec: Spec, state: State, local: Any) -> Summary:
        return group_values.release(partial, groups_of(spec, self), state)

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        groups = groups_of(spec, self)
        if not state:
            return after_first(contributions, spec, groups)
        whole = moments(contributions, spec, state, memory)
        found = whole.present()
        ranked = bool(option(spec, self, "ranks"))
        more, said = told(spec, memory, "Kruskal-Wallis test" if ranked else "", groups.grid)
        answer: dict[str, Answer] = {
            "groups": {
                name: {"n": int(n), "mean": number(float(mean)), "sd": number(math.sqrt(variance))}
                for name, n, mean, variance in zip(groups.names, whole.n, whole.mean, whole.variance, strict=True)
                if n
            },
            "classic": classic(found),
            "welch": welch(found),
        }
        if ranked:
            shapes = distributions(groups, memory)
            answer["kruskal_wallis"] = (
                None if shapes is None else rank_tests.kruskal_wallis(rank_tests.by_value(shapes))
            )
        answer["bartlett"] = bartlett(found)
        return Done({**answer, **more}, tuple(said))


def classic(found: Moments) -> dict[str, Answer]:
    """Equal variances. Source: Fisher (1925), Statistical Methods for Research Workers."""
    # means as they are beyond the first group's, so that an offset takes no digits from their differences
    away = np.array([found.difference(g, 0) for g in range(len(found.n))])
    total = int(found.n.sum())
    between = float(found.n @ (away - found.n @ away / total) ** 2)
    within = float(found.squares.sum())
    df1, df2 = len(found.n) - 1, total - len(found.n)
    f = between / df1 / (within / df2) if df1 > 0 and df2 > 0 and within > 0 else math.nan
    return {
        "F": number(f),
        "df1": df1,
        "df2": df2,
        "p": None if math.isnan(f) else f_p(f, df1, df2),
        "ss_between": between,
        "ss_within": within,
    }


def welch(found: Moments) -> dict[str, Answer]:
    """Unequal variances, as `oneway.test`."""
    df1 = len(found.n) - 1
    if df1 < 1 or (found.n < 2).any() or not (found.squares > 0).all():
        return {"F": None, "df1": df1, "df2": None, "p": None}
    weights = found.n / found.variance
    share = weights / weights.sum()
    away = np.array([found.difference(g, 0) for g in range(len(found.n))])
    spread = float(((1.0 - share) ** 2 / (found.n - 1)).sum()) / (df1 * (df1 + 2.0))
    f = float(weights @ (away - share @ away) ** 2) / (df1 * (1.0 + 2.0 * (df1 - 1.0) * spread))
    df2 = 1.0 / (3.0 * spread)
    return {"F": f, "df1": df1, "df2": df2, "p": f_p(f, df1, df2)}


def bartlett(found: Moments) -> dict[str, Answer]:
    """Whether the groups' variances are equal."""
    df = len(found.n) - 1
    if df < 1 or (found.n < 2).any() or not (found.squares > 0).all():
        return {"statistic": None, "df": df, "p": None}
    free = found.n - 1.0
    pooled = float(found.squares.sum()) / float(free.sum())
    statistic = -float(free @ np.log(found.variance / pooled))
    correction = 1.0 + (float((1.0 / free).sum()) - 1.0 / float(free.sum())) / (3.0 * df)
    return chi_square(statistic / correction, df)
