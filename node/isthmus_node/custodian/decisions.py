"""The custodian's decisions, each a signed document: what may run on this country's rows, and what may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.message import DecodeError

from isthmus.errors import AuthenticationError, ConfigError, IsthmusError
from isthmus.v1 import study_pb2

# What decisions are about is read by inspectors too; the rest of the node takes it from here.
from isthmus_node.custodian.signing import check_key, time_of_change
from isthmus_trust.documents import (
    DECISION,
    RELEASE as RELEASE,
    REQUEST as REQUEST,
    RUN as RUN,
    SERIES as SERIES,
    canonical,
    open_signed,
    request_digest as request_digest,
    run_digest as run_digest,
)
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import replace

# What the custodian unlocked after a run of refusals; it stays at the node.
UNLOCK = "isthmus/unlock/1"
_SUFFIX = {
    DECISION: ".study",
    REQUEST: ".request",
    RUN: ".run",
    RELEASE: ".release",
    SERIES: ".series",
    UNLOCK: ".unlock",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A decision and the signed form it was read from."""

    context: str
    decision: study_pb2.Decision
    signed: study_pb2.Signed

    @property
    def about_study(self) -> bool:
        return self.context == DECISION


class Decisions:
    """The decisions of one site, one file each; a later one about the same thing takes the place of the earlier.

    Parameters
    ----------
    folder
        Where the files are.
    node
        Name of the node: a decision made for another is none here.
    custodian
        Public key that decisions must be signed with.
    """

    def __init__(self, folder: Path, node: str, custodian: bytes) -> None:
        self._folder = folder
        self._node = node
        self._custodian = custodian
        # what was read and checked, until the file changes: a decision is looked up for every task
        self._read: dict[Path, tuple[int, Made]] = {}

    def make(
        self,
        key: IdentityKey,
        digest: bytes,
        *,
        approved: bool,
        reason: str = "",
        context: str = DECISION,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> study_pb2.Decision:
        """Sign a decision and store it.

        Parameters
        ----------
        digest
            SHA-256 of the study's body; with the context `REQUEST` or `RUN`, what `request_digest` or
            `run_digest` gave.

        Raises
        ------
        AuthenticationError
            ``NOT_THE_CUSTODIAN`` where the key is not the one that the node enrolled with.
        """
        check_key(key, self._custodian)
        decision = study_pb2.Decision(
            study_digest=digest,
            node=self._node,
            approved=approved,
            decided_at=int(now().timestamp() * 1e9),
            reason=reason,
        )
        signed = key.sign(context, canonical(decision))
        replace(self._path(context, digest), canonical(signed))
        return decision

    def about(self, digest: bytes, context: str = DECISION) -> Made | None:
        """The decision about a study or request, checked; None where there is none.

        Raises
        ------
        IsthmusError
            Where there is a file that is no decision of this custodian about this: the node must not act on it.
        """
        path = self._path(context, digest)
        try:
            changed = path.stat().st_mtime_ns
            kept = self._read.get(path)
            if kept is not None and kept[0] == changed:
                return kept[1]
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError("DECISION_UNREADABLE", f"{path} cannot be read", "see its owner and mode") from error
        made = self._open(context, digest, raw)
        self._read[path] = (changed, made)
        return made

    def everything(self) -> Iterator[tuple[Path, Made | IsthmusError]]:
        """Every file with the decision in it, or with why it is none."""
        for context, suffix in _SUFFIX.items():
            for path in sorted(self._folder.glob(f"*{suffix}")):
                try:
                    made = self.about(bytes.fromhex(path.name.removesuffix(suffix)), context)
                except IsthmusError as error:
                    yield path, error
                except ValueError:
                    yield path, _no_decision()
                else:
                    if made is not None:
                        yield path, made

    def stamp(self) -> int:
        """Changes whenever a decision is made: the folder's time of change."""
        return time_of_change(self._folder)

    def _path(self, context: str, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}{_SUFFIX[context]}"

    def _open(self, context: str, digest: bytes, raw: bytes) -> Made:
        signed = study_pb2.Signed()
        try:
            signed.ParseFromString(raw)
        except DecodeError as error:
            raise _no_decision() from error
        decision = open_signed(signed, context, study_pb2.Decision, self._custodian)
        if decision.study_digest != digest or decision.node != self._node:
            raise AuthenticationError(
                "DECISION_MISPLACED",
                "a decision in the folder is about something else than its file's name says",
                "remove the file and decide again: isthmus-node approve or refuse",
            )
        return Made(context, decision, signed)


def _no_decision() -> AuthenticationError:
    return AuthenticationError(
        "NOT_A_DECISION",
        "a file among the decisions is no decision",
        "remove the file and decide again: isthmus-node approve or refuse",
    )
