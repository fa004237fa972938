"""Meta-analysis: each country estimates the effect from its own rows alone, the coordinator combines the estimates.

What leaves a country is one coefficient, its variance, and the numbers of rows with and without an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError, UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Block,
    CellSupport,
    Contributions,
    Done,
    Field,
    Item,
    Kind,
    Missingness,
    OptionRule,
    Partial,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    coefficient_names,
)
from isthmus_methods.parts import caveats
from isthmus_methods.parts.country_estimate import KINDS, Estimated
from isthmus_methods.parts.model_support import CENSORED, EVENTS, Used, nobody
from isthmus_methods.parts.random_effects import meta_analysis

NO_ROWS, NOT_ESTIMABLE, OTHERS_INFINITE = "NO_ROWS", "NOT_ESTIMABLE", "OTHERS_INFINITE"


class MetaAnalysis:
    """Fixed-effect and random-effects meta-analysis of a coefficient estimated in each country."""

    name: ClassVar[str] = "meta_analysis"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Meta-analysis of per-country estimates"
    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(Kind.COUNT, "rows with and without an event", "rows", "2", required=False),
        "estimate": Field(
            Kind.ESTIMATE, "the country's own estimate of the coefficient, and its variance", size="2", required=False
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time of the event or of censoring", holds="number"),
        "event": Role("1 = event, any other value = censored", holds="event"),
        "start": Role("start of the row's interval (start, time]", required=False, holds="number"),
        "strata": Role(
            "factors with a baseline hazard for each combination", required=False, many=True, holds="factor"
        ),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "coefficient": OptionRule("the coefficient to combine, as the model names it, such as arm=B", ""),
        "estimate": OptionRule("the model each country fits", "cox", tuple(KINDS)),
        "ties": OptionRule("how tied event times are counted", "efron", ("efron", "breslow")),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: "{countries}: left out, no complete rows",
        NOT_ESTIMABLE: "{countries}: left out, the effect cannot be estimated from its rows alone "
        "(no events, a level without rows, collinear terms or separation)",
        OTHERS_INFINITE: "{countries}: other coefficients of the model may be infinite",
    }
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def stratified_by_country(self, options: Mapping[str, object]) -> bool:
        return True  # a fit of its own in each

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return KINDS[_kind(spec)].fold(block, spec, local)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        coefficient = _coefficient(spec)
        if partial is None:
            return Summary(_counted(nobody(spec)), frozenset({NO_ROWS}))
        turn = KINDS[_kind(spec)].release(partial, spec, coefficient, local)
        if isinstance(turn, Again):
            return turn
        return _summary(turn, coefficient)

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        coefficient = _coefficient(spec)
        estimates = contributions.by_country("estimate", coefficient)
        if not estimates:
            raise MethodError(
                "NOT_ESTIMABLE",
                f"no country gave an estimate of {coefficient}",
                "choose another coefficient, fewer terms, or ask why in each country's refusal",
            )
        names = tuple(estimates)
        values = np.stack([estimates[name] for name in names])
        answer = meta_analysis(names, values[:, 0], values[:, 1])
        left_out = [c for c in (spec.countries or contributions.countries) if c not in estimates]
        answer |= {"coefficient": coefficient, "left_out": left_out, "outcomes": _outcomes(contributions)}
        said = list(caveats.of_notes(contributions, self.notes))
        withheld = {
            s.country: s.withheld["estimate", coefficient]
            for s in contributions.summaries
            if ("estimate", coefficient) in s.withheld
        }
        if withheld:
            said.append(caveats.of_withheld("estimate", withheld, names))
        return Done(answer, tuple(said))


def _kind(spec: Spec) -> str:
    kind = str(spec.options.get("estimate", "cox"))
    if kind not in KINDS:
        raise UsageError("WRONG_OPTION", f"estimate {kind!r} is not one of: {', '.join(KINDS)}", "choose one of these")
    return kind


def _coefficient(spec: Spec) -> str:
    """The coefficient to combine; the only one where the model has but one."""
    names = coefficient_names(spec)
    asked = str(spec.options.get("coefficient", "")) or (names[0] if len(names) == 1 else "")
    if asked not in names:
        raise UsageError(
            "UNKNOWN_COEFFICIENT",
            f"the model has no coefficient {asked!r}; it has: {', '.join(names)}",
            "name one of these as `coefficient`",
        )
    return asked


def _counted(used: Used) -> tuple[Item, ...]:
    persons = used.persons()
    return (
        Item(
            "outcomes",
            used.rows[[EVENTS, CENSORED]],
            CellSupport(persons[[EVENTS, CENSORED]], axis=0),
            axes=(("outcome", ("event", "censored")),),
        ),
    )


def _summary(turn: Estimated, coefficient: str) -> Summary:
    items = _counted(turn.used)
    if turn.value is None or turn.variance is None:
        return Summary(items, frozenset({NOT_ESTIMABLE}))
    estimate = Item("estimate", np.array([turn.value, turn.variance]), turn.support, coefficient)
    return Summary((*items, estimate), frozenset({OTHERS_INFINITE} if turn.others_infinite else ()))


def _outcomes(contributions: Contributions) -> dict[str, Answer]:
    return {
        country: {"n": round(float(counts.sum())), "n_event": round(float(counts[0]))}
        for country, counts in contributions.by_country("outcomes").items()
    }
