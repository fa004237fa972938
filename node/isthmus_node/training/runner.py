"""The node's side of the process that an app runs in: starts it, speaks with it in time, ends it.

What comes back is the app's word: `update.py` holds it against what was declared. Of what goes wrong, a fixed code and
a kind of exception that is Python's own come back, and nothing that the app wrote.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from isthmus.errors import ConfigError, MethodError, Refused
from isthmus_methods.contract import Array, Booleans, Integers, Setting
from isthmus_node.training.confinement import readable
from isthmus_training.apps import Installed, Offered
from isthmus_training.exchange import Ask
from isthmus_training.frames import Broken, Words, read_frame, write_frame

# Isolated: of the environment and the user's own folders nothing is looked at.
_CHILD = ("-I", "-m", "isthmus_node.training.child")
# Seconds that a process may take to import Flower, be confined and import the app.
STARTING = 120.0
# Bytes of arrays and words that come beside a model and its scores.
_AROUND = 1 << 16
# Threads of linear algebra: one, as the process can make no more. The last is a folder that there is, and nothing is
# written to: PyTorch's compiler asks for one when PyTorch is imported.
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GRPC_VERBOSITY": "NONE",
    # memory of large arrays is given back once they are gone
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "TORCHINDUCTOR_CACHE_DIR": "/",
}
_REMEDY = "isthmus-node check says what holds on this machine; docs/training-apps.md what a node needs to train"
_ASK = "the node's log has the kind of fault; tell the app's author"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a process of an app may take."""

    memory: int = 4 << 30  # bytes of address space
    seconds: float = 600.0  # for one message


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Rows as they are given to an app's process, all of them at once."""

    X: Array  # (n, p)
    y: Array  # (n,)
    persons: Integers  # (n,)
    held_out: Booleans  # (n,), rows of the persons held out
    columns: tuple[str, ...]
    levels: tuple[str, ...]  # of the outcome


@dataclass(frozen=True, slots=True)
class Answered:
    """What an app answered to a message; not judged."""

    arrays: Mapping[str, Array]
    metrics: Mapping[str, object]
    scores: Array | None = field(default=None, repr=False)


class _TooSlow(Exception):
    """Time is over; no `OSError`, which is what a pipe that has ended gives."""


class _Pipe:
    """One end of a pipe that is waited for up to a moment; raises `_TooSlow` after it."""

    def __init__(self, descriptor: int, clock: Callable[[], float]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._clock = clock
        self.until = 0.0

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._descriptor, event)
        if not poll.poll(max(0.0, self.until - self._clock()) * 1000):
            raise _TooSlow

    def readinto(self, into: memoryview) -> int:
        while True:
            self._wait(select.POLLIN)
            with contextlib.suppress(BlockingIOError):
                return os.readv(self._descriptor, [into])

    def write(self, body: bytes | memoryview) -> int:
        rest = memoryview(body)
        while rest:
            self._wait(select.POLLOUT)
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._descriptor, rest) :]
        return len(body)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        os.close(self._descriptor)


class Process:
    """A process that runs one app, or none where it is only to say what holds.

    Parameters
    ----------
    module, package
        Of the app; both empty: no app.
    bounds
        What it may take.
    clock
        Monotonic seconds.
    """

    def __init__(self, module: str, package: str, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        theirs, orders = os.pipe()
        answers, their_answers = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this project's own module, by the same interpreter
                [sys.executable, *_CHILD, *(str(number) for number in (theirs, their_answers, os.getpid()))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=(theirs, their_answers),
                start_new_session=True,
            )
        except BaseException:
            os.close(orders)
            os.close(answers)
            raise
        finally:
            os.close(theirs)
            os.close(their_answers)
        self._orders, self._answers = _Pipe(orders, clock), _Pipe(answers, clock)
        self.broken = False
        self._tell({"module": module, "package": package, "memory": bounds.memory}, {}, STARTING)

    def _tell(self, words: Mapping[str, Any], arrays: Mapping[str, Any], seconds: float) -> None:
        self._orders.until = self._answers.until = self._clock() + seconds
        try:
            write_frame(cast("BinaryIO", self._orders), words, arrays)
        except (Broken, _TooSlow) as error:
            raise self._ended(error) from error

    def heard(self, most: int) -> tuple[Words, dict[str, Array]]:
        """What it says next, of at most so many bytes; `MethodError`, `Refused` where that is a failure."""
        try:
            words, arrays = read_frame(cast("BinaryIO", self._answers), most)
        except (Broken, _TooSlow) as error:
            raise self._ended(error) from error
        if "failed" in words:
            raise self._failure(words)
        return words, arrays

    def ask(self, words: Mapping[str, Any], arrays: Mapping[str, Array], most: int) -> tuple[Words, dict[str, Array]]:
        """Tell it something and hear what it says, within the time of a message."""
        self._tell(words, arrays, self._bounds.seconds)
        return self.heard(most)

    def tell(self, words: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Tell it something that it does not answer."""
        self._tell(words, arrays, self._bounds.seconds)

    def _ended(self, error: Exception) -> MethodError:
        self.close()
        if isinstance(error, _TooSlow):
            return MethodError("APP_TOO_SLOW", f"the app took longer than {self._bounds.seconds:g} s", _ASK)
        return MethodError("APP_FAILED", "the app's process ended, or said what is no answer", _ASK)

    def _failure(self, words: Words) -> Exception:
        code, kind, why = (str(words.get(key, "")) for key in ("failed", "kind", "why"))
        self.close()
        if code == "NOT_CONFINED":
            return Refused(
                "TRAINING_NOT_CONFINED", f"an app cannot be kept from network and files here: {why}", _REMEDY
            )
        if code == "NO_FLOWER":
            return Refused("NO_FLOWER", "the site has no Flower, which client apps are written for", _REMEDY)
        # the kind is the app's word, and only ever one of a short list
        known = getattr(builtins, kind, None)
        kind = kind if isinstance(known, type) and issubclass(known, BaseException) else "Exception"
        if code == "APP_NOT_IMPORTED":
            return Refused(code, f"the site's app cannot be imported: {kind}", _ASK)
        return MethodError("APP_FAILED", f"the app ended with {kind}", _ASK)

    def close(self) -> None:
        """End it, and all that it started."""
        if self.broken:
            return
        self.broken = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._orders.close()
        self._answers.close()


class Trainer:
    """An app at work in its process, for one run over one snapshot of the rows.

    Raises
    ------
    Refused
        ``TRAINING_NOT_CONFINED``, ``NO_FLOWER``, ``APP_NOT_IMPORTED``: before there are any rows in it.
    """

    def __init__(self, installed: Installed, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._process = Process(installed.module, installed.package, bounds, clock)
        words, _ = self._process.heard(0)
        self.offered = _offered(words)
        self.used = clock()
        self._clock = clock
        self._rows = 0

    @property
    def ended(self) -> bool:
        return self._process.broken

    def start(
        self, columns: Sequence[str], levels: Sequence[str], settings: Mapping[str, Setting], seed: int, most: int
    ) -> dict[str, Array]:
        """The app's own starting values, of at most `most` bytes; there are no rows yet."""
        words = {"what": "start", "columns": list(columns), "levels": list(levels)}
        try:
            return self._process.ask({**words, "settings": dict(settings), "seed": seed}, {}, most)[1]
        except MethodError as error:
            # no row was there that it could depend on
            raise Refused("APP_FAILED", "the app gives no starting values for this request", _ASK) from error

    def give(self, run: int, node: int, settings: Mapping[str, Setting], given: Given) -> None:
        """Give it the rows.

        Parameters
        ----------
        run, node
            Numbers by which the app sees both.
        settings
            All of the app's, and the run's seed.
        """
        words = {"what": "rows", "run": run, "node": node, "settings": dict(settings)}
        arrays = {"X": given.X, "y": given.y, "persons": given.persons, "held_out": given.held_out}
        self._process.tell({**words, "columns": list(given.columns), "levels": list(given.levels)}, arrays)
        self._rows = len(given.y)

    def ask(self, asked: Ask) -> Answered:
        """What the app answers to a message.

        Raises
        ------
        MethodError
            ``APP_FAILED``, ``APP_TOO_SLOW``; the process is ended then.
        """
        config = {name: list(v) if isinstance(v, tuple) else v for name, v in asked.config.items()}
        words = {"what": "message", "type": asked.type, "config": config}
        # as large as what was asked with, and a score a row
        most = sum(array.nbytes for array in asked.arrays.values()) + 8 * self._rows + _AROUND
        said, arrays = self._process.ask(words, asked.arrays, most)
        self.used = self._clock()
        metrics = said.get("metrics")
        scores = arrays.pop("scores", None)
        return Answered(
            {name.removeprefix("array "): array for name, array in arrays.items()},
            metrics if isinstance(metrics, dict) else {},
            scores,
        )

    def close(self) -> None:
        """End it."""
        self._process.close()


def _offered(words: Words) -> Offered:
    """What an app says of itself, said before it had any rows."""
    try:
        batch = words["batch_setting"]
        return Offered(
            settings=dict(words["settings"]),
            batch_setting=None if batch is None else str(batch),
            full_batch=words["full_batch"] is True,
            metrics={str(name): (float(low), float(high)) for name, (low, high) in words["metrics"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused("APP_NOT_IMPORTED", "the site's app does not say what it offers", _ASK) from error


def what_holds(bounds: Bounds) -> tuple[str, ...]:
    """What a process for apps gives up on this machine, in words; `Refused` where that is not enough."""
    process = Process("", "", bounds)
    try:
        words, _ = process.heard(0)
        return tuple(str(line) for line in words["held"])
    except MethodError as error:
        raise Refused("TRAINING_NOT_CONFINED", "the process for apps does not start", _REMEDY) from error
    finally:
        process.close()


def check_apart(kept: Sequence[Path]) -> None:
    """Raise `ConfigError` ``FILES_WITHIN_REACH`` where one of the site's own files lies where an app may read."""
    for own in kept:
        place = own.resolve()
        for open_place in readable():
            if place == open_place or open_place in place.parents:
                raise ConfigError(
                    "FILES_WITHIN_REACH",
                    f"{own} lies in {open_place}, which is one of Python's folders: an app could read it",
                    "move the site's files elsewhere",
                )


def rows_of_blocks(blocks: Sequence[Any]) -> tuple[Array, Array, Integers]:
    """Columns (n, p), outcome (n,) and persons (n,) of a request's blocks, in order."""
    matrices = [block.design.matrix for block in blocks]
    outcomes = [np.asarray(block.columns["outcome"][0], dtype=np.float64) for block in blocks]
    X = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    return X, np.concatenate(outcomes), np.concatenate([block.subject for block in blocks])
