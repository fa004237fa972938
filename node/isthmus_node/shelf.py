"""The studies this node was told of, each as its author signed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from isthmus.errors import AuthenticationError, IsthmusError, Refused, UsageError
from isthmus.v1 import study_pb2
from isthmus_trust.bounds import check_study
from isthmus_trust.documents import STUDY, canonical, digest, open_signed
from isthmus_trust.key_files import replace

# A coordinator that sends more is not one of this release, or fills the disk on purpose.
MOST_STUDIES = 2000


@dataclass(frozen=True, slots=True)
class Shelved:
    """A study, checked: its name everywhere else is `digest`, SHA-256 of what was signed."""

    digest: bytes
    study: study_pb2.Study
    author: bytes

    @property
    def title(self) -> str:
        return f"{self.study.name} version {self.study.version}"


class Shelf:
    """Studies by digest, one file each. What is read back is checked again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[bytes, Shelved] = {}

    def put(self, signed: study_pb2.Signed) -> tuple[Shelved, bool]:
        """Check and store a study; whether it is new here. Raises `AuthenticationError` where it is not as signed."""
        study = open_signed(signed, STUDY, study_pb2.Study)
        check_study(study)
        name = digest(signed.body)
        shelved = Shelved(name, study, signed.public_key)
        path = self._folder / f"{name.hex()}.pb"
        new = not path.exists()
        if new:
            if sum(1 for _ in self._folder.glob("*.pb")) >= MOST_STUDIES:
                raise Refused(
                    "TOO_MANY_STUDIES",
                    f"{MOST_STUDIES} studies are here already; rule: no more are taken",
                    "remove files of studies that are over from the studies folder",
                )
            replace(path, canonical(signed))
        self._read[name] = shelved
        return shelved, new

    def get(self, name: bytes) -> Shelved | None:
        """The study of that digest; None where it has not arrived."""
        if name in self._read:
            return self._read[name]
        try:
            raw = (self._folder / f"{name.hex()}.pb").read_bytes()
        except OSError:
            return None
        signed = study_pb2.Signed()
        try:
            signed.ParseFromString(raw)
        except DecodeError as error:
            raise _damaged(name) from error
        study = open_signed(signed, STUDY, study_pb2.Study)
        if digest(signed.body) != name:
            raise _damaged(name)
        self._read[name] = Shelved(name, study, signed.public_key)
        return self._read[name]

    def known(self, name: bytes) -> Shelved | None:
        """As `get`; None too where what is stored is damaged."""
        try:
            return self.get(name)
        except IsthmusError:
            return None

    def everything(self) -> Iterator[Shelved]:
        """All studies that can be read, by name and version."""
        found = []
        for path in sorted(self._folder.glob("*.pb")):
            try:
                shelved = self.get(bytes.fromhex(path.stem))
            except (IsthmusError, ValueError):
                continue
            if shelved is not None:
                found.append(shelved)
        yield from sorted(found, key=lambda s: (s.study.name, s.study.version))

    def find(self, text: str) -> Shelved:
        """A study by its name (newest version), by ``name@version``, or by the beginning of its digest (8 or more).

        Raises
        ------
        UsageError
            ``UNKNOWN_STUDY``, or ``AMBIGUOUS`` where several digests begin so.
        """
        studies = list(self.everything())
        name, _, version = text.partition("@")
        named = [s for s in studies if s.study.name == name and version in ("", str(s.study.version))]
        if named:
            return named[-1]
        begin = text.lower()
        matching = [s for s in studies if len(begin) >= 8 and s.digest.hex().startswith(begin)]
        if len(matching) > 1:
            raise UsageError("AMBIGUOUS", f"several studies have a digest that begins with {text}", "give more of it")
        if not matching:
            known = ", ".join(sorted({s.study.name for s in studies})) or "none"
            raise UsageError(
                "UNKNOWN_STUDY",
                f"no study {text[:80]!r} has arrived here; known: {known}",
                "a study arrives while the node runs: isthmus-node run",
            )
        return matching[0]


def participant_of(study: study_pb2.Study, node: str, identity: bytes, custodian: bytes) -> study_pb2.Participant:
    """This node's own entry in the study. Raises `Refused` where it has none, or one with other keys."""
    for participant in study.participants:
        if participant.node == node:
            if participant.identity_key == identity and participant.custodian_key == custodian:
                return participant
            raise Refused(
                "OTHER_KEYS",
                f"study {study.name} names node {node} with other keys than it has; "
                "rule: participants are known by their keys",
                "have the author make a new version of the study with the keys on the roster",
            )
    raise Refused(
        "NOT_A_PARTICIPANT",
        f"study {study.name} does not name node {node} as a participant",
        "have the author make a new version of the study with this node in it",
    )


def _damaged(name: bytes) -> AuthenticationError:
    return AuthenticationError(
        "STUDY_DAMAGED",
        f"the stored study {name.hex()[:12]} is not what its digest says",
        "remove its file from the studies folder; the coordinator sends it again",
    )
