"""Every format gives the same rows; a source that cannot be read is named, and nothing in it is quoted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.errors import DataError, IsthmusError
from isthmus_node.sources import Rows, Source, Table, detect, needed_columns, read, table_from_csv, typed

Writer = Callable[..., str]
FORMS = ("csv", "parquet", "xpt5", "xpt8", "json", "ndjson", "json_lines_apart", "sqlite")


def source_of(sample: Any, form: str, folder: Path) -> Source:
    return Source(sample.write(form, folder), table="adtte" if form == "sqlite" else "")


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_numbers_and_texts(sample: Any, form: str, tmp_path: Path) -> None:
    rows = read(source_of(sample, form, tmp_path))
    assert rows.names == sample.NAMES
    for name, cells in sample.columns().items():
        text = rows.text(name)
        read_back = [text.distinct[code] if code >= 0 else None for code in text.codes]
        if isinstance(cells[0], str):
            assert read_back == cells, name
        else:
            expected = np.array([np.nan if cell is None else cell for cell in cells])
            np.testing.assert_array_equal(rows.numbers(name).values, expected, err_msg=name)
            assert rows.numbers(name).unreadable == 0


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_snapshot_digest(sample: Any, form: str, tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    from_csv = table_from_csv(sample.write("csv", tmp_path / "csv"), sample.dictionary(), "NL")
    table = typed(read(source_of(sample, form, tmp_path)), sample.dictionary(), "NL")
    assert table.digest == from_csv.digest


@pytest.mark.parametrize("form", FORMS)
def test_only_the_columns_asked_for_are_read(sample: Any, form: str, tmp_path: Path) -> None:
    rows = read(source_of(sample, form, tmp_path), {"SEX", "AGE", "NOT THERE"})
    assert rows.names == ("AGE", "SEX")
    assert len(rows) == len(sample.ROWS)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("csv", "csv"),
        ("parquet", "parquet"),
        ("xpt5", "xpt"),
        ("xpt8", "xpt"),
        ("json", "dataset-json"),
        ("ndjson", "dataset-json"),
        ("sqlite", "sql"),
    ],
)
def test_format_is_told_from_content_not_from_the_name(sample: Any, form: str, expected: str, tmp_path: Path) -> None:
    location = sample.write(form, tmp_path)
    if form != "sqlite":
        renamed = tmp_path / "no-ending"
        os.rename(location, renamed)
        location = str(renamed)
    assert detect(Source(location)) == expected


def table_of(sample: Any, csv_file: Writer, content: str) -> Table:
    return table_from_csv(csv_file(content), sample.dictionary(), "NL")


HEADER = "USUBJID,AGE,SEX,RACE,CNSR,AVAL,STARTDT\n"


def test_csv_keeps_no_na_and_digits_as_text(sample: Any, csv_file: Writer) -> None:
    table = table_of(
        sample, csv_file, HEADER + "a,1,F,NO,0,1,\nb,2,M,NA,1,2,\nc,3,F,0,0,3,\nd,4,F,1,0,4,\ne,5,F,,0,4,\n"
    )
    assert table.codes["RACE"].tolist() == [0, 1, 2, 3, -1]


def test_csv_takes_only_declared_texts_as_missing(csv_file: Writer) -> None:
    location = csv_file(HEADER + "a,NA,F,NO,0,1,\nb,.,M,.,1,2,\n")
    rows = read(Source(location, missing=(".",)))
    assert rows.text("RACE").codes.tolist() == [0, -1]
    assert rows.numbers("AGE").unreadable == 1  # NA was not declared


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12.0), (" 12 ", 12.0), ("+5", 5.0), ("-.5", -0.5), ("5.", 5.0), ("1e3", 1000.0), ("", None)],
)
def test_csv_numbers_as_people_write_them(text: str, value: float | None, csv_file: Writer) -> None:
    column = read(Source(csv_file(f"k,x\n1,{text}\n2, 7\n"))).numbers("x")
    assert column.unreadable == 0
    np.testing.assert_array_equal(column.values, [np.nan if value is None else value, 7.0])


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0x10", "1_000", "1.2.3", "twelve", "1e999"])
def test_csv_text_that_is_no_number_is_counted_as_unreadable(text: str, csv_file: Writer) -> None:
    column = read(Source(csv_file(f"k,x\n1,{text}\n2,7\n"))).numbers("x")
    assert column.unreadable == 1
    np.testing.assert_array_equal(column.values, [np.nan, 7.0])


def test_csv_byte_order_mark_quotes_and_line_breaks_inside_quotes(csv_file: Writer) -> None:
    rows = read(Source(csv_file(b'\xef\xbb\xbfa,b\r\n"x, y","two\nlines"\r\n"say ""no""",z\r\n')))
    assert rows.names == ("a", "b")
    assert rows.text("a").distinct == ("x, y", 'say "no"')
    assert rows.text("b").distinct == ("two\nlines", "z")


def test_csv_inch_sign_in_an_unquoted_field_is_text(csv_file: Writer) -> None:
    assert read(Source(csv_file('a,b\n1,6"\n2,7\n'))).text("b").distinct == ('6"', "7")


def test_csv_of_one_column_keeps_its_empty_lines(csv_file: Writer) -> None:
    assert read(Source(csv_file("a\n1\n\n2\n"))).text("a").codes.tolist() == [0, -1, 1]


def test_csv_in_another_encoding_and_with_another_delimiter(csv_file: Writer) -> None:
    location = csv_file("名前;x\n東京;1\n".encode("gb18030"))
    rows = read(Source(location, format="csv", encoding="gb18030", delimiter=";"))
    assert rows.text("名前").distinct == ("東京",)


def test_csv_with_a_header_alone_has_columns_and_no_rows(sample: Any, csv_file: Writer) -> None:
    table = table_of(sample, csv_file, HEADER)
    assert (table.rows, table.persons) == (0, 0)
    assert table.numbers["AGE"].shape == (0,)


def test_negative_zero_and_every_nan_are_one_value(tmp_path: Path) -> None:
    import pyarrow as pa

    odd = np.array([-0.0, np.uint64(0xFFF8000000000001).view(np.float64)])
    values = Rows.from_columns({"x": pa.array(odd)}).numbers("x").values
    assert values.tobytes() == np.array([0.0, np.nan]).tobytes()


def test_number_columns_give_levels_without_a_decimal_point() -> None:
    text = Rows.from_columns({"x": [1.0, 2.5, None, 1.0, float("nan")]}).text("x")
    assert text.distinct == ("1", "2.5")
    assert text.codes.tolist() == [0, 1, -1, 0, -1]


SECRET = "VALUE-129.587"


def _xpt_bytes(sample: Any, folder: Path) -> bytes:
    return Path(sample.write("xpt5", folder)).read_bytes()


def _json_with(sample: Any, **changes: object) -> bytes:
    return json.dumps(sample.dataset_json() | changes).encode()


def _without(sample: Any, name: str) -> bytes:
    whole = sample.dataset_json()
    del whole[name]
    return json.dumps(whole).encode()


Content = Callable[[Any, Path], bytes]
BROKEN: list[tuple[str, Content, Source, str]] = [
    ("empty", lambda s, _: b"", Source(""), "EMPTY_FILE"),
    ("workbook", lambda s, _: b"PK\x03\x04" + SECRET.encode(), Source(""), "NOT_A_TABLE"),
    ("pdf", lambda s, _: b"%PDF-1.7" + SECRET.encode(), Source(""), "NOT_A_TABLE"),
    ("html", lambda s, _: b"<html>" + SECRET.encode(), Source(""), "NOT_A_TABLE"),
    ("binary", lambda s, _: b"\x01\x00\x02" + SECRET.encode(), Source(""), "NOT_A_TABLE"),
    ("binary as csv", lambda s, _: b"\x01\x00\x02" + SECRET.encode(), Source("", format="csv"), "NOT_A_TABLE"),
    ("no header", lambda s, _: b"\na,b\n", Source(""), "NO_HEADER"),
    ("nameless column", lambda s, _: b"a,,c\n1,2,3\n", Source(""), "NO_COLUMN_NAME"),
    ("column twice", lambda s, _: b"a,b,a\n1,2,3\n", Source(""), "DUPLICATE_COLUMN"),
    ("short row", lambda s, _: f"a,b\n1,2\n{SECRET}\n".encode(), Source(""), "RAGGED_ROW"),
    ("long row", lambda s, _: f"a,b\n1,2\n{SECRET},2,3\n".encode(), Source(""), "RAGGED_ROW"),
    ("ends in quotes", lambda s, _: f'a,b\n1,"{SECRET}\n2,3\n4,5\n'.encode(), Source(""), "TRUNCATED"),
    ("other delimiter", lambda s, _: f"a;b\n{SECRET};2\n".encode(), Source(""), "WRONG_DELIMITER"),
    ("other encoding", lambda s, _: f"a,b\né,{SECRET}\n".encode("latin-1"), Source(""), "WRONG_ENCODING"),
    ("encoding of the header", lambda s, _: f"é,b\n1,{SECRET}\n".encode("latin-1"), Source(""), "WRONG_ENCODING"),
    (
        "wrong declared encoding",
        lambda s, _: f"a\né{SECRET}\n".encode(),
        Source("", encoding="ascii"),
        "WRONG_ENCODING",
    ),
    ("no such encoding", lambda s, _: b"a\n1\n", Source("", encoding="latin-one"), "UNKNOWN_ENCODING"),
    ("no such format", lambda s, _: b"a\n1\n", Source("", format="sas7bdat"), "UNKNOWN_FORMAT"),
    ("no parquet", lambda s, _: SECRET.encode(), Source("", format="parquet"), "NOT_A_TABLE"),
    ("parquet cut off", lambda s, d: Path(s.write("parquet", d)).read_bytes()[:-40], Source(""), "TRUNCATED"),
    ("no xpt", lambda s, _: SECRET.encode() * 20, Source("", format="xpt"), "NOT_A_TABLE"),
    ("xpt cut in a record", lambda s, d: _xpt_bytes(s, d)[:-33], Source(""), "TRUNCATED"),
    ("xpt cut after a record", lambda s, d: _xpt_bytes(s, d)[:-160], Source(""), "TRUNCATED"),
    ("xpt cut in the header", lambda s, d: _xpt_bytes(s, d)[:400], Source(""), "TRUNCATED"),
    ("xpt with two datasets", lambda s, d: _xpt_bytes(s, d) + _xpt_bytes(s, d)[240:], Source(""), "SEVERAL_TABLES"),
    (
        "xpt8 cut after a record",
        lambda s, d: Path(s.write("xpt8", d)).read_bytes()[:-160],
        Source(""),
        "TRUNCATED",
    ),
    ("xpt8 cut in the header", lambda s, d: Path(s.write("xpt8", d)).read_bytes()[:240], Source(""), "TRUNCATED"),
    (
        "xpt in another encoding",
        lambda s, d: _xpt_bytes(s, d).replace(b"01-701", b"\xe91-701"),
        Source(""),
        "WRONG_ENCODING",
    ),
    ("json cut off", lambda s, d: Path(s.write("json", d)).read_bytes()[:-20], Source(""), "TRUNCATED"),
    ("ndjson cut in a row", lambda s, d: Path(s.write("ndjson", d)).read_bytes()[:-9], Source(""), "TRUNCATED"),
    (
        "ndjson without its last row",
        lambda s, d: b"\n".join(Path(s.write("ndjson", d)).read_bytes().splitlines()[:-1]),
        Source(""),
        "TRUNCATED",
    ),
    ("json of something else", lambda s, _: b'{"a": 1}', Source(""), "NOT_DATASET_JSON"),
    ("json list", lambda s, _: b"[1, 2]", Source(""), "NOT_DATASET_JSON"),
    ("json not utf-8", lambda s, _: b'{"datasetJSONVersion": "\xe9"}', Source(""), "WRONG_ENCODING"),
    ("json version 2", lambda s, _: _json_with(s, datasetJSONVersion="2.0"), Source(""), "DATASET_JSON_VERSION"),
    ("json version 1.10", lambda s, _: _json_with(s, datasetJSONVersion="1.10"), Source(""), "DATASET_JSON_VERSION"),
    ("json without version", lambda s, _: _without(s, "datasetJSONVersion"), Source(""), "NOT_DATASET_JSON"),
    ("json without columns", lambda s, _: _without(s, "columns"), Source(""), "NOT_DATASET_JSON"),
    ("json rows are no list", lambda s, _: _json_with(s, rows={"a": SECRET}), Source(""), "NOT_DATASET_JSON"),
    ("json short row", lambda s, _: _json_with(s, rows=[[SECRET]], records=1), Source(""), "RAGGED_ROW"),
    (
        "json text in a number",
        lambda s, _: _json_with(s, rows=[["a", "b", SECRET, "F", "NO", 0, 1.0, ""]], records=1),
        Source(""),
        "NOT_DATASET_JSON",
    ),
    (
        "json true in a number",
        lambda s, _: _json_with(s, rows=[["a", "b", True, "F", "NO", 0, 1.0, ""]], records=1),
        Source(""),
        "NOT_DATASET_JSON",
    ),
    (
        "json NaN",
        lambda s, _: json.dumps(s.dataset_json() | {"records": float("nan")}).encode(),
        Source(""),
        "TRUNCATED",
    ),
    (
        "json unknown type",
        lambda s, _: _json_with(s, columns=[{"name": "a", "dataType": "blob"}], rows=[], records=0),
        Source(""),
        "NOT_DATASET_JSON",
    ),
    (
        "json unknown target",
        lambda s, _: _json_with(
            s, columns=[{"name": "a", "dataType": "date", "targetDataType": "day"}], rows=[], records=0
        ),
        Source(""),
        "NOT_DATASET_JSON",
    ),
    (
        "json column twice",
        lambda s, _: _json_with(s, columns=[{"name": "a", "dataType": "string"}] * 2, rows=[], records=0),
        Source(""),
        "DUPLICATE_COLUMN",
    ),
]


@pytest.mark.parametrize(("content", "source", "code"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken_file_is_named_by_its_rule_and_never_quoted(
    content: Content, source: Source, code: str, sample: Any, tmp_path: Path
) -> None:
    path = tmp_path / "broken-file"
    path.write_bytes(content(sample, tmp_path))
    with pytest.raises(DataError) as caught:
        read(Source(str(path), format=source.format, encoding=source.encoding))
    error = caught.value
    assert error.code == code
    assert error.remedy
    assert "broken-file" in error.message
    assert SECRET not in str(error)
    # a traceback prints the causes as well
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_ragged_row_is_found_by_its_line(csv_file: Writer) -> None:
    with pytest.raises(DataError, match="line 4 has 1"):
        read(Source(csv_file('a,b\n1,"two\nlines"\n7\n')))


@pytest.mark.parametrize("kind", ["absent", "folder"])
def test_file_that_is_not_there_or_a_folder(kind: str, tmp_path: Path) -> None:
    with pytest.raises(IsthmusError) as caught:
        read(Source(str(tmp_path / "x" if kind == "absent" else tmp_path)))
    assert caught.value.code == ("NO_SUCH_FILE" if kind == "absent" else "NOT_A_TABLE")


def test_dataset_json_decimals_and_booleans(tmp_path: Path) -> None:
    whole = {
        "datasetJSONVersion": "1.1",
        "columns": [
            {"name": "d", "dataType": "decimal", "targetDataType": "decimal"},
            {"name": "b", "dataType": "boolean"},
            {"name": "t", "dataType": "date", "targetDataType": "integer"},
        ],
        "rows": [["0.1", True, "2020-02-03"], [None, False, None]],
    }
    (tmp_path / "x.json").write_text(json.dumps(whole))
    rows = read(Source(str(tmp_path / "x.json")))
    np.testing.assert_array_equal(rows.numbers("d").values, [0.1, np.nan])
    np.testing.assert_array_equal(rows.numbers("b").values, [1.0, 0.0])
    assert rows.text("b").distinct == ("true", "false")
    assert rows.text("t").distinct == ("2020-02-03",)
    assert rows.numbers("t").unreadable == 1


def test_parquet_categories_dates_and_whole_numbers(tmp_path: Path) -> None:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "f": pa.array(["a", "b", None, "a"]).dictionary_encode(),
            "i": pa.array([1, 2, None, 3], pa.int32()),
            "d": pa.array([datetime.date(2020, 1, 2)] * 4),
            "m": pa.array([decimal_of("1.5"), None, decimal_of("2"), decimal_of("2")]),
        }
    )
    pq.write_table(table, tmp_path / "x", row_group_size=2)
    rows = read(Source(str(tmp_path / "x")))
    assert rows.text("f").codes.tolist() == [0, 1, -1, 0]
    assert rows.text("i").distinct == ("1", "2", "3")
    assert rows.text("d").distinct == ("2020-01-02",)
    assert rows.numbers("d").unreadable == 4
    assert rows.text("m").distinct == ("1.5", "2")
    np.testing.assert_array_equal(rows.numbers("m").values, [1.5, np.nan, 2.0, 2.0])


def decimal_of(text: str) -> object:
    import decimal

    return decimal.Decimal(text)


def test_needed_columns_leave_text_and_dates_where_they_are(sample: Any) -> None:
    assert needed_columns(sample.dictionary()) == {"USUBJID", "AGE", "SEX", "RACE", "CNSR", "AVAL", "COUNTRY"}
