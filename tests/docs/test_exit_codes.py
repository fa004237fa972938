"""Every exit code has its section, and every section is of an exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isthmus import errors
from isthmus.errors import INTERRUPTED, IsthmusError

PAGE = (Path(__file__).resolve().parents[2] / "docs/exit-codes.md").read_text(encoding="utf-8")


def exit_codes() -> dict[int, str]:
    """Code -> name, from the tree of errors itself. The broadest error of a code names it."""
    found = {0: "Ok", IsthmusError.exit_code: "Bug", INTERRUPTED: "Interrupted"}
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, IsthmusError):
            found.setdefault(error.exit_code, error.__name__)
    return found


def sections() -> dict[int, str]:
    return {int(code): name for code, name in re.findall(r"^## (\d+) (\w+)$", PAGE, re.MULTILINE)}


def rows() -> dict[int, str]:
    return {int(code): name for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", PAGE, re.MULTILINE)}


def test_every_exit_code_has_a_section_and_every_section_a_code() -> None:
    assert sections() == exit_codes()


def test_table_lists_the_same_codes() -> None:
    assert rows() == exit_codes()
    assert list(rows()) == sorted(rows())


def test_every_heading_is_an_exit_code() -> None:
    assert len(re.findall(r"^##+ ", PAGE, re.MULTILINE)) == len(exit_codes())


@pytest.mark.parametrize("code", sorted(exit_codes()))
def test_section_says_something(code: int) -> None:
    text = re.split(rf"^## {code} \w+$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    assert len(text.split()) >= 6


def test_codes_named_on_the_page_exist_in_the_program() -> None:
    root = Path(__file__).resolve().parents[2]
    source = "".join(
        path.read_text(encoding="utf-8")
        for part in ("proto", "trust", "methods", "node", "coordinator", "client")
        for path in (root / part).rglob("*.py")
    )
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PAGE))
    assert named
    assert {code for code in named if f'"{code}"' not in source} == set()
