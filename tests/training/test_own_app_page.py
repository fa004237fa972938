"""The page on bringing one's own app, followed from top to bottom in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from conformance.environment import environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/bring-your-own-app.md"
EXAMPLE = ROOT / "examples/own-client-app"
# A block that is a file says its name in its first line.
FILE = re.compile(r"^```\w+\n# ([\w./-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    return dict(FILE.findall(PAGE.read_text(encoding="utf-8")))


def test_the_example_is_what_the_page_shows() -> None:
    shown = files()
    kept = {
        p.relative_to(EXAMPLE).as_posix(): p.read_text(encoding="utf-8") for p in EXAMPLE.rglob("*.*") if p.is_file()
    }
    kept = {name: text for name, text in kept.items() if "__pycache__" not in name}
    assert kept
    assert {name: shown.get(name) for name in kept} == kept


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_the_page_followed_from_top_to_bottom_trains_over_nodes(tmp_path: Path) -> None:
    package = tmp_path / "own-client-app"
    for name, text in files().items():
        inside = package if (EXAMPLE / name).exists() else tmp_path
        path = inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    programs = environment(tmp_path / "environment", str(package))
    tried = _run(programs, tmp_path, "try_it.py")
    assert re.search(r"^30 evaluate JP \{.*'loss': 0\.[0-6]", tried, re.MULTILINE), tried
    said = _run(programs, tmp_path, "network.py")
    assert "app: ward, version 1" in said
    found = {
        line.split()[-3]: float(line.split()[-1])
        for line in said.splitlines()
        if re.match(r"(all countries|[A-Z]{2}) ", line)
    }
    assert found.keys() == {"countries", "NL", "SE", "JP"}
    assert all(auc > 0.6 for auc in found.values()), "better than a coin, and than any linear model of these rows"
    assert (tmp_path / "model/model-card.md").exists()


def _run(programs: Path, folder: Path, script: str) -> str:
    done = subprocess.run(
        [str(programs / "python"), script],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
