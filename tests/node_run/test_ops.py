"""Logs, word to the service manager, health."""

from __future__ import annotations

import ast
import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import isthmus_node
from isthmus.errors import ConfigError
from isthmus.event_log import LEVELS, SHARED
from isthmus_node.homes import find_home, is_running, only_one
from isthmus_node.ops.health import Health, exposition
from isthmus_node.ops.logs import EVENTS, Log
from isthmus_node.ops.notify import Notifier

FOLDER = Path(isthmus_node.__file__).parent

# --------------------------------------------------------------------------- logs


def line_of(level: str, name: str, **keys: Any) -> dict[str, Any] | None:
    stream = io.StringIO()
    Log(level, stream, lambda: datetime(2026, 11, 22, 12, 0, tzinfo=UTC)).event(name, **keys)
    return json.loads(stream.getvalue()) if stream.getvalue() else None


def test_event_is_one_line_of_json_with_its_own_keys() -> None:
    assert line_of("info", "attached", coordinator="c", address="c:1", software="0.1.0") == {
        "at": "2026-11-22T12:00:00.000+00:00",
        "level": "info",
        "event": "attached",
        "coordinator": "c",
        "address": "c:1",
        "software": "0.1.0",
    }


def test_key_that_is_not_listed_is_not_written() -> None:
    line = line_of("info", "released", task="t", patient="P17")
    assert line is not None
    assert "P17" not in json.dumps(line)


def test_event_that_is_not_listed_has_no_keys() -> None:
    line = line_of("info", "surprise", task="P17")
    assert line is not None
    assert (set(line), line["event"]) == ({"at", "level", "event"}, "undeclared-event")


def test_level_below_the_least_is_not_written() -> None:
    assert line_of("info", "acknowledged", task="t") is None
    assert line_of("debug", "acknowledged", task="t") is not None


def test_long_text_is_cut() -> None:
    line = line_of("info", "detached", code="X", message="m" * 10_000, remedy="")
    assert line is not None
    assert len(line["message"]) < 1000


def test_terminal_gets_a_line_for_people() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    Log("info", stream).event("attached", coordinator="c", address="c:1", software="0.1.0")
    assert "attached  coordinator=c" in stream.getvalue()


def calls_of_event() -> Iterator[tuple[str, str, set[str]]]:
    """Every call of `event` and of its wrapper in the node's source: where, name, keys."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("event", "_log", "failure") and node.args and isinstance(node.args[0], ast.Constant):
                keys = {keyword.arg for keyword in node.keywords if keyword.arg}
                if node.args[0].value not in (
                    "work",
                    "answer",
                    "witness",
                ):  # places, under which only a fault can be written
                    yield f"{path.name}:{node.lineno}", str(node.args[0].value), keys


def test_every_event_in_the_source_is_listed_with_its_keys() -> None:
    found = list(calls_of_event())
    assert len(found) > 15
    wrong = [
        (where, name, keys - set(EVENTS[name][1]) if name in EVENTS else "not listed")
        for where, name, keys in found
        if name not in EVENTS or keys - set(EVENTS[name][1])
    ]
    assert wrong == []


def test_every_listed_event_is_used_with_all_its_keys() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py") if path.name != "logs.py")
    assert [name for name in EVENTS if f'"{name}"' not in source] == []
    used: dict[str, set[str]] = {}
    for _, name, keys in calls_of_event():
        used.setdefault(name, set()).update(keys)
    error = {"code", "message", "remedy"}
    # where an error is passed on as a whole its keys are not spelt out
    assert {n: set(EVENTS[n][1]) - keys - error for n, keys in used.items() if set(EVENTS[n][1]) - keys - error} == {}


def test_every_listed_event_has_a_level() -> None:
    assert {level for level, _ in {**SHARED, **EVENTS}.values()} <= set(LEVELS)


# --------------------------------------------------------------------------- word to the service manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(10)
        yield address, lambda: server.recv(4096).decode().split("\n")


def test_manager_is_told_ready_alive_and_stopping(manager: tuple[str, Callable[[], list[str]]]) -> None:
    address, heard = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for say, lines in (
        (lambda: notifier.ready("attached"), ["READY=1", "STATUS=attached"]),
        (notifier.alive, ["WATCHDOG=1"]),
        (lambda: notifier.still_starting(30, "waiting"), ["EXTEND_TIMEOUT_USEC=30000000", "STATUS=waiting"]),
        (notifier.stopping, ["STOPPING=1"]),
    ):
        say()
        assert heard() == lines


def test_no_manager_is_no_fault(tmp_path: Path) -> None:
    Notifier({}).ready("attached")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "absent")}).ready("attached")


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_answered_at_half_its_time(env: dict[str, str], seconds: float | None) -> None:
    assert Notifier(env).alive_seconds == seconds


# --------------------------------------------------------------------------- health


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_follows_the_node() -> None:
    attached = [False]
    health = Health(0, lambda: attached[0], lambda: {"isthmus_node_tasks_total": 3})
    try:
        assert get(health.port, "/healthz") == (200, "ok\n")
        assert get(health.port, "/readyz")[0] == 503
        attached[0] = True
        assert get(health.port, "/readyz")[0] == 200
        assert "isthmus_node_tasks_total 3\n" in get(health.port, "/metrics")[1]
        assert get(health.port, "/rows")[0] == 404
    finally:
        health.close()


def test_health_listens_on_loopback_only() -> None:
    health = Health(0, lambda: True, dict)
    try:
        assert health._server.server_address[0] == "127.0.0.1"
    finally:
        health.close()


def test_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError) as caught:
        Health(taken.getsockname()[1], lambda: True, dict)
    assert caught.value.code == "PORT_IN_USE"
    assert "health.port" in caught.value.remedy


def test_metrics_say_their_kind() -> None:
    assert exposition({"b_total": 1, "a": 2}) == "# TYPE a gauge\na 2\n# TYPE b_total counter\nb_total 1\n"


def test_metrics_count_work_and_nothing_of_a_study(site: Any) -> None:
    site.ask(site.task())
    site.ask(site.task(analysis="x"))
    figures = site.service.figures()
    assert figures["isthmus_node_releases_total"] == 1
    assert figures["isthmus_node_refusals_total"] == 1
    assert figures["isthmus_node_bytes_out_total"] == sum(len(payload) for payload in site.wire.submitted)
    assert set(figures) == {f"isthmus_node_{name}_total" for name in ("tasks", "releases", "refusals", "bytes_out")}


# --------------------------------------------------------------------------- one node a home


def test_home_is_held_by_one_node(tmp_path: Path) -> None:
    home = find_home(tmp_path, {})
    home.make()
    assert not is_running(home)
    with only_one(home):
        assert is_running(home)
        with pytest.raises(ConfigError) as caught, only_one(home):
            pass
        assert caught.value.code == "RUNNING_ALREADY"
    assert not is_running(home)


# --------------------------------------------------------------------------- what a start loads


def test_idle_node_loads_no_library_it_does_not_need() -> None:
    heavy = ("pandas", "pyarrow", "matplotlib", "sqlalchemy", "pyreadstat", "formulaic", "dask", "flwr", "starlette")
    program = (
        "import sys, isthmus_node.cli, isthmus_node.running;"
        f"print([m for m in {heavy!r} if m in sys.modules], __import__('os').environ['OPENBLAS_NUM_THREADS'])"
    )
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "[] 1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.processes
def test_node_process_says_ready_and_ends_in_order(
    isthmus_node: Callable[..., Any],
    token_file: Path,
    coordinator: Any,
    tmp_path: Path,
    manager: tuple[str, Callable[[], list[str]]],
    number: signal.Signals,
) -> None:
    isthmus_node("join", token_file)
    address, heard = manager
    env = {**os.environ, "ISTHMUS_HOME": str(tmp_path / "home"), "NOTIFY_SOCKET": address}
    with subprocess.Popen(
        [sys.executable, "-m", "isthmus_node", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"ready nl -> {coordinator.address}\n"
            while (said := heard())[0] != "READY=1":
                assert said[0].startswith("EXTEND_TIMEOUT_USEC=")
            assert isthmus_node("status", "--json").data["attached"] is True
            second = subprocess.run(
                [sys.executable, "-m", "isthmus_node", "run"], capture_output=True, text=True, env=env, timeout=60
            )
            assert (second.returncode, "RUNNING_ALREADY" in second.stderr) == (10, True)
            process.send_signal(number)
            assert process.wait(60) == 0
            assert process.stderr is not None
            events = [json.loads(line)["event"] for line in process.stderr.read().splitlines()]
        finally:
            if process.poll() is None:
                process.kill()
    assert events[-1] == "stopping"
    assert {"starting", "attached"} <= set(events)
    assert isthmus_node("status", "--json").data["running"] is False


@pytest.mark.processes
def test_node_process_ends_with_what_stands_against_it(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path
) -> None:
    isthmus_node("join", token_file)
    coordinator.exchange.software = "7.0.0"
    done = subprocess.run(
        [sys.executable, "-m", "isthmus_node", "run"],
        capture_output=True,
        text=True,
        env={**os.environ, "ISTHMUS_HOME": str(tmp_path / "home")},
        timeout=60,
    )
    assert done.returncode == 16
    assert "7.0.0" in done.stderr
    assert done.stdout == "", "never ready"
