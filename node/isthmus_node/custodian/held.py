"""Answers that are computed and wait until the custodian has seen their exact numbers: one file each, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.errors import IsthmusError, Refused
from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus_node.custodian.decisions import RELEASE, SERIES, Decisions
from isthmus_node.egress.journal_file import Damaged, pack, read_frame
from isthmus_node.egress.journal_read import entry_of
from isthmus_node.egress.wire import Outbound
from isthmus_trust.documents import SUMMARY, TASK, canonical, digest, open_signed, read_canonical, series_digest
from isthmus_trust.key_files import replace

_SUFFIX = ".held"
# A held answer is written as an entry of a journal is, and is the first of its file.
_PLACE = 1


@dataclass(frozen=True, slots=True)
class Held:
    """One answer that waits. Made again from the same rows it is the same to the byte, so its digest is what counts.

    `digest`: SHA-256 of the bytes; `series`: of what they have in common with later answers of the run.
    """

    task: summary_pb2.Task
    words: str  # what they are, without the numbers
    payload: bytes = field(repr=False)
    digest: bytes
    series: bytes

    @property
    def title(self) -> str:
        """E.g. ``primary run 0123456789ab round 1``."""
        what = self.task.analysis or f"{self.task.spec.method} outside the plan"
        return f"{what} run {self.task.run.hex()[:12]} round {self.task.round}"


class HeldAnswers:
    """The folder of what is held, and what the custodian said of it.

    What is here is for people to look at and is never sent: what leaves is made anew, judged anew, and sent where the
    custodian released these very bytes, or the series that they are of.
    """

    def __init__(self, folder: Path, decisions: Decisions) -> None:
        self._folder = folder
        self._decisions = decisions

    def seen(self, outbound: Outbound) -> bytes:
        """The digest that the custodian released, of the bytes or of their series; empty where there is no decision.

        Raises
        ------
        Refused
            ``RELEASE_DECLINED`` where the custodian saw these bytes and they may not leave.
        IsthmusError
            Where there is a decision that is not this custodian's.
        """
        if not outbound.series:
            return b""
        about_bytes = self._decisions.about(outbound.digest, RELEASE)
        if about_bytes is not None and not about_bytes.decision.approved:
            raise Refused(
                "RELEASE_DECLINED",
                "the site's custodian saw the numbers and does not let them leave",
                "ask the site's custodian",
            )
        if about_bytes is not None:
            return outbound.digest
        about_series = self._decisions.about(outbound.series, SERIES)
        return outbound.series if about_series is not None and about_series.decision.approved else b""

    def put(self, outbound: Outbound, order: study_pb2.Signed) -> None:
        """Show bytes to the custodian, in the place of those that the task had before."""
        kept = journal_pb2.Record(
            sequence=_PLACE,
            event="HELD",
            task=outbound.header.task,
            words=outbound.words,
            payload_digest=outbound.digest,
            payload_bytes=len(outbound.payload),
            document=canonical(order),
        )
        replace(self._path(outbound.header.task), pack(canonical(kept), outbound.payload))

    def take(self, task: bytes) -> None:
        """Nothing of this task waits any more."""
        self._path(task).unlink(missing_ok=True)

    def clear(self) -> None:
        """Nothing waits any more, for all that is known: what is still wanted is told, and made, again."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            path.unlink(missing_ok=True)

    def everything(self) -> Iterator[Held]:
        """What waits, oldest first. A file that is not as it was written is no answer that waits."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}"), key=_changed):
            try:
                yield _read(path)
            except (OSError, Damaged, IsthmusError):
                # the running node took it away in between, or it is damaged: then it is made again
                continue

    def _path(self, task: bytes) -> Path:
        return self._folder / f"{task.hex()}{_SUFFIX}"


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> Held:
    entry = entry_of(read_frame(path, 0, _PLACE), None)
    order = read_canonical(entry.record.document, study_pb2.Signed)
    task = open_signed(order, TASK, summary_pb2.Task)
    # what the custodian decides on follows from the very bytes that are shown
    summary = open_signed(read_canonical(entry.payload, study_pb2.Signed), SUMMARY, summary_pb2.Summary)
    return Held(
        task=task,
        words=entry.record.words,
        payload=entry.payload,
        digest=digest(entry.payload),
        series=series_digest(summary, task.study_digest, task.run),
    )
