"""Refusals are counted by study and by who asked; a run of them locks the study until the custodian unlocks it.

What is counted is what may depend on rows: a refusal by the gate, or an error about the data. Each question counts once
while the data stay as they are, and the first questions of an approved plan do not count: they are the custodian's own.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import ConfigError, Refused
from isthmus.untrusted import shown
from isthmus.v1 import journal_pb2, summary_pb2
from isthmus_node.custodian.decisions import UNLOCK, Decisions
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.pace import Pace
from isthmus_trust.documents import canonical
from isthmus_trust.key_files import replace

DAY = 86_400 * 1_000_000_000
# Longest name of a requester that is kept apart.
_NAME = 64


@dataclass(frozen=True, slots=True)
class Lock:
    """A study that is locked for one requester, or (empty) for everybody."""

    study: str
    requester: str
    since: int  # UTC, nanoseconds since 1970

    @property
    def words(self) -> str:
        return f"study {self.study}" + (f", requester {self.requester}" if self.requester else ", everybody")


def lock_digest(study: str, requester: str) -> bytes:
    """What a custodian unlocks, 32 bytes."""
    return hashlib.sha256(b"isthmus/unlock/1\0" + json.dumps([study, requester]).encode()).digest()


def requester_of(task: summary_pb2.Task) -> str:
    """Who asked, as the coordinator says it; the coordinator itself where it does not say."""
    return shown(task.requester, most=_NAME) or "the coordinator"


class Locks:
    """Counts of one site, kept in a file: a restart forgets nothing.

    Parameters
    ----------
    path
        The file; on the disk before a refusal that counts leaves.
    decisions
        Where the custodian's signed unlockings are.
    journal
        Told of each lock; None where only is looked.
    now
        UTC, nanoseconds since 1970.
    """

    def __init__(
        self, path: Path, decisions: Decisions, journal: Journal | None = None, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._path = path
        self._decisions = decisions
        self._journal = journal
        self._now = now
        # (study, requester) -> question -> when it was refused
        self._counted: dict[tuple[str, str], dict[str, int]] = {}
        self._locked: dict[tuple[str, str], int] = {}
        self._read()

    def check(self, study: str, task: summary_pb2.Task) -> None:
        """Raise `Refused` ``LOCKED`` where the study is locked for who asks, or for everybody."""
        if not self._locked:
            return
        requester = requester_of(task)
        for name in (requester, ""):
            since = self._locked.get((study, name))
            if since is not None and since > self._unlocked(study, name):
                raise Refused(
                    "LOCKED",
                    "the site has locked this study after a run of refusals; "
                    "rule: refusals that may depend on rows are counted",
                    f"ask the site's custodian, who can unlock it: isthmus-node unlock {study[:100]}",
                )

    def count(self, study: str, task: summary_pb2.Task, snapshot: bytes, pace: Pace) -> None:
        """Count a refusal that may depend on rows, and lock where it was one too many.

        Raises
        ------
        ConfigError
            ``JOURNAL_NOT_WRITABLE`` or ``CANNOT_WRITE``: then it is not counted, and must not leave.
        """
        if task.analysis and not task.state:
            return
        asked = summary_pb2.Task(spec=task.spec, purpose=task.purpose, state=task.state)
        question = hashlib.sha256(snapshot + canonical(asked)).hexdigest()
        now, changed = self._now(), False
        for name, most in ((requester_of(task), pace.of_requester), ("", pace.of_study)):
            key = study, name
            least = max(now - pace.days * DAY, self._unlocked(study, name))
            kept = {q: at for q, at in self._counted.get(key, {}).items() if at > least}
            changed |= question not in kept
            kept.setdefault(question, now)
            self._counted[key] = kept
            if len(kept) >= most and self._locked.get(key, 0) <= least:
                self._lock(Lock(study, name, now), task, most, pace)
        if changed:
            self._write()

    def locked(self) -> list[Lock]:
        """What is locked now, by study and requester."""
        found = [Lock(*key, since) for key, since in self._locked.items() if since > self._unlocked(*key)]
        return sorted(found, key=lambda lock: (lock.study, lock.requester))

    def _lock(self, lock: Lock, task: summary_pb2.Task, most: int, pace: Pace) -> None:
        self._locked[lock.study, lock.requester] = lock.since
        self._write()
        if self._journal is not None:
            self._journal.append(
                journal_pb2.Record(
                    actor="node",
                    event="LOCKED",
                    study=lock.study,
                    study_digest=task.study_digest,
                    words=f"{lock.words}: {most} refusals in {pace.days} days that may depend on rows",
                )
            )

    def _unlocked(self, study: str, requester: str) -> int:
        """When the custodian last unlocked it, or the whole study; 0: never."""
        made = [self._decisions.about(lock_digest(study, name), UNLOCK) for name in {requester, ""}]
        return max((one.decision.decided_at for one in made if one is not None), default=0)

    def _read(self) -> None:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            self._counted = {(s, r): _numbers(questions) for s, r, questions in kept["counted"]}
            self._locked = {(s, r): int(since) for s, r, since in kept["locked"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                "REFUSALS_UNREADABLE",
                f"{self._path}, in which refusals are counted, cannot be read; rule: without the count nothing leaves",
                "restore it from the backup; or move it away, after the custodian has looked at the journal's refusals",
            ) from error

    def _write(self) -> None:
        kept = {
            "counted": [[*key, questions] for key, questions in self._counted.items() if questions],
            "locked": [[*key, since] for key, since in self._locked.items()],
        }
        replace(self._path, json.dumps(kept).encode())


def _numbers(questions: Mapping[str, object]) -> dict[str, int]:
    return {str(question): int(str(at)) for question, at in questions.items()}
