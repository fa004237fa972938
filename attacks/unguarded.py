"""Runs a node with some of its guards left out, and writes down every byte that it hands to gRPC.

    python -m attacks.unguarded RECORD GUARDS GIVEN isthmus-node's arguments ...

GUARDS and GIVEN are names of `guards.py` and `circumstances.py` with commas between, or ``-``. What is left out is left
out here, from outside, in the process of the test; the product has no switch for any of it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc

from attacks.circumstances import put_in
from attacks.guards import left_out


class Recorder:
    """Appends a line for each message that leaves: the call and its bytes."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="ascii", buffering=1)  # noqa: SIM115 - open as long as the process lives
        self._lock = threading.Lock()

    def note(self, call: str, body: bytes) -> None:
        with self._lock:
            self._file.write(json.dumps({"call": call.rpartition("/")[2], "bytes": body.hex()}) + "\n")


class RecordedChannel:
    """A channel whose calls note the bytes that they are about to send."""

    def __init__(self, channel: Any, recorder: Recorder) -> None:
        self._channel = channel
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._channel, name)
        if name not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            return made

        def call(method: str, request_serializer: Callable[[Any], bytes], *rest: Any, **more: Any) -> Any:
            def serialise(message: Any) -> bytes:
                body = request_serializer(message)
                self._recorder.note(method, body)
                return body

            return made(method, serialise, *rest, **more)

        return call


def record(path: str) -> None:
    """Stand between the node and gRPC, below everything of ours."""
    recorder, original = Recorder(path), grpc.secure_channel

    def secure_channel(*arguments: Any, **more: Any) -> RecordedChannel:
        return RecordedChannel(original(*arguments, **more), recorder)

    grpc.secure_channel = secure_channel


def main() -> int:
    path, guards, given, *command = sys.argv[1:]
    record(path)
    left_out([] if guards == "-" else guards.split(","))
    put_in([] if given == "-" else given.split(","))
    from isthmus_node.cli import main as run_node

    sys.argv = ["isthmus-node", *command]
    run_node()
    return 0


if __name__ == "__main__":
    sys.exit(main())
