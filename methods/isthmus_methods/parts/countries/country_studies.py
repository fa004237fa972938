"""What methods on the countries' own estimates share: the half inside a country, and reading what it gave.

What leaves a country is one coefficient, its variance, and the number of rows, with and without an event where the
outcome is one. Studies are the countries, or the levels of a factor that each lie within one country.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError, UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    CellSupport,
    Contributions,
    Design,
    Field,
    Integers,
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
)
from isthmus_methods.parts import caveats
from isthmus_methods.parts.countries.country_estimate import KINDS
from isthmus_methods.parts.countries.estimated import CountryEstimate, Fitted
from isthmus_methods.parts.model_support import CENSORED, EVENTS, ROWS, Used, nobody
from isthmus_methods.parts.model_terms import INTERCEPT
from isthmus_methods.parts.regression.glm_family import FAMILIES

_FAMILIES = tuple(dict.fromkeys(family for family, _ in FAMILIES))
_LINKS = ("", *dict.fromkeys(link for _, link in FAMILIES))
NO_ROWS, NOT_ESTIMABLE, OTHERS_INFINITE = "NO_ROWS", "NOT_ESTIMABLE", "OTHERS_INFINITE"


@dataclass(frozen=True, slots=True)
class Studies:
    """By study within the country, its part of a sum, or how far its fit is; "" is the country itself. Adds."""

    parts: Mapping[str, Any]

    def __add__(self, other: Studies, /) -> Studies:
        both = dict(self.parts)
        for name, part in other.parts.items():
            both[name] = both[name] + part if name in both else part
        return Studies(both)


@dataclass(frozen=True, slots=True)
class Given:
    """What the countries gave, at the coordinator."""

    names: tuple[str, ...]  # of the studies with an estimate, (K,)
    y: Array  # (K,) estimates
    v: Array  # (K,) their variances
    about: Mapping[str, Answer]  # coefficient, studies left out, counts
    caveats: tuple[str, ...]


class CountryStudies:
    """The half of a method that estimates one coefficient from each country's rows alone."""

    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(Kind.COUNT, "rows with and without an event", "rows", "2", required=False),
        "rows": Field(Kind.COUNT, "rows used, where the outcome is no event", "rows", "1", required=False),
        "estimate": Field(
            Kind.ESTIMATE, "the country's own estimate of the coefficient, and its variance", size="2", required=False
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("cox: time of the event or of censoring", required=False, holds="number"),
        "event": Role("cox: 1 = event, any other value = censored", required=False, holds="event"),
        "start": Role("cox: start of the row's interval (start, time]", required=False, holds="number"),
        "strata": Role(
            "cox: factors with a baseline hazard for each combination", required=False, many=True, holds="factor"
        ),
        "outcome": Role("glm, linear_model: the outcome", required=False, holds="number"),
        "offset": Role("glm: added to the linear predictor", required=False, holds="number"),
        "row": Role("log_odds_ratio: the arm", required=False),
        "column": Role("log_odds_ratio: the outcome", required=False),
        "by": Role("what the studies are; none: the countries", required=False, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "coefficient": OptionRule("the coefficient to combine, as the model names it, such as arm=B", ""),
        "estimate": OptionRule("the model each country fits", "cox", tuple(KINDS)),
        "ties": OptionRule("cox: how tied event times are counted", "efron", ("efron", "breslow")),
        "family": OptionRule("glm: the outcome's distribution", "binomial", _FAMILIES),
        "link": OptionRule("glm: the link; none: the family's own", "", _LINKS),
        "treated": OptionRule("log_odds_ratio: the value of `row` whose odds are on top", ""),
        "control": OptionRule("log_odds_ratio: the value of `row` that it is compared with", ""),
        "event_value": OptionRule("log_odds_ratio: the value of `column` that is an event", "1"),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: "{countries}: left out, no complete rows",
        NOT_ESTIMABLE: "{countries}: left out, the effect cannot be estimated from its rows alone "
        "(no events, a level without rows, an empty cell, collinear terms or separation)",
        OTHERS_INFINITE: "{countries}: other coefficients of the model may be infinite",
    }
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def stratified_by_country(self, options: Mapping[str, object]) -> bool:
        return True  # a fit of its own in each

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY

    def fold(self, block: Block, spec: Spec, state: State, local: Studies | None) -> Partial:
        kind = _kind(spec)
        blocks = _blocks(block, spec)
        if local is None:
            return Studies({name: kind.fold(own, spec, None) for name, own in blocks.items()})
        # an effect that is estimated needs no further pass
        going_on = {name: at for name, at in local.parts.items() if name in blocks and not isinstance(at, Fitted)}
        return Studies({name: kind.fold(blocks[name], spec, at) for name, at in going_on.items()})

    def release(self, partial: Studies | None, spec: Spec, state: State, local: Studies | None) -> Summary | Again:
        kind = _kind(spec)
        if partial is None or not (partial.parts or local):
            # a study that is no country is not known here to be without rows
            items = () if spec.role("by") else (_counted(nobody(spec), kind.has_events(spec), ""),)
            return Summary(items, frozenset({NO_ROWS}))
        at = dict(local.parts) if local is not None else {}
        for name, part in partial.parts.items():
            turn = kind.release(part, spec, at.get(name))
            at[name] = turn.local if isinstance(turn, Again) else turn
        done = {name: turn for name, turn in at.items() if isinstance(turn, Fitted)}
        if len(done) < len(at):
            return Again(Studies(at))
        return _summary(done, spec, kind, _coefficient(spec))

    # ----------------------------------------------------------------- at the coordinator

    def given(self, contributions: Contributions, spec: Spec) -> Given:
        """The estimates that the countries gave.

        Raises
        ------
        MethodError
            ``NOT_ESTIMABLE`` where none did, ``STUDY_OVER_COUNTRIES``.
        """
        coefficient = _coefficient(spec)
        given, found_in = _studies(contributions, spec)
        if not given:
            raise MethodError(
                "NOT_ESTIMABLE",
                f"no country gave an estimate of {coefficient}",
                "choose another coefficient, fewer terms, or ask why in each country's refusal",
            )
        names = tuple(given)
        values = np.stack([given[name] for name in names])
        by = spec.role("by")
        every = tuple(found_in) if by else (spec.countries or contributions.countries)
        about: dict[str, Answer] = {
            "coefficient": coefficient,
            "left_out": [name for name in every if name not in given],
            "outcomes": _outcomes(contributions, bool(by)),
        }
        if by:
            about["countries"] = {
                country: [n for n in found_in if found_in[n] == country] for country in spec.countries
            }
        said = list(caveats.of_notes(contributions, self.notes))
        withheld = {
            label if by else s.country: code
            for s in contributions.summaries
            for (name, label), code in s.withheld.items()
            if name == "estimate"
        }
        if withheld:
            said.append(caveats.of_withheld("estimate", withheld, names))
        return Given(names, values[:, 0], values[:, 1], about, tuple(said))


# --------------------------------------------------------------------------- what is asked


def _kind(spec: Spec) -> CountryEstimate:
    """How the countries estimate. Raises `UsageError` where the request does not fit it."""
    name = str(spec.options.get("estimate", "cox"))
    if name not in KINDS:
        raise UsageError("WRONG_OPTION", f"estimate {name!r} is not one of: {', '.join(KINDS)}", "choose one of these")
    kind = KINDS[name]
    missing = [role for role in kind.needs if not spec.role(role)]
    if missing:
        raise UsageError("MISSING_ROLE", f"estimate {name} needs {missing[0]!r}", f"name a variable for {missing[0]!r}")
    known = {*kind.needs, *kind.takes, "by"}
    strange = [role for role in spec.roles if spec.role(role) and role not in known]
    if strange:
        raise UsageError(
            "UNKNOWN_ROLE", f"estimate {name} has no role {strange[0]!r}", f"use: {', '.join(sorted(known))}"
        )
    if bool(spec.terms) > kind.uses_terms:
        raise UsageError("NO_TERMS", f"estimate {name} has no model terms", "leave the terms out")
    return kind


def _coefficient(spec: Spec) -> str:
    """The coefficient to combine; the only one where the model has but one."""
    names = _kind(spec).coefficients(spec)
    slopes = [name for name in names if name != INTERCEPT]
    asked = str(spec.options.get("coefficient", "")) or (slopes[0] if len(slopes) == 1 else "")
    if asked not in names:
        raise UsageError(
            "UNKNOWN_COEFFICIENT",
            f"the model has no coefficient {asked!r}; it has: {', '.join(names)}",
            "name one of these as `coefficient`",
        )
    return asked


# --------------------------------------------------------------------------- inside a country


def _blocks(block: Block, spec: Spec) -> Mapping[str, Block]:
    """The block's rows by study: the country itself, or each level of `by` that has rows."""
    if not spec.role("by"):
        return {"": block}
    levels = spec.levels(spec.role("by")[0])

    def build() -> dict[str, Block]:
        codes = block.codes("by")
        return {levels[k]: _part(block, np.flatnonzero(codes == k)) for k in np.unique(codes)}

    return block.memo("studies", build)


def _part(block: Block, rows: Integers) -> Block:
    """Some rows of a block, as a block."""
    design = block.design
    if design is not None:
        codes = {name: of[rows] for name, of in design.level_codes.items()}
        design = Design(np.ascontiguousarray(design.matrix[rows]), design.names, codes)
    return replace(
        block,
        rows=len(rows),
        columns={role: tuple(values[rows] for values in arrays) for role, arrays in block.columns.items()},
        subject=block.subject[rows],
        design=design,
        rows_selected=len(rows),
        persons_selected=len(np.unique(block.subject[rows])),
        _kept={},
    )


def _counted(used: Used, has_events: bool, label: str) -> Item:
    persons = used.persons()
    if not has_events:
        return Item("rows", used.rows[[ROWS]], CellSupport(persons[[ROWS]]), label)
    return Item(
        "outcomes",
        used.rows[[EVENTS, CENSORED]],
        CellSupport(persons[[EVENTS, CENSORED]], axis=0),
        label,
        axes=(("outcome", ("event", "none")),),
    )


def _summary(done: Mapping[str, Fitted], spec: Spec, kind: CountryEstimate, coefficient: str) -> Summary:
    items, raised = [], set()
    for name, turn in done.items():
        items.append(_counted(turn.used, kind.has_events(spec), name))
        estimate = turn.estimate(spec, coefficient)
        if estimate is None:
            raised.add(NOT_ESTIMABLE)
            continue
        items.append(Item("estimate", np.array(estimate), turn.support, name or coefficient))
        if turn.infinite.any():
            raised.add(OTHERS_INFINITE)
    return Summary(tuple(items), frozenset(raised))


# --------------------------------------------------------------------------- at the coordinator


def _studies(contributions: Contributions, spec: Spec) -> tuple[dict[str, Array], dict[str, str]]:
    """The estimates by study in the order of countries or levels, and the country that each study lies in."""
    by = spec.role("by")
    given: dict[str, Array] = {}
    found_in: dict[str, str] = {}
    for summary in contributions.summaries:
        for field, label in (*summary.values, *summary.withheld):
            study = label if by else summary.country
            if found_in.setdefault(study, summary.country) != summary.country:
                raise MethodError(
                    "STUDY_OVER_COUNTRIES",
                    f"rows of {study} lie in {found_in[study]} and in {summary.country}; rule: a study is estimated "
                    "from the rows of one country",
                    "combine the countries' estimates, or use a factor whose levels each lie in one country",
                )
            if field == "estimate" and (field, label) in summary.values:
                given[study] = np.asarray(summary.values[field, label], dtype=np.float64)
    if by:
        levels = [level for level in spec.levels(by[0]) if level in found_in]
        found_in = {level: found_in[level] for level in levels}
        given = {level: given[level] for level in levels if level in given}
    return given, found_in


def _outcomes(contributions: Contributions, by: bool) -> dict[str, Answer]:
    counts: dict[str, Answer] = {}
    for summary in contributions.summaries:
        for (field, label), value in summary.values.items():
            study = label if by else summary.country
            if field == "outcomes":
                counts[study] = {"n": round(float(value.sum())), "n_event": round(float(value[0]))}
            elif field == "rows":
                counts[study] = {"n": round(float(value[0]))}
    return counts
