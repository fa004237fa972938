"""The helpers themselves: whatever the text, the place where it is shown takes it for a text."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, strategies as st

from isthmus.untrusted import csv_cell, file_part, json_text, shown
from isthmus_client.results.frames import csv_text

TEXTS = st.text(st.characters(), max_size=40) | st.text(
    st.sampled_from("\x00\x07\x1b\x9b\r\n\t\u202e\u2066\u200b\ufeff\ud800=+-@＝ ab1,;\"'./\\|"), max_size=12
)
WHOLE = TEXTS.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))  # as messages can hold them
JSON = st.recursive(WHOLE | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(WHOLE, inner), max_leaves=8)
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


@given(TEXTS, st.integers(1, 30))
def test_shown_text_has_nothing_that_is_obeyed_or_unseen(text: str, most: int) -> None:
    for result in (shown(text), shown(text, most=most), shown(text, "\n\t").replace("\n", "").replace("\t", "")):
        assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in result)
        result.encode("utf-8")
    assert len(shown(text, most=most)) <= most


@pytest.mark.parametrize("text", ["Überleben 年齢 ≥ 65", "a b", "العمر", "α, β ± 0.5 %", "narrow\u202fblank"])
def test_shown_text_of_any_language_stays(text: str) -> None:
    assert shown(text) == text


def test_shown_text_names_what_it_hides() -> None:
    assert shown("a\x1b[2J\u202e\n\U000e0041") == r"a\u001b[2J\u202e\u000a\U000e0041"
    assert shown("a" * 10, most=4) == "aaa…"
    assert shown("\x00" * 4, most=4) == "\\u0…"


@given(JSON)
def test_json_reads_back_as_it_was_and_holds_nothing_that_is_obeyed(value: object) -> None:
    for indent in (None, 1):
        text = json_text(value, indent)
        assert json.loads(text) == value
        assert all(c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs" for c in text)


@given(TEXTS)
def test_cell_is_never_a_formula(text: str) -> None:
    cell = csv_cell(text)
    if cell.startswith(STARTS_A_FORMULA) or cell.lstrip().startswith(STARTS_A_FORMULA):
        float(cell)  # a number, and nothing else
    assert cell.removeprefix("'") == shown(text).removeprefix("'")


def test_cell_of_a_number_stays_a_number() -> None:
    assert [csv_cell(t) for t in ("-1.5", "+2", "1e-3", "-1+1")] == ["-1.5", "+2", "1e-3", "'-1+1"]


@given(st.lists(st.tuples(WHOLE, WHOLE, st.floats(-10, 10)), min_size=1, max_size=4))
def test_no_cell_heading_or_label_of_an_exported_table_is_a_formula(rows: list[tuple[str, str, float]]) -> None:
    frame = pd.DataFrame(
        {rows[0][0] or "h": [r[1] for r in rows], "number": [r[2] for r in rows]},
        index=pd.Index([r[0] for r in rows], name=rows[0][1]),
    )
    written = list(csv.reader(io.StringIO(csv_text(frame))))
    for line in written:
        for cell in line:
            if cell.startswith(STARTS_A_FORMULA):
                float(cell)
    numbers = [float(line[-1]) for line in written[-len(rows) :]]
    assert numbers == [r[2] for r in rows]


@given(TEXTS | st.text("A" * 300, min_size=200), st.integers(1, 80))
def test_part_of_a_file_name_stays_in_its_folder(text: str, most: int) -> None:
    part = file_part(text, most)
    assert 0 < len(part) <= most + 1
    assert part.isascii()
    assert not set(part) & set('/\\\0.:*?"<>| \n')
    folder = Path("/some/folder")
    assert (folder / part).parent == folder


@pytest.mark.parametrize("name", ["", "CON", "nul", "Lpt1"])
def test_part_of_a_file_name_is_no_device_and_not_empty(name: str) -> None:
    assert file_part(name) == f"_{name}"
