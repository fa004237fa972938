"""Roster entries: which certificate is accepted for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from isthmus.errors import AuthenticationError
from isthmus_trust.certificates import Peer, Role
from isthmus_trust.identity import IdentityKey, fingerprint
from isthmus_trust.roster import RosterEntry, State

IDENTITY, CUSTODIAN = IdentityKey.generate().public, IdentityKey.generate().public
ENTRY = RosterEntry("nl", "NL", IDENTITY, CUSTODIAN, Role.NODE, "1f", State.ACTIVE)


@pytest.fixture
def peer(now: datetime) -> Peer:
    return Peer(Role.NODE, "nl", "1f", now)


def test_entry_accepts_its_own_certificate(peer: Peer) -> None:
    ENTRY.check_peer(peer)


@pytest.mark.parametrize(
    ("entry", "changes", "code"),
    [
        (ENTRY, {"name": "de"}, "WRONG_PEER"),
        (ENTRY, {"role": Role.ANALYST}, "WRONG_PEER"),
        (ENTRY, {"serial": "20"}, "CERTIFICATE_REPLACED"),
        (replace(ENTRY, state=State.REVOKED), {}, "REVOKED"),
        (replace(ENTRY, state=State.REVOKED), {"serial": "20"}, "REVOKED"),
    ],
)
def test_entry_refuses_any_other(peer: Peer, entry: RosterEntry, changes: dict[str, str], code: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        entry.check_peer(replace(peer, **changes))
    assert caught.value.code == code


def test_entry_shows_fingerprints_for_people() -> None:
    assert ENTRY.identity_fingerprint == fingerprint(IDENTITY)
    assert ENTRY.custodian_fingerprint == fingerprint(CUSTODIAN)
    assert replace(ENTRY, custodian_key=b"", role=Role.ANALYST).custodian_fingerprint == ""


def test_roles_and_states_are_plain_words() -> None:
    assert [str(role) for role in Role] == ["node", "analyst", "coordinator", "invite"]
    assert [str(state) for state in State] == ["active", "revoked"]
