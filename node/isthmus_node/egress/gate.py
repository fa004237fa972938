"""The gate: the only place where a summary becomes something that may leave. Everything else refuses.

`Cleared` and `Refusal` can be made here only, `wire.Outbound` from these only, `journal.Journaled` from that only, and
the link sends nothing but `Journaled`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import InitVar, dataclass, field as dataclass_field, replace

import numpy as np

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.adding import ADDING, DOES_NOT_ADD
from isthmus_methods.contract import Array, Field, Integers, Item, Summary
from isthmus_node.egress.form import Violation
from isthmus_node.egress.frames import PLACE, REMEDY, RULE, room_of
from isthmus_node.egress.judges import JUDGES, OF_MODELS
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.refusals import is_about_data, violation_of
from isthmus_node.egress.rounding import as_they_leave, step_of
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.unplanned import OFF_GRID
from isthmus_node.egress.update_rules import Trained

_SEAL = object()
NO_PURPOSE = Violation(
    "PURPOSE_NOT_ALLOWED",
    "the site's policy has a table for each purpose it lets anything out for, and none for this one",
    "ask the site's custodian, or run the analysis for another purpose",
)
COMMITTEE = Violation(
    "COMMITTEE_NEEDS_ENCRYPTION",
    "what a closed committee sees leaves encrypted to the committee's keys only, which this release cannot do",
    "run it where the committee's results are computed at one site, or for another purpose",
)
UNKNOWN_NOTE = Violation("UNKNOWN_NOTE", "only the notes a method declares leave", "report this to the method's author")
UNDECLARED = Violation("UNDECLARED_FIELD", "only the fields a method declares leave", UNKNOWN_NOTE.remedy)
TWICE = Violation("FIELD_TWICE", "a field leaves once for each label", UNKNOWN_NOTE.remedy)
NOT_AUDITED = Violation(
    "NOT_AUDITED", "nothing leaves that was not held against everything released before", "update the site's isthmus"
)
# One answer late in a fit: which of a model's rules a chosen state breaks would say something of the rows.
NOT_ESTIMABLE = Violation(
    "NOT_ESTIMABLE",
    "a model is not estimable at this site where one of its sums breaks a rule of the policy after the first round",
    "fit fewer terms, merge levels, scale the covariates, fix a coarser grid of times, or fit it over more persons",
)
NO_SUM = Violation(
    DOES_NOT_ADD,
    "in a sealed study what a method needs leaves as part of a sum over the countries, and this field is none",
    "ask for something else, or propose a version of the study in open mode",
)
UNKNOWN_KIND = Violation("UNKNOWN_KIND", "a kind of field without a rule cannot leave", "update the site's isthmus")


@dataclass(frozen=True, slots=True)
class ClearedItem:
    """One field for one label as it leaves; `value` None and the rule's code where the gate withheld it."""

    field: str
    label: str
    about: str
    unit: str
    value: Array | Integers | None = dataclass_field(repr=False)  # not in a log by accident
    withheld_by: str
    axes: tuple[tuple[str, tuple[str, ...]], ...]  # for people at the site; they do not leave


@dataclass(frozen=True, slots=True)
class Cleared:
    """A summary that may leave, and the policy that said so."""

    items: tuple[ClearedItem, ...]
    notes: tuple[str, ...]  # sorted
    purpose: int
    policy_digest: bytes
    rounded_to: int  # counts are multiples of this, but for what sums are over; 1: as they are
    room: int  # bytes that an answer of these shapes takes at most
    by_hand: bool  # a person at the site sees it before it leaves
    privacy: summary_pb2.PrivacySpent | None  # what noise cost; None where none was drawn
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _only_the_gate(seal)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal as it leaves: equal for equal reasons, without a count or a value."""

    code: str
    rule: str
    field: str
    remedy: str
    purpose: int
    policy_digest: bytes  # empty where there is no policy
    room: int  # bytes that the answer would have taken; 0 where there was none
    about_rows: bool  # whether it may depend on rows: then it is counted
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _only_the_gate(seal)


def judge(
    summary: Summary,
    leaves: Mapping[str, Field],
    notes: Collection[str],
    purpose: int,
    policy: Policy,
    open_data: bool,
    audit: Callable[[Limits], Violation | None] | None = None,
    trained: Trained | None = None,
    late: bool = False,
    sealed: bool = False,
) -> Cleared | Refusal:
    """Judge what a method gave for this country.

    Parameters
    ----------
    summary
        What the method released.
    leaves
        The fields the method declares, by name.
    notes
        Codes of the notes the method declares.
    purpose
        Number of the purpose in the contract.
    policy
        The site's policy in force.
    open_data
        The custodian marked the dataset as public or synthetic: no floors. Declared fields, fitting support, finite
        numbers and the purposes of the policy are asked for all the same.
    audit
        The auditor's word on the cohorts behind the summary, asked once every field has met its floors. Without it
        nothing leaves but open data.
    trained
        In a training, what was sent to be trained and what its noise cost.
    late
        The round is not the first: what breaks a model's rules is not said.
    sealed
        What leaves is added to other countries' before anybody sees it: all of it or nothing, but for fields that are
        no sums, which stay in every country alike.

    Returns
    -------
    Cleared
        Every item judged. A field that the method can do without is withheld alone where it breaks a floor; not where
        the answer is sealed.
    Refusal
        The first broken rule, in the order of items and rules.
    """
    limits = policy.limits.get(purpose)
    violation = _purpose(purpose, limits) or _notes(summary, notes)
    if violation is not None or limits is None:
        return _refusal(violation or NO_PURPOSE, "", purpose, policy.digest)
    room = room_of(summary.items, notes)
    # judged and sent is a copy of our own: nobody can change it in between
    items = tuple(_frozen(item) for item in summary.items)
    seen: set[tuple[str, str]] = set()
    trained = Trained() if trained is None else trained
    for item in items:
        # of what was not sent to be trained, or not declared, not even the label leaves: an app chose it
        violation, place = trained.violation(item, leaves), item.field
        if violation is None:
            violation, place = _declared(item, leaves, seen), _place(item, leaves)
        if violation is not None:
            return _refusal(violation, place, purpose, policy.digest, room, not open_data)
    withheld: dict[tuple[str, str], str] = {}
    for item in items:
        declared = leaves[item.field]
        violation = NO_SUM if sealed and declared.kind not in ADDING else None
        if violation is None and not open_data:
            violation = JUDGES[declared.kind].floor(item, limits)
        unsaid = violation is not None and late and declared.kind in OF_MODELS
        violation = NOT_ESTIMABLE if unsaid else violation
        if violation is not None and (declared.required or (sealed and violation is not NO_SUM)):
            place = "" if unsaid else _place(item, leaves)
            return _refusal(violation, place, purpose, policy.digest, room, not open_data)
        if violation is not None:
            withheld[item.field, item.label] = violation.code
    if not open_data:
        violation = trained.unpaid(items, limits) or (NOT_AUDITED if audit is None else audit(limits))
        if violation is not None:
            return _refusal(violation, "", purpose, policy.digest, room, not open_data)
    values = {(i.field, i.label): i.value for i in items if (i.field, i.label) not in withheld}
    values = values if open_data else as_they_leave(values, leaves, limits)
    cleared = tuple(_cleared(item, leaves[item.field], values, withheld) for item in items)
    step = 1 if open_data else step_of(leaves, limits)
    by_hand = policy.outputs == "ask" and not open_data
    told = tuple(sorted(summary.notes))
    return Cleared(cleared, told, purpose, policy.digest, step, room, by_hand, trained.privacy, _SEAL)


def first_look(purpose: int, policy: Policy, asked: Callable[[Limits], Violation | None]) -> Refusal | None:
    """The refusal of what is not even summed; None: go on. Not asked of open data.

    Parameters
    ----------
    asked
        The auditor's word on the request and its cohort.
    """
    limits = policy.limits.get(purpose)
    violation = _purpose(purpose, limits)
    if violation is not None or limits is None:
        return _refusal(violation or NO_PURPOSE, "", purpose, policy.digest)
    violation = asked(limits)
    if violation is None:
        return None
    return _refusal(violation, "", purpose, policy.digest, about_rows=violation.code != OFF_GRID)


def refuse(error: BaseException, purpose: int = 0, policy: Policy | None = None, open_data: bool = False) -> Refusal:
    """The refusal that leaves for an error at the site.

    What a person or a policy said no to is said in its own words: these are about the request. Everything else leaves
    as a fixed code under one sentence, because its text may quote a row; see `violation_of`.
    """
    digest = b"" if policy is None else policy.digest
    return _refusal(
        violation_of(error, open_data), "", purpose, digest, about_rows=is_about_data(error) and not open_data
    )


def _purpose(purpose: int, limits: Limits | None) -> Violation | None:
    if purpose == study_pb2.CLOSED_COMMITTEE:
        return COMMITTEE
    return NO_PURPOSE if limits is None else None


def _notes(summary: Summary, notes: Collection[str]) -> Violation | None:
    return None if all(note in notes for note in summary.notes) else UNKNOWN_NOTE


def _declared(item: Item, leaves: Mapping[str, Field], seen: set[tuple[str, str]]) -> Violation | None:
    """What holds for open data too: the field is declared, of a known kind, comes once, and has its form."""
    if item.field not in leaves:
        return UNDECLARED
    if (item.field, item.label) in seen:
        return TWICE
    seen.add((item.field, item.label))
    judge_of_kind = JUDGES.get(leaves[item.field].kind)
    return UNKNOWN_KIND if judge_of_kind is None else judge_of_kind.form(item)


def _frozen(item: Item) -> Item:
    if type(item.value) is not np.ndarray:
        return item  # the form refuses it: NOT_AN_ARRAY
    value = item.value.copy()
    value.setflags(write=False)
    return replace(item, value=value)


def _cleared(
    item: Item,
    declared: Field,
    values: Mapping[tuple[str, str], Array | Integers],
    withheld: Mapping[tuple[str, str], str],
) -> ClearedItem:
    key = item.field, item.label
    return ClearedItem(*key, declared.about, declared.unit, values.get(key), withheld.get(key, ""), item.axes)


def _place(item: Item, leaves: Mapping[str, Field]) -> str:
    """`field` or `field[label]`; nothing of a field that is not declared, not even its name."""
    if item.field not in leaves:
        return ""
    return f"{item.field}[{item.label}]" if item.label else item.field


def _refusal(
    violation: Violation, place: str, purpose: int, policy_digest: bytes, room: int = 0, about_rows: bool = False
) -> Refusal:
    rule, remedy = violation.rule[:RULE], violation.remedy[:REMEDY]
    return Refusal(violation.code, rule, place[:PLACE], remedy, purpose, policy_digest, room, about_rows, _SEAL)


def _only_the_gate(seal: object) -> None:
    if seal is not _SEAL:
        raise TypeError("only the gate can say that something may leave")
