"""Countries of one sealed round in one process, each with its gate, its key and its part in the round."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.v1 import study_pb2
from isthmus_methods.contract import CellSupport, Field, Item, Kind, ModelSupport, Summary
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, Outbound, encode
from isthmus_node.sealing.round import Round, Summed
from isthmus_trust.identity import IdentityKey

Words = list[study_pb2.Signed]
LEAVES = {"persons": Field(Kind.COUNT, "persons"), "score": Field(Kind.SCORE, "score")}
NOTES = ("B_NOTE", "A_NOTE")
TASK = hashlib.sha256(b"task").digest()
NAMES = ("nl", "be", "de")
# Steps by what is passed on in them.
KEYS, AGREEMENTS, SHARES, LISTS, REVEALS = range(5)


def clear_of(
    policy: Policy, key: IdentityKey, node: str, counts: Sequence[int], scores: Sequence[float], task: bytes = TASK
) -> Outbound:
    """What would leave in open mode."""
    persons, support = np.array(counts), ModelSupport(60, 2, effective_persons=60.0, leverage=0.1)
    items = (Item("persons", persons, CellSupport(persons)), Item("score", np.array(scores), support, "AGE"))
    held = frozenset(NOTES[:1]) if node == "be" else frozenset()
    summary = Summary(items, held)
    verdict = judge(summary, LEAVES, NOTES, study_pb2.TRIAL_ANALYSIS, policy, False, lambda _: None, sealed=True)
    assert isinstance(verdict, Cleared), verdict
    return encode(verdict, Header(task, node, node.upper(), software="0.1.0"), key)


def signed_of(said: object) -> study_pb2.Signed:
    if isinstance(said, Outbound):
        return study_pb2.Signed.FromString(said.payload)
    assert isinstance(said, study_pb2.Signed)
    return said


@dataclass
class Countries:
    """Everybody's part in a round."""

    keys: list[IdentityKey]
    participants: list[study_pb2.Participant]
    rounds: list[Round]

    @classmethod
    def begin(cls, policy: Policy, task: bytes = TASK, beside: Countries | None = None) -> Countries:
        """`beside`: the same countries, in another round."""
        keys = beside.keys if beside is not None else [IdentityKey.generate() for _ in NAMES]
        participants = [
            study_pb2.Participant(node=name, country=name.upper(), identity_key=key.public)
            for name, key in zip(NAMES, keys, strict=True)
        ]
        clears = [
            clear_of(policy, key, name, [20 + k, 30], [10.5 * k, -3.25], task)
            for k, (name, key) in enumerate(zip(NAMES, keys, strict=True))
        ]
        return cls(keys, participants, [Round(c, NOTES, participants, k) for c, k in zip(clears, keys, strict=True)])

    def say(self, words: Words) -> Words:
        """What all say once each has heard the same words."""
        return [signed_of(one.hear(words)) for one in self.rounds]

    def until(self, step: int) -> Words:
        """The words that are about to be passed on in a step."""
        words = [one.opening for one in self.rounds]
        for _ in range(step):
            words = self.say(words)
        return words

    def summed(self) -> list[Summed]:
        """The round to its end."""
        words = self.until(REVEALS)
        found = [one.hear(words) for one in self.rounds]
        return [one for one in found if isinstance(one, Summed)]


Change = Callable[[Countries, Words], Words]
