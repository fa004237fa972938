"""Interaction: whether an effect differs between countries, or between the levels of another factor.

The model with the interaction and the one without are fitted to the pooled rows side by side, in the same rounds, and
each country fits its own model beside them. The fits are those of `glm`, `linear_model` and `cox`: this file says which
models they are, and compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Contributions,
    Done,
    Field,
    Kind,
    Missingness,
    Next,
    OptionRule,
    Partial,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    Term,
    column_name,
    term_columns,
)
from isthmus_methods.cox import Cox
from isthmus_methods.glm import Glm
from isthmus_methods.linear_model import LinearModel
from isthmus_methods.parts import several
from isthmus_methods.parts.countries.cox_estimate import CoxEstimate
from isthmus_methods.parts.countries.estimated import CountryEstimate
from isthmus_methods.parts.countries.glm_estimate import GlmEstimate, LinearEstimate
from isthmus_methods.parts.countries.own_fits import OwnFits
from isthmus_methods.parts.inference import chi_square, f_p, number
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.newton import solve
from isthmus_methods.parts.several import Part, Together, Whole

MAIN, FULL = "main_effects_model", "interaction_model"
STRATIFIED_MAIN, STRATIFIED_FULL = "stratified_main", "stratified_interaction"
OWN = "by_country"
MODELS: Mapping[str, Glm | LinearModel | Cox] = {"logistic": Glm(), "linear": LinearModel(), "cox": Cox()}
OWN_KINDS: Mapping[str, CountryEstimate] = {"logistic": GlmEstimate(), "linear": LinearEstimate(), "cox": CoxEstimate()}


def _leaves() -> dict[str, Field]:
    """What the fits let leave: of each of them what a fit cannot do without, and its counts."""
    found: dict[str, Field] = {}
    for method in MODELS.values():
        for name, field in method.leaves.items():
            if field.required or field.kind in (Kind.COUNT, Kind.RISK_SETS, Kind.EVENTS):
                before = found.get(name, field)
                found[name] = replace(field, required=field.required and before.required)
    return {**{n: f for n, f in OwnFits.leaves.items() if n not in found}, **found}


def _notes() -> dict[str, str]:
    return {code: said for method in (*MODELS.values(), OwnFits) for code, said in method.notes.items()}


LEAVES = _leaves()
# Counts of rows are the same for every fit.
COUNTS = frozenset(name for name, field in LEAVES.items() if field.kind is Kind.COUNT)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read."""

    model: str
    parts: tuple[Part[Whole], ...]
    tested: Term  # the interaction
    by_country: bool  # whether the country is what the effect may differ by

    @property
    def tested_names(self) -> tuple[str, ...]:
        spec = next(part.spec for part in self.parts if part.name == FULL)
        return tuple(name for name, _ in term_columns(spec, self.tested))


@kept_by_request
def _asked(spec: Spec) -> Asked:
    """What is asked. Raises `UsageError` where the request names no interaction, or lacks what its model needs."""
    model = str(spec.options.get("model", "logistic"))
    if model not in MODELS:
        raise UsageError("WRONG_OPTION", f"model {model!r} is not one of: {', '.join(MODELS)}", "choose one of these")
    needed = ("time", "event") if model == "cox" else ("outcome",)
    for role in needed:
        if not spec.role(role):
            raise UsageError("MISSING_ROLE", f"a {model} model needs {role!r}", f"name a variable for {role!r}")
    tested = spec.terms[-1] if spec.terms else Term(())
    mains = [term for term in spec.terms if len(term.columns) == 1]
    if len(tested.columns) != 2 or not {*tested.columns} <= {term.columns[0] for term in mains}:
        raise UsageError(
            "NO_INTERACTION",
            "the last term of the model has to be the interaction that is tested, of two terms of the model",
            "write OUTCOME ~ AGE + COUNTRY + ARM + COUNTRY:ARM",
        )
    country = next((column for column in tested.columns if spec.is_country(column_name(column))), None)
    roles = {role: columns for role, columns in spec.roles.items() if role in (*needed, "start")}
    options = {"ties": spec.options.get("ties", "efron")} if model == "cox" else {}

    def part(name: str, method: Whole, own: Spec) -> Part[Whole]:
        return Part(name, method, own, several.columns_of(name, own))

    def fit(name: str, terms: tuple[Term, ...], **more: bool) -> Part[Whole]:
        own = replace(spec, method=MODELS[model].name, roles=roles, terms=terms, options={**options, **more})
        return part(name, MODELS[model], own)

    without = spec.terms[:-1]
    parts: list[Part[Whole]]
    if model == "cox":
        within = tuple(term for term in without if country is None or term.columns != (country,))
        parts = [
            fit(MAIN, without, stratify_by_country=False),
            fit(FULL, spec.terms, stratify_by_country=False),
            fit(STRATIFIED_MAIN, within),
            fit(STRATIFIED_FULL, (*within, tested)),
        ]
    else:
        parts = [fit(MAIN, without), fit(FULL, spec.terms)]
    if country is not None:
        (arm,) = (column for column in tested.columns if column != country)
        terms = tuple(term for term in without if country not in term.columns)
        own = replace(spec, roles=roles, terms=terms, options=options)
        parts.append(part(OWN, OwnFits(OWN_KINDS[model], arm, t_tests=model == "linear"), own))
    return Asked(model, tuple(parts), tested, country is not None)


class Interaction:
    """Likelihood-ratio, F and Wald tests of an interaction, and the effect in each country.

    Source: Cox & Hinkley (1974), Theoretical Statistics, chapter 9. Answers are those of R's `anova` of nested `glm`,
    `lm` and `coxph` fits to the pooled rows.
    """

    name: ClassVar[str] = "interaction"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Interaction"
    leaves: ClassVar[Mapping[str, Field]] = LEAVES
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("logistic: 0 or 1; linear: a number", required=False, holds="number"),
        "time": Role("cox: time of the event or of censoring", required=False, holds="number"),
        "event": Role("cox: 1 = event, any other value = censored", required=False, holds="event"),
        "start": Role("cox: start of the row's interval (start, time]", required=False, holds="number"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "model": OptionRule("which model", "logistic", tuple(MODELS)),
        "ties": OptionRule("cox: how tied event times are counted", "efron", ("efron", "breslow")),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = _notes()
    rounds: ClassVar[tuple[int, int]] = (
        min(method.rounds[0] for method in MODELS.values()),
        max(method.rounds[1] for method in MODELS.values()),
    )

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if _asked(spec).by_country else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Together | None) -> Partial:
        return several.fold(several.going_on(_asked(spec).parts, state), block, state, local)

    def release(self, partial: Together | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        return several.release(several.going_on(_asked(spec).parts, state), partial, state, local, COUNTS)

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        asked = _asked(spec)
        turn = several.pool(asked.parts, contributions, state, memory, COUNTS)
        return turn if isinstance(turn, Next) else _compared(asked, turn)


# --------------------------------------------------------------------------- at the coordinator


def _compared(asked: Asked, done: Mapping[str, Done]) -> Done:
    """The tests, from the fits."""
    main, full = done[MAIN].answer, done[FULL].answer
    df = _rank(full) - _rank(main)
    answer: dict[str, Answer] = {
        "n": full["n"],
        **{name: {"loglik": of["loglik"], "coef": _plain(of["coef"])} for name, of in ((MAIN, main), (FULL, full))},
        "lrt_interaction": _likelihood_ratio(main, full),
        "wald_interaction": _wald(full, asked.tested_names),
    }
    if asked.model == "linear":
        rss0, rss1, df2 = (_number(x) for x in (main["rss"], full["rss"], full["df_residual"]))
        f = (rss0 - rss1) / df / (rss1 / df2) if df > 0 and df2 > 0 and rss1 > 0 else np.nan
        answer["f_test_interaction"] = {"F": number(f), "df1": df, "df2": full["df_residual"], "p": _f_p(f, df, df2)}
    if asked.model == "cox":
        answer["stratified_lrt_interaction"] = _likelihood_ratio(
            done[STRATIFIED_MAIN].answer, done[STRATIFIED_FULL].answer
        )
    if OWN in done:
        answer["by_country"] = _of_levels_there(done[OWN].answer, full["coef"])
    answer["aliased"] = full.get("aliased", [])
    for key in ("excluded", "levels"):
        if key in full:
            answer[key] = full[key]
    said: dict[str, None] = {}
    for part in asked.parts:
        for sentence in done[part.name].caveats:
            said.setdefault(sentence if part.name in (FULL, OWN) else _of_part(part.name, sentence, done))
    # its factors are those of every fit
    return Done(answer, tuple(said), no_news=done[FULL].no_news)


def _of_levels_there(own: Mapping[str, Answer], pooled: Answer) -> dict[str, Answer]:
    """The countries' fits without coefficients of levels that nobody has in any country."""
    known = pooled if isinstance(pooled, Mapping) else {}
    return {
        country: {
            key: {name: c for name, c in x.items() if name in known} if key == "coef" and isinstance(x, Mapping) else x
            for key, x in fit.items()
        }
        for country, fit in own.items()
        if isinstance(fit, Mapping)
    }


def _of_part(name: str, sentence: str, done: Mapping[str, Done]) -> str:
    """A caveat of one of the models beside the one with the interaction."""
    if sentence in done[FULL].caveats:
        return sentence
    return f"{name.replace('_', ' ')}: {sentence}"


def _plain(coefficients: Answer) -> Answer:
    """Coefficients without the exponentials that a Cox model adds to them."""
    if not isinstance(coefficients, Mapping):
        return coefficients
    return {
        name: {key: x for key, x in own.items() if not key.startswith("hr")} if isinstance(own, Mapping) else own
        for name, own in coefficients.items()
    }


def _number(x: Answer) -> float:
    return float(x) if isinstance(x, int | float) else np.nan


def _f_p(f: float, df1: int, df2: float) -> float | None:
    return None if np.isnan(f) else f_p(f, df1, df2)


def _rank(answer: Mapping[str, Answer]) -> int:
    """Coefficients that are estimated."""
    coefficients = answer["coef"]
    if not isinstance(coefficients, Mapping):
        return 0
    return sum(isinstance(own, Mapping) and own.get("estimate") is not None for own in coefficients.values())


def _likelihood_ratio(main: Mapping[str, Answer], full: Mapping[str, Answer]) -> dict[str, Answer]:
    statistic = 2.0 * (_number(full["loglik"]) - _number(main["loglik"]))
    return chi_square(statistic, _rank(full) - _rank(main))


def _wald(full: Mapping[str, Answer], names: tuple[str, ...]) -> dict[str, Answer]:
    """b' V^-1 b of the coefficients of the interaction, those that are estimated."""
    coefficients, covariance = full["coef"], full["vcov"]
    if not isinstance(coefficients, Mapping) or not isinstance(covariance, Mapping):
        return chi_square(np.nan, 0)
    rows = covariance["rows"]
    labels = [str(x) for x in rows] if isinstance(rows, list | tuple) else []
    values: Array = np.array(covariance["values"], dtype=np.float64)
    chosen = [k for k, name in enumerate(labels) if name in names and not np.isnan(values[k, k])]
    if not chosen:
        return chi_square(np.nan, 0)
    b = np.array([_estimate(coefficients, labels[k]) for k in chosen])
    return chi_square(float(b @ solve(values[np.ix_(chosen, chosen)]).inverse @ b), len(chosen))


def _estimate(coefficients: Mapping[str, Answer], name: str) -> float:
    own = coefficients[name]
    return _number(own["estimate"]) if isinstance(own, Mapping) else np.nan
