"""Whose keys this node knows: the coordinator it joined, participants of the studies it was told of, the roster."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from google.protobuf.message import DecodeError

from isthmus.errors import AuthenticationError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_node.shelf import Shelved
from isthmus_trust.documents import ROSTER, canonical, open_signed
from isthmus_trust.key_files import replace

COORDINATOR = "the coordinator"


class RosterFile:
    """The roster as the coordinator last signed it for this node.

    Parameters
    ----------
    path
        Where it is kept.
    coordinator
        Public key that must have signed it.
    """

    def __init__(self, path: Path, coordinator: bytes) -> None:
        self._path = path
        self._coordinator = coordinator

    def read(self) -> tuple[study_pb2.Signed, journal_pb2.Roster] | None:
        """The roster and its signed form; None where none has come yet, or it is not as the coordinator signed it."""
        signed = study_pb2.Signed()
        try:
            signed.ParseFromString(self._path.read_bytes())
            return signed, open_signed(signed, ROSTER, journal_pb2.Roster, self._coordinator)
        except (OSError, DecodeError, AuthenticationError):
            # it is sent again with the next checkpoint
            return None

    def write(self, signed: study_pb2.Signed) -> None:
        """Keep a roster; `AuthenticationError` where it is not the coordinator's."""
        open_signed(signed, ROSTER, journal_pb2.Roster, self._coordinator)
        replace(self._path, canonical(signed))


def known_keys(coordinator: bytes, studies: Iterable[Shelved], roster: journal_pb2.Roster | None) -> dict[bytes, str]:
    """Names by public key (32 bytes) of everybody whose cosignature counts here."""
    names = {coordinator: COORDINATOR}
    for shelved in studies:
        for participant in shelved.study.participants:
            names.setdefault(participant.identity_key, participant.node)
    for node in roster.nodes if roster is not None else ():
        names.setdefault(node.identity_key, node.name)
    # nobody passes for the coordinator by being called so
    return {key: name for key, name in names.items() if name != COORDINATOR or key == coordinator}
