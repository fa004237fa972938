"""The coordinator's side of a strategy's process: started, asked, watched, ended by its number."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from isthmus_coordinator.training.failures import ending, refusal
from isthmus_methods.contract import Array
from isthmus_training.frames import Broken, TooLarge, Words, read_frame, write_frame
from isthmus_training.stored import Layout, send, store

MODULE = "isthmus_coordinator.training.strategy_main"
# Of the coordinator's environment a strategy gets these alone: it may find its packages, and nothing else.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
# One thread, and one order of sets: from the same answers a strategy says the same, bit by bit.
_STEADY = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
# And memory of large arrays is given back once they are gone.
_STEADY["MALLOC_MMAP_THRESHOLD_"] = str(128 << 10)


class Died(Exception):
    """The process ended and did not say why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a strategy's process may use."""

    seconds: float  # for what it says next
    memory_mib: int  # address space
    most_bytes: int  # of a model
    folder: Path | None = None  # where there is room for models; None: where the system keeps what is temporary


class StrategyProcess:
    """One process, for one attempt of one run. It dies with the coordinator, whatever it is at."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._late = False
        self._ending = threading.Lock()
        reads, to = os.pipe()
        back, writes = os.pipe()
        # its end is seen by the process where the coordinator is killed: nothing is ever written to it
        watched, self._lifeline = os.pipe()
        # models go to it as files: it has them in memory one at a time
        self._files, theirs = socket.socketpair()
        self._asked: tuple[BinaryIO, Layout] | None = None
        inherited = (reads, writes, watched, theirs.detach())
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                [sys.executable, "-P", "-m", MODULE, *map(str, inherited), str(bounds.memory_mib), str(bounds.seconds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=inherited,
                env={**{k: os.environ[k] for k in _ENVIRONMENT if k in os.environ}, **_STEADY},
                cwd="/",
                start_new_session=True,
            )
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        self._reader = os.fdopen(back, "rb")
        self._writer = os.fdopen(to, "wb")

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, node: int, arrays: Mapping[str, Array]) -> None:
        """Give it the weights of a node for what it asked; errors as `say`."""
        with self._watched():
            self._send_asked()
            self._send({"kind": "weights", "node": node}, *store(arrays, self._bounds.folder))

    def _send_asked(self) -> None:
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._send({"kind": "asked"}, *asked)

    def _send(self, words: Mapping[str, Any], file: BinaryIO, layout: Layout) -> None:
        with file:
            write_frame(self._writer, {**words, "layout": layout})
            send(self._files, file)

    def say(self, words: Mapping[str, Any]) -> tuple[Words, dict[str, Array]]:
        """Tell it something; what it says next, "ask", "done" or "checked".

        Raises
        ------
        Died
            Where it ended and did not say why.
        MethodError, UsageError
            Where it said why, took too long, or what it says is too large.
        """
        with self._watched():
            self._send_asked()
            write_frame(self._writer, words)
            said, given = read_frame(self._reader, self._bounds.most_bytes)
        kind = said.get("kind")
        if kind == "ask":
            # it goes back with the answers: the strategy need not have it in memory while it waits for them
            with self._ending:
                self._asked = None if self._lifeline < 0 else store(given, self._bounds.folder)
        if kind == "failed":
            raise ending(str(said.get("code")))
        if kind == "refused":
            raise refusal(str(said.get("code")), str(said.get("name")), [str(k) for k in said.get("known", ())])
        return said, given

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """So long and no longer: what goes on then is ended."""
        watch = threading.Timer(self._bounds.seconds, self._stop_waiting)
        watch.daemon = True
        watch.start()
        try:
            yield
        except OSError as error:
            raise ending("NO_ROOM") from error
        except TooLarge as error:
            raise ending("MODEL_TOO_LARGE") from error
        except Broken as error:
            if self._late:
                raise ending("STRATEGY_TOO_SLOW") from error
            raise Died from error
        finally:
            watch.cancel()

    def end(self) -> None:
        """End it, and what it has started; more than once does no harm."""
        with self._ending:
            self._kill()
            self._process.wait()
            if self._asked is not None:
                self._asked[0].close()
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1
        for pipe in (self._reader, self._writer, self._files):
            with contextlib.suppress(OSError, ValueError):
                pipe.close()

    def _stop_waiting(self) -> None:
        with self._ending:
            self._late = True
            self._kill()

    def _kill(self) -> None:
        # a group of its own, of the same number, which is nobody else's until it was waited for
        if self._process.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
