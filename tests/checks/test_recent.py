"""A set and a map that do not grow forget what was added and asked for longest ago."""

from __future__ import annotations

from isthmus.recent import Recent, RecentMap


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


def test_values_are_kept_by_key_and_the_one_asked_for_longest_ago_goes() -> None:
    kept: RecentMap[str, int] = RecentMap(2)
    assert kept.put("a", 1) == 1
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [*kept] == ["a", "c"]
    assert (kept.get("b"), len(kept)) == (None, 2)
    assert (kept.pop("a"), kept.pop("a")) == (1, None)
    # a key may go while one goes through them
    for key in kept:
        kept.pop(key)
    assert not len(kept)
    kept.put("d", 4)
    kept.clear()
    assert "d" not in kept
