"""The journal: what left and what was decided, chained by hash, on the disk before the first byte is on the network.

`release` is the only way to a `Journaled` value, and the link sends nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.errors import WaitingForApproval
from isthmus.v1 import journal_pb2
from isthmus_node.egress.journal_file import MAGIC, Appender, Damaged, Unfinished, head_of, read_frame
from isthmus_node.egress.journal_read import FILE, NO_RECORD, Entry, damaged, entries, entry_of, number_in
from isthmus_node.egress.thresholds import PURPOSES
from isthmus_node.egress.wire import Outbound
from isthmus_trust.documents import canonical, digest
from isthmus_trust.merkle import Tree

_RELEASES = ("RELEASED", "REFUSED")
# What others may append. Releases and acknowledgements have their own ways in.
EVENTS = (
    *("APPROVED", "DECLINED", "DATA_ADDED", "POLICY", "STARTED", "AUDITED", "LOCKED", "UNLOCKED", "DEBITED"),
    *("UNSEALED", "SUMMED"),
)
ACTORS = ("node", "custodian", "coordinator")
_SEAL = object()


@dataclass(frozen=True, slots=True)
class Journaled:
    """Bytes that are in the journal, so that they may be sent."""

    payload: bytes = field(repr=False)
    digest: bytes  # SHA-256 of the payload, 32 bytes
    task: bytes  # SHA-256 of the task they answer
    sequence: int
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only the journal says that bytes are in it")


class Journal:
    """The journal of a running node, its only writer. Safe to use from several threads."""

    def __init__(self, path: Path, appender: Appender, now: Callable[[], int]) -> None:
        """Use `open`."""
        self._path = path
        self._appender = appender
        self._now = now
        self._lock = threading.Lock()
        self._sequence = 0
        self._previous = NO_RECORD
        self._releases: dict[bytes, tuple[int, int]] = {}  # task -> sequence, offset of its entry
        self._held: set[bytes] = set()  # digests of bytes that waited for the custodian
        self._audited: dict[str, bytes] = {}  # dataset -> digest of the auditor's state
        self._answers: Counter[bytes] = Counter()  # by run, summaries that left
        self._debits: list[journal_pb2.Record] = []  # what noise has spent
        self._waiting: dict[bytes, None] = {}  # tasks not acknowledged, in order
        self._tree = Tree()
        self.policy = (0, b"")  # the largest number of a policy that was in force, and its digest

    @classmethod
    def open(cls, directory: Path, now: Callable[[], int] = time.time_ns) -> Self:
        """Open for writing, checking every byte; an entry that a crash left unfinished is cut off, and that recorded.

        Parameters
        ----------
        directory
            Where the journal is kept; made if it is not there.
        now
            The time, UTC, in nanoseconds since 1970.

        Raises
        ------
        ConfigError
            ``JOURNAL_IN_USE``, ``JOURNAL_DAMAGED`` naming the record, ``JOURNAL_UNREADABLE``, ``JOURNAL_NOT_WRITABLE``.
        """
        path = directory / FILE
        appender = Appender.open(path)
        try:
            journal = cls(path, appender, now)
            journal._replay()
        except BaseException:
            appender.close()
            raise
        return journal

    def release(self, outbound: Outbound, order: bytes = b"", seen: bytes = b"") -> Journaled:
        """Put bytes in the journal with the signed task they answer; on the disk when this returns.

        Where the task has an answer already, that one is returned and nothing is written: a task has one answer.

        Parameters
        ----------
        seen
            What the custodian saw and released: the digest of these bytes, or of their series.

        Raises
        ------
        WaitingForApproval
            ``OUTPUT_HELD`` where a person has to see them first and has not; that they wait is then in the journal.
        ConfigError
            ``JOURNAL_NOT_WRITABLE``; the journal is as before, and nothing may be sent.
        """
        with self._lock:
            if outbound.header.task in self._releases:
                return self._journaled(outbound.header.task)
            record = self._seen(outbound, order, seen)
            entry = self._append(record, outbound.payload)
            return Journaled(entry.payload, outbound.digest, record.task, entry.record.sequence, _SEAL)

    def see(self, outbound: Outbound, order: bytes, seen: bytes) -> None:
        """As `release`, and nothing leaves: in a sealed study a person sees the numbers before they are masked."""
        with self._lock:
            self._seen(outbound, order, seen)

    def _seen(self, outbound: Outbound, order: bytes, seen: bytes) -> journal_pb2.Record:
        """The record of a release; where a person has yet to see the bytes, that is noted and raised."""
        header = outbound.header
        held = bool(outbound.series) and seen not in (outbound.digest, outbound.series)
        record = journal_pb2.Record(
            actor="node",
            event="HELD" if held else outbound.event,
            study=header.study,
            study_digest=header.study_digest,
            analysis=header.analysis,
            run=header.run,
            round=header.round,
            task=header.task,
            policy_digest=outbound.policy_digest,
            dataset_digest=header.dataset_digest,
            words=outbound.words,
            purpose=next((name for name, number in PURPOSES.items() if number == outbound.purpose), ""),
            document=order,
            clear_digest=outbound.clear,
        )
        if held:
            self._hold(record, outbound.digest)
            raise WaitingForApproval(
                "OUTPUT_HELD",
                "the answer is computed; rule: a person at the site sees the numbers before they leave",
                "wait for the custodian: isthmus-node release show",
            )
        return record

    def _hold(self, record: journal_pb2.Record, waits: bytes) -> None:
        """Note once that bytes wait for the custodian. The bytes are not in the journal: they may never leave."""
        if waits not in self._held:
            record.payload_digest = waits
            self._append(record, b"")

    def append(self, record: journal_pb2.Record, durable: bool = True) -> Entry:
        """Put a decision or an event in the journal; on the disk when this returns, or soon where that is enough.

        The caller fills in event, actor, words and what it is about; the journal the place in the chain and the time.
        Raises `ConfigError` ``JOURNAL_NOT_WRITABLE``.
        """
        if record.event not in EVENTS or record.actor not in ACTORS:
            raise ValueError(f"no event or actor of the journal: {record.event!r} by {record.actor!r}")
        with self._lock:
            return self._append(record, b"", durable)

    def acknowledged(self, task: bytes) -> None:
        """Note that the coordinator has the answer. Not waited for: lost in a crash, the answer is sent once more."""
        with self._lock:
            if task in self._waiting:
                self._append(journal_pb2.Record(actor="coordinator", event="ACKNOWLEDGED", task=task), b"", False)

    def find_release(self, task: bytes) -> Journaled | None:
        """The answer this task got, None where it has none: asked again, a node sends the same bytes."""
        with self._lock:
            return self._journaled(task) if task in self._releases else None

    def unacknowledged(self) -> tuple[Journaled, ...]:
        """Answers that the coordinator may not have, oldest first."""
        with self._lock:
            return tuple(self._journaled(task) for task in self._waiting)

    def head(self) -> tuple[int, bytes]:
        """Number of records and root of their tree, all of them on the disk: what was said of them stays true."""
        with self._lock:
            self._appender.sync()
            return self._tree.size, self._tree.root()

    @property
    def records(self) -> int:
        """Number of records, on the disk or on their way there."""
        return self._sequence

    def root(self, size: int) -> bytes:
        """Root of the tree of the first `size` records."""
        with self._lock:
            return self._tree.root(size)

    def consistency(self, earlier: int, size: int) -> tuple[bytes, ...]:
        """Proof that the journal of `size` records begins with that of `earlier`. `ValueError` where it has fewer."""
        with self._lock:
            return self._tree.consistency(earlier, size)

    def audited(self) -> dict[str, bytes]:
        """For each dataset the digest of the auditor's state that was recorded last."""
        with self._lock:
            return dict(self._audited)

    def answers(self, run: bytes) -> int:
        """How many summaries left in a run."""
        return self._answers[run]

    def debits(self) -> tuple[journal_pb2.Record, ...]:
        """What noise has spent, in the order in which it was written down."""
        with self._lock:
            return tuple(self._debits)

    def close(self) -> None:
        """Give the journal up; another process may then open it."""
        self._appender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _replay(self) -> None:
        """Read the whole journal, and end it behind its last whole entry."""
        torn: Unfinished | None = None
        for entry in entries(self._path):
            if isinstance(entry, Unfinished):
                torn = entry
            else:
                self._remember(entry)
        if torn is not None:
            self._appender.cut(torn.start)
        if self._appender.end == 0:
            self._appender.append(MAGIC)
        if torn is not None and torn.size > 0:
            words = f"an entry that a crash had left unfinished was cut off: {torn.size} bytes"
            self._append(journal_pb2.Record(actor="node", event="STARTED", words=words), b"")

    def _append(self, record: journal_pb2.Record, payload: bytes, durable: bool = True) -> Entry:
        whole = journal_pb2.Record()
        whole.CopyFrom(record)
        whole.sequence = self._sequence + 1
        whole.previous = self._previous
        whole.recorded_at = self._now()
        whole.payload_bytes = len(payload)
        if payload:
            whole.payload_digest = digest(payload)
        written = canonical(whole)
        entry = Entry(whole, written, payload, digest(written), self._appender.end)
        self._appender.append(head_of(written, payload) + written, payload, durable)
        self._remember(entry)
        return entry

    def _remember(self, entry: Entry) -> None:
        record = entry.record
        self._tree.append(entry.written)
        self._sequence, self._previous = record.sequence, entry.digest
        if record.event in _RELEASES:
            self._releases[record.task] = (record.sequence, entry.start)
            self._waiting[record.task] = None
            self._answers[record.run] += record.event == "RELEASED"
        elif record.event == "HELD":
            self._held.add(record.payload_digest)
        elif record.event == "POLICY":
            self.policy = max(self.policy, number_in(record))
        elif record.event == "AUDITED":
            self._audited[record.dataset] = record.auditor_digest
        elif record.event == "DEBITED":
            self._debits.append(record)
        elif record.event == "ACKNOWLEDGED":
            self._waiting.pop(record.task, None)

    def _journaled(self, task: bytes) -> Journaled:
        """The answer as it stands in the file, checked again on its way out."""
        sequence, start = self._releases[task]
        try:
            entry = entry_of(read_frame(self._path, start, sequence), None)
        except Damaged as damage:
            raise damaged(self._path, damage) from damage
        return Journaled(entry.payload, entry.record.payload_digest, task, sequence, _SEAL)
