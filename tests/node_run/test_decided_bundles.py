"""Bundles with what a custodian unlocked or released pass the verifier; those with what nobody signed do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.v1 import journal_pb2, study_pb2
from isthmus_node import config as node_config
from isthmus_node.custodian.decisions import RELEASE, UNLOCK
from isthmus_node.custodian.locks import lock_digest
from isthmus_node.egress.journal_read import read
from isthmus_node.exporting import export
from isthmus_node.public_keys import write_public
from isthmus_trust.documents import DECISION, canonical
from isthmus_trust.identity import IdentityKey
from isthmus_trust.verifier import Failed, told_by, verify


@pytest.fixture
def bundle(site: Any, tmp_path: Path) -> Callable[[], Path]:
    """The site's journal as its own command writes it out."""
    home = site.home
    home.settings.write_text('name = "nl"\ncountry = "NL"\ncoordinator = "127.0.0.1:1"\n')
    site.identity.save(home.identity_key)
    write_public(home.custodian_public, site.custodian.public)
    write_public(home.coordinator_key, site.coordinator.public)

    def make() -> Path:
        site.close()
        return export(node_config.load(home, env={}), tmp_path / "bundle").path

    return make


def unlock(site: Any) -> None:
    site.decisions.make(site.custodian, lock_digest(site.study.name, "ana"), approved=True, context=UNLOCK)
    site.service.look_again()
    site.service.work_off()


def verdict(folder: Path) -> list[str]:
    return list(verify(folder, told_by([], "", "")))


def test_bundle_of_a_study_that_was_unlocked_passes(site: Any, bundle: Callable[[], Path]) -> None:
    unlock(site)
    records = [entry.record for entry in read(site.home.journal)]
    (record,) = [r for r in records if r.event == "UNLOCKED"]
    assert study_pb2.Signed.FromString(record.document).context == UNLOCK
    assert any("records" in line for line in verdict(bundle()))


def signed(key: IdentityKey, context: str = UNLOCK, node: str = "nl", approved: bool = True) -> bytes:
    decision = study_pb2.Decision(study_digest=lock_digest("TEST", "ana"), node=node, approved=approved, decided_at=1)
    return canonical(key.sign(context, canonical(decision)))


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (lambda site: signed(site.custodian), ""),
        (lambda site: b"", "without the custodian's word"),
        (lambda site: signed(site.identity), "key"),
        (lambda site: signed(IdentityKey.generate()), "key"),
        (lambda site: signed(site.custodian, DECISION), "decision"),
        (lambda site: signed(site.custodian, node="de"), "another node"),
        (lambda site: signed(site.custodian, approved=False), "otherwise"),
    ],
    ids=["the custodian's", "none", "the node's", "a stranger's", "of a study", "of another node", "a refusal"],
)
def test_unlocking_that_the_custodian_did_not_sign_is_named(
    forged: Callable[[Any], bytes], why: str, site: Any, bundle: Callable[[], Path]
) -> None:
    record = journal_pb2.Record(actor="custodian", event="UNLOCKED", document=forged(site))
    site.journal.append(record)
    last = sum(1 for _ in read(site.home.journal))
    folder = bundle()
    if not why:
        assert verdict(folder)
        return
    with pytest.raises(Failed, match=why) as caught:
        verdict(folder)
    assert caught.value.where == f"record {last}"


def test_unlocking_does_not_pass_as_an_approval(site: Any, bundle: Callable[[], Path]) -> None:
    site.journal.append(journal_pb2.Record(actor="custodian", event="APPROVED", document=signed(site.custodian)))
    with pytest.raises(Failed, match="decision"):
        verdict(bundle())


def test_bundle_with_an_answer_that_was_held_and_released_passes(site: Any, bundle: Callable[[], Path]) -> None:
    site.adopt('[release]\noutputs = "ask"\n[purpose.trial_analysis]\n')
    site.ask(site.task())
    (waits,) = site.service._parts.held.everything()
    site.decisions.make(site.custodian, waits.digest, approved=True, context=RELEASE)
    site.service.look_again()
    site.service.work_off()
    events = [entry.record.event for entry in read(site.home.journal)]
    assert {"HELD", "APPROVED", "RELEASED"} <= set(events)
    assert verdict(bundle())
