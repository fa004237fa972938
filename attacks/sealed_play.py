"""All but one of a sealed round's countries, played by the attacker: each adds nothing but masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attacks.evidence import Numbers, answer_of
from attacks.scene import Scene
from isthmus.v1 import sealed_pb2, study_pb2, summary_pb2
from isthmus_methods.codec import spec_from_message
from isthmus_methods.contract import Procedure
from isthmus_methods.registry import find_procedure
from isthmus_methods.sealed_codec import cleared_of
from isthmus_trust import sealed
from isthmus_trust.documents import (
    SEALED_AGREEMENT,
    SEALED_KEYS,
    SEALED_LIST,
    SEALED_REVEAL,
    SEALED_SHARE,
    canonical,
    open_signed,
)
from isthmus_trust.identity import IdentityKey
from isthmus_trust.ring import WIDTH, Ring, added, from_bytes, from_ring, mask, subtracted, to_bytes

_SEED = b"s" * sealed.SEED_BYTES


@dataclass(frozen=True, slots=True)
class Played:
    """A round that the victim's node took to its end."""

    share: sealed_pb2.SealedShare  # the victim's
    opened: Ring  # its share less its own mask, which it revealed: under the masks of pairs still
    total: Mapping[tuple[str, str], Numbers]  # the sum over all: the victim's numbers, as the others added nothing


def identities(scene: Scene, *nodes: str) -> dict[str, IdentityKey]:
    """The keys of countries whose nodes are the attacker's."""
    return {node: IdentityKey.load(scene.network.box.node_home(node) / "pki/identity.key") for node in nodes}


def play(scene: Scene, task: summary_pb2.Task, others: Mapping[str, IdentityKey]) -> Played | None:
    """Take the victim's node through a round; None where it does not go to its end.

    Parameters
    ----------
    others
        The other participants, in the study's order behind the victim's, with the keys that sign their words.
    """
    hostile, node = scene.network.hostile, scene.node
    name = hostile.send(node, task)
    own = hostile.word(name, SEALED_KEYS)
    if own is None:
        payload = hostile.answered(name, 0.0)
        if payload is not None:
            scene.answers.append(answer_of(task.run, task.round, payload))
        return None
    layout = open_signed(own, SEALED_KEYS, sealed_pb2.SealedKeys).layout
    secret = {other: X25519PrivateKey.from_private_bytes(bytes([k] * 32)) for k, other in enumerate(others, start=1)}
    words = [own]
    for other, key in others.items():
        public = secret[other].public_key().public_bytes_raw()
        word = sealed_pb2.SealedKeys(task=name, node=other, key=public, layout=layout)
        words.append(key.sign(SEALED_KEYS, canonical(word)))
    hostile.step(node, name, words)
    agreed = hostile.word(name, SEALED_AGREEMENT)
    if agreed is None:
        return None
    transcript = sealed.transcript_of(name, words)
    publics = [open_signed(word, SEALED_KEYS, sealed_pb2.SealedKeys).key for word in words]
    agreements = [agreed]
    for other, key in others.items():
        agreement = sealed_pb2.SealedAgreement(task=name, node=other, transcript=transcript)
        agreements.append(key.sign(SEALED_AGREEMENT, canonical(agreement)))
    hostile.step(node, name, agreements)
    payload = hostile.answered(name)
    if payload is None:
        return None
    signed = study_pb2.Signed.FromString(payload)
    share = open_signed(signed, SEALED_SHARE, sealed_pb2.SealedShare)
    count, names = len(share.vector) // WIDTH, [node, *others]
    shares, signeds = [share], [signed]
    for place, (other, key) in enumerate(others.items(), start=1):
        masks = sealed.masks_of(secret[other], place, publics, names, transcript, count)
        made = sealed_pb2.SealedShare()
        made.CopyFrom(share)
        made.node, made.country = other, other.upper()
        made.vector = to_bytes(added(masks, mask(_SEED, count)))
        made.commitment = sealed.commitment_of(transcript, other, _SEED)
        shares.append(made)
        signeds.append(key.sign(SEALED_SHARE, canonical(made)))
    hostile.step(node, name, signeds)
    listed = hostile.word(name, SEALED_LIST)
    if listed is None:
        return None
    made_of = sealed.list_of(transcript, signeds)
    lists, reveals = [listed], []
    for other, key in others.items():
        lists.append(key.sign(SEALED_LIST, canonical(sealed_pb2.SealedList(task=name, node=other, list=made_of))))
        opened = sealed_pb2.SealedReveal(task=name, node=other, list=made_of, seed=_SEED)
        reveals.append(key.sign(SEALED_REVEAL, canonical(opened)))
    hostile.step(node, name, lists)
    revealed = hostile.word(name, SEALED_REVEAL)
    if revealed is None:
        return None
    hostile.step(node, name, [revealed, *reveals])
    seeds = [open_signed(word, SEALED_REVEAL, sealed_pb2.SealedReveal) for word in (revealed, *reveals)]
    ring = sealed.unmasked(shares, seeds, transcript)
    cleared = cleared_of(share.layout, from_ring(ring), method_of(scene, task), len(shares))
    values = {key: np.asarray(value) for key, value in cleared.values.items()}
    return Played(share, subtracted(from_bytes(share.vector), mask(seeds[0].seed, count)), values)


def method_of(scene: Scene, task: summary_pb2.Task) -> Procedure:
    spec = spec_from_message(task.spec, scene.study("sealed").message)
    return find_procedure(spec.method, spec.version)


def numbers(ring: Ring, layout: sealed_pb2.SealedLayout, method: Procedure, field: str) -> float:
    """A field of such a ring, summed: whole numbers are not asked to be whole."""
    bare = sealed_pb2.SealedLayout()
    bare.CopyFrom(layout)
    for one in bare.fields:
        one.whole = False
    values = cleared_of(bare, from_ring(ring), method, 1).values
    return float(sum(np.sum(value) for (name, _), value in values.items() if name == field))
