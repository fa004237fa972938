"""A table, or a single SELECT, of an SQLite or PostgreSQL database, read in a read-only transaction."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from isthmus.errors import ConfigError, DataError
from isthmus_node.sources.rows import Rows
from isthmus_node.sources.source import Source, check_names, unreadable

_BATCH = 50_000


def read(source: Source, columns: Collection[str] | None = None) -> Rows:
    """The rows of the source's `table` or `query`.

    Raises `ConfigError` for an address, a query or a password that cannot be used, `DataError` where the database
    says no. Neither the password nor the database's own words, which may quote values, are in a message.
    """
    import sqlalchemy as sa

    engine = _engine(source)
    try:
        statement = _statement(source)
        with engine.connect().execution_options(**_read_only(engine.dialect.name)) as connection:
            if engine.dialect.name == "sqlite":
                connection.execute(sa.text("PRAGMA query_only = ON"))
            result = connection.execution_options(stream_results=True).execute(statement)
            names = list(result.keys())
            check_names(source, names)
            kept = [place for place, name in enumerate(names) if columns is None or name in columns]
            cells: list[list[Any]] = [[] for _ in kept]
            while batch := result.fetchmany(_BATCH):
                for mine, place in zip(cells, kept, strict=True):
                    mine.extend([row[place] for row in batch])
    except sa.exc.SQLAlchemyError as problem:
        raise _failed(source, problem) from None
    finally:
        engine.dispose()
    return Rows.from_columns({names[place]: _column(mine) for mine, place in zip(cells, kept, strict=True)})


def _read_only(dialect: str) -> dict[str, Any]:
    return {"postgresql_readonly": True} if dialect == "postgresql" else {}


def _engine(source: Source) -> Any:
    import sqlalchemy as sa

    try:
        url = sa.make_url(source.location)
    except sa.exc.ArgumentError:
        raise ConfigError(
            "DATABASE_URL",
            "the database's address is no SQLAlchemy URL",
            "write it as postgresql://user@host:5432/database or sqlite:////path/to/file.db",
        ) from None
    if url.password is not None:
        raise ConfigError(
            "PASSWORD_IN_URL",
            "the database's address holds a password",
            f"take it out; put it into {source.password_variable}, or into a file named by "
            f"{source.password_variable}_FILE",
        )
    backend = url.get_backend_name()
    if backend == "postgresql":
        url = url.set(drivername="postgresql+psycopg", password=_password(source))
        return sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or not Path(url.database).is_file():
            raise unreadable(source, "NO_SUCH_FILE", "there is no such SQLite file", "correct the path")
        # `mode=ro`: the file is not even created or locked for writing
        path = Path(url.database).resolve().as_uri()
        return sa.create_engine(f"sqlite:///{path}?mode=ro&uri=true", poolclass=sa.NullPool, hide_parameters=True)
    raise ConfigError(
        "UNKNOWN_DATABASE",
        f"databases of kind {backend!r} are not read",
        "use PostgreSQL or SQLite, or export the dataset to a file",
    )


def _password(source: Source) -> str | None:
    """From the environment, or from the file it names; None where neither is set."""
    named = os.environ.get(f"{source.password_variable}_FILE")
    if named is not None:
        try:
            return Path(named).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError:
            raise ConfigError(
                "PASSWORD_FILE",
                f"the file that {source.password_variable}_FILE names cannot be read",
                "correct the path, or its owner and mode (0600)",
            ) from None
    return os.environ.get(source.password_variable)


def _statement(source: Source) -> Any:
    import sqlalchemy as sa

    if bool(source.table) == bool(source.query):
        raise ConfigError(
            "TABLE_OR_QUERY", "a database source needs a table or a query, one of the two", "name one of them"
        )
    if source.table:
        schema, _, table = source.table.rpartition(".")
        # quoted by the dialect: a name is a name and never SQL
        return sa.select(sa.text("*")).select_from(sa.table(table, schema=schema or None))
    query = source.query.strip().removesuffix(";")
    # comments out before the look at the first word
    bare = re.sub(r"--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL).strip()
    without_texts = re.sub(r"'(?:[^']|'')*'", "''", bare)
    if not re.match(r"(?i)(select|with)\b", bare) or ";" in without_texts:
        raise ConfigError(
            "NOT_A_SELECT", "the query is not a single SELECT", "write one SELECT statement; make a view for more"
        )
    # a colon in the query is part of it, not a parameter of ours
    return sa.text(query.replace(":", "\\:"))


def _failed(source: Source, problem: Any) -> DataError:
    cause = type(getattr(problem, "orig", None) or problem).__name__
    return unreadable(
        source,
        "DATABASE_FAILED",
        f"the database did not give the rows ({cause})",
        "check address, user, password, table and the right to read it with the database's own client",
    )


def _column(cells: list[Any]) -> Any:
    """A list of cells as one type: numbers if all are, text otherwise (SQLite columns may hold both)."""
    import datetime
    import decimal

    import pyarrow as pa

    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds and kinds <= {bool}:
        return pa.array(cells, pa.bool_())
    if kinds and kinds <= {int, float, decimal.Decimal}:
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64(), from_pandas=True)
    if kinds & {datetime.date, datetime.datetime}:
        cells = [cell.isoformat() if isinstance(cell, datetime.date) else cell for cell in cells]
    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
