"""A node that is told anything: mutated orders, studies, withdrawals. It answers or refuses, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from mutating import mutated, mutated_bytes

from isthmus.errors import IsthmusError, LinkError, UsageError
from isthmus.v1 import exchange_pb2, spec_pb2, study_pb2, summary_pb2, values_pb2
from isthmus_methods import codec
from isthmus_methods.summary_codec import state_from_bytes, state_to_bytes
from isthmus_methods.training import state_of
from isthmus_node import shelf as shelf_module
from isthmus_node.custodian.reading import spec_words, study_words
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.words import tables_of_payload
from isthmus_trust import bounds
from isthmus_trust.documents import STUDY, TASK, canonical, digest

Tries = Callable[[int], Iterator[Random]]


def task_of(site: Any) -> summary_pb2.Task:
    return summary_pb2.Task.FromString(site.task().body)


def calm(lines: Any) -> None:
    """Nothing that the node did not foresee has happened."""
    assert lines.named("fault") == []


def test_orders_signed_by_the_coordinator_are_answered_or_refused(site: Any, lines: Any, tries: Tries) -> None:
    whole = task_of(site)
    asked = 0
    for chance in tries(150):
        try:
            body = canonical(mutated(whole, chance))
        except IsthmusError:
            continue
        signed = site.coordinator.sign(TASK, body)
        before = len(site.wire.submitted)
        site.ask(signed)
        asked += 1
        told = len(site.wire.submitted) - before
        waits = digest(body) in site.service._waiting._tasks
        assert told == 1 or waits, whole
    assert asked > 50
    calm(lines)
    site.ask(site.task(run=b"still there 1234"))
    assert isinstance(site.answers()[-1], summary_pb2.Summary)


def test_signed_bytes_of_any_kind_are_not_taken(site: Any, lines: Any, tries: Tries) -> None:
    whole = canonical(site.task())
    for chance in tries(300):
        try:
            signed = study_pb2.Signed.FromString(mutated_bytes(whole, chance))
        except Exception:  # noqa: BLE001 - the port refuses what is no message
            continue
        site.service.task(signed)
        site.service.study(signed)
        site.service.withdrawal(exchange_pb2.Withdrawal(task=signed.body[:40], reason=signed.context[:40]))
        site.service.work_off()
    calm(lines)
    # of all of them only those were answered that still say, signed, what they said
    assert {answer.task for answer in site.answers()} <= {digest(study_pb2.Signed.FromString(whole).body)}


def test_studies_are_taken_or_not_and_can_be_read(site: Any, lines: Any, tries: Tries) -> None:
    for chance in tries(150):
        study = mutated(site.study, chance)
        try:
            body = canonical(study)
        except IsthmusError:
            continue
        site.service.study(site.author.sign(STUDY, body))
        site.service.work_off()
        if (site.home.studies / f"{digest(body).hex()}.pb").exists():
            # what is here can be shown to the custodian
            assert all(isinstance(line, str) for line in study_words(study))
    calm(lines)


def test_requests_are_read_or_refused(site: Any, tries: Tries) -> None:
    whole = site.study.plan[0].spec
    for chance in tries(400):
        spec = mutated(whole, chance)
        list(spec_words(spec))
        try:
            bounds.check_spec(spec)
            codec.spec_from_message(spec, site.study)
        except IsthmusError:
            continue


def test_arrays_are_read_or_refused(tries: Tries) -> None:
    whole = [
        values_pb2.Array(shape=[2, 3], doubles=bytes(48)),
        values_pb2.Array(shape=[4], counts=values_pb2.Counts(values=[1, 2, 3, 4])),
        values_pb2.Array(shape=[0, 3], doubles=b""),
    ]
    for chance in tries(500):
        try:
            codec.array_from_message(mutated(chance.choice(whole), chance))
        except UsageError:
            continue


def test_payloads_of_a_journal_are_shown_or_refused(site: Any, tries: Tries) -> None:
    site.ask(site.task())
    (payload,) = site.wire.submitted
    for chance in tries(200):
        try:
            tables_of_payload(mutated_bytes(payload, chance))
        except IsthmusError:
            continue


def test_policy_files_are_read_or_refused(tries: Tries) -> None:
    from isthmus.errors import ConfigError
    from isthmus_node.egress.policy import DEFAULT_FILE

    whole = DEFAULT_FILE.read_bytes()
    for chance in tries(60):
        text = mutated_bytes(whole, chance).decode("utf-8", "replace")
        try:
            Policy.read(text)
        except ConfigError:
            continue


# --------------------------------------------------------------------------- bounds, before anything is made of it


def deep(levels: int) -> spec_pb2.Predicate:
    predicate = spec_pb2.Predicate()
    inner = predicate
    for _ in range(levels):
        inner = inner.negation
    inner.missing.variable = "AGE"
    return predicate


BOMBS: dict[str, Callable[[study_pb2.Study], object]] = {
    "a million levels": lambda s: s.datasets[0].variables[2].levels.extend([str(k) for k in range(300_000)]),
    "many variables": lambda s: s.datasets[0].variables.extend([s.datasets[0].variables[0]] * 6_000),
    "many datasets": lambda s: s.datasets.extend([s.datasets[0]] * 100),
    "many participants": lambda s: s.participants.extend([s.participants[0]] * 1_000),
    "many analyses": lambda s: s.plan.extend([s.plan[0]] * 3_000),
    "many terms": lambda s: s.plan[0].spec.terms.extend([s.plan[0].spec.terms[0]] * 1_000),
    "many conditions": lambda s: s.plan[0].spec.where.any.predicates.extend([deep(1)] * 9_000),
    "a long name": lambda s: setattr(s, "name", "x" * 10_000),
    "a long text": lambda s: setattr(s, "title", "x" * 1_000_000),
    "a long level": lambda s: s.datasets[0].variables[2].levels.append("x" * 10_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_study_larger_than_any_that_is_meant_is_not_taken(
    site: Any, lines: Any, bomb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_pb2.Study()
    study.CopyFrom(site.study)
    BOMBS[bomb](study)
    signed = site.author.sign(STUDY, canonical(study))

    def taken() -> bool:
        site.service.study(signed)
        site.service.work_off()
        return any(site.home.studies.glob(f"{digest(signed.body).hex()}*"))

    assert not taken()
    assert lines.named("study-not-taken")[-1]["code"] == "TOO_LARGE"
    # off: without the bounds it lies on the node's disk and in its memory
    monkeypatch.setattr(shelf_module, "check_study", lambda _: None)
    assert taken()


def test_tree_deeper_than_any_is_refused_at_every_depth(site: Any) -> None:
    for levels in (39, 41, 60, 90):
        task = task_of(site)
        task.spec.where.CopyFrom(deep(levels))
        site.ask(site.coordinator.sign(TASK, canonical(task)))
    codes = [answer.code for answer in site.answers()]
    assert len(codes) == 4
    with pytest.raises(UsageError, match="deeply"):
        codec.predicate_from_message(deep(60))
    # beyond a hundred levels the parser itself stops
    with pytest.raises(Exception, match=r"."):
        spec_pb2.Predicate.FromString(deep(150).SerializeToString())


def test_flood_of_orders_ends_the_session_and_not_the_node(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus_node import service as service_module

    monkeypatch.setattr(service_module, "_ORDERS_KEPT", 20)
    for number in range(20):
        site.service.task(site.task(run=number.to_bytes(16, "big")))
    with pytest.raises(LinkError, match="orders wait"):
        site.service.task(site.task(run=b"one too many ..."))
    assert site.service._work.qsize() <= 20
    site.service.work_off()
    assert len(site.answers()) == 20
    site.service.task(site.task(run=b"after the flood."))


def test_flood_of_studies_and_of_questions_fills_neither_disk_nor_memory(
    site: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus_node import waiting as waiting_module

    monkeypatch.setattr(shelf_module, "MOST_STUDIES", 5)
    monkeypatch.setattr(waiting_module, "KEPT", 5)
    for version in range(2, 22):
        study = study_pb2.Study()
        study.CopyFrom(site.study)
        study.version = version
        body = canonical(study)
        site.service.study(site.author.sign(STUDY, body))
        site.service.task(site.task(study_digest=digest(body), run=version.to_bytes(16, "big")))
    site.service.work_off()
    assert len(list(site.home.studies.glob("*.pb"))) <= 5
    assert len(site.service._waiting) <= 5
    assert lines.named("study-not-taken")[-1]["code"] == "TOO_MANY_STUDIES"


def test_models_that_come_beside_a_task_are_read_or_refused(tries: Tries) -> None:
    whole = state_to_bytes(state_of({"weights": np.arange(6.0).reshape(2, 3), "bias": np.zeros(2, dtype=np.float32)}))
    for chance in tries(500):
        try:
            state_from_bytes(bytearray(mutated_bytes(whole, chance)))
        except UsageError:
            continue
