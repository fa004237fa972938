"""Adverse events by arm: incidence, event rates, exposure-adjusted incidence rates, by class and term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Booleans,
    CellSupport as Cells,
    Contributions,
    Done,
    EventRows,
    Field,
    Integers,
    Item,
    Kind,
    Missingness,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.gathered import Gathered
from isthmus_methods.parts.moments import Sums
from isthmus_methods.parts.tables.cross_table import CellCounts
from isthmus_methods.parts.tables.event_rates import Arms, block_of, by_arm_of
from isthmus_methods.parts.tables.event_sets import EventSets

NO_ARM, NO_EXPOSURE, EVENTS_LEFT_OUT = "NO_ARM", "NO_EXPOSURE", "EVENTS_LEFT_OUT"
OTHER = "OTHER"
SETS, GROUPS, TERMS = "sets", "groups", "terms"
ANY = "any_ae"
# Classes times terms times arms: one number each of three fields.
MOST_CELLS = 1_000_000


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    arm: str
    arms: tuple[str, ...]
    control: str
    rate_per: float
    subsets: tuple[str, ...]
    groups: tuple[str, ...]  # classes of the dictionary, and what it does not have
    terms: tuple[str, ...]  # likewise; empty: not asked for
    group_name: str
    term_name: str

    @property
    def sets(self) -> tuple[str, ...]:
        return (ANY, *self.subsets)

    def axes(self, label: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Names and labels of the axes of a label's fields."""
        arms = (self.arm, self.arms)
        if label == SETS:
            return ("set", self.sets), arms
        if label == GROUPS:
            return (self.group_name, self.groups), arms
        return (self.group_name, self.groups), (self.term_name, self.terms), arms

    def number(self, label: str) -> int:
        """Sets of a label."""
        return int(np.prod([len(levels) for _, levels in self.axes(label)[:-1]]))

    @property
    def labels(self) -> tuple[str, ...]:
        return (SETS, GROUPS, TERMS) if self.terms else (SETS, GROUPS)


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be answered."""
    events = spec.events
    if events is None:
        raise UsageError("MISSING_EVENTS", "safety reads a dataset of events", "name it, with its roles")
    arm = spec.role("arm")[0]
    arms = spec.levels(arm)
    control = str(spec.options.get("control", "")) or arms[0]
    if control not in arms:
        raise UsageError(
            "UNKNOWN_LEVEL",
            f"control {control!r} is no level of {column_name(arm)!r}; it has {', '.join(map(repr, arms))}",
            "use one of its levels",
        )
    named = spec.options.get("subsets", ())
    subsets = tuple(str(name) for name in named) if isinstance(named, tuple) else ()
    if len(subsets) != len(events.role("subsets")) or len(set(subsets)) < len(subsets):
        raise UsageError(
            "WRONG_SUBSETS", "each subset of events has a condition and a name of its own", "name each of them once"
        )
    rate_per = float(spec.options.get("rate_per", Safety.options["rate_per"].default))  # type: ignore[arg-type]
    if rate_per <= 0:
        raise UsageError("WRONG_OPTION", "rates are per a positive number of days", "give a positive rate_per")
    group, term = events.role("group_term")[0], events.role("term")
    plan = Plan(
        column_name(arm),
        arms,
        control,
        rate_per,
        subsets,
        with_other(events.levels(group)),
        with_other(events.levels(term[0])) if term else (),
        column_name(group),
        column_name(term[0]) if term else "",
    )
    cells = plan.number(plan.labels[-1]) * len(arms)
    if cells > MOST_CELLS:
        raise UsageError(
            "TOO_MANY_CELLS",
            f"classes, terms and arms make {cells} cells, of at most {MOST_CELLS}",
            "declare the terms that occur, not a whole dictionary of terms, or leave the terms out",
        )
    return plan


def with_other(levels: Sequence[str]) -> tuple[str, ...]:
    """The levels, and last a name for what is none of them."""
    other = OTHER
    while other in levels:
        other = f"({other})"
    return (*levels, other)


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class Partial:
    """Subjects and exposure by arm, and the sets of events. Adds."""

    subjects: CellCounts  # arm x (with, without exposure)
    exposure: Sums
    sets: tuple[EventSets, ...]  # for each label
    joined: Integers  # events used and left out
    persons_joined: Integers  # persons behind them
    no_arm: bool

    def __add__(self, other: Partial, /) -> Partial:
        return Partial(
            self.subjects + other.subjects,
            self.exposure + other.exposure,
            tuple(a + b for a, b in zip(self.sets, other.sets, strict=True)),
            self.joined + other.joined,
            self.persons_joined + other.persons_joined,
            self.no_arm or other.no_arm,
        )


def fold_rows(block: Block, plan: Plan, by_person: bool) -> Partial:
    arm, exposure, number = block.codes("arm"), block.numbers("exposure"), len(plan.arms)
    used = arm >= 0
    given = used & ~np.isnan(exposure)
    people = int(block.subject.max()) + 1 if block.rows else 0
    subjects = CellCounts.of(
        2 * arm[used] + np.isnan(exposure[used]), block.subject[used], 2 * number, by_person=by_person
    )
    who = block.subject[given] if by_person else None
    total = Sums.of(exposure[given], arm[given], number, who, people)
    events = block.events
    if events is None:
        events = EventRows(0, {}, {}, np.zeros(0, dtype=np.int64))
    joined = np.array([events.rows, events.left_out], dtype=np.int64)
    behind = np.array([len(np.unique(events.subject)), events.persons_left_out], dtype=np.int64)
    sets = sets_of(events, block, plan, people)
    return Partial(subjects, total, sets, joined, behind, not bool(used.all()))


def sets_of(events: EventRows, block: Block, plan: Plan, people: int) -> tuple[EventSets, ...]:
    """The events of the block in their sets; of a person with several rows the first says arm and exposure."""
    first = np.full(people, -1, dtype=np.int64)
    first[block.subject[::-1]] = np.arange(block.rows)[::-1]
    # numbers of persons without a row here are never asked for
    row = np.maximum(first, 0)
    arm_of = np.where(first >= 0, block.codes("arm")[row], -1) if people else np.zeros(0, dtype=np.int64)
    exposure_of = block.numbers("exposure")[row] if people else np.zeros(0)
    if not events.rows:
        return tuple(EventSets.nothing(plan.number(label), len(plan.arms)) for label in plan.labels)
    kept = arm_of[events.subject] >= 0
    person = events.subject[kept]
    days = events.columns.get("day", ())
    day = days[0][kept] if days else np.full(len(person), np.nan)
    members = [np.ones(len(person), dtype=np.bool_)]
    members += [subset[kept] == 1.0 for subset in events.columns.get("subsets", ())]
    every, rows = np.nonzero(np.stack(members))
    group = events.columns["group_term"][0][kept].astype(np.int64)
    group = np.where(group < 0, len(plan.groups) - 1, group)
    every_event = np.arange(len(person))
    found = [(every.astype(np.int64), rows), (group, every_event)]
    if plan.terms:
        term = events.columns["term"][0][kept].astype(np.int64)
        found.append((group * len(plan.terms) + np.where(term < 0, len(plan.terms) - 1, term), every_event))
    return tuple(
        EventSets.of(of, person[which], day[which], arm_of, exposure_of, plan.number(label), len(plan.arms))
        for label, (of, which) in zip(plan.labels, found, strict=True)
    )


def items_of(partial: Partial, plan: Plan) -> tuple[Item, ...]:
    number = len(plan.arms)
    arms = (plan.arm, plan.arms)
    behind = partial.subjects.behind.reshape(number, 2)
    rows = partial.subjects.cells.reshape(number, 2)
    joined = (("events", ("used", "left out")),)
    return (
        Item("subjects", rows, Cells(behind, axis=1), axes=(arms, ("exposure", ("given", "missing")))),
        Item("exposure", partial.exposure.value, partial.exposure.support(), axes=(arms,)),
        *(
            item
            for label, sets in zip(plan.labels, partial.sets, strict=True)
            for item in sets.items(label, behind.sum(axis=1), plan.axes(label))
        ),
        Item("left_out", partial.joined, Cells(partial.persons_joined, axis=0), axes=joined),
    )


def empty(plan: Plan) -> Partial:
    """What no row gives."""
    none, number = np.zeros(0, dtype=np.int64), len(plan.arms)
    return Partial(
        CellCounts.of(none, none, 2 * number, by_person=False),
        Sums.nothing(number),
        tuple(EventSets.nothing(plan.number(label), number) for label in plan.labels),
        np.zeros(2, dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        False,
    )


# --------------------------------------------------------------------------- the method


class Safety:
    """Adverse events by arm over two datasets: the subjects with their exposure, and their events.

    Source: of each number in `parts/tables/two_arms.py`; for exposure-adjusted rates Rothman, Greenland & Lash, Modern
    Epidemiology, 3rd ed., chapter 14.
    """

    name: ClassVar[str] = "safety"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Adverse events"
    leaves: ClassVar[Mapping[str, Field]] = {
        "subjects": Field(Kind.COUNT, "subjects by arm, with and without an exposure", "persons", "A x 2"),
        "exposure": Field(Kind.SUM, "exposure by arm", "days", "A", required=False),
        "persons": Field(
            Kind.COUNT, "subjects with an event, by set, class or term, and arm", "persons", "sets x A", required=False
        ),
        "events": Field(Kind.COUNT, "events by set, class or term, and arm", "events", "sets x A", required=False),
        "lost": Field(
            Kind.SUM,
            "exposure after the first event, by set, class or term, and arm",
            "days",
            "sets x A",
            required=False,
        ),
        "left_out": Field(Kind.COUNT, "events of subjects, and of nobody among them", "events", "2", required=False),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "arm": Role("the arms that are compared", holds="factor"),
        "exposure": Role("days of exposure", holds="number"),
    }
    event_roles: ClassVar[Mapping[str, Role]] = {
        "group_term": Role("class of the event, such as the system organ class", holds="factor"),
        "term": Role("term of the event, such as the preferred term", required=False, holds="factor"),
        "day": Role("day of onset, 1 the first day of exposure", required=False, holds="number"),
        "subsets": Role("conditions, each of which makes a subset of events", required=False, many=True, holds="event"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "control": OptionRule("the arm that the others are compared with; without one the first level", ""),
        "rate_per": OptionRule("rates are per so many days of exposure: 36525 is 100 years", 36525.0),
        "subsets": OptionRule("names of the subsets of events, in the order of their conditions", ()),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.PER_VARIABLE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ARM: "in {countries} some subjects have no arm; they and their events are left out",
        NO_EXPOSURE: "in {countries} some subjects have no exposure; they count as subjects and add no time",
        EVENTS_LEFT_OUT: "in {countries} some events are of nobody among the subjects and are left out",
        persons.REPEATED: "in {countries} some persons have more than one row among the subjects; each row counts, "
        "and events count once, with the first",
    }
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return fold_rows(block, plan_of(spec), by_person=local is not None)

    def release(self, partial: Partial | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if partial is None:
            partial = empty(plan)
        if partial.subjects.must_see_persons:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        notes = {
            NO_ARM: partial.no_arm,
            NO_EXPOSURE: bool(partial.subjects.cells[1::2].any()),
            EVENTS_LEFT_OUT: bool(partial.joined[1]),
            persons.REPEATED: partial.subjects.persons.repeated,
        }
        return Summary(items_of(partial, plan), frozenset(code for code, raised in notes.items() if raised))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan = plan_of(spec)
        got = Gathered.of(contributions)
        countries = got.countries(spec.countries)
        said = list(caveats.of_notes(contributions, self.notes))
        sets: dict[str, Sets] = {}
        for label in plan.labels:
            covered = got.giving(countries, ("persons", "events"), label)
            said += _missing(label, got, countries, covered, label)
            times = tuple(c for c in got.giving(covered, ("lost",), label) if (c, "exposure", "") in got.values)
            said += _missing(f"rates of {label}", got, covered, times, label)
            arms = _arms(plan, got, covered, timed=times == covered)
            shape = [len(levels) for _, levels in plan.axes(label)]
            given = [_total(got, covered, name, label, shape) for name in ("persons", "events")]
            lost = _total(got, covered, "lost", label, shape) if times == covered else None
            sets[label] = arms, given[0], given[1], lost
        overall = got.giving(countries, ("exposure",), "")
        said += _missing("exposure", got, countries, overall, "")
        joined = contributions.total("left_out")
        answer: dict[str, Answer] = {
            "control": plan.control,
            "rate_per": plan.rate_per,
            "arms": _arms(plan, got, countries, timed=overall == countries).answer(),
            "events_left_out": round(float(joined[1])) if joined is not None else None,
            **_of_sets(plan, sets[SETS]),
            "by_soc": _of_groups(plan, sets[GROUPS]),
        }
        if plan.terms:
            answer["by_soc_pt"] = _of_terms(plan, sets[TERMS])
        return Done(answer, tuple(said))


def _missing(what: str, got: Gathered, countries: Sequence[str], covered: Sequence[str], label: str) -> tuple[str, ...]:
    """That some countries are not in a part of the answer, and by which rule."""
    without = {c: got.withheld.get((c, label), got.withheld.get((c, ""), "NOT_GIVEN")) for c in countries}
    without = {c: code for c, code in without.items() if c not in covered}
    return (caveats.of_withheld(what, without, tuple(covered)),) if without else ()


def _total(got: Gathered, countries: Sequence[str], name: str, label: str, shape: Sequence[int]) -> Array:
    return got.total(countries, name, label) if countries else np.zeros(shape)


def _arms(plan: Plan, got: Gathered, countries: Sequence[str], timed: bool) -> Arms:
    """Subjects and exposure by arm of some countries."""
    subjects = _total(got, countries, "subjects", "", (len(plan.arms), 2))
    exposure = _total(got, countries, "exposure", "", (len(plan.arms),)) if timed else None
    return Arms(plan.arms, plan.arms.index(plan.control), plan.rate_per, subjects, exposure)


Sets = tuple[Arms, Array, Array, Array | None]


def _one(sets: Sets, *place: int) -> tuple[Array, Array, Array | None]:
    _, persons_with, events, lost = sets
    return persons_with[place], events[place], None if lost is None else lost[place]


def _of_sets(plan: Plan, sets: Sets) -> dict[str, Answer]:
    blocks = {name: block_of(sets[0], *_one(sets, k)) for k, name in enumerate(plan.sets)}
    return {ANY: blocks[ANY], "subsets": {name: blocks[name] for name in plan.subsets}}


def _of_groups(plan: Plan, sets: Sets) -> dict[str, Answer]:
    last = len(plan.groups) - 1
    return {
        name: block_of(sets[0], *_one(sets, k)) for k, name in enumerate(plan.groups) if k < last or sets[2][k].any()
    }


def _of_terms(plan: Plan, sets: Sets) -> dict[str, Answer]:
    found: Booleans = sets[2].sum(axis=2) > 0
    return {
        group: {plan.terms[t]: by_arm_of(sets[0], *_one(sets, g, int(t))) for t in np.flatnonzero(found[g])}
        for g, group in enumerate(plan.groups)
        if found[g].any()
    }
