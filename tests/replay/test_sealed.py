"""A sealed round summed again from journals: what was changed in one of them does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest

from isthmus.v1 import sealed_pb2, study_pb2, summary_pb2
from isthmus_client.replay.evidence import Answered, Sealed
from isthmus_client.replay.faults import Fault
from isthmus_client.replay.summed import summed
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_trust.documents import canonical
from isthmus_trust.identity import IdentityKey
from tests.egress.round_kit import LEAVES, NOTES, REVEALS, SHARES, TASK, Countries

Parts = list[Answered]


class Scores:
    """A method with the fields of the kit."""

    name = "scores"
    leaves: ClassVar = LEAVES
    notes: ClassVar = dict.fromkeys(NOTES, "said")


@pytest.fixture
def countries() -> Countries:
    return Countries.begin(Policy.load(DEFAULT_FILE))


def parts_of(countries: Countries) -> Parts:
    """What each journal has of a round."""
    shares, reveals = countries.until(SHARES), countries.until(REVEALS)
    receipts = [one.receipt for one in countries.summed()]
    return [
        Answered(
            bundle=p.node, node=p.node, country=p.country, sequence=k + 1, recorded_at=0, task_digest=TASK,
            task=summary_pb2.Task(), coordinator="", identity="", payload_digest=b"", payload_bytes=0,
            policy_digest=b"", dataset_digest=b"", approvals=(),
            sealed=Sealed(sealed_pb2.SealedShare.FromString(shares[k].body), shares[k], reveals[k], receipts[k]),
        )
        for k, p in enumerate(countries.participants)
    ]  # fmt: skip


def again(countries: Countries, parts: Parts) -> object:
    study = study_pb2.Study(participants=countries.participants)
    return summed(parts, Scores(), study)  # type: ignore[arg-type]


def with_sealed(parts: Parts, place: int, **changes: object) -> Parts:
    sealed = parts[place].sealed
    assert sealed is not None
    made = replace(parts[place], sealed=replace(sealed, **changes))  # type: ignore[arg-type]
    return [made if k == place else part for k, part in enumerate(parts)]


def sealed_of(parts: Parts, place: int) -> Sealed:
    sealed = parts[place].sealed
    assert sealed is not None
    return sealed


def other_share(countries: Countries, parts: Parts) -> Parts:
    """The node's key signed another share afterwards."""
    share = sealed_pb2.SealedShare()
    share.CopyFrom(sealed_of(parts, 1).share)
    share.vector = bytes(len(share.vector))
    signed = countries.keys[1].sign("isthmus/sealed-share/1", canonical(share))
    return with_sealed(parts, 1, share=share, signed=signed)


def other_seed(countries: Countries, parts: Parts) -> Parts:
    kept = sealed_of(parts, 1).reveal
    assert kept is not None
    reveal = sealed_pb2.SealedReveal.FromString(kept.body)
    reveal.seed = bytes(32)
    return with_sealed(parts, 1, reveal=countries.keys[1].sign(kept.context, canonical(reveal)))


def stranger_reveals(countries: Countries, parts: Parts) -> Parts:
    kept = sealed_of(parts, 1).reveal
    assert kept is not None
    return with_sealed(parts, 1, reveal=IdentityKey.generate().sign(kept.context, kept.body))


def nobody_reveals(countries: Countries, parts: Parts) -> Parts:
    return with_sealed(parts, 1, reveal=None)


def other_total(countries: Countries, parts: Parts) -> Parts:
    receipt = sealed_pb2.SealedReceipt()
    kept = sealed_of(parts, 2).receipt
    assert kept is not None
    receipt.CopyFrom(kept)
    receipt.total = bytes(32)
    return with_sealed(parts, 2, receipt=receipt)


def one_agreement_less(countries: Countries, parts: Parts) -> Parts:
    receipt = sealed_pb2.SealedReceipt()
    kept = sealed_of(parts, 2).receipt
    assert kept is not None
    receipt.CopyFrom(kept)
    del receipt.agreements[2]
    return with_sealed(parts, 2, receipt=receipt)


def one_is_open(countries: Countries, parts: Parts) -> Parts:
    return [*parts[:2], replace(parts[2], sealed=None)]


def test_journals_give_the_sum(countries: Countries) -> None:
    cleared = again(countries, parts_of(countries))
    values = {key: value.tolist() for key, value in cleared.values.items()}  # type: ignore[attr-defined]
    assert values == {("persons", ""): [63, 90], ("score", "AGE"): [31.5, -9.75]}


def test_node_that_did_not_see_the_end_has_no_receipt(countries: Countries) -> None:
    assert again(countries, with_sealed(parts_of(countries), 1, receipt=None))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other_share, "NOT_AS_RECORDED"),
        (other_seed, "NOT_AS_RECORDED"),
        (stranger_reveals, "RECORD_FORGED"),
        (nobody_reveals, "NOT_AS_RECORDED"),
        (other_total, "NOT_AS_RECORDED"),
        (one_agreement_less, "RECORD_FORGED"),
        (one_is_open, "NOT_AS_RECORDED"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_was_changed_does_not_hold(
    countries: Countries, change: Callable[[Countries, Parts], Parts], code: str
) -> None:
    with pytest.raises(Fault) as caught:
        again(countries, change(countries, parts_of(countries)))
    assert caught.value.code == code
