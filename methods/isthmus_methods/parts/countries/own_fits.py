"""Each country's own fit of a model: some of its coefficients, and its log-likelihood, shown by country.

A part of a method, not a method: see `several`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    CellSupport,
    Column,
    Contributions,
    Done,
    Field,
    Item,
    Kind,
    Partial,
    Spec,
    State,
    Summary,
    Term,
    column_name,
    term_columns,
)
from isthmus_methods.parts import caveats
from isthmus_methods.parts.countries.estimated import CountryEstimate, Fitted
from isthmus_methods.parts.inference import coefficient, t_test
from isthmus_methods.parts.model_support import CENSORED, EVENTS, ROWS, Used, level_slices, nobody

OWN_NOT_ESTIMABLE, OWN_INFINITE = "OWN_NOT_ESTIMABLE", "OWN_INFINITE"


@dataclass(frozen=True, slots=True)
class OwnFits:
    """The model of `kind` in each country, and of its coefficients those of `arm`."""

    kind: CountryEstimate
    arm: Column
    t_tests: bool  # Student's t with the country's residual degrees of freedom; otherwise normal

    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(Kind.COUNT, "rows with and without an event", "rows", "2"),
        "rows": Field(Kind.COUNT, "rows used, where the outcome is no event", "rows", "1"),
        "own_fit": Field(
            Kind.ESTIMATE,
            "the country's own fit: parameters, coefficients of the arm and their variances",
            size="2 a + 1",
            required=False,
        ),
        "own_loglik": Field(Kind.SCORE, "log-likelihood of the country's own fit", size="1", required=False),
    }
    notes: ClassVar[Mapping[str, str]] = {
        OWN_NOT_ESTIMABLE: "{countries}: an effect cannot be estimated from its rows alone (no events, a level "
        "without rows, collinear terms or separation)",
        OWN_INFINITE: "{countries}: a coefficient of its own model may be infinite (separation)",
    }

    def names(self, spec: Spec) -> tuple[str, ...]:
        """The coefficients of the arm."""
        return tuple(name for name, _ in term_columns(spec, Term((self.arm,))))

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return self.kind.fold(block, spec, local)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        has_events = self.kind.has_events(spec)
        if partial is None:
            return Summary((_counted(nobody(spec), has_events),))
        turn = self.kind.release(partial, spec, local)
        return turn if isinstance(turn, Again) else self._summary(turn, spec, has_events)

    def _summary(self, fit: Fitted, spec: Spec, has_events: bool) -> Summary:
        found = {name: fit.estimate(spec, name) for name in self.names(spec)}
        items, notes = [_counted(fit.used, has_events)], set()
        if any(pair is not None for pair in found.values()):
            # a variance of zero says that the coefficient is not told
            pairs = np.array([pair or (0.0, 0.0) for pair in found.values()])
            numbers = np.concatenate([[float(fit.support.parameters)], pairs[:, 0], pairs[:, 1]])
            items.append(Item("own_fit", numbers, fit.support))
        # a level that nobody here has is none of the country's effects
        here = [
            number
            for name, _, at in level_slices(spec)
            if name == column_name(self.arm)
            for number in fit.used.rows[at]
        ]
        if any(pair is None and (not here or here[k + 1]) for k, pair in enumerate(found.values())):
            notes.add(OWN_NOT_ESTIMABLE)
        if fit.infinite.any():
            notes.add(OWN_INFINITE)
        if fit.loglik is not None:
            items.append(Item("own_loglik", np.array([fit.loglik]), fit.support))
        return Summary(tuple(items), frozenset(notes))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        fits, logliks = contributions.by_country("own_fit"), contributions.by_country("own_loglik")
        counts = {**contributions.by_country("rows"), **contributions.by_country("outcomes")}
        answer: dict[str, Answer] = {}
        for country, number in counts.items():
            n = round(float(number.sum()))
            if not n:
                continue
            loglik = logliks.get(country)
            answer[country] = {
                "n": n,
                "coef": self._coefficients(fits.get(country), n, spec),
                "loglik": None if loglik is None else float(loglik[0]),
            }
        said = list(caveats.of_notes(contributions, self.notes))
        withheld = {
            s.country: code for s in contributions.summaries for (f, _), code in s.withheld.items() if f == "own_fit"
        }
        if withheld:
            said.append(caveats.of_withheld("own fits", withheld, tuple(fits)))
        return Done(answer, tuple(said))

    def _coefficients(self, numbers: Array | None, n: int, spec: Spec) -> dict[str, Answer]:
        names = self.names(spec)
        a = len(names)
        values = np.zeros(2 * a + 1) if numbers is None else numbers
        shown: dict[str, Answer] = {}
        for name, estimate, variance in zip(names, values[1 : a + 1], values[a + 1 :], strict=True):
            known = variance > 0
            b, se = (float(estimate), float(np.sqrt(variance))) if known else (np.nan, np.nan)
            shown[name] = t_test(b, se, n - float(values[0])) if self.t_tests else coefficient(b, se, False)
        return shown


def _counted(used: Used, has_events: bool) -> Item:
    persons = used.persons()
    if not has_events:
        return Item("rows", used.rows[[ROWS]], CellSupport(persons[[ROWS]]))
    return Item(
        "outcomes",
        used.rows[[EVENTS, CENSORED]],
        CellSupport(persons[[EVENTS, CENSORED]], axis=0),
        axes=(("outcome", ("event", "censored")),),
    )
