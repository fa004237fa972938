"""The way to the database: durable writes one after the other, reads beside them, the shape brought up to date."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from isthmus.errors import ConfigError, LinkError

# How long a write waits for another process that writes, in milliseconds.
BUSY_MS = 10_000


class Database:
    """One store. `write` gives a transaction that is on disk when the block ends; `read` sees what was committed."""

    def __init__(self, url: str) -> None:
        self._url = _checked(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        # SQLite has one writer at a time: waiting here costs nothing, its own waiting sleeps
        self._writing = threading.Lock() if self._sqlite else contextlib.nullcontext()
        self._engine = _sqlite_engine(self._url) if self._sqlite else _postgresql_engine(self._url)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable once the block has ended, and has left nothing if the block raised.

        Raises
        ------
        LinkError
            ``STORE_UNAVAILABLE`` where the database does not take it (disk full, server gone): may be tried again.
        """
        with self._writing, _spoken_for():
            options = {"isthmus_begin": "BEGIN IMMEDIATE"} if self._sqlite else {}
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading. Errors as `write`."""
        with _spoken_for(), self._engine.connect() as connection:
            yield connection

    def upgrade(self) -> None:
        """Bring the shape of the store up to the newest migration."""
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        try:
            with _spoken_for(), self._engine.connect() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
        except CommandError as error:
            raise ConfigError(
                "STORE_IS_NEWER",
                "the database was written by a newer release of isthmus than this one",
                "run the newer release, or restore the backup taken before the upgrade",
            ) from error

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for tests of the shape."""
        return self._engine


@contextlib.contextmanager
def _spoken_for() -> Iterator[None]:
    """The driver's errors as ours, without its text: it may quote what was stored."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise LinkError(
            "STORE_UNAVAILABLE",
            f"the coordinator's database did not take or give what was asked ({type(error.orig).__name__})",
            "see whether its disk is full or its server is down; it is tried again",
        ) from error


def _checked(text: str) -> URL:
    try:
        url = make_url(text)
        if url.get_backend_name() == "postgresql":
            return url.set(drivername="postgresql+psycopg")
        if url.drivername == "sqlite":
            return url
    except (ArgumentError, SQLAlchemyError) as error:
        raise _bad_url() from error
    raise _bad_url()


def _bad_url() -> ConfigError:
    # the text itself is not shown: it may hold a password
    return ConfigError(
        "DATABASE_URL",
        "the database URL is not one the coordinator can use; rule: sqlite:///PATH or postgresql://USER@HOST/NAME",
        "correct `database` in coordinator.toml, or ISTHMUS_COORDINATOR_DATABASE",
    )


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        # made here, so that it is never readable by others; what SQLite puts beside it gets the same mode
        try:
            os.close(os.open(url.database, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise ConfigError(
                "DATABASE_FILE",
                f"the database file {url.database} cannot be opened: {error.strerror}",
                "see whether its folder exists and belongs to this user",
            ) from error
    engine = create_engine(url, pool_size=8, max_overflow=56, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        # transactions begin where we say, not where the driver guesses
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("isthmus_begin", "BEGIN"))

    return engine


def _postgresql_engine(url: URL) -> Engine:
    return create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True)
