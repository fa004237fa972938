"""CSV files: read as text, every column; only the empty field is missing."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection

from isthmus_node.sources.rows import Rows
from isthmus_node.sources.source import Source, check_names, first_bytes, unreadable, wrong_encoding


def read(source: Source, columns: Collection[str] | None = None) -> Rows:
    """The rows of a CSV file with a header line; `NO`, `NA`, `0` stay the text they are.

    Parameters
    ----------
    columns : names worth reading; None for all.

    Raises `DataError` for a file that is empty, in another encoding, with a header twice or a row of another length.
    """
    import pyarrow as pa
    import pyarrow.csv as pc

    names = _header(source)
    wanted = names if columns is None else [name for name in names if name in columns]
    _check_quotes(source)
    try:
        table = pc.read_csv(
            source.path,
            read_options=pc.ReadOptions(encoding=source.encoding, block_size=1 << 22),
            parse_options=pc.ParseOptions(
                delimiter=source.delimiter,
                newlines_in_values=True,
                # with one column an empty line is a missing value
                ignore_empty_lines=len(names) > 1,
            ),
            convert_options=pc.ConvertOptions(
                # a file with a header alone still has its columns
                column_types={name: pa.string() for name in names},
                include_columns=wanted or names[:1],
                null_values=["", *source.missing],
                strings_can_be_null=True,
            ),
        )
    except UnicodeDecodeError:
        raise wrong_encoding(source) from None
    except pa.ArrowInvalid as problem:
        # never `from problem`: the library's message quotes the row
        if "UTF8" in str(problem):
            raise wrong_encoding(source) from None
        raise unreadable(
            source,
            "RAGGED_ROW",
            f"a row does not have the {len(names)} fields of the header{_line(source, len(names))}",
            "export the file again; text with a delimiter, a quote or a line break in it must be quoted",
        ) from None
    return Rows(table if wanted else table.select([]))


def _header(source: Source) -> list[str]:
    start = first_bytes(source)
    if b"\0" in start and "16" not in source.encoding and "32" not in source.encoding:
        raise unreadable(
            source, "NOT_A_TABLE", "the file is no text", "export the dataset as CSV, Parquet, XPT or Dataset-JSON"
        )
    try:
        codecs.lookup(source.encoding)
        # utf-8-sig also takes off a byte order mark
        encoding = "utf-8-sig" if codecs.lookup(source.encoding).name == "utf-8" else source.encoding
        with source.path.open(encoding=encoding, newline="") as file:
            names = next(csv.reader(file, delimiter=source.delimiter, strict=True), [])
    except LookupError:
        raise unreadable(
            source,
            "UNKNOWN_ENCODING",
            f"there is no encoding {source.encoding!r}",
            "use a name such as utf-8, latin-1, cp1252, gb18030, shift_jis, euc-kr",
        ) from None
    except UnicodeError:
        raise wrong_encoding(source) from None
    except csv.Error:
        raise unreadable(
            source, "NOT_A_TABLE", "the first line is no header of a CSV file", "export the file again"
        ) from None
    if not any(names):
        raise unreadable(
            source, "NO_HEADER", "the first line is empty; it must name the columns", "export the file with a header"
        )
    check_names(source, names)
    other = next((d for d in (";", "\t", "|") if len(names) == 1 and d in names[0]), None)
    if other is not None:
        raise unreadable(
            source,
            "WRONG_DELIMITER",
            f"the header has one field with {other!r} in it: the fields are not separated by {source.delimiter!r}",
            f"name the delimiter {other!r} when adding the file",
        )
    return names


def _check_quotes(source: Source) -> None:
    """Raises `DataError` where the file ends inside quotes: the rows after the last one opened would be one field."""
    quotes = 0
    with source.path.open("rb") as file:
        while part := file.read(1 << 20):
            quotes += part.count(b'"')
    if quotes % 2 == 0:
        return
    # an odd one may also be an inch sign in an unquoted field, which is allowed
    try:
        with source.path.open(encoding=source.encoding, newline="") as file:
            for _ in csv.reader(file, delimiter=source.delimiter, strict=True):
                pass
    except UnicodeError:
        raise wrong_encoding(source) from None
    except csv.Error:
        raise unreadable(
            source,
            "TRUNCATED",
            "the file ends inside quotes: cut off, or a quote is not closed",
            "export the file again; a quote inside quotes must be doubled",
        ) from None


def _line(source: Source, width: int) -> str:
    """Which line is ragged, in words; the empty text where the slow way does not find it either."""
    try:
        with source.path.open(encoding=source.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=source.delimiter)
            for fields in reader:
                if fields and len(fields) != width:
                    return f": line {reader.line_num} has {len(fields)}"
    except (csv.Error, UnicodeError):
        return ""
    return ""
