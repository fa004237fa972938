"""The auditor: everything released from a dataset together, all methods and users, by person, across snapshots.

What it decides is durably in its state, and the state's digest in the journal, before a byte leaves. It learns of
cohorts only, never of values. A state that cannot be read, or is not the one the journal knows, refuses everything.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from isthmus.errors import ConfigError
from isthmus.recent import Recent
from isthmus.v1 import journal_pb2
from isthmus_methods.contract import Integers
from isthmus_methods.rows import Cohorts
from isthmus_node.egress import cohort_rules, combined_rules, request_rules, unplanned
from isthmus_node.egress.form import Violation
from isthmus_node.egress.linear import prime
from isthmus_node.egress.released import Contents, Marks, Released, Unreadable, digest_of
from isthmus_node.egress.request_rules import Question
from isthmus_node.egress.thresholds import Limits
from isthmus_trust.key_files import read_secret, replace as replace_file, write_new

KEY_FILE = "person.key"
SUFFIX = ".released"
# Requests whose verdict is remembered: the rounds of a fit ask once.
_REMEMBERED = 1024
_RESTORE = "restore the node's state folder, journal and auditor together, from the newest backup"


class Recorder(Protocol):
    """The journal, as the auditor needs it."""

    def append(self, record: journal_pb2.Record) -> object: ...

    def audited(self) -> Mapping[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class Audit:
    """One request, to be held against everything released before.

    Parameters
    ----------
    auditor
        Of the node.
    name
        Equal for requests that ask the same of the same snapshot.
    cohorts
        Whose rows are behind it, one value a dataset; asked for only where `name` is not known yet.
    in_plan
        It is an analysis of a plan that the custodian approved.
    about
        Study, analysis, run and task, for the journal.
    """

    auditor: Auditor
    name: bytes
    cohorts: Callable[[], Sequence[Cohorts]]
    in_plan: bool
    about: journal_pb2.Record

    def violation(self, limits: Limits) -> Violation | None:
        """The rule it breaks together with what was released before; else it counts as released from now on."""
        return self.auditor.violation(self, limits)

    def first_violation(self, limits: Limits) -> Violation | None:
        """The rule it breaks by itself, before anything is summed; asked of what is in no approved plan."""
        return None if self.in_plan else self.auditor.first_violation(self, limits)


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    """A snapshot among what was released: the state with its persons and rows, and where they are in it."""

    key: tuple[bytes, bytes]
    released: Released
    person: Integers
    place: Integers
    marks: Marks


class Auditor:
    """The auditor of a running node. Safe to use from several threads.

    Parameters
    ----------
    folder
        Its part of the node's state; made if it is not there.
    journal
        Where its decisions go.

    Raises
    ------
    ConfigError
        ``AUDITOR_UNREADABLE``, ``AUDITOR_BEHIND``: a state is damaged, missing, or not the one the journal knows.
    """

    def __init__(self, folder: Path, journal: Recorder) -> None:
        self._folder = folder
        self._journal = journal
        self._field_size = prime()
        self._lock = threading.Lock()
        self._accepted: Recent[bytes] = Recent(_REMEMBERED)
        self._looked_at: Recent[bytes] = Recent(_REMEMBERED)
        self._states: dict[str, tuple[Released, bytes]] = {}
        self._snapshots: dict[str, _Snapshot] = {}
        path = folder / KEY_FILE
        if not path.exists():
            if any(folder.glob(f"*{SUFFIX}")) or journal.audited():
                raise _behind("its key is gone")
            write_new(path, secrets.token_bytes(32))
        self._key = read_secret(path)
        for state, digest in read_states(folder):
            self._states[state.dataset] = state, digest
        for dataset, digest in journal.audited().items():
            state, own = self._states.get(dataset, (Released(dataset), b""))
            # a crash may have come between the file and the record of it
            if digest not in (own, state.previous):
                raise _behind("a state is not the one that the journal has recorded last")
        if any(state.previous for state, _ in self._states.values() if state.dataset not in journal.audited()):
            raise _behind("the journal knows nothing of a state")

    def violation(self, audit: Audit, limits: Limits) -> Violation | None:
        """See `Audit.violation`. Raises `ConfigError` where the decision cannot be written."""
        name = _named(audit, limits)
        with self._lock:
            if name in self._accepted:
                return None
            verdicts = []
            for cohorts in audit.cohorts():
                verdict = self._judged(cohorts, audit.in_plan, limits)
                if isinstance(verdict, Violation):
                    self._keep_cut_points(audit, limits)
                    return verdict
                verdicts.append(verdict)
            for before, after in verdicts:
                self._keep(before, after, audit.about)
            self._accepted.add(name)
        return None

    def first_violation(self, audit: Audit, limits: Limits) -> Violation | None:
        """See `Audit.first_violation`. Raises `ConfigError` where the cut points cannot be written."""
        name = _named(audit, limits)
        with self._lock:
            if name in self._looked_at:
                return None
            every = audit.cohorts()
            for cohorts in every:
                violation = unplanned.cuts_are_on_grid(cohorts, limits)
                if violation is not None:
                    return violation
            for cohorts in every:
                violation = unplanned.sides_are_of_many(cohorts, limits)
                if violation is not None:
                    self._keep_cut_points(audit, limits)
                    return violation
            self._looked_at.add(name)
        return None

    def _keep_cut_points(self, audit: Audit, limits: Limits) -> None:
        """A cut point counts though the answer was a refusal: that tells something too. Beyond the cap nothing does."""
        for cohorts in audit.cohorts():
            before, _ = self._states.get(cohorts.dataset, (Released(cohorts.dataset), b""))
            known = request_rules.with_cut_points(before, cohorts)
            if not any(len(numbers) > limits.cut_points for numbers in known.cut_points.values()):
                self._keep(before, known, audit.about)

    def _judged(self, cohorts: Cohorts, in_plan: bool, limits: Limits) -> Violation | tuple[Released, Released]:
        before, _ = self._states.get(cohorts.dataset, (Released(cohorts.dataset), b""))
        snapshot = self._placed(cohorts, before)
        released, marks = snapshot.released, snapshot.marks
        contents = released.contents.get(cohorts.dictionary.hex(), Contents()).wide(len(released.persons))
        known = contents.marks[snapshot.person]
        changed = np.zeros(len(released.persons), dtype=np.bool_)
        changed[snapshot.person] = (known != 0) & (known != marks)
        question = Question(
            cohorts,
            released,
            snapshot.person,
            snapshot.place,
            marks,
            contents,
            changed,
            in_plan,
            in_plan and limits.plan_covers_missing,
            self._field_size,
        )
        for rule in (
            request_rules.persons_are_known,
            request_rules.filter_is_simple,
            request_rules.cut_points_are_few,
            request_rules.changes_are_many,
        ):
            violation = rule(question, limits)
            if violation is not None:
                return violation
        apart = cohort_rules.cohorts_are_apart(question, released, limits)
        if not isinstance(apart, Violation):
            apart = cohort_rules.levels_are_apart(question, apart, limits)
        if not isinstance(apart, Violation):
            apart = combined_rules.triples_are_loose(question, apart, limits)
        return apart if isinstance(apart, Violation) else (before, request_rules.remembered(question, apart))

    def _placed(self, cohorts: Cohorts, before: Released) -> _Snapshot:
        """Persons and rows of a snapshot among those of the state; found once, for all requests over it."""
        key = (cohorts.snapshot, cohorts.dictionary)
        kept = self._snapshots.get(before.dataset)
        if kept is None or kept.key != key or kept.released.column_person is not before.column_person:
            released, person, place = before.placed(cohorts.subject, cohorts.names(), self._key)
            kept = _Snapshot(key, released, person, place, cohorts.contents())
            self._snapshots[before.dataset] = kept
        if len(kept.released.column_person) != len(before.column_person):
            return kept
        return replace(kept, released=before)

    def _keep(self, before: Released, after: Released, about: journal_pb2.Record) -> None:
        """The state on the disk, then its digest in the journal; the release comes after both."""
        _, digest = self._states.get(before.dataset, (before, b""))
        if after.is_same(before) and (digest or not after.column_person.size):
            return
        # the last one the journal knows: at the next start this file or its `previous` has to be that one
        after = replace(after, previous=self._journal.audited().get(after.dataset, b""))
        file = after.to_bytes()
        replace_file(self._folder / file_name(after.dataset), file)
        self._states[after.dataset] = after, digest_of(file)
        record = journal_pb2.Record()
        record.CopyFrom(about)
        record.actor, record.event = "node", "AUDITED"
        record.dataset, record.auditor_digest = after.dataset, digest_of(file)
        record.words = f"held against everything released from {after.dataset} before: {_words(before, after)}"
        self._journal.append(record)


def _named(audit: Audit, limits: Limits) -> bytes:
    return hashlib.sha256(audit.name + repr((audit.in_plan, limits)).encode()).digest()


def read_states(folder: Path) -> list[tuple[Released, bytes]]:
    """All states in a folder, and their digests. Raises `ConfigError` ``AUDITOR_UNREADABLE``."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        file = read_secret(path)
        try:
            state = Released.from_bytes(file)
        except Unreadable as error:
            raise ConfigError(
                "AUDITOR_UNREADABLE", f"{path} is damaged; rule: without the auditor nothing leaves", _RESTORE
            ) from error
        found.append((state, digest_of(file)))
    return found


def file_name(dataset: str) -> str:
    """The file of a dataset's state; a name may hold what no file's may."""
    return hashlib.sha256(dataset.encode()).hexdigest()[:32] + SUFFIX


def _words(before: Released, after: Released) -> str:
    """What was decided, without a count of persons."""
    parts = []
    if len(after.cohorts) > len(before.cohorts):
        parts.append("a new cohort, far enough from the others")
    if len(after.left_out) > len(before.left_out):
        parts.append("rows with missing values are left out of it, as the approved plan has it")
    if (after.labels, after.pairs) != (before.labels, before.pairs):
        parts.append("by factors that were not shown for it before")
    if dict(after.cut_points) != dict(before.cut_points):
        parts.append("a new cut point")
    return "; ".join(parts) or "a new snapshot of cohorts known already"


def _behind(why: str) -> ConfigError:
    return ConfigError(
        "AUDITOR_BEHIND", f"the auditor's state is not whole: {why}; rule: without the auditor nothing leaves", _RESTORE
    )
