"""What people did since the node last looked: decisions and datasets, put in the journal once each."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2
from isthmus_node.catalogue import Datasets, Registration
from isthmus_node.custodian.decisions import RELEASE, RUN, SERIES, UNLOCK, Decisions, Made
from isthmus_node.egress.journal import Journal
from isthmus_node.ops.logs import Log
from isthmus_node.shelf import Shelf
from isthmus_trust.documents import canonical
from isthmus_trust.key_files import replace

# A change this fresh may be followed by another with the same time stamp: look once more. Nanoseconds.
FRESH = 100_000_000
_Stamp = tuple[int, int]
_ABOUT = {
    RUN: "one run, asked",
    RELEASE: "numbers that were held, bytes",
    SERIES: "numbers that were held and the later ones of their run that are alike, series",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """Decisions that are new or other than before, and names of datasets added, changed or taken away."""

    decisions: tuple[Made, ...] = ()
    datasets: tuple[str, ...] = ()


class Noticing:
    """Looks at the decisions and the register of datasets, and writes what is new into the journal.

    Parameters
    ----------
    path
        Where it keeps what it has noticed, so that nothing is journaled twice.
    now
        UTC, nanoseconds since 1970: of the same clock as the files' times of change.
    """

    def __init__(
        self,
        path: Path,
        decisions: Decisions,
        datasets: Datasets,
        shelf: Shelf,
        journal: Journal,
        log: Log,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = path
        self._decisions = decisions
        self._datasets = datasets
        self._shelf = shelf
        self._journal = journal
        self._log = log
        self._now = now
        self._stamp: _Stamp | None = None
        self._said: set[tuple[str, int]] = set()

    def changed(self) -> bool:
        """Whether it is worth looking: costs two looks at the disk."""
        return self._stamp is None or self._now_stamp() != self._stamp

    def notice(self) -> Changes:
        """Journal what is new and return it.

        Raises
        ------
        ConfigError
            Where the journal cannot be written: then nothing counts as noticed.
        """
        stamp = self._now_stamp()
        before = self._read()
        seen: dict[str, str] = {}
        decisions: list[Made] = []
        for path, made in self._decisions.everything():
            if isinstance(made, IsthmusError):
                self._complain(path, made)
                continue
            seen[f"decision:{path.name}"] = hashlib.sha256(canonical(made.signed)).hexdigest()
            if before.get(f"decision:{path.name}") != seen[f"decision:{path.name}"]:
                self._journal.append(self._record_of_decision(made))
                decisions.append(made)
        datasets = self._notice_datasets(before, seen)
        if seen != before:
            replace(self._path, json.dumps(seen, indent=1).encode())
        self._stamp = stamp if self._now() - max(stamp) > FRESH else None
        return Changes(tuple(decisions), datasets)

    def _notice_datasets(self, before: dict[str, str], seen: dict[str, str]) -> tuple[str, ...]:
        try:
            registrations = self._datasets.list()
        except IsthmusError as error:
            self._complain(self._datasets.path, error)
            seen.update({k: v for k, v in before.items() if k.startswith("dataset:")})
            return ()
        changed = []
        for registration in registrations:
            key = f"dataset:{registration.name}"
            seen[key] = hashlib.sha256(repr(registration).encode()).hexdigest()
            if before.get(key) != seen[key]:
                self._journal.append(_record_of_dataset(registration))
                changed.append(registration.name)
        gone = [key.removeprefix("dataset:") for key in before if key.startswith("dataset:") and key not in seen]
        return (*changed, *gone)

    def _record_of_decision(self, made: Made) -> journal_pb2.Record:
        decision = made.decision
        record = journal_pb2.Record(
            actor="custodian",
            event="APPROVED" if decision.approved else "DECLINED",
            purpose=decision.reason,
            document=canonical(made.signed),
        )
        if made.about_study:
            shelved = self._shelf.get(decision.study_digest)
            record.study = shelved.study.name if shelved else ""
            record.study_digest = decision.study_digest
            record.words = f"study {shelved.title if shelved else 'that has not arrived yet'}"
        elif made.context == UNLOCK:
            record.event = "UNLOCKED"
            record.words = f"refusals are counted anew for {decision.study_digest.hex()}"
        else:
            what = _ABOUT.get(made.context, "analysis outside the plan, request")
            record.words = f"{what} {decision.study_digest.hex()}"
        return record

    def _complain(self, path: Path, error: IsthmusError) -> None:
        try:
            key = (path.name, path.stat().st_mtime_ns)
        except OSError:
            key = (path.name, 0)
        if key not in self._said:
            self._said.add(key)
            self._log.failure("decision-not-taken", error, file=path.name)

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _now_stamp(self) -> _Stamp:
        try:
            datasets = self._datasets.path.stat().st_mtime_ns
        except OSError:
            datasets = 0
        return self._decisions.stamp(), datasets


def _record_of_dataset(registration: Registration) -> journal_pb2.Record:
    words = f"dataset {registration.name} from {registration.source.name}"
    if registration.open_data:
        words += ", marked as open data: its releases have no floors"
    return journal_pb2.Record(actor="custodian", event="DATA_ADDED", words=words)
