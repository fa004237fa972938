"""Parquet files."""

from __future__ import annotations

from collections.abc import Collection

from isthmus_node.sources.rows import Rows
from isthmus_node.sources.source import Source, check_names, first_bytes, unreadable


def read(source: Source, columns: Collection[str] | None = None) -> Rows:
    """The rows of a Parquet file. Raises `DataError` where it is none, or cut off."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not first_bytes(source).startswith(b"PAR1"):
        raise unreadable(
            source, "NOT_A_TABLE", "the file is no Parquet file", "leave the format out, or export it as Parquet"
        )
    try:
        with pq.ParquetFile(source.path) as file:
            names = file.schema_arrow.names
            check_names(source, names)
            return Rows(file.read(columns=[name for name in names if columns is None or name in columns]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        # the library's message may hold values
        raise unreadable(
            source, "TRUNCATED", "the Parquet file is cut off or damaged", "copy or export the file again"
        ) from None
