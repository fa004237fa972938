"""The Merkle tree: published roots and proofs, the RFC's definition as the second opinion, and proofs that lie."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings, strategies as st

from isthmus_trust.merkle import EMPTY, LONGEST_PROOF, Tree, extends, includes, leaf_hash

# Entries, roots and proofs that implementations of RFC 6962 test themselves with.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (index from 0, size) -> proof
INCLUSIONS: dict[tuple[int, int], list[str]] = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
# (earlier size, size) -> proof
CONSISTENCIES: dict[tuple[int, int], list[str]] = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def plain_root(entries: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\1" + plain_root(entries[:k]) + plain_root(entries[k:])).digest()


def proof(texts: list[str]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(text) for text in texts)


def test_published_roots() -> None:
    tree = Tree()
    assert tree.root() == EMPTY
    for size, (entry, root) in enumerate(zip(ENTRIES, ROOTS, strict=True), start=1):
        tree.append(entry)
        assert (tree.size, tree.root().hex()) == (size, root)


@pytest.mark.parametrize(("index", "size"), INCLUSIONS)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    tree = Tree.of(ENTRIES)
    assert tree.inclusion(index, size) == proof(INCLUSIONS[index, size])
    assert includes(bytes.fromhex(ROOTS[size - 1]), size, index, ENTRIES[index], proof(INCLUSIONS[index, size]))


@pytest.mark.parametrize(("earlier", "size"), CONSISTENCIES)
def test_published_consistency_proofs(earlier: int, size: int) -> None:
    tree = Tree.of(ENTRIES)
    roots = [bytes.fromhex(ROOTS[n - 1]) for n in (earlier, size)]
    assert tree.consistency(earlier, size) == proof(CONSISTENCIES[earlier, size])
    assert extends(roots[0], earlier, roots[1], size, proof(CONSISTENCIES[earlier, size]))


lists = st.lists(st.binary(max_size=3), min_size=1, max_size=70)


@given(lists, st.data())
@settings(max_examples=80, deadline=None)
def test_tree_and_proofs_of_any_size_are_as_defined(entries: list[bytes], data: st.DataObject) -> None:
    tree = Tree.of(entries)
    size = data.draw(st.integers(1, len(entries)), label="size")
    earlier = data.draw(st.integers(1, size), label="earlier")
    root, old = plain_root(entries[:size]), plain_root(entries[:earlier])
    assert (tree.root(size), tree.root(earlier)) == (root, old)
    index = data.draw(st.integers(0, size - 1), label="index")
    assert includes(root, size, index, entries[index], tree.inclusion(index, size))
    assert extends(old, earlier, root, size, tree.consistency(earlier, size))


@given(lists, st.data())
@settings(max_examples=80, deadline=None)
def test_proof_of_something_else_shows_nothing(entries: list[bytes], data: st.DataObject) -> None:
    tree = Tree.of(entries)
    size = len(entries)
    index, earlier = (data.draw(st.integers(0, size - 1)) for _ in range(2))
    earlier += 1
    root, old = tree.root(), tree.root(earlier)
    shown, grown = tree.inclusion(index), tree.consistency(earlier)
    assert not includes(root, size, index, entries[index] + b"x", shown)
    assert not includes(leaf_hash(b"x"), size, index, entries[index], shown)
    assert not includes(root, size, size, entries[index], shown)
    assert not includes(root, size, index, entries[index], (*shown, bytes(32)))
    assert not extends(leaf_hash(b"x"), earlier, root, size, grown)
    assert not extends(old, earlier, leaf_hash(b"x"), size, grown)
    assert not extends(old, earlier, root, size, (*grown, bytes(32)))
    for k in range(len(shown)):
        assert not includes(root, size, index, entries[index], (*shown[:k], bytes(32), *shown[k + 1 :]))
        assert not includes(root, size, index, entries[index], (*shown[:k], *shown[k + 1 :]))
    for k in range(len(grown)):
        assert not extends(old, earlier, root, size, (*grown[:k], bytes(32), *grown[k + 1 :]))
        assert not extends(old, earlier, root, size, (*grown[:k], *grown[k + 1 :]))


@given(lists, lists, st.data())
@settings(max_examples=60, deadline=None)
def test_list_that_was_changed_or_cut_cannot_be_shown_to_follow(
    entries: list[bytes], others: list[bytes], data: st.DataObject
) -> None:
    """An earlier list lost its end, and others took its place: no proof of the new tree leads to the old root."""
    kept = data.draw(st.integers(0, len(entries) - 1), label="kept")
    changed = [*entries[:kept], entries[kept] + b"x", *others]
    tree, seen = Tree.of(changed), Tree.of(entries)
    if len(entries) <= len(changed):
        forged = tree.consistency(len(entries))
        assert not extends(seen.root(), len(entries), tree.root(), tree.size, forged)


@pytest.mark.parametrize(
    "call",
    [
        lambda tree: tree.root(9),
        lambda tree: tree.root(-1),
        lambda tree: tree.inclusion(8),
        lambda tree: tree.inclusion(-1),
        lambda tree: tree.consistency(0),
        lambda tree: tree.consistency(9),
        lambda tree: tree.consistency(4, 3),
    ],
)
def test_what_the_tree_does_not_have_is_an_error(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"\d"):
        call(Tree.of(ENTRIES))


def test_nothing_extends_or_holds_what_is_not_there() -> None:
    root = Tree.of(ENTRIES).root()
    assert not extends(EMPTY, 0, root, 8, ())
    assert not extends(root, 8, root, 7, ())
    assert not extends(root, 8, root, 8, (bytes(32),))
    assert not extends(root, 3, root, 8, ())
    assert not extends(root, 4, root, 8, (b"short",))
    assert not includes(root, 8, -1, b"", ())
    assert not includes(root, 8, 0, ENTRIES[0], (b"short",) * 3)
    assert not includes(root, 1 << 70, 0, b"", (bytes(32),) * (LONGEST_PROOF + 1))


def test_appending_costs_the_same_however_long_the_list_is(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = 0
    sha256 = hashlib.sha256

    def counting(content: bytes = b""):  # type: ignore[no-untyped-def]
        nonlocal hashed
        hashed += 1
        return sha256(content)

    tree = Tree.of([b""] * 4096)
    monkeypatch.setattr(hashlib, "sha256", counting)
    for _ in range(4096):
        tree.append(b"")
    assert hashed <= 2 * 4096
    hashed = 0
    tree.root(), tree.consistency(3000, 8191), tree.inclusion(5, 8191)
    assert hashed <= 13 * 13 * 3
