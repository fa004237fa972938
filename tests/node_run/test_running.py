"""A node at work in this process: ready, informed, renewed, ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import AuthenticationError, ConfigError, IsthmusError
from isthmus.v1 import exchange_pb2, study_pb2
from isthmus_node import config, running
from isthmus_node.egress.journal_read import read, verify
from isthmus_node.homes import Home, find_home
from isthmus_node.link.channel import Timing
from isthmus_node.running import Node
from isthmus_node.witness.own import Checkpoints
from isthmus_trust.certificates import read_chain
from isthmus_trust.documents import STUDY, canonical
from isthmus_trust.identity import IdentityKey

PATIENCE = 30.0


class Running:
    """A node on a thread of its own, and what it said."""

    def __init__(self, home: Home, log: Any, timing: Timing, env: dict[str, str]) -> None:
        self.said: list[str] = []
        self.standing = home.standing
        self.stood: list[bool] = []  # whether `status` would have said attached when each line was said
        self.is_ready = threading.Event()
        self.raised: list[BaseException] = []
        self.node = Node(config.load(home, {}, env), log, timing=timing, say=self._say)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _say(self, line: str) -> None:
        self.said.append(line)
        self.stood.append(self.standing.exists() and json.loads(self.standing.read_text())["attached"])
        self.is_ready.set()

    def _run(self) -> None:
        try:
            self.node.run()
        except IsthmusError as error:
            self.raised.append(error)

    def wait_ready(self) -> None:
        assert self.is_ready.wait(PATIENCE)

    def end(self) -> None:
        self.node.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def home(isthmus_node: Callable[..., Any], token_file: Path, tmp_path: Path) -> Home:
    assert isthmus_node("join", token_file).code == 0
    return find_home(tmp_path / "home", {})


@pytest.fixture
def start(home: Home, lines: Any, fast: Timing) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def make(**env: str) -> Running:
        started.append(Running(home, lines.log, fast, env))
        return started[-1]

    yield make
    for one in started:
        one.end()


def until(happened: Callable[[], bool]) -> None:
    """Wait, without a fixed sleep, for what another thread does."""
    tick = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if happened():
            return
        tick.wait(0.02)
    raise AssertionError("it did not happen")


def test_node_says_ready_once_it_is_attached(start: Callable[..., Running], coordinator: Any, home: Home) -> None:
    started = start()
    started.wait_ready()
    assert started.said == [f"ready nl -> {coordinator.address}"]
    assert started.stood == [True]
    started.end()
    assert started.raised == []
    assert not home.standing.exists()
    assert [entry.record.event for entry in read(home.journal)] == ["STARTED", "POLICY"]


def test_status_says_nothing_old_where_the_disk_takes_nothing_new(
    start: Callable[..., Running],
    coordinator: Any,
    home: Home,
    isthmus_node: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start().wait_ready()
    until(home.standing.exists)
    assert "attached" in isthmus_node("status").out

    def full(path: Path, content: bytes) -> None:
        raise ConfigError("FILE_NOT_WRITTEN", f"{path.name}: no space left on device", "make room")

    monkeypatch.setattr(running, "replace", full)
    coordinator.stop()
    until(lambda: not home.standing.exists())
    said = isthmus_node("status").out
    assert "where it stands is not written down" in said
    assert isthmus_node("status", "--json").data["attached"] is False


def test_node_away_from_its_coordinator_is_not_ready_and_says_why(
    start: Callable[..., Running], coordinator: Any, lines: Any
) -> None:
    coordinator.stop()
    started = start()
    until(lambda: bool(lines.named("detached")))
    assert started.said == []
    assert lines.named("detached")[0]["code"] == "CONNECTION_REFUSED"


def test_decision_made_while_the_node_runs_is_sent(
    start: Callable[..., Running],
    coordinator: Any,
    home: Home,
    isthmus_node: Callable[..., Any],
    study_of: Callable[..., study_pb2.Study],
) -> None:
    us = study_pb2.Participant(
        node="nl",
        country="NL",
        identity_key=IdentityKey.load(home.identity_key).public,
        custodian_key=IdentityKey.load(home.pki / "custodian.key").public,
    )
    signed = IdentityKey.generate().sign(STUDY, canonical(study_of([us])))
    coordinator.exchange.orders = [exchange_pb2.CoordinatorMessage(study=signed)]
    start().wait_ready()
    until(lambda: isthmus_node("status", "--json").data["studies_to_decide"] == ["TEST version 1"])
    approved = isthmus_node("approve", "TEST", "--json").data
    assert approved["node_running"] is True
    assert coordinator.exchange.got.acquire(timeout=PATIENCE)
    decision = study_pb2.Decision.FromString(coordinator.exchange.decisions[0].decision.body)
    assert decision.approved
    until(lambda: "APPROVED" in [entry.record.event for entry in read(home.journal)])


def test_certificate_is_renewed_when_due_and_used_at_once(
    start: Callable[..., Running],
    coordinator: Any,
    home: Home,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = read_chain(home.certificate.read_bytes())[0].serial_number
    due = [True]
    monkeypatch.setattr(running, "renewal_due", lambda chain, now: due and due.pop())
    start().wait_ready()
    until(lambda: len(coordinator.exchange.hellos) == 2)
    assert len(coordinator.exchange.renewals) == 1
    assert read_chain(home.certificate.read_bytes())[0].serial_number != before
    assert lines.named("certificate-renewed")


def test_renewal_that_fails_is_said_and_the_node_goes_on(
    start: Callable[..., Running],
    coordinator: Any,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coordinator.exchange.issues_to = "de"
    monkeypatch.setattr(running, "renewal_due", lambda chain, now: True)
    started = start()
    started.wait_ready()
    until(lambda: bool(lines.named("certificate-not-renewed")))
    assert started.thread.is_alive()


def test_revoked_node_ends_with_what_the_coordinator_said(start: Callable[..., Running], coordinator: Any) -> None:
    coordinator.exchange.refusal = AuthenticationError("REVOKED", "node nl was taken off the roster", "ask")
    started = start()
    started.thread.join(PATIENCE)
    (error,) = started.raised
    assert isinstance(error, AuthenticationError)
    assert error.code == "REVOKED"
    assert started.said == []


def test_health_is_served_where_a_port_is_set(start: Callable[..., Running], lines: Any) -> None:
    import socket
    import urllib.request

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start(ISTHMUS_HEALTH_PORT=str(port)).wait_ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert "isthmus_node_attached 1" in text
    assert "isthmus_node_certificate_seconds_left" in text


def spoil_policy(home: Home) -> None:
    home.policy.write_text("[purpose.publication]\ncell_persns = 11\n")


def spoil_journal(home: Home) -> None:
    home.journal.mkdir(exist_ok=True)
    (home.journal / "journal").write_bytes(b"something else\n")


def spoil_key(home: Home) -> None:
    home.identity_key.chmod(0o644)


def spoil_certificate(home: Home) -> None:
    home.certificate.unlink()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (spoil_policy, "POLICY_UNKNOWN_KEY"),
        (spoil_journal, "JOURNAL_DAMAGED"),
        (spoil_key, "KEY_OPEN_TO_OTHERS"),
        (spoil_certificate, "NOT_JOINED"),
    ],
)
def test_node_does_not_start_on_what_is_spoilt(
    home: Home, lines: Any, fast: Timing, spoil: Callable[[Home], None], code: str, coordinator: Any
) -> None:
    spoil(home)
    with pytest.raises(ConfigError) as caught:
        Node(config.load(home, {}, {}), lines.log, timing=fast).run()
    assert caught.value.code == code
    assert coordinator.exchange.hellos == [], "it never dialled"


def test_journal_shorter_than_what_was_signed_for_does_not_start(home: Home, start: Callable[..., Running]) -> None:
    """A journal put back from an older copy, its checkpoints left as they were: nothing leaves on it."""
    first = start()
    first.wait_ready()
    path = home.journal / "journal"
    older = path.read_bytes()
    first.end()
    own = Checkpoints(home.checkpoints, "nl", IdentityKey.load(home.identity_key).public)
    second = start()
    second.wait_ready()
    second.end()
    found = verify(home.journal)
    own.make(IdentityKey.load(home.identity_key), found.records, found.tree.root(), 10**18)
    path.write_bytes(older)
    third = start()
    third.thread.join(PATIENCE)
    (error,) = third.raised
    assert isinstance(error, ConfigError)
    assert error.code == "JOURNAL_CUT_BACK"
    assert path.read_bytes() == older
