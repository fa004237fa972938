"""Numbers that add exactly and can be masked: fixed point with 64 bits before and 64 behind the point, modulo 2^128.

A masked number is uniform whatever the number is, so that a share says nothing without the masks of the others. Sums
carry no rounding: what comes out is the double nearest to the exact sum, as `math.fsum` gives it, for numbers that are
multiples of 2^-64 (doubles of at least 2^-12 in size are; smaller ones are rounded to such a multiple).

Source: K. Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from isthmus.errors import DataError

# (n, 2): the lower and the upper 64 bits of each number.
Ring = NDArray[np.uint64]

WIDTH = 16  # bytes of a number
FRACTION = 64  # bits behind the point
# The sum of all countries' numbers stays below this, far from where the ring would turn over.
LARGEST = 2.0**50


def to_ring(numbers: NDArray[np.float64], parties: int) -> Ring:
    """Numbers (n,) as elements of the ring (n, 2).

    Parameters
    ----------
    parties
        How many such vectors are to be added.

    Raises
    ------
    DataError
        ``NOT_FINITE``, or ``SEALED_RANGE`` where the sum of `parties` such numbers could be 2^50 or more.
    """
    if not np.isfinite(numbers).all():
        raise DataError("NOT_FINITE", "a sum is not finite; rule: sums are finite", "look for infinite values")
    size = np.abs(numbers)
    if size.size and float(size.max()) >= LARGEST / parties:
        raise DataError(
            "SEALED_RANGE",
            f"a sum is too large to be sealed; rule: less than 2^50 over the countries, which are {parties}",
            "scale the variables of this analysis: another unit, or a transform of them",
        )
    whole = np.floor(size)
    # a product with a power of two is exact, and so is this rounding: from 2^53 on a double is a whole number
    fraction = np.rint((size - whole) * 2.0**FRACTION)
    carried = fraction >= 2.0**FRACTION
    made = np.column_stack([np.where(carried, 0.0, fraction).astype(np.uint64), (whole + carried).astype(np.uint64)])
    return np.where((numbers < 0)[:, None], subtracted(np.zeros_like(made), made), made)


def from_ring(ring: Ring) -> NDArray[np.float64]:
    """The double nearest to each element (n, 2), read as a signed number."""
    scale = 1 << FRACTION
    body = to_bytes(ring)
    elements = (int.from_bytes(body[k : k + WIDTH], "little", signed=True) for k in range(0, len(body), WIDTH))
    return np.array([element / scale for element in elements], dtype=np.float64)


def added(one: Ring, other: Ring) -> Ring:
    """Sum, number by number, modulo 2^128."""
    low = one[:, 0] + other[:, 0]
    return np.column_stack([low, one[:, 1] + other[:, 1] + (low < other[:, 0])])


def subtracted(one: Ring, other: Ring) -> Ring:
    """Difference, number by number, modulo 2^128."""
    borrow = one[:, 0] < other[:, 0]
    return np.column_stack([one[:, 0] - other[:, 0], one[:, 1] - other[:, 1] - borrow])


def total(rings: Sequence[Ring]) -> Ring:
    """Sum of one or more vectors of one length."""
    found = rings[0]
    for ring in rings[1:]:
        found = added(found, ring)
    return found


def mask(key: bytes, numbers: int) -> Ring:
    """So many uniform numbers (n, 2) that follow from a key of 32 bytes, which is used for this and nothing else."""
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return from_bytes(stream.update(bytes(WIDTH * numbers)))


def to_bytes(ring: Ring) -> bytes:
    """16 bytes a number, little-endian."""
    return np.ascontiguousarray(ring, dtype="<u8").tobytes()


def from_bytes(body: bytes) -> Ring:
    """As `to_bytes` wrote it; the length must be a multiple of 16."""
    return np.frombuffer(body, dtype="<u8").reshape(-1, 2).astype(np.uint64)
