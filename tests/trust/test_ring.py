"""Fixed point in the ring: exact sums, masks that vanish, and nothing in a share without them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from isthmus.errors import DataError
from isthmus_trust.ring import LARGEST, added, from_bytes, from_ring, mask, subtracted, to_bytes, to_ring, total

# Multiples of 2^-64 that are doubles: each is exact in the ring.
EXACT = st.builds(lambda whole, scale: math.ldexp(whole, -scale), st.integers(-(2**52), 2**52), st.integers(8, 64))
NUMBERS = st.floats(-(2.0**40), 2.0**40)
BITS = st.integers(0, 2**64 - 1)


@given(st.lists(EXACT.filter(lambda x: abs(x) < LARGEST / 64), min_size=1, max_size=20))
def test_sum_is_that_of_fsum(values: list[float]) -> None:
    rings = [to_ring(np.array([value]), len(values)) for value in values]
    assert from_ring(total(rings)).tolist() == [math.fsum(values)]


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_any_number_is_rounded_to_a_multiple_of_the_least(values: list[float]) -> None:
    back = from_ring(to_ring(np.array(values), 3))
    assert all(abs(one - other) <= max(2.0**-65, 0.0) for one, other in zip(back, values, strict=True))


@given(st.lists(st.integers(-(2**44), 2**44), min_size=1, max_size=20))
def test_counts_come_back_whole(counts: list[int]) -> None:
    rings = [to_ring(np.array([count], dtype=np.float64), len(counts)) for count in counts]
    assert from_ring(total(rings)).tolist() == [float(sum(counts))]


@given(st.lists(st.tuples(BITS, BITS), min_size=1, max_size=5), st.lists(st.tuples(BITS, BITS), min_size=5, max_size=5))
def test_ring_is_whole_numbers_of_128_bits(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = (np.array(x, dtype=np.uint64) for x in (one, other[: len(one)]))

    def whole(ring: np.ndarray) -> list[int]:
        return [int(low) + (int(high) << 64) for low, high in ring]

    assert whole(added(a, b)) == [(x + y) % 2**128 for x, y in zip(whole(a), whole(b), strict=True)]
    assert whole(subtracted(a, b)) == [(x - y) % 2**128 for x, y in zip(whole(a), whole(b), strict=True)]
    assert from_bytes(to_bytes(a)).tolist() == a.tolist()


@given(st.binary(min_size=32, max_size=32), st.lists(NUMBERS, min_size=1, max_size=8))
def test_mask_vanishes_where_it_is_taken_off(key: bytes, values: list[float]) -> None:
    numbers = to_ring(np.array(values), 3)
    masked = added(numbers, mask(key, len(values)))
    assert masked.tolist() != numbers.tolist()
    assert subtracted(masked, mask(key, len(values))).tolist() == numbers.tolist()


def test_mask_is_uniform_and_follows_from_its_key() -> None:
    drawn = mask(b"k" * 32, 20_000)
    assert drawn.tolist() == mask(b"k" * 32, 20_000).tolist()
    assert drawn.tolist() != mask(b"l" * 32, 20_000).tolist()
    ones = np.unpackbits(drawn.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.002


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.inf, "NOT_FINITE"),
        (-math.inf, "NOT_FINITE"),
        (math.nan, "NOT_FINITE"),
        (2.0**50 / 3, "SEALED_RANGE"),
        (-(2.0**60), "SEALED_RANGE"),
    ],
)
def test_number_that_could_turn_over_is_refused(value: float, code: str) -> None:
    with pytest.raises(DataError) as caught:
        to_ring(np.array([1.0, value]), 3)
    assert caught.value.code == code
    assert from_ring(to_ring(np.array([math.nextafter(2.0**50 / 3, 0)]), 3)).tolist() == [
        math.nextafter(2.0**50 / 3, 0)
    ]


def test_rounding_up_carries() -> None:
    # the part behind the point rounds to 1: so it may not, or the ring would lose a whole number
    value = math.nextafter(1.0, 0.0)
    assert from_ring(to_ring(np.array([value, -value]), 3)).tolist() == [value, -value]
    assert from_ring(to_ring(np.array([], dtype=np.float64), 3)).tolist() == []
