"""Checkpoints: what a witness agrees to, what it refuses, and that nobody else's word passes for a node's."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_trust import checkpoints
from isthmus_trust.checkpoints import Verdict, cosign, from_line, judge, read_checkpoint, to_line
from isthmus_trust.documents import CHECKPOINT, COSIGNATURE, SUMMARY, canonical
from isthmus_trust.identity import IdentityKey
from isthmus_trust.merkle import Tree

NODE = IdentityKey.generate()
WITNESS = IdentityKey.generate()
RECORDS = [f"record {k}".encode() for k in range(20)]


def signed(records: list[bytes], at: int = 0) -> study_pb2.Signed:
    return checkpoints.sign_checkpoint(NODE, "nl", len(records), Tree.of(records).root(), at or len(records))


def verdict(seen: list[bytes], new: list[bytes], *, at: int = 0, proof_of: list[bytes] | None = None) -> Verdict:
    """What a witness makes of `new` after `seen`, with the proof that the journal of `proof_of` gives."""
    later = signed(new, at)
    proofs = {}
    if len(seen) < len(new):
        hashes = Tree.of(new if proof_of is None else proof_of).consistency(len(seen))
        proof = checkpoints.read_consistency(checkpoints.sign_consistency(NODE, later, len(seen), hashes), later)
        proofs[proof.from_size] = proof
    return judge(read_checkpoint(signed(seen)), read_checkpoint(later), proofs)


@pytest.mark.parametrize(
    ("new", "at", "expected"),
    [
        (RECORDS[:10], 0, Verdict.AGREED),
        (RECORDS[:11], 0, Verdict.AGREED),
        (RECORDS, 0, Verdict.AGREED),
        # put back from an older copy
        (RECORDS[:9], 50, Verdict.CUT_BACK),
        (RECORDS[:1], 50, Verdict.CUT_BACK),
        # put back, and gone on with: as long as it was, and longer
        ([*RECORDS[:9], b"other"], 50, Verdict.REPLACED),
        ([*RECORDS[:9], b"other", b"another"], 50, Verdict.REPLACED),
        ([b"other", *RECORDS[1:]], 50, Verdict.REPLACED),
        # an old message once more is no accusation
        (RECORDS[:9], 0, Verdict.STALE),
    ],
)
def test_witness_agrees_to_what_follows_only(new: list[bytes], at: int, expected: Verdict) -> None:
    assert verdict(RECORDS[:10], new, at=at) is expected
    assert expected.refused is (expected in (Verdict.CUT_BACK, Verdict.REPLACED))


def test_proof_of_the_true_journal_does_not_help_a_changed_one() -> None:
    assert verdict(RECORDS[:10], [b"other", *RECORDS[1:]], at=50, proof_of=RECORDS) is Verdict.REPLACED


def test_first_checkpoint_is_taken_and_a_later_one_needs_its_proof() -> None:
    assert judge(None, read_checkpoint(signed(RECORDS)), {}) is Verdict.AGREED
    seen, new = read_checkpoint(signed(RECORDS[:3])), read_checkpoint(signed(RECORDS))
    assert judge(seen, new, {}) is Verdict.WANTED


def error_of(call, *arguments: object) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(IsthmusError) as caught:
        call(*arguments)
    return caught.value.code


def test_checkpoint_of_another_key_kind_or_form_is_not_read() -> None:
    assert error_of(read_checkpoint, signed(RECORDS), WITNESS.public) == "WRONG_SIGNER"
    body = signed(RECORDS).body
    assert error_of(read_checkpoint, NODE.sign(SUMMARY, body)) == "WRONG_CONTEXT"
    changed = signed(RECORDS)
    changed.body = signed(RECORDS[:5]).body
    assert error_of(read_checkpoint, changed) == "BAD_SIGNATURE"
    for bad in (
        journal_pb2.Checkpoint(node="nl", tree_size=0, root=bytes(32)),
        journal_pb2.Checkpoint(node="nl", tree_size=1, root=bytes(31)),
        journal_pb2.Checkpoint(node="", tree_size=1, root=bytes(32)),
    ):
        assert error_of(read_checkpoint, NODE.sign(CHECKPOINT, canonical(bad))) == "BAD_CHECKPOINT"


def test_proof_is_the_nodes_own_word_about_this_checkpoint() -> None:
    later, other = signed(RECORDS), signed(RECORDS[:19])
    proof = checkpoints.sign_consistency(NODE, later, 3, Tree.of(RECORDS).consistency(3))
    assert checkpoints.read_consistency(proof, later).from_size == 3
    assert error_of(checkpoints.read_consistency, proof, other) == "WRONG_CHECKPOINT"
    # whoever carries it cannot make a false one and have the node blamed
    forged = checkpoints.sign_consistency(WITNESS, later, 3, (bytes(32),))
    assert error_of(checkpoints.read_consistency, forged, later) == "WRONG_SIGNER"
    for hashes in ((bytes(32),) * 65, (b"short",)):
        bad = checkpoints.sign_consistency(NODE, later, 3, hashes)
        assert error_of(checkpoints.read_consistency, bad, later) == "BAD_PROOF"


def test_node_is_not_its_own_witness() -> None:
    later = signed(RECORDS)
    good = cosign(WITNESS, "be", later, 3, 99)
    assert checkpoints.read_cosignature(good, later).follows == 3
    assert error_of(checkpoints.read_cosignature, cosign(NODE, "be", later, 3, 99), later) == "WRONG_CHECKPOINT"
    assert error_of(checkpoints.read_cosignature, good, signed(RECORDS[:19])) == "WRONG_CHECKPOINT"
    assert error_of(checkpoints.read_cosignature, NODE.sign(CHECKPOINT, good.body), later) == "WRONG_CONTEXT"
    assert good.context == COSIGNATURE


def test_text_form_holds_the_same_signatures(tmp_path: Path) -> None:
    later = signed(RECORDS)
    witnessed = journal_pb2.Witnessed(checkpoint=later, cosignatures=[cosign(WITNESS, "be", later, 3, 99)])
    line = to_line(witnessed)
    assert "\n" not in line
    assert from_line(line) == witnessed
    path = tmp_path / "checkpoint"
    path.write_text(line + "\n", encoding="utf-8")
    assert checkpoints.read_file(path) == witnessed


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda line: line.replace('"tree_size": 20', '"tree_size": 21'), "BAD_CHECKPOINT"),
        (lambda line: line.replace('"node": "nl"', '"node": "be"'), "BAD_CHECKPOINT"),
        (lambda line: line.replace(WITNESS.public.hex(), IdentityKey.generate().public.hex()), "BAD_SIGNATURE"),
        (lambda line: line.replace('"cosignatures"', '"signatures"'), "NOT_A_CHECKPOINT"),
        (lambda line: line[:-5], "NOT_A_CHECKPOINT"),
        (lambda line: "[" * 100_000, "NOT_A_CHECKPOINT"),
        (lambda line: "[]", "NOT_A_CHECKPOINT"),
        (lambda line: "", "NOT_A_CHECKPOINT"),
    ],
)
def test_text_that_was_changed_is_not_taken(change, code: str) -> None:  # type: ignore[no-untyped-def]
    later = signed(RECORDS)
    witnessed = journal_pb2.Witnessed(checkpoint=later, cosignatures=[cosign(WITNESS, "be", later, 3, 99)])
    assert error_of(from_line, change(to_line(witnessed))) == code


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * (checkpoints.MAX_FILE + 2)])
def test_file_that_is_no_checkpoint_says_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert error_of(checkpoints.read_file, path) == "NOT_A_CHECKPOINT"
