"""Writes down all that a process hands to the network: each message to gRPC, and whatever goes by another way.

It stands between the node and gRPC, below everything of ours. What a node would say through a socket of its own, or by
the names that it looks up, is seen by Python's audit hooks and noted beside.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc

# Ways to the network that are not gRPC's; what is read is what they are called with: address and bytes.
BESIDE = frozenset(
    {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname", "os.system"}
)


class Record:
    """A file with a line for each message: the call, its bytes, and what `more` says at that moment."""

    def __init__(self, path: str, more: Callable[[], dict[str, int]] = dict) -> None:
        self._file = open(path, "a", encoding="ascii", buffering=1)  # noqa: SIM115 - open as long as the process lives
        self._more = more
        self._lock = threading.Lock()

    def note(self, call: str, body: bytes) -> None:
        with self._lock:
            self._file.write(json.dumps({"call": call.rpartition("/")[2], "bytes": body.hex(), **self._more()}) + "\n")


class _Channel:
    """A channel whose calls note the bytes that they are about to send."""

    def __init__(self, channel: Any, record: Record) -> None:
        self._channel = channel
        self._record = record

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._channel, name)
        if name not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            return made

        def call(method: str, request_serializer: Callable[[Any], bytes], *rest: Any, **more: Any) -> Any:
            def serialise(message: Any) -> bytes:
                body = request_serializer(message)
                self._record.note(method, body)
                return body

            return made(method, serialise, *rest, **more)

        return call


def tap(record: Record) -> None:
    """Note from now on what this process hands to the network; it cannot be taken off again."""
    secured, open_to_all = grpc.secure_channel, grpc.insecure_channel
    grpc.secure_channel = lambda *arguments, **more: _Channel(secured(*arguments, **more), record)
    grpc.insecure_channel = lambda *arguments, **more: _Channel(open_to_all(*arguments, **more), record)

    def beside(event: str, arguments: tuple[Any, ...]) -> None:
        if event in BESIDE:
            # the first argument is the socket itself
            record.note(event, repr(arguments[1:] or arguments).encode())

    sys.addaudithook(beside)
