"""Decisions are the custodian's own, studies are as their authors signed them, and each is noticed once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import AuthenticationError, IsthmusError, Refused, UsageError
from isthmus.v1 import spec_pb2, study_pb2, summary_pb2
from isthmus_node.custodian.decisions import Decisions
from isthmus_node.custodian.reading import purpose_words, spec_words, study_words
from isthmus_node.egress.journal_read import read
from isthmus_node.shelf import Shelf, participant_of
from isthmus_trust.documents import DECISION, REQUEST, STUDY, canonical, digest, request_digest
from isthmus_trust.identity import IdentityKey

NAME = digest(b"a study")


@pytest.fixture
def key() -> IdentityKey:
    return IdentityKey.generate()


@pytest.fixture
def decisions(tmp_path: Path, key: IdentityKey) -> Decisions:
    return Decisions(tmp_path, "nl", key.public)


# --------------------------------------------------------------------------- decisions


def test_decision_is_read_back_as_it_was_made(decisions: Decisions, key: IdentityKey) -> None:
    assert decisions.about(NAME) is None
    decisions.make(key, NAME, approved=True, reason="as agreed")
    made = decisions.about(NAME)
    assert made is not None
    assert (made.decision.approved, made.decision.reason, made.decision.node) == (True, "as agreed", "nl")


def test_later_decision_takes_the_place_of_the_earlier(decisions: Decisions, key: IdentityKey) -> None:
    decisions.make(key, NAME, approved=True)
    assert decisions.about(NAME) is not None
    decisions.make(key, NAME, approved=False)
    made = decisions.about(NAME)
    assert made is not None
    assert not made.decision.approved


def test_decision_about_a_study_is_none_about_a_request(decisions: Decisions, key: IdentityKey) -> None:
    decisions.make(key, NAME, approved=True)
    assert decisions.about(NAME, REQUEST) is None


def test_decision_file_is_its_owners_only(decisions: Decisions, key: IdentityKey, tmp_path: Path) -> None:
    decisions.make(key, NAME, approved=True)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_nobody_else_decides(decisions: Decisions) -> None:
    with pytest.raises(AuthenticationError) as caught:
        decisions.make(IdentityKey.generate(), NAME, approved=True)
    assert caught.value.code == "NOT_THE_CUSTODIAN"
    assert decisions.about(NAME) is None


def forge(how: str, key: IdentityKey) -> bytes:
    fields = {"study_digest": NAME, "node": "nl", "approved": True}
    signer, context = key, DECISION
    if how == "other key":
        signer = IdentityKey.generate()
    elif how == "other node":
        fields["node"] = "de"
    elif how == "other study":
        fields["study_digest"] = digest(b"another")
    elif how == "other kind":
        context = REQUEST
    elif how == "no document":
        return b"\xff\xff"
    signed = signer.sign(context, canonical(study_pb2.Decision(**fields)))
    if how == "changed":
        signed.signature = bytes(64)
    return canonical(signed)


@pytest.mark.parametrize("how", ["other key", "other node", "other study", "other kind", "no document", "changed"])
def test_forged_decision_is_an_error_and_never_an_approval(
    decisions: Decisions, key: IdentityKey, tmp_path: Path, how: str
) -> None:
    (tmp_path / f"{NAME.hex()}.study").write_bytes(forge(how, key))
    with pytest.raises(AuthenticationError):
        decisions.about(NAME)
    ((_, found),) = list(decisions.everything())
    assert isinstance(found, IsthmusError)


def test_forgery_helper_makes_a_good_one_too(decisions: Decisions, key: IdentityKey, tmp_path: Path) -> None:
    (tmp_path / f"{NAME.hex()}.study").write_bytes(forge("not at all", key))
    assert decisions.about(NAME) is not None


def test_request_is_the_same_for_every_round_and_run_and_other_for_another_purpose() -> None:
    task = summary_pb2.Task(study_digest=NAME, run=b"1" * 16, round=1, purpose=study_pb2.TRIAL_ANALYSIS)
    again = summary_pb2.Task(study_digest=NAME, run=b"2" * 16, round=7, purpose=study_pb2.TRIAL_ANALYSIS)
    other = summary_pb2.Task(study_digest=NAME, run=b"1" * 16, round=1, purpose=study_pb2.PUBLICATION)
    assert request_digest(task) == request_digest(again)
    assert request_digest(task) != request_digest(other)


# --------------------------------------------------------------------------- the shelf


def put(shelf: Shelf, **fields: Any) -> bytes:
    study = study_pb2.Study(**fields)
    return shelf.put(IdentityKey.generate().sign(STUDY, canonical(study)))[0].digest


def test_study_is_found_by_name_version_and_digest(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first = put(shelf, name="TRIAL", version=1)
    second = put(shelf, name="TRIAL", version=2)
    again = Shelf(tmp_path)
    assert again.find("TRIAL").digest == second
    assert again.find("TRIAL@1").digest == first
    assert again.find(first.hex()[:12]).digest == first


@pytest.mark.parametrize("text", ["OTHER", "TRIAL@3", "ab"])
def test_unknown_study_is_said_with_those_that_are_known(tmp_path: Path, text: str) -> None:
    shelf = Shelf(tmp_path)
    put(shelf, name="TRIAL", version=1)
    with pytest.raises(UsageError) as caught:
        shelf.find(text)
    assert caught.value.code == "UNKNOWN_STUDY"
    assert "TRIAL" in caught.value.message


def test_stored_study_that_was_changed_is_not_taken(tmp_path: Path) -> None:
    name = put(Shelf(tmp_path), name="TRIAL", version=1)
    path = tmp_path / f"{name.hex()}.pb"
    path.write_bytes(path.read_bytes().replace(b"TRIAL", b"TRIAK"))
    with pytest.raises(AuthenticationError):
        Shelf(tmp_path).get(name)
    assert list(Shelf(tmp_path).everything()) == []


def test_study_under_another_ones_name_is_not_taken(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    name, other = put(shelf, name="TRIAL", version=1), put(shelf, name="OTHER", version=1)
    (tmp_path / f"{name.hex()}.pb").write_bytes((tmp_path / f"{other.hex()}.pb").read_bytes())
    with pytest.raises(AuthenticationError) as caught:
        Shelf(tmp_path).get(name)
    assert caught.value.code == "STUDY_DAMAGED"


@pytest.mark.parametrize(("change", "code"), [("node", "NOT_A_PARTICIPANT"), ("key", "OTHER_KEYS"), ("", "")])
def test_participant_is_known_by_name_and_both_keys(change: str, code: str) -> None:
    study = study_pb2.Study(
        participants=[study_pb2.Participant(node="nl", identity_key=b"i" * 32, custodian_key=b"c" * 32)]
    )
    node, custodian = ("be" if change == "node" else "nl"), (b"x" if change == "key" else b"c") * 32
    if not code:
        assert participant_of(study, node, b"i" * 32, custodian).node == "nl"
        return
    with pytest.raises(Refused) as caught:
        participant_of(study, node, b"i" * 32, custodian)
    assert caught.value.code == code


# --------------------------------------------------------------------------- noticing


def test_decision_and_dataset_are_journaled_once_over_restarts(site: Any) -> None:
    def events() -> list[str]:
        return [entry.record.event for entry in read(site.home.journal)]

    assert (events().count("APPROVED"), events().count("DATA_ADDED")) == (1, 1)
    site.open()
    assert site.noticing.notice().decisions == ()
    assert (events().count("APPROVED"), events().count("DATA_ADDED")) == (1, 1)


def test_decision_is_journaled_with_its_reason_and_actor(site: Any) -> None:
    site.decisions.make(site.custodian, digest(canonical(site.study)), approved=False, reason="data cut too early")
    site.service.look_again()
    site.service.work_off()
    last = [entry.record for entry in read(site.home.journal)][-1]
    assert (last.event, last.actor, last.study, last.purpose) == (
        "DECLINED",
        "custodian",
        "TEST",
        "data cut too early",
    )


def test_forged_decision_is_said_once_and_not_journaled(site: Any, lines: Any) -> None:
    path = site.home.decisions / f"{NAME.hex()}.study"
    path.write_bytes(b"\xff")
    for _ in range(3):
        site.service.look_again()
        site.service.work_off()
    assert [line["file"] for line in lines.named("decision-not-taken")] == [path.name]
    assert "DECLINED" not in [entry.record.event for entry in read(site.home.journal)]


def test_change_with_the_same_time_stamp_is_not_missed(site: Any) -> None:
    newest = max(site.noticing._now_stamp())
    site.noticing._now = lambda: newest
    site.noticing.notice()
    # so fresh that another change could bear the same stamp: it stays worth a look
    assert site.noticing.changed()
    site.noticing._now = lambda: time.time_ns() + 10**9
    site.noticing.notice()
    assert not site.noticing.changed()


# --------------------------------------------------------------------------- in plain words


def test_study_is_told_in_plain_words(site: Any) -> None:
    text = "\n".join(study_words(site.study))
    for words in ("nl (NL), de (DE)", "AVAL", "days", "analysis primary", "CNSR = 0", "gradient", "trial analysis"):
        assert words in text


def test_every_part_of_a_request_is_told() -> None:
    column = spec_pb2.Column(variable="AGE")
    spec = spec_pb2.Spec(
        method="unheard-of",
        dataset="D",
        where=spec_pb2.Predicate(
            all=spec_pb2.Predicates(
                predicates=[
                    spec_pb2.Predicate(missing=spec_pb2.Missing(variable="V", negated=True)),
                    spec_pb2.Predicate(
                        negation=spec_pb2.Predicate(
                            membership=spec_pb2.Membership(variable="S", values=[spec_pb2.Literal(text="F")])
                        )
                    ),
                ]
            )
        ),
        terms=[
            spec_pb2.Term(
                columns=[
                    column,
                    spec_pb2.Column(
                        transform=spec_pb2.Transform(
                            function=spec_pb2.Transform.CENTRE, argument=column, constants=[60.0]
                        )
                    ),
                ]
            )
        ],
        references=[spec_pb2.Reference(variable="S", level="F")],
        options=[
            spec_pb2.Option(name="ties", text="efron"),
            spec_pb2.Option(name="times", numbers=spec_pb2.Numbers(values=[1.0, 2.0])),
        ],
    )
    text = "\n".join(spec_words(spec))
    for words in (
        "not installed here",
        "V is given and not S in ('F')",
        "AGE x centre(AGE, 60)",
        "reference of S: F",
        "ties: efron",
        "times: 1.0, 2.0",
    ):
        assert words in text


def test_request_tells_what_its_settings_let_out_and_no_more() -> None:
    by_country = "\n".join(spec_words(spec_pb2.Spec(method="cox")))
    shared = spec_pb2.Spec(method="cox", options=[spec_pb2.Option(name="stratify_by_country", flag=False)])
    at_risk = "weights and weighted covariates of those at risk at each event time"
    assert at_risk not in by_country
    assert at_risk in "\n".join(spec_words(shared))


def test_unknown_purpose_is_told_as_unknown() -> None:
    assert purpose_words(99) == "an unknown purpose (99)"
    assert purpose_words(study_pb2.CLOSED_COMMITTEE) == "closed committee"
