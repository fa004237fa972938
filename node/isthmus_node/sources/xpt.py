"""SAS transport files: version 5 as regulators ask for it (read by pandas), version 8 (read by pyreadstat)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from isthmus.errors import DataError
from isthmus_node.sources.rows import Rows
from isthmus_node.sources.source import Source, check_names, first_bytes, unreadable, wrong_encoding

# Every record of the format is of this length.
_RECORD = 80
_CHUNK = 100_000
# By version: the headers before the descriptions of the columns, and before the rows.
_NAMES = {
    5: (b"HEADER RECORD*******NAMESTR HEADER RECORD!!!!!!!", b"HEADER RECORD*******OBS     HEADER RECORD!!!!!!!"),
    8: (b"HEADER RECORD*******NAMSTV8 HEADER RECORD!!!!!!!", b"HEADER RECORD*******OBSV8   HEADER RECORD!!!!!!!"),
}
# Length of one description, and where in it the column's width in bytes stands (big-endian, 16 bits).
_NAMESTR, _WIDTH_AT = 140, 4
# The descriptions of 65,535 columns with the longest labels end before this.
_HEADERS = 64 * 1024 * 1024
# pandas reads a SAS zero, whose exponent and fraction are all zero bits, as 16^-65. CNSR = 0 is an event: this matters.
_TINY = 1e-77


def read(source: Source, columns: Collection[str] | None = None) -> Rows:
    """The rows of the first dataset in a transport file; dates stay numbers of days. Raises `DataError`."""
    start = first_bytes(source, _RECORD)
    if start.startswith(b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"):
        version = 5
    elif start.startswith(b"HEADER RECORD*******LIBV8   HEADER RECORD!!!!!!!"):
        version = 8
    else:
        raise unreadable(
            source,
            "NOT_A_TABLE",
            "the file is no SAS transport file of version 5 or 8",
            "make it with PROC COPY and the XPORT engine, or %LOC2XPT; CPORT files are not readable outside SAS",
        )
    _check_end(source, *_NAMES[version])
    try:
        frame = _version_5(source) if version == 5 else _version_8(source)
    except UnicodeDecodeError:
        raise wrong_encoding(source) from None
    names = [str(name) for name in frame.columns]
    check_names(source, names)
    return Rows.from_columns({name: _column(frame[name]) for name in names if columns is None or name in columns})


def _check_end(source: Source, names: bytes, rows: bytes) -> None:
    """Raises `DataError` where the file does not end with a row and the blanks that fill up its last record.

    The libraries read such a file without a word, short of its last rows.

    Source: SAS technical note TS-140 (version 5) and its successor for version 8, layout of the NAMESTR record.
    """
    size = source.path.stat().st_size
    with source.path.open("rb") as file:
        start = file.read(_HEADERS)
        described, first = start.find(names) + _RECORD, start.find(rows) + _RECORD
        if start.count(names) > 1:
            raise unreadable(
                source, "SEVERAL_TABLES", "the transport file holds several datasets", "export one dataset a file"
            )
        count = start[described - _RECORD + 48 : described - _RECORD + 58]
        if size % _RECORD or described < _RECORD or first < described or not count.isdigit():
            raise _truncated(source)
        width = sum(
            int.from_bytes(start[place + _WIDTH_AT : place + _WIDTH_AT + 2], "big")
            for place in range(described, described + int(count) * _NAMESTR, _NAMESTR)
        )
        if not width:
            raise _truncated(source)
        file.seek(size - (size - first) % width)
        if file.read().strip(b" "):
            raise _truncated(source)


def _truncated(source: Source) -> DataError:
    return unreadable(
        source,
        "TRUNCATED",
        "the transport file is cut off or damaged: it does not end where a row ends",
        "copy the file again in binary mode",
    )


def _version_5(source: Source) -> Any:
    import pandas as pd

    try:
        with pd.read_sas(source.path, format="xport", encoding=source.encoding, chunksize=_CHUNK) as reader:
            chunks = list(reader)
    except UnicodeDecodeError:
        raise
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, AttributeError):
        # what pandas raises where a header it counts on is not there
        raise _truncated(source) from None
    return pd.concat(chunks, ignore_index=True) if len(chunks) != 1 else chunks[0]


def _version_8(source: Source) -> Any:
    import pyreadstat

    try:
        frame, _ = pyreadstat.read_xport(
            source.path, encoding=source.encoding.upper(), disable_datetime_conversion=True
        )
    except UnicodeDecodeError:
        raise
    except pyreadstat.ReadstatError:
        raise _truncated(source) from None
    return frame


def _column(series: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    if series.dtype.kind in "fiu":
        values = series.to_numpy(dtype=np.float64, copy=True)
        values[np.abs(values) < _TINY] = 0.0
        return pa.array(values, from_pandas=True)
    return pa.array(series, pa.string(), from_pandas=True)
