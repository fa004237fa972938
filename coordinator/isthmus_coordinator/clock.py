"""Time, as it is kept here: UTC nanoseconds since 1970, from a clock that is handed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

# Gives nanoseconds since 1970.
Clock = Callable[[], int]

SECOND = 1_000_000_000

wall_clock: Clock = time.time_ns


def moment(nanoseconds: int) -> datetime:
    """The same as an aware UTC datetime, to the microsecond."""
    return datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC)


def nanoseconds(when: datetime) -> int:
    """Nanoseconds since 1970 of an aware datetime."""
    return int(when.timestamp()) * SECOND + when.microsecond * 1000


def words(nanoseconds: int) -> str:
    """For people: ``2026-11-22 05:16 UTC``, or ``never`` for 0."""
    return f"{moment(nanoseconds):%Y-%m-%d %H:%M} UTC" if nanoseconds else "never"
