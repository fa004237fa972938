"""A set that does not grow forgets what was added and asked for longest ago."""

from __future__ import annotations

from isthmus.recent import Recent


def test_what_was_added_or_asked_for_last_is_kept() -> None:
    recent: Recent[int] = Recent(3)
    for one in (1, 2, 3):
        recent.add(one)
    assert 1 in recent
    recent.add(4)
    assert [one in recent for one in (2, 1, 3, 4)] == [False, True, True, True]
    recent.add(5)
    # asking above put 1 before 3 and 4
    assert [one in recent for one in (1, 3, 4, 5)] == [False, True, True, True]
