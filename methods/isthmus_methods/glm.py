"""Generalised linear models: logistic, Poisson, quasi-Poisson, gamma and Gaussian regression of pooled rows.

First round: counts, and the sums of the model's columns, from which their pooled means follow. Second: the sums that
least squares on R's starting values takes. Then Newton's method on score and curvature, the model itself, the intercept
alone and, where terms are tested, the model without each of them in the same rounds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Contributions,
    Done,
    Field,
    Item,
    Kind,
    Missingness,
    Next,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
)
from isthmus_methods.parts import clusters
from isthmus_methods.parts.clusters import cluster_items
from isthmus_methods.parts.cross_product import recentring
from isthmus_methods.parts.first_round import LEVEL_ABSENT, LEVEL_ABSENT_SAYS, NO_ROWS, NO_ROWS_SAYS
from isthmus_methods.parts.model_support import ROWS, count_items, nobody
from isthmus_methods.parts.persons import REPEATED, REPEATED_SAYS
from isthmus_methods.parts.regression import glm_answer
from isthmus_methods.parts.regression.glm_family import FAMILIES
from isthmus_methods.parts.regression.glm_plan import MOST_ROUNDS, Plan, plan_of
from isthmus_methods.parts.regression.glm_sums import (
    WHOLE,
    Asked,
    EndSums,
    FirstSums,
    Heaviest,
    ModelSums,
    Rowwise,
    about,
    end_sums,
    expected,
    first_sums,
    heaviest,
    is_empty,
    model_rowwise,
    model_sums,
    offset_of,
    predictor,
    refuse_outcome,
    rowwise,
    starting,
)
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    RestsOn,
    centred_rows,
    level_absent,
    model_support,
    support_of_nobody,
)
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.plausible import Bound, parts_within

FULL_LEVERAGE = "FULL_LEVERAGE"
START = "start"


@dataclass(frozen=True, slots=True)
class Looked:
    """One pass over some rows: the sums of each model, and the pieces of the answer where they are asked. Adds."""

    models: tuple[ModelSums, ...]
    end: EndSums | None
    shared: int | None  # the model that rests on the same as the end
    weights: Mapping[int, tuple[Array | None, ...]]  # by block: the rows' weights in each model, and at the end

    def __add__(self, other: Looked, /) -> Looked:
        end = self.end if self.end is None or other.end is None else self.end + other.end
        models = tuple(a + b for a, b in zip(self.models, other.models, strict=True))
        return Looked(models, end, self.shared, {**self.weights, **other.weights})

    def rests(self) -> tuple[RestsOn, ...]:
        """What each model, the end, and the middles of its robust variances rest on."""
        end = () if self.end is None or self.shared is not None else (self.end.rests,)
        return (*(m.rests for m in self.models), *end, *(() if self.end is None else self.end.meats))


class Glm:
    """Generalised linear model of the pooled rows, with robust variances and a test of each term.

    Source: Nelder & Wedderburn (1972), JRSS A 135, 370-384; McCullagh & Nelder (1989), Generalized Linear Models, 2nd
    ed., section 2.5. Answers are those of R's `glm`, `drop1` and, for robust variances, `sandwich`.
    """

    name: ClassVar[str] = "glm"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Generalised linear model"
    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(
            Kind.COUNT, "rows with outcome 1 and 0 (binomial)", "rows", "2", required=False, divides=True
        ),
        "rows": Field(Kind.COUNT, "rows used (other families)", "rows", "1", required=False, divides=True),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "columns": Field(Kind.CROSS_PRODUCT, "rows, and sums of outcome and model's columns", size="p + 1"),
        "saturated": Field(Kind.SCORE, "log-likelihood where each mean is the outcome", size="1"),
        "deviance": Field(Kind.SCORE, "deviance of each model", size="1"),
        "score": Field(Kind.SCORE, "gradient of its log-likelihood", size="p"),
        "information": Field(Kind.INFORMATION, "minus its second derivative", size="p (p + 1) / 2"),
        "expected": Field(Kind.INFORMATION, "expected information at the estimate", size="p (p + 1) / 2", gram=True),
        "pearson": Field(Kind.SCORE, "Pearson's chi-square at the estimate", size="1"),
        "meat": Field(
            Kind.CROSS_PRODUCT,
            "score residuals by row, squared and summed",
            size="p (p + 1) / 2",
            required=False,
            gram=True,
        ),
        **clusters.FIELDS,
    }
    bounds: ClassVar[tuple[Bound, ...]] = (
        parts_within("levels", "rows"),
        parts_within("levels", "outcomes", summed=True),
    )
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("0/1 (binomial), a count (poisson) or a number", holds="number"),
        "offset": Role("added to the linear predictor", required=False, holds="number"),
        "cluster": Role("rows that belong together, for a robust variance", required=False, holds="unit"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "family": OptionRule("distribution of the outcome", "binomial", tuple(name for name, _ in FAMILIES)),
        "link": OptionRule("its link; none: the family's usual one", "", ("", *(sorted({x for _, x in FAMILIES})))),
        "drop1": OptionRule("also a test of each term that no other contains", False),
        "robust": OptionRule("also HC0, HC1 and HC3 variances", False),
        "null_restarted": OptionRule(
            "with an offset, also the null deviance that R's glm has when it is started at its own estimate", False
        ),
        "iterations": OptionRule(f"rounds of Newton's method at most, from 2 to {MOST_ROUNDS}", 40),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
        LEVEL_ABSENT: LEVEL_ABSENT_SAYS,
        FULL_LEVERAGE: "{countries}: some row determines its own fitted value, so that HC3 does not exist",
        REPEATED: REPEATED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (3, MOST_ROUNDS + 3)

    def leaving(self, options: Mapping[str, object]) -> Collection[str]:
        return [name for name in self.leaves if name != "meat" or options.get("robust") is True]

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> FirstSums | HeaviestRow | Looked | Heaviest:
        plan = plan_of(spec)
        if not state:
            if local is None:
                return first_sums(block, spec, plan.family)
            return heaviest(block, [(local.rests, None)])
        asked = Asked.of(state, plan.models, plan.terms.p)
        if local is None:
            return look(block, spec, plan, asked)
        return heaviest(block, list(zip(local.rests(), local.weights[id(block)], strict=True)))

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if isinstance(partial, FirstSums):
            if not partial.allowed:
                raise refuse_outcome(plan.family)
            return Again(partial)
        if isinstance(partial, Looked):
            return Again(partial)
        if not state:
            return first_summary(spec, plan.terms.names, plan.family.name == "binomial", local, partial)
        asked = Asked.of(state, plan.models, plan.terms.p)
        return later_summary(spec, plan, asked, local, partial)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        return glm_answer.pool(contributions, spec, plan_of(spec), state, memory, self.notes)


# --------------------------------------------------------------------------- the passes of a later round


def look(block: Block, spec: Spec, plan: Plan, asked: Asked) -> Looked:
    """The first pass over one block."""
    rows, y, family = centred_rows(block), block.numbers("outcome"), plan.family
    if asked.start:
        values = starting(family, y, rows, offset_of(block, spec))
        sums = model_sums(block, spec, rows, values, asked.centre, False)
        return Looked((sums,), None, None, {id(block): (values.weights,)})
    looked, weights, shared = [], [], None
    at_end: Rowwise | None = None
    for k, (label, columns, beta) in enumerate(asked.models):
        if is_empty(columns):
            values = rowwise(family, y, predictor(block, spec, rows, columns, beta, asked.centre))
        else:
            slope = recentring(rows.centre, asked.centre) @ beta
            values = model_rowwise(family, y, rows, slope, offset_of(block, spec))
        looked.append(model_sums(block, spec, rows, values, asked.centre, is_empty(columns)))
        weights.append(values.weights)
        if label == WHOLE and family.canonical and asked.end is not None and np.array_equal(beta, asked.end):
            shared, at_end = k, values
    end = None
    if asked.end is not None:
        if at_end is None:
            at_end = expected(family, y, predictor(block, spec, rows, plan.models[WHOLE], asked.end, asked.centre))
            weights.append(at_end.weights)
        known = None if shared is None else looked[shared].rests
        end, squared = end_sums(block, spec, rows, at_end, asked, plan.robust, known)
        weights += squared
    return Looked(tuple(looked), end, shared, {id(block): tuple(weights)})


# --------------------------------------------------------------------------- what leaves


def first_summary(
    spec: Spec, names: tuple[str, ...], outcomes: bool, sums: FirstSums | None, heavy: Heaviest | None
) -> Summary:
    """Counts, sums of the model's columns; zeros of a country without rows. `outcomes`: the outcome is 0 or 1."""
    p = len(names)
    if sums is None or heavy is None:
        used, support, columns, saturated = nobody(spec), support_of_nobody(spec, p), np.zeros(p + 1), 0.0
    else:
        used = sums.rests.used
        support = model_support(sums.rests, heavy.of_models[0], spec, p)
        columns, saturated = np.concatenate([[float(used.rows[ROWS])], sums.columns]), sums.saturated
    counted = used.persons()
    notes = {
        NO_ROWS: not used.rows[ROWS],
        LEVEL_ABSENT: level_absent(support, spec),
        REPEATED: int(used.rows[ROWS]) > int(counted[ROWS]) and not spec.role("cluster"),
    }
    items = [
        *count_items(used, counted, spec, outcomes=outcomes),
        Item("columns", columns, support, axes=(("sum", ("rows", "outcome", *names[1:])),)),
        Item("saturated", np.array([saturated]), support),
    ]
    return Summary(tuple(items), frozenset(code for code, on in notes.items() if on))


def later_summary(spec: Spec, plan: Plan, asked: Asked, looked: Looked | None, heavy: Heaviest | None) -> Summary:
    """Deviance, score and curvature of each model, and the pieces of the answer where they are asked."""
    models = [(START, plan.models[WHOLE])] if asked.start else [(label, columns) for label, columns, _ in asked.models]
    items: list[Item] = []
    for k, (label, columns) in enumerate(models):
        size = 1 if is_empty(columns) else plan.terms.p
        support = support_of_nobody(spec, int(columns.sum()))
        information, score, deviance = np.zeros((size, size)), np.zeros(size), 0.0
        if looked is not None and heavy is not None:
            sums = looked.models[k]
            support = model_support(sums.rests, heavy.of_models[k], spec, int(columns.sum()))
            information, score, deviance = sums.information(asked.centre), sums.score, sums.deviance
        its = columns if size > 1 else np.ones(1, dtype=np.bool_)
        named = tuple(name for name, on in zip(plan.terms.names, columns, strict=True) if on)
        items += [
            Item("score", score[its], support, label, axes=(("coefficient", named),)),
            Item("information", packed(information[np.ix_(its, its)]), support, label),
        ]
        if not asked.start:
            items.append(Item("deviance", np.array([deviance]), support, label))
    notes: set[str] = set()
    if asked.end is not None:
        items += _end_items(spec, plan, asked, looked, heavy, notes)
    return Summary(tuple(items), frozenset(notes))


def _end_items(
    spec: Spec, plan: Plan, asked: Asked, looked: Looked | None, heavy: Heaviest | None, notes: set[str]
) -> list[Item]:
    p = plan.terms.p
    support, end = support_of_nobody(spec, p), None
    expected, pearson = np.zeros((p, p)), 0.0
    meats = [(np.zeros((p, p)), support)] * 2
    if looked is not None and heavy is not None and looked.end is not None:
        end = looked.end
        its_row = heavy.of_models[len(looked.models) if looked.shared is None else looked.shared]
        support = model_support(end.rests, its_row, spec, p)
        expected, pearson = about(end.rests.cross, asked.centre), end.pearson
        if end.meats:
            # a residual's weight is not that of its row in the model
            heaviest_rows = heavy.of_models[-len(end.meats) :]
            meats = [
                (about(rests.cross, asked.centre), model_support(rests, row, spec, p))
                for rests, row in zip(end.meats, heaviest_rows, strict=True)
            ]
        if end.saturated:
            notes.add(FULL_LEVERAGE)
    items = [Item("expected", packed(expected), support), Item("pearson", np.array([pearson]), support)]
    if plan.robust and asked.inverse is not None:
        items += [Item("meat", packed(m), own, kind) for kind, (m, own) in zip(("HC0", "HC3"), meats, strict=True)]
    if spec.role("cluster"):
        items += cluster_items(None if end is None else end.by_cluster, spec, p, p, support)
    return items
