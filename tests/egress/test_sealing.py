"""A sealed round among nodes that do not believe who passes on their words: forged, left out, repeated, reordered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from isthmus.errors import AuthenticationError, IsthmusError, Refused, WaitingForApproval
from isthmus.v1 import sealed_pb2, study_pb2, summary_pb2
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Outbound
from isthmus_node.sealing import round as sealing
from isthmus_node.sealing.round import Round
from isthmus_trust import sealed
from isthmus_trust.documents import SEALED_KEYS, SEALED_SHARE, canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.ring import added, from_bytes, from_ring, mask, subtracted, to_bytes
from tests.egress.round_kit import (
    AGREEMENTS,
    KEYS,
    LEAVES,
    LISTS,
    NAMES,
    NOTES,
    REVEALS,
    SHARES,
    TASK,
    Change,
    Countries,
    Words,
    clear_of,
    signed_of,
)

KINDS = {
    KEYS: sealed_pb2.SealedKeys,
    AGREEMENTS: sealed_pb2.SealedAgreement,
    SHARES: sealed_pb2.SealedShare,
    LISTS: sealed_pb2.SealedList,
    REVEALS: sealed_pb2.SealedReveal,
}
every_step = pytest.mark.parametrize("step", KINDS, ids=["keys", "agreements", "shares", "lists", "reveals"])


@pytest.fixture
def countries(policy: Policy) -> Countries:
    return Countries.begin(policy)


def refused(part: Round, words: Words) -> str:
    with pytest.raises(IsthmusError) as caught:
        part.hear(words)
    return caught.value.code


# --------------------------------------------------------------------------- what comes out


def test_all_come_to_the_same_sum(countries: Countries) -> None:
    found = countries.summed()
    assert len(found) == 3
    for one in found:
        # counts, scores, and then one number for each note that a country raised
        assert one.numbers.tolist() == [63.0, 90.0, 31.5, -9.75, 0.0, 1.0]
    receipts = [one.receipt for one in found]
    assert receipts[0] == receipts[1] == receipts[2]
    assert [len(part) for part in (receipts[0].agreements, receipts[0].lists, receipts[0].reveals)] == [3, 3, 3]


def test_share_says_nothing_of_its_numbers(countries: Countries) -> None:
    words = countries.until(SHARES)
    numbers = [20.0, 21.0, 22.0, 30.0, 10.5, -3.25]
    clear = [to_bytes(sealing.to_ring(np.array([x]), 3)) for x in numbers]
    for word in words:
        share = sealed_pb2.SealedShare.FromString(word.body)
        assert not any(number in share.vector for number in clear)
    shares = [from_bytes(sealed_pb2.SealedShare.FromString(w.body).vector) for w in words]
    # nor do the shares of two, whatever mask of a single node is known
    two = added(shares[0], shares[1])
    assert not np.any(from_ring(two) == [41.0, 60.0, 10.5, -6.5, 0.0, 1.0])


def test_sum_of_all_shares_is_still_masked_until_each_is_revealed(countries: Countries) -> None:
    shares = [sealed_pb2.SealedShare.FromString(w.body) for w in countries.until(SHARES)]
    masked = from_bytes(shares[0].vector)
    for share in shares[1:]:
        masked = added(masked, from_bytes(share.vector))
    assert not np.any(from_ring(masked) == [63.0, 90.0, 31.5, -9.75, 0.0, 1.0])
    seeds = [part._seed for part in countries.rounds]
    for seed in seeds:
        masked = subtracted(masked, mask(seed, len(masked)))
    assert from_ring(masked).tolist() == [63.0, 90.0, 31.5, -9.75, 0.0, 1.0]


def test_same_words_again_give_the_same_bytes(countries: Countries) -> None:
    words = countries.until(KEYS)
    for _ in range(4):
        once, again = countries.say(words), countries.say(words)
        assert [canonical(w) for w in once] == [canonical(w) for w in again]
        words = once


def test_two_rounds_have_other_keys_and_other_masks(policy: Policy, countries: Countries) -> None:
    other = Countries.begin(policy, digest(b"another task"), beside=countries)
    vectors = [
        [sealed_pb2.SealedShare.FromString(w.body).vector for w in one.until(SHARES)] for one in (countries, other)
    ]
    for first, second, part in zip(*vectors, countries.rounds, strict=True):
        difference = from_ring(subtracted(from_bytes(first), from_bytes(second)))
        assert not np.any(difference == 0.0), part


def test_with_a_key_for_all_rounds_the_difference_of_shares_is_that_of_summaries(
    policy: Policy, countries: Countries, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the guards left out: keys of one use, and masks bound to the round
    key = sealing.new_key()
    monkeypatch.setattr(sealing, "new_key", lambda: key)
    original = sealed.masks_of
    monkeypatch.setattr(sealed, "masks_of", lambda *a: original(*a[:4], bytes(32), a[5]))
    monkeypatch.setattr(sealing.secrets, "token_bytes", lambda n: b"s" * n)
    name, identity = NAMES[0], countries.keys[0]
    vectors = []
    for counts in ([20, 30], [26, 41]):
        part = Round(clear_of(policy, identity, name, counts, [1.0, 2.0]), NOTES, countries.participants, identity)
        part._keys = [k.public_key().public_bytes_raw() for k in (key, key, key)]
        word = sealed_pb2.SealedAgreement(task=TASK, transcript=part._transcript)
        part._heard.append(b"")
        part._said.append(part.opening)
        agreements = []
        for k, p in zip(countries.keys, countries.participants, strict=True):
            word.node = p.node
            agreements.append(k.sign("isthmus/sealed-agreement/1", canonical(word)))
        part._said[-1] = agreements[0]
        share = part.hear(agreements)
        assert isinstance(share, Outbound)
        vectors.append(sealed_pb2.SealedShare.FromString(signed_of(share).body).vector)
    difference = from_ring(subtracted(from_bytes(vectors[1]), from_bytes(vectors[0])))
    assert difference.tolist() == [6.0, 11.0, 0.0, 0.0, 0.0, 0.0]


# --------------------------------------------------------------------------- words that are not as they must be


def signed_by_a_stranger(countries: Countries, words: Words) -> Words:
    return [words[0], IdentityKey.generate().sign(words[1].context, words[1].body), words[2]]


def body_changed(countries: Countries, words: Words) -> Words:
    changed = copy.deepcopy(words[1])
    changed.body = changed.body[:-1] + bytes([changed.body[-1] ^ 1])
    return [words[0], changed, words[2]]


def one_left_out(countries: Countries, words: Words) -> Words:
    return words[:2]


def one_twice(countries: Countries, words: Words) -> Words:
    return [words[0], words[1], words[1]]


def one_more(countries: Countries, words: Words) -> Words:
    return [*words, words[1]]


def two_changed_over(countries: Countries, words: Words) -> Words:
    return [words[0], words[2], words[1]]


def none_at_all(countries: Countries, words: Words) -> Words:
    return []


FORGERIES: dict[Change, frozenset[str]] = {
    signed_by_a_stranger: frozenset({"WRONG_SIGNER"}),
    body_changed: frozenset({"BAD_SIGNATURE"}),
    one_left_out: frozenset({"SEALED_WORDS_MISSING"}),
    one_twice: frozenset({"WRONG_SIGNER"}),
    one_more: frozenset({"SEALED_WORDS_MISSING"}),
    two_changed_over: frozenset({"WRONG_SIGNER"}),
    none_at_all: frozenset({"SEALED_OUT_OF_ORDER"}),
}


@every_step
@pytest.mark.parametrize("change", FORGERIES, ids=lambda change: change.__name__)
def test_forged_words_are_refused_and_the_true_ones_taken_after_them(
    countries: Countries, step: int, change: Change
) -> None:
    words = countries.until(step)
    part = countries.rounds[0]
    assert refused(part, change(countries, words)) in FORGERIES[change]
    assert part.hear(words) is not None


@every_step
def test_word_of_another_round_is_refused(policy: Policy, countries: Countries, step: int) -> None:
    other = Countries.begin(policy, digest(b"the round before"), beside=countries)
    old, words = other.until(step), countries.until(step)
    assert refused(countries.rounds[0], [words[0], old[1], words[2]]) == "SEALED_OTHER_ROUND"


@every_step
def test_word_in_another_name_is_refused(countries: Countries, step: int) -> None:
    words = countries.until(step)
    word = KINDS[step].FromString(words[1].body)
    word.node = "de"
    forged = countries.keys[1].sign(words[1].context, canonical(word))
    assert refused(countries.rounds[0], [words[0], forged, words[2]]) == "SEALED_OTHER_ROUND"


@every_step
def test_second_version_of_a_step_is_refused(countries: Countries, step: int) -> None:
    words = countries.until(step)
    countries.rounds[0].hear(words)
    word = KINDS[step].FromString(words[1].body)
    field = {KEYS: "key", AGREEMENTS: "transcript", SHARES: "vector", LISTS: "list", REVEALS: "seed"}[step]
    setattr(word, field, bytes(len(getattr(word, field))))
    other = countries.keys[1].sign(words[1].context, canonical(word))
    assert refused(countries.rounds[0], [words[0], other, words[2]]) == "SEALED_TWO_VERSIONS"


@pytest.mark.parametrize("step", [KEYS, SHARES, LISTS, REVEALS])
def test_other_word_of_this_node_is_refused(countries: Countries, step: int) -> None:
    # somebody has the node's key as well and speaks for it
    words = countries.until(step)
    word = KINDS[step].FromString(words[0].body)
    if step == KEYS:
        word.key = bytes(range(32))
    elif step == SHARES:
        word.vector = bytes(len(word.vector))
    elif step == LISTS:
        word.list = bytes(32)
    else:
        word.seed = bytes(32)
    mine = countries.keys[0].sign(words[0].context, canonical(word))
    assert refused(countries.rounds[0], [mine, *words[1:]]) == "SEALED_OWN_WORD"


@pytest.mark.parametrize("step", range(1, 5))
def test_step_is_not_left_out(policy: Policy, countries: Countries, step: int) -> None:
    words = countries.until(step)
    fresh = Countries.begin(policy, beside=countries).rounds[0]
    assert refused(fresh, words) == "SEALED_OUT_OF_ORDER"


@pytest.mark.parametrize("step", [AGREEMENTS, LISTS])
def test_all_must_have_seen_the_same(countries: Countries, step: int) -> None:
    words = countries.until(step)
    word = KINDS[step].FromString(words[2].body)
    setattr(word, "transcript" if step == AGREEMENTS else "list", bytes(32))
    other = countries.keys[2].sign(words[2].context, canonical(word))
    assert refused(countries.rounds[0], [*words[:2], other]) == "SEALED_NO_AGREEMENT"


def test_other_seed_than_committed_to_is_refused(countries: Countries) -> None:
    words = countries.until(REVEALS)
    word = sealed_pb2.SealedReveal.FromString(words[1].body)
    word.seed = bytes(32)
    other = countries.keys[1].sign(words[1].context, canonical(word))
    assert refused(countries.rounds[0], [words[0], other, words[2]]) == "SEALED_BAD_SEED"


def test_share_of_another_length_gives_no_sum(countries: Countries) -> None:
    words = countries.until(SHARES)
    share = sealed_pb2.SealedShare.FromString(words[1].body)
    share.vector += bytes(16)
    words[1] = countries.keys[1].sign(SEALED_SHARE, canonical(share))
    parts = [countries.rounds[0], countries.rounds[2]]
    lists = [signed_of(part.hear(words)) for part in parts]
    word = sealed_pb2.SealedList.FromString(lists[0].body)
    word.node = "be"
    lists.insert(1, countries.keys[1].sign(lists[0].context, canonical(word)))
    reveals = [signed_of(part.hear(lists)) for part in parts]
    mine = sealed_pb2.SealedReveal.FromString(reveals[0].body)
    mine.node, mine.seed = "be", countries.rounds[1]._seed
    reveals.insert(1, countries.keys[1].sign(reveals[0].context, canonical(mine)))
    assert refused(parts[0], reveals) == "SEALED_BAD_SHARE"


@pytest.mark.parametrize("key", [b"", bytes(32), b"short"])
def test_key_that_is_none_is_refused(countries: Countries, key: bytes) -> None:
    words = countries.until(KEYS)
    word = sealed_pb2.SealedKeys.FromString(words[1].body)
    word.key = key
    words[1] = countries.keys[1].sign(SEALED_KEYS, canonical(word))
    agreed = signed_of(countries.rounds[0].hear(words))
    others = []
    for k in (1, 2):
        agreement = sealed_pb2.SealedAgreement.FromString(agreed.body)
        agreement.node = NAMES[k]
        others.append(countries.keys[k].sign(agreed.context, canonical(agreement)))
    assert refused(countries.rounds[0], [agreed, *others]) == "SEALED_BAD_KEY"


def test_key_of_another_participant_is_refused(countries: Countries) -> None:
    words = countries.until(KEYS)
    word = sealed_pb2.SealedKeys.FromString(words[1].body)
    word.key = sealed_pb2.SealedKeys.FromString(words[2].body).key
    words[1] = countries.keys[1].sign(SEALED_KEYS, canonical(word))
    assert refused(countries.rounds[0], words) == "SEALED_BAD_KEY"


def test_countries_with_other_shapes_are_not_added(policy: Policy, countries: Countries) -> None:
    clear = clear_of(policy, countries.keys[1], "be", [20, 30, 40], [1.0, 2.0])
    countries.rounds[1] = Round(clear, NOTES, countries.participants, countries.keys[1])
    assert refused(countries.rounds[0], countries.until(KEYS)) == "SEALED_LAYOUTS"


def test_round_too_large_for_a_message_is_refused(policy: Policy, countries: Countries) -> None:
    clear = clear_of(policy, countries.keys[0], "nl", [20] * 90_000, [1.0])
    with pytest.raises(Refused) as caught:
        Round(clear, NOTES, countries.participants, countries.keys[0])
    assert caught.value.code == "SEALED_TOO_LARGE"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(step=st.integers(0, 4), place=st.integers(0, 2), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_bit_passes(policy: Policy, step: int, place: int, at: int, bit: int) -> None:
    countries = Countries.begin(policy)
    words = countries.until(step)
    body = bytearray(words[place].SerializeToString())
    body[at % len(body)] ^= 1 << bit
    try:
        changed = study_pb2.Signed.FromString(bytes(body))
    except Exception:  # noqa: BLE001 - not even a message
        return
    if changed == words[place]:
        return
    with pytest.raises(IsthmusError):
        countries.rounds[(place + 1) % 3].hear([*words[:place], changed, *words[place + 1 :]])


# --------------------------------------------------------------------------- what stays at the site


def test_summary_in_a_share_stays_in_the_outbound_as_a_digest(countries: Countries) -> None:
    words = countries.until(AGREEMENTS)
    part = countries.rounds[0]
    share = part.hear(words)
    assert isinstance(share, Outbound)
    assert share.clear == part.clear.digest == digest(part.clear.payload)
    summary = summary_pb2.Summary.FromString(study_pb2.Signed.FromString(part.clear.payload).body)
    assert [item.field for item in summary.items] == list(LEAVES)
    assert share.event == "RELEASED"
    assert "the sum over 3 countries" in share.words


def test_numbers_are_seen_before_they_are_masked_where_the_policy_says_so(
    answer: Callable[..., Outbound], home: Path
) -> None:
    clear = answer("t", by_hand=True)
    with Journal.open(home) as journal:
        with pytest.raises(WaitingForApproval):
            journal.see(clear, b"", b"")
        assert journal.find_release(clear.header.task) is None
        for seen in (clear.digest, clear.series):
            journal.see(clear, b"", seen)
        journal.see(answer("u"), b"", b"")
        assert journal.unacknowledged() == ()


def test_true_round_is_taken(countries: Countries) -> None:
    # the checks above could fail: without forgery nothing is refused
    with pytest.raises(AuthenticationError):
        countries.rounds[0].hear([])
    assert len(countries.summed()) == 3
