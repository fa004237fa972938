"""The page on planning: its example runs and prints what the page says."""

from __future__ import annotations

import doctest
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).resolve().parents[2] / "docs/planning.md"


def test_examples_of_the_page_print_what_it_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 25
    said: list[str] = []
    with pd.option_context("display.width", 200, "display.max_columns", None):
        failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert failed.failed == 0, "".join(said)
