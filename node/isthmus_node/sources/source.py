"""Where rows come from: a file or a database, and how its format is told from its first bytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import DataError

FORMATS = ("csv", "parquet", "xpt", "dataset-json", "sql")

_XPT = b"HEADER RECORD*******"
# First bytes of files that people hand over by mistake, and what to say.
_NO_TABLES = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"$FL2": "an SPSS file",
    b"SQLite format 3": "an SQLite database",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file or a database that holds one dataset.

    `location` is a path, or a SQLAlchemy URL without a password. The password of a database stands in the environment
    variable `password_variable`, or in the file that `password_variable` + ``_FILE`` names; never here.
    """

    location: str
    format: str = ""  # one of FORMATS; empty: told from the content
    encoding: str = "utf-8"  # of the text in CSV and XPT files
    delimiter: str = ","  # of a CSV file
    missing: tuple[str, ...] = ()  # texts of a CSV file that mean "missing" beside the empty field
    table: str = ""  # SQL: a table or view, or
    query: str = ""  # SQL: a single SELECT
    password_variable: str = "ISTHMUS_SQL_PASSWORD"  # noqa: S105 (the name of a variable, no password)

    @property
    def is_database(self) -> bool:
        return self.format == "sql" or (not self.format and "://" in self.location)

    @property
    def path(self) -> Path:
        return Path(self.location)

    @property
    def name(self) -> str:
        """What to call the source in a message: the file's name, or the database without user and password."""
        if not self.is_database:
            return self.path.name
        scheme, _, rest = self.location.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def unreadable(source: Source, code: str, happened: str, remedy: str) -> DataError:
    """The error for a source that cannot be read; names the file, never anything in it."""
    return DataError(code, f"{source.name}: {happened}", remedy)


def wrong_encoding(source: Source) -> DataError:
    return unreadable(
        source,
        "WRONG_ENCODING",
        f"the file is not {source.encoding} text",
        "name its encoding when adding it, e.g. `--encoding latin-1` or `--encoding gb18030`",
    )


def check_names(source: Source, names: Collection[str]) -> None:
    """Raises `DataError` where a column has no name, or two have the same."""
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise unreadable(
                source, "NO_COLUMN_NAME", f"column {position} has no name", "name every column in the header"
            )
        if name in seen:
            raise unreadable(
                source, "DUPLICATE_COLUMN", f"two columns are named {name!r}", "give every column a name of its own"
            )
        seen.add(name)


def first_bytes(source: Source, length: int = 4096) -> bytes:
    """The first bytes of the file. Raises `DataError` where there is no such file, or nothing in it."""
    try:
        with source.path.open("rb") as file:
            start = file.read(length)
    except FileNotFoundError:
        raise unreadable(source, "NO_SUCH_FILE", "there is no such file", "correct the path") from None
    except IsADirectoryError:
        raise unreadable(source, "NOT_A_TABLE", "this is a folder", "name one file in it") from None
    except PermissionError:
        raise unreadable(
            source,
            "FILE_NOT_READABLE",
            "the node's user may not read the file",
            "give the user that runs the node read permission",
        ) from None
    if not start:
        raise unreadable(source, "EMPTY_FILE", "the file is empty (0 bytes)", "export it again")
    return start


def detect(source: Source) -> str:
    """The format of a source: as declared, or told from its content.

    Raises `DataError` where the file is of no format that is read here.
    """
    if source.format:
        if source.format not in FORMATS:
            raise unreadable(
                source,
                "UNKNOWN_FORMAT",
                f"format {source.format!r} is not known",
                f"use one of {', '.join(FORMATS)}, or leave it out",
            )
        return source.format
    if source.is_database:
        return "sql"
    start = first_bytes(source)
    for magic, words in _NO_TABLES.items():
        if start.startswith(magic):
            raise unreadable(
                source,
                "NOT_A_TABLE",
                f"the file is {words}, not a table",
                "export the dataset as CSV, Parquet, XPT or Dataset-JSON",
            )
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(_XPT):
        return "xpt"
    # a byte order mark is allowed before the text formats
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        return "dataset-json"
    if text.startswith(b"<"):
        raise unreadable(
            source,
            "NOT_A_TABLE",
            "the file is XML or HTML, not a table",
            "export the dataset as CSV, Parquet, XPT or Dataset-JSON",
        )
    if b"\0" in start:
        raise unreadable(
            source,
            "NOT_A_TABLE",
            "the file is neither text nor a known table format",
            "export the dataset as CSV, Parquet, XPT or Dataset-JSON",
        )
    return "csv"
