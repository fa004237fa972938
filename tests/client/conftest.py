"""A study as a coordinator would hand it over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_coordinator import FakeCoordinator, serve, write_profile

from isthmus.v1 import study_pb2
from isthmus_client.connection import Connection, connect
from isthmus_client.formula import Dictionary

V = study_pb2.Variable


def _variable(name: str, type_: int, **more: object) -> study_pb2.Variable:
    return study_pb2.Variable(name=name, type=type_, **more)


@pytest.fixture
def dataset() -> study_pb2.Dataset:
    return study_pb2.Dataset(
        name="ADTTE",
        subject="USUBJID",
        variables=[
            _variable("USUBJID", V.TEXT, roles=[V.IDENTIFIER]),
            _variable("AVAL", V.NUMERIC, unit="days", grid=1.0),
            _variable("ASTDY", V.INTEGER, unit="days"),
            _variable("CNSR", V.INTEGER, minimum=0, maximum=3),
            _variable("DTH", V.INTEGER, minimum=0, maximum=1),
            _variable("TRT01P", V.FACTOR, levels=["Placebo", "High"], roles=[V.TREATMENT_ARM]),
            _variable("SEX", V.FACTOR, levels=["F", "M"]),
            _variable("LINE", V.FACTOR, levels=["1", "2", "3"]),
            _variable("ECOG", V.INTEGER, levels=["0", "1", "2"]),
            _variable("AGE", V.NUMERIC, unit="years", minimum=18, maximum=110),
            _variable("CRP", V.NUMERIC, unit="mg/l"),
            _variable("SITEID", V.FACTOR, levels=["01", "02"]),
            _variable("COUNTRY", V.FACTOR, levels=["NL", "BE"], roles=[V.COUNTRY]),
            _variable("NOTES", V.TEXT),
            _variable("RANDDT", V.DATE),
        ],
    )


@pytest.fixture
def dictionary(dataset: study_pb2.Dataset) -> Dictionary:
    return Dictionary.of(dataset)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCoordinator]:
    """A coordinator in this process."""
    coordinator, server = serve(tmp_path)
    yield coordinator
    server.stop(None).wait()


@pytest.fixture
def profile(fake: FakeCoordinator, tmp_path: Path) -> Path:
    """A profile that may speak to it."""
    return write_profile(fake, tmp_path / "profile")


@pytest.fixture
def connection(profile: Path) -> Iterator[Connection]:
    with connect(profile=str(profile)) as connected:
        yield connected
