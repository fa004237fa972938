"""A coordinator with code of its own: the right certificate and keys, and tasks that no honest one would send."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from isthmus.v1 import exchange_pb2, exchange_pb2_grpc, sealed_pb2, spec_pb2, study_pb2, summary_pb2
from isthmus.version import __version__
from isthmus_methods.codec import state_to_messages
from isthmus_methods.contract import State
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import new_tls_key, peer_of, tls_key_pem
from isthmus_trust.documents import REFUSAL, TASK, canonical, digest
from isthmus_trust.identity import IdentityKey

# Seconds that a node may take over one task before it counts as having said nothing.
PATIENCE = 60.0


class Hostile(exchange_pb2_grpc.ExchangeServicer):
    """Takes nodes in on a port of its own and sends them whatever it is told to.

    Parameters
    ----------
    home
        The coordinator's own folder: who takes the machine has its keys.
    """

    def __init__(self, home: Path) -> None:
        authority = Authority.open(home / "authority")
        self._identity = IdentityKey.load(home / "keys" / "identity.pem")
        self._lines: dict[str, queue.SimpleQueue[exchange_pb2.CoordinatorMessage | None]] = {}
        self._answers: dict[bytes, bytes] = {}
        self._words: dict[tuple[bytes, str], study_pb2.Signed] = {}  # of sealed rounds, by task and kind
        self._ended: dict[bytes, str] = {}  # sealed rounds that a node does not go on with, and its code
        self._changed = threading.Condition()
        key = new_tls_key()
        chain = authority.issue_coordinator(key, ("127.0.0.1",))
        credentials = grpc.ssl_server_credentials([(tls_key_pem(key), chain)], authority.root_pem, True)
        self._server = grpc.server(ThreadPoolExecutor(16))
        exchange_pb2_grpc.add_ExchangeServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.address = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', credentials)}"
        self._server.start()

    def close(self) -> None:
        for line in list(self._lines.values()):
            line.put(None)
        self._server.stop(0.5).wait()

    # ----------------------------------------------------------------- what nodes call

    def Attach(self, messages: Iterator[Any], context: Any) -> Iterator[exchange_pb2.CoordinatorMessage]:
        """Orders to a node until it goes."""
        name = peer_of(context.auth_context()["x509_pem_cert"][0]).name
        next(messages)
        line: queue.SimpleQueue[exchange_pb2.CoordinatorMessage | None] = queue.SimpleQueue()
        yield exchange_pb2.CoordinatorMessage(welcome=exchange_pb2.Welcome(software=__version__, coordinator="sandbox"))
        with self._changed:
            self._lines[name] = line
            self._changed.notify_all()
        context.add_callback(lambda: line.put(None))
        threading.Thread(target=self._listen, args=(messages,), daemon=True).start()
        while (order := line.get()) is not None:
            yield order

    def _listen(self, messages: Iterator[Any]) -> None:
        """Words of sealed rounds are kept."""
        with contextlib.suppress(grpc.RpcError):
            for message in messages:
                if message.HasField("sealed"):
                    said = message.sealed
                    with self._changed:
                        if said.code:
                            self._ended[said.task] = said.code
                        else:
                            self._words[said.task, said.word.context] = said.word
                        self._changed.notify_all()

    def Submit(self, chunks: Iterator[exchange_pb2.SubmissionChunk], context: Any) -> exchange_pb2.Acknowledgement:
        """Whatever comes is kept."""
        task, body = b"", b""
        for chunk in chunks:
            task, body = task or chunk.task, body + chunk.part
        with self._changed:
            self._answers[task] = body
            self._changed.notify_all()
        return exchange_pb2.Acknowledgement(digest=digest(body))

    def SubmitWhole(self, chunk: exchange_pb2.SubmissionChunk, context: Any) -> exchange_pb2.Acknowledgement:
        """The same in one piece."""
        return self.Submit(iter([chunk]), context)

    def Decide(self, request: exchange_pb2.DecideRequest, context: Any) -> exchange_pb2.Acknowledgement:
        """Taken note of and nothing more."""
        return exchange_pb2.Acknowledgement(digest=digest(request.decision.SerializeToString(deterministic=True)))

    # ----------------------------------------------------------------- what the attacker does

    def wait_for(self, node: str) -> None:
        """Until a node is there."""
        with self._changed:
            if not self._changed.wait_for(lambda: node in self._lines, PATIENCE):
                raise TimeoutError(f"node {node} did not come")

    def forget(self, node: str) -> None:
        """The node is about to be started anew."""
        with self._changed:
            self._lines.pop(node, None)

    def task(
        self,
        study: study_pb2.Study,
        spec: spec_pb2.Spec,
        *,
        state: State | None = None,
        run: bytes = b"",
        number: int = 1,
        **changed: Any,
    ) -> summary_pb2.Task:
        """A task as an honest coordinator would make it, but for `state` and what is `changed`."""
        fields: Mapping[str, Any] = {
            "study_digest": digest(canonical(study)),
            "run": run or os.urandom(16),
            "round": number,
            "spec": spec,
            "purpose": study.exploratory_purpose,
            "state": state_to_messages(state or {}),
            "participants": [p.node for p in study.participants],
            "deadline": time.time_ns() + 60_000_000_000,
            **changed,
        }
        return summary_pb2.Task(**fields)

    def send(self, node: str, task: summary_pb2.Task, more: bytes = b"", key: IdentityKey | None = None) -> bytes:
        """Sign a task, with bytes that no contract has behind it, and send it; its digest."""
        body = task.SerializeToString(deterministic=True) + more
        signed = (key or self._identity).sign(TASK, body)
        self._lines[node].put(exchange_pb2.CoordinatorMessage(task=signed))
        return digest(body)

    def step(self, node: str, task: bytes, words: Sequence[study_pb2.Signed]) -> None:
        """Tell a node what all participants of a sealed round said, or so it is told."""
        said = exchange_pb2.CoordinatorMessage(sealed=sealed_pb2.SealedStep(task=task, words=words))
        self._lines[node].put(said)

    def word(self, task: bytes, context: str) -> study_pb2.Signed | None:
        """A node's word in a sealed round; None where it says no more: it refused, or did not go on."""
        with self._changed:
            over = (task, context)
            self._changed.wait_for(lambda: over in self._words or task in self._ended or self._refused(task), PATIENCE)
            return self._words.get(over)

    def _refused(self, task: bytes) -> bool:
        kept = self._answers.get(task)
        return kept is not None and study_pb2.Signed.FromString(kept).context == REFUSAL

    def answered(self, name: bytes, seconds: float = PATIENCE) -> bytes | None:
        """The bytes that came for a task; None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._answers, seconds)
            return self._answers.get(name)
