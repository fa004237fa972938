"""From a country's files and databases to typed columns: one file a format, and `read`, which finds the right one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from isthmus.v1 import study_pb2
from isthmus_node.sources.rows import Rows
from isthmus_node.sources.source import FORMATS, Source, detect
from isthmus_node.sources.table import Table
from isthmus_node.sources.typed import Conversion, convert, needed_columns, table_of, typed

__all__ = [
    "FORMATS",
    "Conversion",
    "Rows",
    "Source",
    "Table",
    "convert",
    "detect",
    "needed_columns",
    "read",
    "table_from_csv",
    "table_of",
    "typed",
]


def read(source: Source, columns: Collection[str] | None = None) -> Rows:
    """The rows of a source. `columns`: names worth reading; None for all.

    Raises `DataError` (no table, empty, cut off, wrong encoding, ...) and never quotes a value.
    """
    # a format's libraries load when a source of that format is read
    match detect(source):
        case "parquet":
            from isthmus_node.sources import parquet

            return parquet.read(source, columns)
        case "xpt":
            from isthmus_node.sources import xpt

            return xpt.read(source, columns)
        case "dataset-json":
            from isthmus_node.sources import dataset_json

            return dataset_json.read(source, columns)
        case "sql":
            from isthmus_node.sources import sql

            return sql.read(source, columns)
        case _:
            from isthmus_node.sources import csv

            return csv.read(source, columns)


def table_from_csv(path: Path | str, dictionary: study_pb2.Dataset, country: str) -> Table:
    """A CSV file as typed columns, in one call: for tests and rehearsals."""
    return typed(read(Source(str(path), format="csv"), needed_columns(dictionary)), dictionary, country)
