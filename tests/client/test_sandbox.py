"""The network on this machine: what its people wait for, and what they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.errors import Refused, UsageError
from isthmus_client.sandbox import Sandbox


class Arriving(Sandbox):
    """Nodes that a study reaches late, or never."""

    def __init__(self, home: Path, late: dict[str, int]) -> None:
        super().__init__(home, port=1)
        self.late = late
        self.approved: list[str] = []

    def node(self, node: str, *arguments: str) -> object:
        self.late[node] -= 1
        if self.late[node] >= 0:
            raise UsageError("UNKNOWN_STUDY", f"no study {arguments[1]!r} has arrived here", "wait")
        if node == "guarded":
            raise Refused("OTHER_KEYS", "the study names other keys", "make a new version")
        self.approved.append(node)
        return {}


def test_approval_waits_for_a_study_that_is_still_on_its_way(tmp_path: Path) -> None:
    box = Arriving(tmp_path, {"nl": 0, "be": 3})
    box.approve("TRIAL", ("nl", "be"))
    assert sorted(box.approved) == ["be", "nl"]


def test_approval_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus_client.sandbox.ARRIVAL_SECONDS", 0.0)
    with pytest.raises(UsageError, match="TRIAL"):
        Arriving(tmp_path, {"nl": 1_000_000}).approve("TRIAL", ("nl",))


def test_other_errors_of_an_approval_are_not_waited_out(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        Arriving(tmp_path, {"guarded": 0}).approve("TRIAL", ("guarded",))
