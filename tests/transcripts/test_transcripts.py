"""What leaves a country is what the texts beside this file say; `python -m tests.transcripts.kit` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transcripts.kit import FOLDER, NAMES, transcript


@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_is_what_was_read(name: str, tmp_path: Path) -> None:
    assert transcript(name, tmp_path) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_every_text_is_of_a_transcript() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(NAMES)
