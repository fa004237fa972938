"""A policy is in force because the custodian signed it: by number, and never one with a smaller number again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.message import DecodeError

from isthmus.errors import ConfigError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_node.custodian.signing import check_key, time_of_change
from isthmus_node.egress.journal_read import number_in, read
from isthmus_node.egress.policy import Policy
from isthmus_trust.documents import POLICY, canonical, digest as digest_of, open_signed
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import replace

_SUFFIX = ".signed"
_LOOK = "see what it would change: isthmus-node policy diff; let the custodian sign it: isthmus-node policy adopt"


@dataclass(frozen=True, slots=True)
class Adopted:
    """A policy that the custodian signed. `text` is the file byte for byte, `serial` counts the site's adoptions."""

    serial: int
    text: bytes
    digest: bytes
    adopted_at: int  # UTC, nanoseconds since 1970
    reason: str
    signed: bytes  # canonical bytes of `Signed`: goes into the journal with the policy


class Adoptions:
    """The policies a custodian adopted, each as signed.

    The folder has ``<serial>.signed`` for each, and beside it what it says: ``<digest>.toml``, the file as it was
    signed, and ``<digest>.json``, what it means, defaults filled in, whose SHA-256 is the digest in the journal.

    Parameters
    ----------
    folder
        Where they are kept.
    node
        Name of the node: a policy adopted for another is none here.
    custodian
        Public key that adoptions must be signed with.
    """

    def __init__(self, folder: Path, node: str, custodian: bytes) -> None:
        self._folder = folder
        self._node = node
        self._custodian = custodian

    def sign(
        self,
        key: IdentityKey,
        text: bytes,
        policy: Policy,
        *,
        above: int = 0,
        reason: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Adopted:
        """Sign a policy and keep it under the next number.

        Parameters
        ----------
        text, policy
            The file, and what it means.
        above
            The largest number that the journal knows: numbers go on from there where files were lost.

        Raises
        ------
        AuthenticationError
            ``NOT_THE_CUSTODIAN`` where the key is not the one that the node enrolled with.
        """
        check_key(key, self._custodian)
        document = study_pb2.AdoptedPolicy(
            node=self._node,
            serial=max([above, *self._serials()]) + 1,
            text=text,
            digest=policy.digest,
            adopted_at=int(now().timestamp() * 1e9),
            reason=reason,
        )
        name = policy.digest.hex()
        replace(self._folder / f"{name}.toml", text)
        replace(self._folder / f"{name}.json", policy.canonical)
        # last: with it the policy counts as adopted
        signed = key.sign(POLICY, canonical(document))
        replace(self._path(document.serial), canonical(signed))
        return _adopted(document, signed)

    def newest(self) -> Adopted | None:
        """The adoption with the largest number, None before the first.

        Raises
        ------
        ConfigError, AuthenticationError
            Where it cannot be read, or is not this custodian's for this node: an older one does not take its place.
        """
        serials = self._serials()
        return self._read(serials[-1]) if serials else None

    def meaning(self, adopted: Adopted) -> bytes | None:
        """What a policy meant when it was signed: canonical form; None where its file is lost or is not that."""
        try:
            found = (self._folder / f"{adopted.digest.hex()}.json").read_bytes()
        except OSError:
            return None
        return found if digest_of(found) == adopted.digest else None

    def everything(self) -> Iterator[Adopted]:
        """All adoptions in order of their numbers; raises as `newest` does."""
        for serial in self._serials():
            yield self._read(serial)

    def check(self, text: bytes, policy: Policy, journaled: tuple[int, bytes]) -> Adopted:
        """The adoption that puts a policy in force now.

        Parameters
        ----------
        text, policy
            policy.toml as it stands, and what it means.
        journaled
            The largest number that was in force according to the journal, and that policy's digest; 0 where none was.

        Raises
        ------
        ConfigError
            ``POLICY_NOT_ADOPTED`` where nobody signed it, ``POLICY_CHANGED`` where it is not what was signed last, or
            no longer means that, ``POLICY_OLDER`` where another one was in force already with this or a larger number.
        AuthenticationError
            Where the newest adoption is not this custodian's.
        """
        newest = self.newest()
        if newest is None:
            raise ConfigError(
                "POLICY_NOT_ADOPTED",
                "the policy is not signed; rule: a policy is in force once the site's custodian signed it",
                _LOOK,
            )
        if newest.text != text:
            raise ConfigError(
                "POLICY_CHANGED",
                f"policy.toml is not what the custodian signed as number {newest.serial}; "
                "rule: a change counts once the custodian signed it",
                f"{_LOOK}; to undo the change: isthmus-node policy restore",
            )
        if newest.digest != policy.digest:
            raise ConfigError(
                "POLICY_CHANGED",
                f"what the custodian signed as number {newest.serial} means something else under this release; "
                "rule: a changed meaning counts once the custodian signed it",
                _LOOK,
            )
        highest, digest = journaled
        if newest.serial < highest or (newest.serial == highest and newest.digest != digest):
            raise ConfigError(
                "POLICY_OLDER",
                f"the policy signed as number {newest.serial} is not the newest: by the journal another was in force "
                f"as number {highest}; rule: an older policy is not taken up again",
                "put the newest back from the backup, or let the custodian sign this one: isthmus-node policy adopt",
            )
        return newest

    def stamp(self) -> int:
        """Changes whenever a policy is adopted: the folder's time of change."""
        return time_of_change(self._folder)

    def _serials(self) -> list[int]:
        found = [path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")]
        return sorted(int(name) for name in found if name.isascii() and name.isdigit())

    def _path(self, serial: int) -> Path:
        return self._folder / f"{serial}{_SUFFIX}"

    def _read(self, serial: int) -> Adopted:
        path = self._path(serial)
        signed = study_pb2.Signed()
        try:
            signed.ParseFromString(path.read_bytes())
        except (OSError, DecodeError) as error:
            raise _misplaced(path) from error
        document = open_signed(signed, POLICY, study_pb2.AdoptedPolicy, self._custodian)
        if document.serial != serial or document.node != self._node:
            raise _misplaced(path)
        return _adopted(document, signed)


def in_journal(folder: Path) -> tuple[int, bytes]:
    """The largest number of a policy that was in force by the journal, and its digest; 0 where there was none."""
    try:
        return max((number_in(entry.record) for entry in read(folder)), default=(0, b""))
    except ConfigError as error:
        if error.code != "JOURNAL_MISSING":
            raise
        return (0, b"")


def record_of(adopted: Adopted) -> journal_pb2.Record:
    """The record that puts a policy in force, for the journal."""
    return journal_pb2.Record(
        actor="custodian",
        event="POLICY",
        policy_digest=adopted.digest,
        words=f"this policy is in force, signed as number {adopted.serial}",
        purpose=adopted.reason,
        document=adopted.signed,
    )


def _adopted(document: study_pb2.AdoptedPolicy, signed: study_pb2.Signed) -> Adopted:
    return Adopted(
        document.serial, document.text, document.digest, document.adopted_at, document.reason, canonical(signed)
    )


def _misplaced(path: Path) -> ConfigError:
    return ConfigError(
        "POLICY_UNSIGNED_FILE",
        f"{path} is no policy that the custodian adopted under that number",
        "restore it from the backup; where there is none, remove it and adopt again: isthmus-node policy adopt",
    )
