"""CDISC Dataset-JSON 1.1, both forms: one JSON object, or NDJSON with the metadata in the first line.

Source: CDISC Dataset-JSON v1.1, sections on dataset attributes, columns and rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from isthmus.errors import DataError
from isthmus_node.sources.rows import Rows
from isthmus_node.sources.source import Source, check_names, first_bytes, unreadable

# dataType -> the Python types its cells may have; null is allowed everywhere.
_CELLS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "double": (int, float),
    "decimal": (str,),  # written as text so that no digit is lost
    "boolean": (bool,),
    "datetime": (str,),
    "date": (str,),
    "time": (str,),
    "URI": (str,),
}
_TARGETS = ("", "integer", "decimal")


def read(source: Source, columns: Collection[str] | None = None) -> Rows:
    """The rows of a Dataset-JSON file, its columns as `dataType` says; ISO dates stay text.

    Raises `DataError` where the file is cut off, of another version, or not what its own metadata say.
    """
    first_bytes(source)
    try:
        metadata, rows = _parts(source.path)
    except UnicodeDecodeError:
        raise unreadable(
            source, "WRONG_ENCODING", "the file is not UTF-8, which Dataset-JSON requires", "export it again"
        ) from None
    except (ValueError, RecursionError):
        # the parser's message would quote the text
        raise unreadable(
            source,
            "TRUNCATED",
            "the file is not complete JSON: cut off or damaged",
            "copy or export the file again",
        ) from None
    return _rows(source, metadata, rows, columns)


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


def _parts(path: Path) -> tuple[Any, Any]:
    """Metadata and rows of either form."""

    def parse(text: str) -> Any:
        # NaN and Infinity are no JSON
        return json.loads(text, parse_constant=_refuse_constant)

    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
        try:
            metadata = parse(first)
        except ValueError:
            # one object over many lines
            whole = parse(first + file.read())
            return whole, _member(whole, "rows")
        rest = list(_lines(file))
    if not rest and isinstance(metadata, dict) and "rows" in metadata:
        return metadata, metadata["rows"]
    return metadata, [parse(line) for line in rest]


def _lines(file: Iterator[str]) -> Iterator[str]:
    return (line for line in file if line.strip())


def _member(whole: Any, name: str) -> Any:
    return whole.get(name) if isinstance(whole, dict) else None


def _wrong(source: Source, happened: str) -> DataError:
    return unreadable(
        source,
        "NOT_DATASET_JSON",
        f"not a Dataset-JSON 1.1 file: {happened}",
        "export it as Dataset-JSON 1.1, or name the right format",
    )


def _rows(source: Source, metadata: Any, rows: Any, wanted: Collection[str] | None) -> Rows:
    import pyarrow as pa

    if not isinstance(metadata, dict):
        raise _wrong(source, "it does not begin with an object")
    version = metadata.get("datasetJSONVersion")
    if not isinstance(version, str):
        raise _wrong(source, "`datasetJSONVersion` is missing")
    if version != "1.1" and not version.startswith("1.1."):
        raise unreadable(
            source,
            "DATASET_JSON_VERSION",
            f"the file is of Dataset-JSON version {version!r}; 1.1 is read",
            "export it as Dataset-JSON 1.1",
        )
    described = _columns(source, metadata.get("columns"))
    # a dataset without records may leave `rows` out
    rows = [] if rows is None else rows
    if not isinstance(rows, list):
        raise _wrong(source, "`rows` is no list")
    records = metadata.get("records")
    if isinstance(records, int) and records != len(rows):
        raise unreadable(
            source,
            "TRUNCATED",
            "the file does not hold the number of rows that its `records` says",
            "copy or export the file again",
        )
    width = len(described)
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != width:
            raise unreadable(
                source, "RAGGED_ROW", f"row {position} does not have one value for each column", "export the file again"
            )
    built: dict[str, Any] = {}
    for place, (name, kind) in enumerate(described):
        if wanted is None or name in wanted:
            built[name] = _column(source, name, kind, [row[place] for row in rows], pa)
    return Rows.from_columns(built)


def _columns(source: Source, described: Any) -> Sequence[tuple[str, str]]:
    """(name, dataType) of each column."""
    if not isinstance(described, list) or not described:
        raise _wrong(source, "`columns` is missing or empty")
    found: list[tuple[str, str]] = []
    for position, column in enumerate(described, start=1):
        if not isinstance(column, dict) or not isinstance(column.get("name"), str):
            raise _wrong(source, f"column {position} has no `name`")
        name, kind, target = column["name"], column.get("dataType"), column.get("targetDataType", "")
        if not isinstance(kind, str) or kind not in _CELLS:
            raise _wrong(source, f"column {name} has no known `dataType`; known are {', '.join(_CELLS)}")
        if target not in _TARGETS:
            raise _wrong(source, f"column {name} has a `targetDataType` that is neither integer nor decimal")
        found.append((name, kind))
    check_names(source, [name for name, _ in found])
    return found


def _column(source: Source, name: str, kind: str, cells: list[Any], pa: Any) -> Any:
    allowed = _CELLS[kind]
    for cell in cells:
        # in Python a bool is an int; in the standard it is not
        if cell is not None and (not isinstance(cell, allowed) or (isinstance(cell, bool) and bool not in allowed)):
            raise _wrong(source, f"column {name} holds cells that are not of its `dataType` {kind}")
    if kind in ("integer", "float", "double"):
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    if kind == "boolean":
        return pa.array(cells, pa.bool_())
    # a decimal is text that the dictionary may ask for as a number
    return pa.array(cells, pa.string())
