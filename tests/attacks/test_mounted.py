"""A few attacks of the catalogue on real processes; `make attacks` mounts them all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attacks.__main__ import main

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("attacks"), pytest.mark.timeout(300)]

# An analyst's, a coordinator's with code of its own, one on a sealed round, and one that no code betrays: only the log
# is read.
FEW = "^(1|26|44|49) "


def test_attacks_succeed_without_their_guards_and_fail_with_them(tmp_path: Path) -> None:
    out = tmp_path / "attacks.json"
    code = main(["--only", FEW, "--out", str(out), "--keep", str(tmp_path / "network")])
    found = {attack["attack"]: attack for attack in json.loads(out.read_text(encoding="utf-8"))}
    assert {name: attack["standing"] for name, attack in found.items()} == dict.fromkeys(
        ("1", "26", "44", "49"), "stopped"
    ), found
    assert all(a["off"]["succeeded"] and not a["on"]["succeeded"] for a in found.values())
    assert code == 0
