"""What an app's process is kept from: each attempt succeeds with that guard left out, and fails with it in place."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from app_kit import Shop, some_rows

from isthmus.errors import ConfigError, Refused
from isthmus_node.training import confinement, runner
from isthmus_node.training.runner import Bounds, Trainer, check_apart, what_holds
from isthmus_node.training.syscalls import MACHINES
from isthmus_training.exchange import Ask

pytestmark = pytest.mark.processes

# What an app tries, by the name that the message gives it; each gives 1 where it had its way.
ATTEMPTS = """
import ctypes, os, socket, subprocess, threading

def tcp(place):
    with socket.create_connection(("127.0.0.1", int(place)), timeout=5):
        return 1
def unix(place):
    a = socket.socket(socket.AF_UNIX); a.close()
    return 1
def pair(place):
    a, b = socket.socketpair(); a.close(); b.close()
    return 1
def read_file(place):
    return int(len(open(place).read()) > 0)
def list_folder(place):
    return int(len(os.listdir(os.path.dirname(place))) > 0)
def write_file(place):
    open(place + ".written", "w").write("x")
    return 1
def grow_file(place):
    os.truncate(place, 1000)
    return 1
def rename_file(place):
    os.rename(place, place + ".moved"); os.rename(place + ".moved", place)
    return 1
def open_mode(place):
    os.chmod(place, 0o666)
    return 1
def parent_environment(place):
    return int(len(open(f"/proc/{os.getppid()}/environ", "rb").read()) >= 0)
def parent_memory(place):
    open(f"/proc/{os.getppid()}/mem", "rb").close()
    return 1
def signal_parent(place):
    os.kill(os.getppid(), 0)
    return 1
def program(place):
    return int(subprocess.run(["/bin/true"]).returncode == 0)
def fork(place):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return 1
def thread(place):
    t = threading.Thread(target=lambda: None); t.start(); t.join()
    return 1
def own_limits(place):
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
    return 1
def new_namespace(place):
    return int(ctypes.CDLL(None).unshare(0x10000000) == 0)
def outlive(place):
    return int(ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0)
def be_dumped(place):
    return int(ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0)
def ring(place):
    return int(ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(256)) >= 0)

TRIES = {f.__name__: f for f in (tcp, unix, pair, read_file, list_folder, write_file, grow_file, rename_file, open_mode,
    parent_environment, parent_memory, signal_parent, program, fork, thread, own_limits, new_namespace,
    outlive, be_dumped, ring)}

@app.train()
def train(message, context):
    config = message.content["config"]
    try:
        got = TRIES[config["try"]](config["place"])
    except (OSError, RuntimeError, ValueError):
        got = 0
    return reply(message, {"got": float(got)})

@app.evaluate()
def evaluate(message, context):
    left = {name: value for name, value in os.environ.items()}
    open_ones = []
    for number in range(3, 200):
        try:
            os.fstat(number)
            open_ones.append(number)
        except OSError:
            pass
    # the two pipes, and nothing else
    return reply(message, {"got": float(len(open_ones))}, arrays={})
"""
TRIES = [
    "tcp",
    "unix",
    "pair",
    "read_file",
    "list_folder",
    "write_file",
    "grow_file",
    "rename_file",
    "open_mode",
    "parent_environment",
    "parent_memory",
    "signal_parent",
    "program",
    "fork",
    "thread",
    "own_limits",
    "new_namespace",
    "outlive",
    "be_dumped",
    "ring",
]
# What the kernel itself may refuse, guard or no guard: to a user without rights, in a container.
NOT_SURE = {"ring", "new_namespace", "parent_memory"}
SENT = {"w": np.zeros(2)}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, object]]:
    """What each attempt gave, guards in place and left out."""
    folder = tmp_path_factory.mktemp("tries")
    secret = tmp_path_factory.mktemp("site") / "identity.key"
    secret.write_text("a key")
    listening = socket.create_server(("127.0.0.1", 0))
    found: dict[bool, dict[str, object]] = {}
    with pytest.MonkeyPatch.context() as monkeypatch, listening:
        shop = Shop(folder, monkeypatch)
        installed = shop.bring("tries", ATTEMPTS)
        for guarded in (False, True):
            shop.child("pass" if guarded else "child.confine = lambda *_: ()")
            trainer = Trainer(installed, Bounds())
            trainer.give(1, 1, {}, some_rows())
            found[guarded] = {"still there": secret.exists()}
            for name in TRIES:
                place = str(listening.getsockname()[1]) if name == "tcp" else str(secret)
                answered = trainer.ask(Ask("train", SENT, {"try": name, "place": place}))
                found[guarded][name] = answered.metrics["got"]
            found[guarded]["descriptors"] = trainer.ask(Ask("evaluate", SENT)).metrics["got"]
            trainer.close()
    return found


@pytest.mark.parametrize("name", TRIES)
def test_app_cannot_reach_out_of_its_process(tried: dict[bool, dict[str, object]], name: str) -> None:
    if name not in NOT_SURE:
        assert tried[False][name] == 1
    assert tried[True][name] == 0


def test_app_inherits_two_pipes_and_nothing_else(tried: dict[bool, dict[str, object]]) -> None:
    assert tried[True]["descriptors"] == 2


def test_environment_of_the_node_does_not_come_along(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_SQL_PASSWORD", "secret")
    installed = shop.bring(
        "looks",
        """
        import os
        @app.train()
        def train(message, context):
            return reply(message, {"got": float("secret" in "".join(os.environ.values()))})
        """,
    )
    found = {}
    for guarded in (False, True):
        if not guarded:
            monkeypatch.setattr(runner, "_ENVIRONMENT", {**os.environ, **runner._ENVIRONMENT})
        trainer = Trainer(installed, Bounds())
        trainer.give(1, 1, {}, some_rows())
        found[guarded] = trainer.ask(Ask("train", SENT)).metrics["got"]
        trainer.close()
        if not guarded:
            monkeypatch.undo()
            monkeypatch.setenv("ISTHMUS_SQL_PASSWORD", "secret")
            shop = Shop(shop.folder, monkeypatch)
    assert found == {False: 1.0, True: 0.0}


def test_what_holds_is_said_and_is_enough() -> None:
    held = " ".join(what_holds(Bounds()))
    assert "seccomp" in held
    assert "Landlock" in held


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("confinement.platform.machine = lambda: 'riscv64'", "riscv64"),
        ("confinement.readable = lambda: (confinement.Path('/'),)", "could be had"),
        ("confinement.refused = lambda machine: ()", "could be had"),
        ("confinement._seccomp = lambda *_: None", "could be had"),
        ("confinement._CREATE_RULESET = 600", "no Landlock"),
    ],
    ids=["machine", "files open", "calls open", "no filter", "no Landlock"],
)
def test_nothing_is_trained_where_the_process_is_not_confined(shop: Shop, fault: str, words: str) -> None:
    shop.child(fault)
    with pytest.raises(Refused) as refused:
        what_holds(Bounds())
    assert refused.value.code == "TRAINING_NOT_CONFINED"
    assert words in refused.value.message


@pytest.mark.parametrize("machine", MACHINES)
def test_filter_of_each_machine_is_whole(machine: str) -> None:
    code = confinement.program(machine)
    assert len(code) % 8 == 0
    # the kernel takes no longer one
    assert len(code) // 8 <= 4096


def test_site_files_within_reach_of_an_app_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_apart([tmp_path])
    monkeypatch.setattr(runner, "readable", lambda: (tmp_path,))
    with pytest.raises(ConfigError) as refused:
        check_apart([tmp_path / "state"])
    assert refused.value.code == "FILES_WITHIN_REACH"
