"""What a process with rows must not do: trace, dump its memory, let libraries speak. In real processes, off and on."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.confined import TRACES, refuse_traces, traces_set
from isthmus.errors import ConfigError, DataError, Refused
from isthmus.event_log import EventLog

MARKER = "P17-129.587"
CALL = """
import grpc
from concurrent.futures import ThreadPoolExecutor
same = lambda b: b
def answer(request, context):
    context.set_trailing_metadata((("isthmus-message", "P17-129.587"),))
    return request
handler = grpc.method_handlers_generic_handler("S", {"m": grpc.unary_unary_rpc_method_handler(answer, same, same)})
server = grpc.server(ThreadPoolExecutor(1), handlers=(handler,))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    channel.unary_unary("/S/m")(b"x")
server.stop(None).wait()
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


# --------------------------------------------------------------------------- traces


def test_trace_of_grpc_writes_payloads_where_nobody_forbids_it() -> None:
    """Off: what the variables do to a process that starts all the same."""
    found = python(CALL, GRPC_TRACE="all", GRPC_VERBOSITY="debug")
    assert MARKER.encode() in found.stderr
    quiet = python(CALL, GRPC_TRACE="", GRPC_VERBOSITY="NONE")
    assert MARKER.encode() not in quiet.stderr


@pytest.mark.parametrize("command", [["isthmus_node", "run"], ["isthmus_coordinator", "run"]])
@pytest.mark.parametrize("name", ["GRPC_TRACE", "SSLKEYLOGFILE"])
def test_process_does_not_start_with_a_trace(tmp_path: Path, command: list[str], name: str) -> None:
    package, *rest = command
    code = f"import sys; from {package}.cli import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", code, *rest, "--home", str(tmp_path / "home")],
        env={**os.environ, name: str(tmp_path / MARKER)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == ConfigError.exit_code
    assert b"TRACE_SET" in found.stderr
    assert name.encode() in found.stderr
    assert MARKER.encode() not in found.stderr
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / MARKER).exists()


def test_every_trace_is_refused_and_harmless_values_are_not() -> None:
    for name, harmless in TRACES.items():
        assert traces_set({name: "debug"}) == [name]
        assert traces_set({name: ""}) == []
        for value in harmless:
            refuse_traces({name: value, name.lower(): "all"})
        with pytest.raises(ConfigError, match=name):
            refuse_traces({name: "1"})


def test_check_fails_where_a_trace_is_set(isthmus_node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_TRACE", "http")
    said = isthmus_node("check", "--json")
    (line,) = [line for line in said.data["checks"] if line["question"] == "traces"]
    assert line["mark"] == "FAIL"
    assert "unset GRPC_TRACE" in line["remedy"]
    monkeypatch.delenv("GRPC_TRACE")
    said = isthmus_node("check", "--json")
    (line,) = [line for line in said.data["checks"] if line["question"] == "traces"]
    assert line["mark"] == "PASS"


# --------------------------------------------------------------------------- core dumps


def _crashed(confined: bool, folder: Path) -> bool:
    """Whether the kernel dumped a process that crashed."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        if confined:
            from isthmus.confined import forbid_core_dumps

            forbid_core_dumps()
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


def test_crash_leaves_no_core_file(tmp_path: Path) -> None:
    assert not _crashed(True, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="this machine lets nobody dump core")
def test_crash_without_the_guard_leaves_one(tmp_path: Path) -> None:
    if not _crashed(False, tmp_path):
        pytest.skip("this kernel dumps no core, whatever the limit")


def test_running_process_cannot_be_dumped() -> None:
    found = python("""
        import ctypes, resource
        from isthmus.confined import forbid_core_dumps
        forbid_core_dumps()
        print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    """)
    assert found.stdout.split() == [b"(0,", b"0)", b"0"]


# --------------------------------------------------------------------------- what libraries say

# Ways in which text gets out of a process without anybody's doing.
WAYS = f"""
import ctypes, logging, sys, threading, warnings
import numpy as np

def warn():
    warnings.warn("{MARKER}")
    np.array([{MARKER.partition("-")[2]}]) / 0.0

def speak():
    logging.getLogger("pandas").error("row {MARKER}", exc_info=ValueError("{MARKER}"))
    logging.getLogger("grpc._server").error("%s and %d", "{MARKER}", "not a number")
    logging.warning("{MARKER}")

def thread():
    def work():
        raise KeyError("{MARKER}")
    threading.Thread(target=work).start()

def unraisable():
    class Dies:
        def __del__(self):
            raise ValueError("{MARKER}")
    Dies()

def directly():
    sys.stderr.write("{MARKER}")
    sys.stderr.flush()
    ctypes.CDLL(None).write(2, b"{MARKER}", {len(MARKER)})

def end():
    raise ValueError("{MARKER}")
"""
CONFINED = f"""
{WAYS}
from isthmus.confined import libraries_heard, only_the_log_speaks
from isthmus.event_log import EventLog
with only_the_log_speaks() as stream, libraries_heard(EventLog({{}}, "debug", stream)):
    warn(), speak(), thread(), unraisable(), directly()
    sys.excepthook(ValueError, ValueError("{MARKER}"), None)
print("went on", file=sys.stderr)
"""


@pytest.mark.parametrize("way", ["warn", "speak", "thread", "unraisable", "directly", "end"])
def test_library_speaks_where_nobody_forbids_it(way: str) -> None:
    """Off: each way really leads out."""
    assert MARKER.encode() in python(f"{WAYS}\n{way}()").stderr


def test_of_libraries_the_log_holds_that_they_spoke_and_not_what() -> None:
    found = python(CONFINED)
    assert found.returncode == 0, found.stderr
    assert MARKER.encode() not in found.stderr + found.stdout
    *lines, last = found.stderr.decode().splitlines()
    assert last == "went on"
    events = [json.loads(line) for line in lines]
    heard = [(e["event"], e.get("library") or e.get("where"), e["kind"]) for e in events]
    assert ("library-spoke", "warnings", "UserWarning") in heard
    assert ("library-spoke", "warnings", "RuntimeWarning") in heard
    assert ("library-spoke", "pandas", "ERROR") in heard
    assert ("library-spoke", "grpc._server", "ERROR") in heard
    assert ("library-spoke", "root", "WARNING") in heard
    assert ("fault", "thread", "KeyError") in heard
    assert ("fault", "unraisable", "ValueError") in heard
    assert ("fault", "main", "ValueError") in heard


# --------------------------------------------------------------------------- errors in the log


def _logged(error: BaseException) -> str:
    stream = io.StringIO()
    EventLog({"it-failed": ("error", ("code", "message", "remedy"))}, "debug", stream).failure("it-failed", error)
    return stream.getvalue()


def test_error_about_data_is_logged_by_its_code() -> None:
    line = json.loads(_logged(DataError("WRONG_TYPE", f"AGE holds {MARKER}", "correct it")))
    assert {k: v for k, v in line.items() if k not in ("at", "level")} == {"event": "it-failed", "code": "WRONG_TYPE"}


def test_error_about_a_request_is_logged_with_its_words() -> None:
    assert json.loads(_logged(Refused("NO", "not here", "ask")))["message"] == "not here"


def test_unforeseen_error_is_logged_by_kind_and_place() -> None:
    try:
        int(MARKER)
    except ValueError as error:
        line = json.loads(_logged(error))
    assert line["place"].startswith("test_confined.py:")
    assert MARKER not in json.dumps(line)
    assert (line["event"], line["kind"], line["where"]) == ("fault", "ValueError", "it-failed")


def test_name_of_an_event_that_is_not_declared_is_not_written() -> None:
    stream = io.StringIO()
    EventLog({}, "debug", stream).event(MARKER, **{MARKER: MARKER})
    assert MARKER not in stream.getvalue()
    assert json.loads(stream.getvalue())["event"] == "undeclared-event"


def test_coordinator_writes_listed_events_with_listed_keys_only() -> None:
    from isthmus_coordinator.logs import EVENTS, EventHandler

    stream = io.StringIO()
    handler = EventHandler(EventLog(EVENTS, "debug", stream))
    logger = logging.Logger("isthmus_coordinator.test")
    logger.addHandler(handler)
    try:
        raise ValueError(MARKER)
    except ValueError:
        logger.exception("call_failed", extra={"call": "/x", "row": MARKER})
    logger.info(f"a sentence with {MARKER}", extra={"call": MARKER})
    logger.info("attached %s", MARKER, extra={"node": "nl", "software": "1\x1b[2J"})
    first, *others = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert MARKER not in stream.getvalue()
    assert (first["event"], first["kind"], first["call"]) == ("call_failed", "ValueError", "/x")
    assert first["place"].startswith("test_confined.py:")
    assert [line["event"] for line in others] == ["undeclared-event", "undeclared-event"]
    assert "\x1b" not in stream.getvalue()
