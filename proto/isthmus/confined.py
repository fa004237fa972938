"""What a process that holds rows or sums must not do: dump its memory, trace its messages, print what others say.

Such text does not pass the gate. Libraries quote values in warnings and exceptions, gRPC's traces print what it
sends, the key log of TLS opens recorded connections, and a core file holds everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from isthmus.errors import ConfigError
from isthmus.event_log import EventLog, place_of

# variable -> values of it that do no harm (in lower case); any other makes a process print what it must not.
TRACES: Mapping[str, frozenset[str]] = {
    "GRPC_TRACE": frozenset({"none"}),  # what gRPC sends and gets: names, metadata, frames
    "GRPC_VERBOSITY": frozenset({"none", "error"}),
    "GRPC_STACKTRACE_MINLOGLEVEL": frozenset(),
    "SSLKEYLOGFILE": frozenset(),  # the keys of TLS connections
    "ISTHMUS_TRACE": frozenset(),  # texts of unforeseen exceptions
    "PYTHONINSPECT": frozenset(),  # a prompt inside the process once it ends
    "PYTHONDUMPREFS": frozenset(),  # every object that is left at the end
}
_PR_SET_DUMPABLE = 4


def traces_set(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that are set so that payloads would be written."""
    return [
        name
        for name, harmless in TRACES.items()
        if environment.get(name) and environment[name].strip().lower() not in harmless
    ]


def refuse_traces(environment: Mapping[str, str] | None = None) -> None:
    """Raise `ConfigError` ``TRACE_SET`` where a variable would have this process write what passes through it."""
    found = traces_set(os.environ if environment is None else environment)
    if found:
        raise ConfigError(
            "TRACE_SET",
            f"{', '.join(found)} in the environment would write messages, keys or texts of errors outside of the "
            "journal; rule: a process that holds rows or sums does not start with them",
            f"take it away: unset {' '.join(found)}",
        )


def forbid_core_dumps() -> None:
    """No core file of this process, for good: its limit is 0, and where the kernel has that, it cannot be dumped."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        # the limit does not bind a program that the kernel pipes core files into; this does (Linux, prctl(2))
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextlib.contextmanager
def only_the_log_speaks() -> Iterator[TextIO]:
    """For as long as it lasts, standard error is the log's alone: yields the stream that still leads there.

    Whatever else writes to standard error (a library in C, a trace of an exception, a warning) writes to nowhere.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    stream = os.fdopen(kept, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    try:
        yield stream
    finally:
        stream.flush()
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def libraries_heard(log: EventLog) -> Iterator[None]:
    """For as long as it lasts, what libraries log, warn of and leave uncaught is written as events without its text."""

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del message, file, line
        log.event("library-spoke", library="warnings", kind=category.__name__, place=f"{Path(filename).name}:{lineno}")

    def uncaught(error: BaseException | None, where: str) -> None:
        if error is not None and not isinstance(error, SystemExit):
            log.event("fault", where=where, kind=type(error).__name__, place=place_of(error))

    root = logging.getLogger()
    hooks = warnings.showwarning, sys.excepthook, threading.excepthook, sys.unraisablehook
    raises = logging.raiseExceptions
    handlers, level = root.handlers[:], root.level
    warnings.showwarning = warned
    sys.excepthook = lambda _kind, error, _trace: uncaught(error, "main")
    threading.excepthook = lambda told: uncaught(told.exc_value, "thread")
    sys.unraisablehook = lambda told: uncaught(told.exc_value, "unraisable")
    # or `logging` itself prints a record that it cannot write, with everything in it
    logging.raiseExceptions = False
    root.handlers[:] = [_Overheard(log)]
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        warnings.showwarning, sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.raiseExceptions = raises
        root.handlers[:] = handlers
        root.setLevel(level)


class _Overheard(logging.Handler):
    """Writes that a library said something, not what."""

    def __init__(self, log: EventLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        place = f"{Path(record.pathname).name}:{record.lineno}"
        self._log.event("library-spoke", library=record.name, kind=record.levelname, place=place)
