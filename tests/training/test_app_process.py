"""What an app can do in its process, and what the node makes of it: an answer, or a fixed code."""

from __future__ import annotations

import importlib.util
import marshal
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from app_kit import Shop, some_rows

from isthmus.errors import MethodError, Refused
from isthmus_node.training import runner
from isthmus_node.training.runner import Bounds, Trainer
from isthmus_training.exchange import Ask

pytestmark = pytest.mark.processes
SENT = {"w": np.zeros(2)}


def _fails(shop: Shop, code: str, bounds: Bounds | None = None) -> MethodError:
    trainer = Trainer(shop.bring("fails", code), bounds or Bounds())
    trainer.give(1, 1, {}, some_rows())
    with pytest.raises(MethodError) as failed:
        trainer.ask(Ask("train", SENT))
    assert trainer.ended
    return failed.value


ROW = "x = rows(context).X[0, 0]"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f"{ROW}; raise ValueError(x)", "ValueError"),
        (f"{ROW}; raise type(f'Row{{x}}', (KeyError,), {{}})(x)", "KeyError"),
        (f"{ROW}; raise type(f'Row{{x}}', (Exception,), {{}})(x)", "Exception"),
        ("raise SystemExit(3)", "SystemExit"),
        ("np.empty(8 << 30, dtype=np.int8)", "MemoryError"),
    ],
)
def test_of_an_exception_its_kind_alone_is_told(shop: Shop, body: str, kind: str) -> None:
    error = _fails(shop, f"@app.train()\ndef train(message, context):\n    {body}\n")
    assert (error.code, error.message) == ("APP_FAILED", f"the app ended with {kind}")
    assert str(some_rows().X[0, 0])[:6] not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        "import os; os._exit(0)",
        "import os\n    for n in range(3, 20):\n        os.write(n, b'z' * 100) if n != 3 else 0",
    ],
    ids=["ends", "writes rubbish"],
)
def test_process_that_ends_or_says_rubbish_is_a_failure(shop: Shop, body: str) -> None:
    code = (
        f"@app.train()\ndef train(message, context):\n    try:\n        pass\n    finally:\n        pass\n    {body}\n"
    )
    assert _fails(shop, code).code == "APP_FAILED"


def test_answer_larger_than_what_was_asked_with_is_not_taken(shop: Shop) -> None:
    code = "@app.train()\ndef train(message, context):\n    return reply(message, arrays={'w': np.zeros(1 << 20)})\n"
    assert _fails(shop, code).code == "APP_FAILED"


def test_app_that_hangs_is_ended_after_its_time(shop: Shop) -> None:
    code = "@app.train()\ndef train(message, context):\n    while True: pass\n"
    assert _fails(shop, code, Bounds(seconds=0.3)).code == "APP_TOO_SLOW"


def test_app_that_does_not_read_is_ended_after_its_time(shop: Shop) -> None:
    """Its process is busy, and what it is told is more than a pipe holds."""
    code = "import signal\nsignal.signal(signal.SIGALRM, lambda *_: [0 for _ in iter(int, 1)])\n"
    installed = shop.bring("deaf", code + "signal.setitimer(signal.ITIMER_REAL, 0.01)\n")
    trainer = Trainer(installed, Bounds(seconds=0.5))
    with pytest.raises(MethodError) as failed:
        trainer.give(1, 1, {}, some_rows(200_000))
    assert failed.value.code == "APP_TOO_SLOW"


def test_what_an_app_prints_goes_nowhere(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    code = """
    import os, sys
    @app.train()
    def train(message, context):
        print("a row", rows(context).X[0]); print("a row", file=sys.stderr)
        os.write(1, b"a row"); os.write(2, b"a row")
        return reply(message)
    """
    trainer = Trainer(shop.bring("prints", code), Bounds())
    trainer.give(1, 1, {}, some_rows())
    trainer.ask(Ask("train", SENT))
    trainer.close()
    assert capfd.readouterr() == ("", "")


def test_app_that_cannot_be_imported_is_refused_by_kind(shop: Shop) -> None:
    installed = shop.bring("broken", "raise LookupError('nothing about rows, there are none')\n")
    with pytest.raises(Refused) as refused:
        Trainer(installed, Bounds())
    assert refused.value.code == "APP_NOT_IMPORTED"
    assert refused.value.message.endswith("LookupError")


def test_what_runs_is_the_source_and_no_compiled_file_beside_it(shop: Shop) -> None:
    """The digest is of the source; a compiled file that claims to be of it would run in its place."""
    good = "@app.train()\ndef train(message, context):\n    return reply(message, {'got': 0.0})\n"
    installed = shop.bring("doubled", good)
    source = shop.folder / "doubled_package" / "__init__.py"
    found = {}
    for guarded in (False, True):
        evil = compile(source.read_text().replace("'got': 0.0", "'got': 1.0"), str(source), "exec")
        status = source.stat()
        compiled = Path(importlib.util.cache_from_source(str(source)))
        compiled.parent.mkdir(exist_ok=True)
        head = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(status.st_mtime), status.st_size)
        compiled.write_bytes(head + marshal.dumps(evil))
        shop.child("pass" if guarded else "child.SourceOnly.find_spec = lambda *_: None")
        trainer = Trainer(installed, Bounds())
        trainer.give(1, 1, {}, some_rows())
        found[guarded] = trainer.ask(Ask("train", SENT)).metrics["got"]
        trainer.close()
    assert found == {False: 1.0, True: 0.0}


def test_process_ends_with_the_node(shop: Shop) -> None:
    """Nobody is left with rows where the node was killed: the kernel ends the process, whatever it does."""
    installed = shop.bring("busy", "@app.train()\ndef train(message, context):\n    while True: pass\n")
    program = f"""
import sys
sys.path[:0] = [{str(shop.folder)!r}, {str(Path(__file__).parent)!r}]
from isthmus_node.training import runner
runner._CHILD = {runner._CHILD!r}
from app_kit import some_rows, np
from isthmus_training.apps import find
from isthmus_training.exchange import Ask
t = runner.Trainer(find("busy"), runner.Bounds())
t.give(1, 1, {{}}, some_rows())
print(t._process._process.pid, flush=True)
t.ask(Ask("train", {{"w": np.zeros(2)}}))
"""
    node = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    child = int(node.stdout.readline())
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    node.stdout.close()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the process of the app is still there"
        time.sleep(0.01)
    assert installed.name == "busy"
