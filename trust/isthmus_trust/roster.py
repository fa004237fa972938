"""The roster: who takes part, by which keys. The coordinator stores it; everyone can read and compare it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from isthmus.errors import AuthenticationError
from isthmus_trust.certificates import Peer, Role
from isthmus_trust.identity import fingerprint


class State(StrEnum):
    """Where an entry stands."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A node or an analyst as enrolled.

    `identity_key` and `custodian_key` are Ed25519 public keys (32 bytes; an analyst has no custodian: empty);
    `serial` is the serial number, in hexadecimal, of the one certificate that is accepted now.
    """

    node: str
    country: str
    identity_key: bytes
    custodian_key: bytes
    role: Role
    serial: str
    state: State

    @property
    def identity_fingerprint(self) -> str:
        return fingerprint(self.identity_key)

    @property
    def custodian_fingerprint(self) -> str:
        """Empty where there is no custodian."""
        return fingerprint(self.custodian_key) if self.custodian_key else ""

    def check_peer(self, peer: Peer) -> None:
        """Raise `AuthenticationError` unless the peer's certificate is the one this entry accepts.

        Codes: ``WRONG_PEER`` (another name or role), ``REVOKED``, ``CERTIFICATE_REPLACED`` (not the newest one).
        """
        if (peer.role, peer.name) != (self.role, self.node):
            raise AuthenticationError(
                "WRONG_PEER",
                f"the certificate is of {peer.role} {peer.name}, the entry of {self.role} {self.node}",
                "use the certificate that was issued to this name",
            )
        if self.state is State.REVOKED:
            raise AuthenticationError(
                "REVOKED",
                f"{self.role} {self.node} was taken off the roster",
                "ask the team that runs the coordinator; a new token is needed to take part again",
            )
        if peer.serial != self.serial:
            raise AuthenticationError(
                "CERTIFICATE_REPLACED",
                f"{self.role} {self.node} has a newer certificate than the one presented; "
                "rule: only the newest one is accepted",
                "restart it so that it uses its newest certificate; if nobody renewed it, revoke it and enrol again",
            )
