"""Bundles with any bytes changed: an error that says what is wrong, or a run that does not hold; never a crash."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from bundle_kit import Region, rewrite

from isthmus.errors import ConfigError
from isthmus.v1 import journal_pb2
from isthmus_client.replay import Outcome, read_bundles, replay
from isthmus_client.replay.faults import Fault
from isthmus_trust import verifier

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Region:
    made = Region(tmp_path_factory.mktemp("region"))
    made.approve()
    assert made.run("crosstab, exact").state == "done"
    return made


@pytest.fixture(scope="module")
def bundle(region: Region) -> Path:
    return region.sites["CN"].export(region.folder / "bundle")


def changed(content: bytes, place: float, byte: int) -> bytes:
    where = int(place * (len(content) - 1))
    return content[:where] + bytes([content[where] ^ byte]) + content[where + 1 :]


@few
@given(place=st.floats(0, 1), byte=st.integers(1, 255), data=st.data())
def test_any_changed_byte_of_any_file_is_found(
    bundle: Path, tmp_path: Path, place: float, byte: int, data: st.DataObject
) -> None:
    names = sorted(p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file() and p.stat().st_size)
    name = data.draw(st.sampled_from(names))
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    shutil.copytree(bundle, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.write_bytes(changed(path.read_bytes(), place, byte))
    with pytest.raises((Fault, ConfigError)):
        read_bundles([tmp_path / "copy"])


PARTS: dict[str, Callable[[journal_pb2.Record, bytes, Callable[[bytes], bytes]], bytes]] = {
    "document": lambda record, payload, change: _in_document(record, payload, change),
    "payload": lambda record, payload, change: change(payload),
}


def _in_document(record: journal_pb2.Record, payload: bytes, change: Callable[[bytes], bytes]) -> bytes:
    record.document = change(record.document)
    return payload


@few
@given(part=st.sampled_from(sorted(PARTS)), place=st.floats(0, 1), byte=st.integers(1, 255))
def test_signed_bytes_that_were_changed_by_the_site_itself_do_not_hold(
    region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, place: float, byte: int
) -> None:
    """With the verifier out of the way: what replay itself looks at."""
    shutil.rmtree(tmp_path / "homes", ignore_errors=True)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    site = replace(region.sites["JP"], folder=shutil.copytree(region.sites["JP"].folder, tmp_path / "homes"))

    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event == "RELEASED":
            payload = PARTS[part](record, payload, lambda content: changed(content, place, byte))
        return record, payload

    rewrite(site, change)
    monkeypatch.setattr(verifier, "verify", lambda *_, **__: [])
    (judged,) = replay(read_bundles([site.export(tmp_path / "out" / "jp")]))
    assert judged.replayed.outcome is Outcome.FAILED
    assert "of jp" in judged.replayed.why
