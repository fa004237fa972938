"""A Merkle tree over a list that only grows: one hash stands for all entries, and short proofs show what belongs to it.

**Source** RFC 9162 (2021), section 2.1 (RFC 6962 has the same hashes): SHA-256; a leaf is hashed behind a zero byte, an
inner node behind a one, so that no inner node can be passed off as an entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

HASH_BYTES = 32
# Root of a tree without entries.
EMPTY = hashlib.sha256(b"").digest()
# A proof has one hash for each level of the tree at most, and trees of 2^63 entries do not exist.
LONGEST_PROOF = 64


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry, 32 bytes (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\0" + entry).digest()


def _inner(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The tree of a growing list. Appending costs one hash on average; a root and a proof as many as the tree is high.

    Every complete subtree's hash is kept, 64 bytes an entry in all, so that roots and proofs of any earlier size cost
    the same as those of the newest.
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        # _levels[h] holds the hashes of the complete subtrees of 2^h entries, from the left, end to end
        self._levels: list[bytearray] = [bytearray()]

    @classmethod
    def of(cls, entries: Iterable[bytes]) -> Self:
        """The tree of a whole list."""
        tree = cls()
        for entry in entries:
            tree.append(entry)
        return tree

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._levels[0]) // HASH_BYTES

    def append(self, entry: bytes) -> None:
        """Add an entry behind the last."""
        made = leaf_hash(entry)
        for height, level in enumerate(self._levels):
            level += made
            if len(level) // HASH_BYTES % 2:
                return
            made = _inner(bytes(level[-2 * HASH_BYTES : -HASH_BYTES]), bytes(level[-HASH_BYTES:]))
            if height + 1 == len(self._levels):
                self._levels.append(bytearray(made))
                return

    def root(self, size: int | None = None) -> bytes:
        """Hash of the first `size` entries, 32 bytes; of all where None. Raises `ValueError` where there are fewer."""
        size = self._checked(size)
        return self._subtree(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Proof that the entry at `index` (from 0) is in the tree of the first `size` entries (RFC 9162, 2.1.3.1)."""
        size = self._checked(size)
        if not 0 <= index < size:
            raise ValueError(f"entry {index} is not in a tree of {size}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        return tuple(reversed(proof))

    def consistency(self, earlier: int, size: int | None = None) -> tuple[bytes, ...]:
        """Proof that the tree of `size` entries begins with that of `earlier`, at least 1 (RFC 9162, 2.1.4.1)."""
        size = self._checked(size)
        if not 0 < earlier <= size:
            raise ValueError(f"no consistency of {earlier} with {size} entries")
        proof: list[bytes] = []
        start, end, whole = 0, size, True
        while earlier != end:
            middle = start + _split(end - start)
            if earlier <= middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._subtree(start, end))
        return tuple(reversed(proof))

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise ValueError(f"no tree of {size} entries: there are {self.size}")
        return size

    def _subtree(self, start: int, end: int) -> bytes:
        """Hash over the entries from `start` to before `end`; `start` is a multiple of the subtree's full width."""
        # complete subtrees from the left, the widest first, are joined from the right
        parts: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            at = (start >> height) * HASH_BYTES
            parts.append(bytes(self._levels[height][at : at + HASH_BYTES]))
            start += 1 << height
        made = parts.pop()
        while parts:
            made = _inner(parts.pop(), made)
        return made


def includes(root: bytes, size: int, index: int, entry: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that `entry` is at `index` in the tree with this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or len(proof) > LONGEST_PROOF:
        return False
    position, last = index, size - 1
    made = leaf_hash(entry)
    for part in proof:
        if last == 0 or len(part) != HASH_BYTES:
            return False
        if position & 1 or position == last:
            made = _inner(part, made)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            made = _inner(made, part)
        position, last = position >> 1, last >> 1
    return last == 0 and made == root


def extends(earlier_root: bytes, earlier: int, root: bytes, size: int, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree of `size` entries begins with the earlier tree (RFC 9162, 2.1.4.2).

    Parameters
    ----------
    earlier_root, earlier
        Root and number of entries of the earlier tree, at least 1 entry.
    root, size
        The same of the later tree.
    proof
        Hashes of 32 bytes; none where both are of one size.
    """
    if not 0 < earlier <= size or len(proof) > LONGEST_PROOF or any(len(part) != HASH_BYTES for part in proof):
        return False
    if earlier == size:
        return not proof and earlier_root == root
    parts = list(proof)
    if earlier & (earlier - 1) == 0:
        # the earlier tree is complete, so its root is itself the first part
        parts.insert(0, earlier_root)
    if not parts:
        return False
    position, last = earlier - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = _inner(part, old), _inner(part, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = _inner(new, part)
        position, last = position >> 1, last >> 1
    return last == 0 and old == earlier_root and new == root


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)
