"""A policy is in force because the custodian signed it, and no older one comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from isthmus.errors import AuthenticationError, ConfigError, IsthmusError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_node.custodian.adoption import Adoptions, in_journal, record_of
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_read import number_in
from isthmus_node.egress.policy import Policy
from isthmus_trust.documents import POLICY, canonical
from isthmus_trust.identity import IdentityKey

LOOSE = b"[purpose.trial_analysis]\n"
TIGHT = b"[purpose.trial_analysis]\ncell_persons = 20\n"
NOTHING = (0, b"")


def meaning(text: bytes) -> Policy:
    return Policy.read(text.decode())


@pytest.fixture
def custodian() -> IdentityKey:
    return IdentityKey.generate()


@pytest.fixture
def adoptions(tmp_path: Path, custodian: IdentityKey) -> Adoptions:
    return Adoptions(tmp_path / "policies", "nl", custodian.public)


def refused(adoptions: Adoptions, text: bytes, journaled: tuple[int, bytes] = NOTHING) -> str:
    with pytest.raises(IsthmusError) as caught:
        adoptions.check(text, meaning(text), journaled)
    return caught.value.code


def test_signed_policy_is_in_force_under_the_next_number(adoptions: Adoptions, custodian: IdentityKey) -> None:
    then = datetime(2026, 1, 2, tzinfo=UTC)
    first = adoptions.sign(custodian, LOOSE, meaning(LOOSE), reason="joined", now=lambda: then)
    assert adoptions.check(LOOSE, meaning(LOOSE), NOTHING) == first
    assert (first.serial, first.reason, first.adopted_at) == (1, "joined", int(then.timestamp() * 1e9))
    assert adoptions.sign(custodian, TIGHT, meaning(TIGHT)).serial == 2
    assert adoptions.check(TIGHT, meaning(TIGHT), (1, first.digest)).serial == 2
    assert [one.text for one in adoptions.everything()] == [LOOSE, TIGHT]


def test_what_a_policy_means_is_kept_beside_it_under_its_digest(
    adoptions: Adoptions, custodian: IdentityKey, tmp_path: Path
) -> None:
    policy = meaning(TIGHT)
    adoptions.sign(custodian, TIGHT, policy)
    folder = tmp_path / "policies"
    assert (folder / f"{policy.digest.hex()}.toml").read_bytes() == TIGHT
    assert (folder / f"{policy.digest.hex()}.json").read_bytes() == policy.canonical


def test_policy_nobody_signed_is_not_in_force(adoptions: Adoptions) -> None:
    assert refused(adoptions, LOOSE) == "POLICY_NOT_ADOPTED"


def test_policy_changed_by_hand_is_not_in_force(adoptions: Adoptions, custodian: IdentityKey) -> None:
    adoptions.sign(custodian, TIGHT, meaning(TIGHT))
    assert refused(adoptions, LOOSE) == "POLICY_CHANGED"
    # what only reads otherwise is another file all the same
    assert refused(adoptions, TIGHT + b"# looks harmless\n") == "POLICY_CHANGED"


def test_policy_that_means_something_else_now_is_signed_anew(adoptions: Adoptions, custodian: IdentityKey) -> None:
    adoptions.sign(custodian, LOOSE, meaning(TIGHT))
    assert refused(adoptions, LOOSE) == "POLICY_CHANGED"


def test_older_policy_is_not_taken_up_again(adoptions: Adoptions, custodian: IdentityKey, tmp_path: Path) -> None:
    adoptions.sign(custodian, LOOSE, meaning(LOOSE))
    newest = adoptions.sign(custodian, TIGHT, meaning(TIGHT))
    (tmp_path / "policies/2.signed").unlink()
    # a node that forgot what was in force would take it
    assert adoptions.check(LOOSE, meaning(LOOSE), NOTHING).serial == 1
    assert refused(adoptions, LOOSE, (2, newest.digest)) == "POLICY_OLDER"
    # the custodian may go back: under a new number
    assert adoptions.sign(custodian, LOOSE, meaning(LOOSE), above=2).serial == 3
    assert adoptions.check(LOOSE, meaning(LOOSE), (2, newest.digest)).serial == 3


def test_two_policies_under_one_number_are_not_both_taken(
    adoptions: Adoptions, custodian: IdentityKey, tmp_path: Path
) -> None:
    tight = adoptions.sign(custodian, TIGHT, meaning(TIGHT))
    (tmp_path / "policies/1.signed").unlink()
    adoptions.sign(custodian, LOOSE, meaning(LOOSE))
    assert adoptions.check(LOOSE, meaning(LOOSE), NOTHING).serial == 1
    assert refused(adoptions, LOOSE, (1, tight.digest)) == "POLICY_OLDER"


def test_key_that_is_not_the_custodians_signs_nothing(adoptions: Adoptions, tmp_path: Path) -> None:
    stranger = IdentityKey.generate()
    with pytest.raises(AuthenticationError) as caught:
        adoptions.sign(stranger, LOOSE, meaning(LOOSE))
    assert caught.value.code == "NOT_THE_CUSTODIAN"
    assert adoptions.newest() is None
    Adoptions(tmp_path / "policies", "nl", stranger.public).sign(stranger, LOOSE, meaning(LOOSE))
    assert refused(adoptions, LOOSE) == "WRONG_SIGNER"


def spoil_byte(path: Path, custodian: IdentityKey) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"cell_persons = 20", b"cell_persons = 03"))


def spoil_place(path: Path, custodian: IdentityKey) -> None:
    path.rename(path.with_name("7.signed"))


def spoil_form(path: Path, custodian: IdentityKey) -> None:
    path.write_bytes(b"\xff\xff")


def spoil_node(path: Path, custodian: IdentityKey) -> None:
    other = study_pb2.AdoptedPolicy(node="de", serial=1, text=TIGHT, digest=meaning(TIGHT).digest)
    path.write_bytes(canonical(custodian.sign(POLICY, canonical(other))))


def spoil_context(path: Path, custodian: IdentityKey) -> None:
    ours = study_pb2.AdoptedPolicy(node="nl", serial=1, text=TIGHT, digest=meaning(TIGHT).digest)
    path.write_bytes(canonical(custodian.sign("isthmus/decision/1", canonical(ours))))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (spoil_byte, "BAD_SIGNATURE"),
        (spoil_place, "POLICY_UNSIGNED_FILE"),
        (spoil_form, "POLICY_UNSIGNED_FILE"),
        (spoil_node, "POLICY_UNSIGNED_FILE"),
        (spoil_context, "WRONG_CONTEXT"),
    ],
)
def test_signed_policy_that_was_tampered_with_is_not_in_force(
    adoptions: Adoptions, custodian: IdentityKey, tmp_path: Path, spoil: object, code: str
) -> None:
    adoptions.sign(custodian, TIGHT, meaning(TIGHT))
    spoil(tmp_path / "policies/1.signed", custodian)  # type: ignore[operator]
    assert refused(adoptions, TIGHT) == code


def test_custodian_cannot_sign_below_a_floor(adoptions: Adoptions) -> None:
    with pytest.raises(ConfigError) as caught:
        meaning(b"[purpose.trial_analysis]\ncell_persons = 1\n")
    assert caught.value.code == "POLICY_BELOW_FLOOR"


def test_journal_remembers_the_largest_number(adoptions: Adoptions, custodian: IdentityKey, tmp_path: Path) -> None:
    home = tmp_path / "journal"
    assert in_journal(home) == NOTHING
    loose = adoptions.sign(custodian, LOOSE, meaning(LOOSE))
    tight = adoptions.sign(custodian, TIGHT, meaning(TIGHT))
    with Journal.open(home) as journal:
        assert journal.policy == NOTHING
        journal.append(record_of(tight))
        # of an earlier release, whose policies were not signed
        journal.append(journal_pb2.Record(actor="custodian", event="POLICY", policy_digest=loose.digest))
        assert journal.policy == (2, tight.digest)
    with Journal.open(home) as journal:
        assert journal.policy == (2, tight.digest)
    assert in_journal(home) == (2, tight.digest)
    assert number_in(journal_pb2.Record(event="STARTED", document=tight.signed)) == NOTHING


def test_what_is_lost_is_no_meaning_and_what_is_damaged_is_said(
    adoptions: Adoptions, custodian: IdentityKey, tmp_path: Path
) -> None:
    assert adoptions.stamp() == 0
    adopted = adoptions.sign(custodian, TIGHT, meaning(TIGHT))
    assert adoptions.meaning(adopted) == meaning(TIGHT).canonical
    (tmp_path / "policies" / f"{adopted.digest.hex()}.json").unlink()
    assert adoptions.meaning(adopted) is None
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "journal").write_bytes(b"something else\n")
    with pytest.raises(ConfigError) as caught:
        in_journal(tmp_path / "journal")
    assert caught.value.code == "JOURNAL_DAMAGED"
