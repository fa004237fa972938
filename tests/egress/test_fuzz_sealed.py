"""Words of sealed rounds that are turned, cut or filled with what nobody expects: taken or refused, never a crash."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import pytest
from google.protobuf.message import DecodeError, Message
from mutating import mutated, mutated_bytes

from isthmus.errors import IsthmusError
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_coordinator.analyses.sealed import Gathering, OtherWordError
from isthmus_methods.sealed_codec import cleared_of
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_trust.documents import canonical
from isthmus_trust.sealed import ORDER
from tests.egress.round_kit import LEAVES, NOTES, REVEALS, SHARES, TASK, Countries, Words

Tries = Callable[[int], Iterator[random.Random]]

M = TypeVar("M", bound=Message)
KINDS = (
    sealed_pb2.SealedKeys,
    sealed_pb2.SealedAgreement,
    sealed_pb2.SealedShare,
    sealed_pb2.SealedList,
    sealed_pb2.SealedReveal,
)


class Counted:
    """A method with the fields of the kit."""

    name, version = "counted", 1
    leaves, notes = LEAVES, dict.fromkeys(NOTES, "")


def changed(countries: Countries, words: Words, step: int, chance: random.Random) -> Words | None:
    """One country's word changed: as somebody on the way could, or as that country itself could, who signs again."""
    place = chance.randrange(len(words))
    found = list(words)
    try:
        if chance.random() < 0.5:
            found[place] = study_pb2.Signed.FromString(mutated_bytes(canonical(words[place]), chance))
        else:
            body = canonical(mutated(KINDS[step].FromString(words[place].body), chance))
            found[place] = countries.keys[place].sign(ORDER[step], body)
    except (DecodeError, IsthmusError):
        return None
    return found


@pytest.mark.parametrize("step", range(len(ORDER)), ids=[context.split("/")[1] for context in ORDER])
def test_node_takes_or_refuses_what_the_others_said(step: int, tries: Tries) -> None:
    policy = Policy.load(DEFAULT_FILE)
    countries = Countries.begin(policy)
    refused = 0
    words = countries.until(step)
    for chance in tries(60):
        other = changed(countries, words, step, chance)
        if other is None or other == words:
            continue
        for one in countries.rounds:
            try:
                one.hear(other)
            except IsthmusError:
                refused += 1
            else:
                # what was taken once is what the round goes on with
                countries = Countries.begin(policy)
                words = countries.until(step)
                break
    assert refused > 15
    # refusing changed nothing: the round goes on with what was really said
    assert len([one.hear(words) for one in countries.rounds]) == len(countries.rounds)


def test_coordinator_takes_or_refuses_each_word(tries: Tries) -> None:
    countries = Countries.begin(Policy.load(DEFAULT_FILE))
    gathering = Gathering(TASK, countries.participants)
    refused = 0
    for step in range(len(ORDER)):
        words = countries.until(step)
        for chance in tries(40):
            other = changed(countries, words, step, chance)
            if other is None:
                continue
            fresh = Gathering(TASK, countries.participants)
            for before in range(step):
                for participant, word in zip(countries.participants, countries.until(before), strict=True):
                    fresh.take(participant.node, word)
            for participant, word in zip(countries.participants, other, strict=True):
                try:
                    fresh.take(participant.node, word)
                except (IsthmusError, OtherWordError):
                    refused += 1
        for participant, word in zip(countries.participants, words, strict=True):
            gathering.take(participant.node, word)
    assert refused > 50
    assert gathering.complete
    assert len(gathering.steps()[REVEALS].words) == len(countries.participants)


def test_layouts_of_a_hostile_country_are_read_or_refused(tries: Tries) -> None:
    countries = Countries.begin(Policy.load(DEFAULT_FILE))
    share = sealed_pb2.SealedShare.FromString(countries.until(SHARES)[0].body)
    numbers = countries.summed()[0].numbers
    read = 0
    for chance in tries(300):
        with suppress(IsthmusError):
            cleared_of(mutated(share.layout, chance), numbers, Counted(), 3)  # type: ignore[arg-type]
            read += 1
    assert read
