"""The stream on which orders arrive: opened, kept alive, and opened again whenever it breaks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import grpc

from isthmus.errors import AuthenticationError, IsthmusError, LinkError, VersionError
from isthmus.v1 import exchange_pb2, sealed_pb2, study_pb2
from isthmus.version import __version__, check_compatible
from isthmus_node.config import Address
from isthmus_node.link.backoff import Backoff
from isthmus_node.link.channel import Dial, Session, Timing, error_from, open_channel
from isthmus_node.link.diagnose import diagnose
from isthmus_node.ops.logs import Log

# A session that held this long was a good one: the next wait is short again.
HELD_SECONDS = 10.0
# So often in a row our certificate has to be turned down until it is believed.
TURNED_DOWN = 4
# Once attached, these no longer end the node: whoever stands between may go away again.
_MAY_PASS = ("WRONG_ISSUER", "COORDINATOR_CERTIFICATE_EXPIRED", "WRONG_HOST", "WRONG_ROLE", "FOREIGN_CERTIFICATE")


class Listener(Protocol):
    """Who is told what arrives. Called on the thread that reads the stream: it must only take note and return."""

    def hello(self) -> exchange_pb2.Hello: ...

    def waiting(self) -> int: ...

    def attached(self, session: Session, welcome: exchange_pb2.Welcome) -> None: ...

    def detached(self) -> None: ...

    def study(self, signed: study_pb2.Signed) -> None: ...

    def task(self, signed: study_pb2.Signed) -> None: ...

    def sealed(self, step: sealed_pb2.SealedStep) -> None: ...

    def run_ended(self, ended: exchange_pb2.RunEnded) -> None: ...

    def withdrawal(self, withdrawal: exchange_pb2.Withdrawal) -> None: ...


class Witness(Protocol):
    """Who is told what arrives about checkpoints of journals; as `Listener`, it must only take note and return."""

    def attached(self, session: Session) -> None: ...

    def detached(self) -> None: ...

    def told(self, message: exchange_pb2.CoordinatorMessage) -> None: ...


class Attachment:
    """Keeps the node attached: one session after the other until `stop`.

    Parameters
    ----------
    dial
        Asked anew for each session, so that a renewed certificate is used.
    listener
        Who is told.
    log
        Where events go.
    backoff
        How long to wait between tries.
    timing
        How long silence may last.
    clock
        Monotonic seconds.
    witness
        Who is told of checkpoints; None: nobody is.
    opener, explain
        How a channel is opened, and how a failure is explained; replaced in tests.
    """

    def __init__(
        self,
        dial: Callable[[], Dial],
        listener: Listener,
        log: Log,
        backoff: Backoff,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        opener: Callable[[Dial, Timing], grpc.Channel] = open_channel,
        explain: Callable[[Dial], IsthmusError | None] = diagnose,
        witness: Witness | None = None,
    ) -> None:
        self._witness = witness
        self._dial = dial
        self._listener = listener
        self._log = log
        self._backoff = backoff
        self._timing = timing or Timing()
        self._clock = clock
        self._open = opener
        self._explain = explain
        self._stopping = threading.Event()
        self._again = threading.Event()
        self._call: grpc.Call | None = None
        self._guard = threading.Lock()
        self._address: Address | None = None
        self.ever_attached = False

    def run(self) -> None:
        """Stay attached until `stop`; raises only what no waiting can heal: who we are, or a version too far away."""
        said = ""
        in_a_row = 0
        while not self._stopping.is_set():
            began = self._clock()
            failure = self._session()
            if self._stopping.is_set():
                return
            if self._again.is_set():
                self._again.clear()
                self._backoff.reset()
                continue
            in_a_row = in_a_row + 1 if failure.code == said else 1
            if self._is_final(failure, in_a_row):
                raise failure
            if self._clock() - began >= HELD_SECONDS:
                self._backoff.reset()
            wait = self._backoff.next()
            tries = self._backoff.tries
            # the same reason is said again only now and then
            if failure.code != said or tries % 10 == 0:
                name = "detached" if failure.code != said else "still-away"
                self._log.failure(name, failure, seconds=round(wait, 1), tries=tries)
            said = failure.code
            self._stopping.wait(wait)

    def stop(self) -> None:
        """End the session and do not open another."""
        self._stopping.set()
        self._cancel()

    def reopen(self) -> None:
        """End the session and open another at once: after a renewal, or when what `hello` says has changed."""
        self._again.set()
        self._cancel()

    def distrust(self) -> None:
        """End a session that does not carry; the next one is opened after the usual wait."""
        self._cancel()

    def _cancel(self) -> None:
        with self._guard:
            if self._call is not None:
                self._call.cancel()

    def _session(self) -> IsthmusError:
        """One session from dialling to its end; returns why it ended."""
        try:
            dial = self._dial()
        except IsthmusError as error:
            return error
        self._address = dial.address
        channel = self._open(dial, self._timing)
        session = Session(channel, self._timing)
        try:
            call = session.stub.Attach(self._outgoing(session))
            with self._guard:
                self._call = call
            if self._stopping.is_set():
                call.cancel()
            return self._read(session, call)
        except grpc.RpcError as error:
            return self._why(error, dial)
        except IsthmusError as error:
            return error
        finally:
            with self._guard:
                self._call = None
            session.outgoing.put(None)
            self._listener.detached()
            if self._witness is not None:
                self._witness.detached()
            channel.close()

    def _read(self, session: Session, call: Iterator[exchange_pb2.CoordinatorMessage]) -> IsthmusError:
        # the coordinator greets at once; without a greeting the call is given up
        patience = threading.Timer(self._timing.call, self._cancel)
        patience.daemon = True
        patience.start()
        try:
            for message in call:
                which = message.WhichOneof("message")
                if which == "welcome":
                    patience.cancel()
                    check_compatible(__version__, message.welcome.software, "the coordinator")
                    self.ever_attached = True
                    self._log.event(
                        "attached",
                        coordinator=message.welcome.coordinator,
                        address=str(self._address),
                        software=message.welcome.software,
                    )
                    self._listener.attached(session, message.welcome)
                    if self._witness is not None:
                        self._witness.attached(session)
                elif which == "task":
                    self._listener.task(message.task)
                elif which == "sealed":
                    self._listener.sealed(message.sealed)
                elif which == "study":
                    self._listener.study(message.study)
                elif which == "withdrawal":
                    self._listener.withdrawal(message.withdrawal)
                else:
                    if which == "run_ended":
                        self._listener.run_ended(message.run_ended)
                    if self._witness is not None:
                        self._witness.told(message)
        finally:
            patience.cancel()
        return LinkError("STREAM_ENDED", "the coordinator ended the stream", "none needed: the node dials again")

    def _outgoing(self, session: Session) -> Iterator[exchange_pb2.NodeMessage]:
        hello = self._listener.hello()
        hello.witnesses = self._witness is not None
        yield exchange_pb2.NodeMessage(hello=hello)
        while True:
            try:
                message = session.outgoing.get(timeout=self._timing.heartbeat)
            except queue.Empty:
                beat = exchange_pb2.Heartbeat(waiting=self._listener.waiting())
                yield exchange_pb2.NodeMessage(heartbeat=beat)
            else:
                if message is None:
                    return
                yield message

    def _why(self, error: grpc.RpcError, dial: Dial) -> IsthmusError:
        said = error_from(error)
        if said.code != "UNREACHABLE" or self._stopping.is_set() or self._again.is_set():
            return said
        return self._explain(dial) or said

    def _is_final(self, failure: IsthmusError, in_a_row: int) -> bool:
        if isinstance(failure, VersionError):
            return True
        if failure.code == "CERTIFICATE_NOT_ACCEPTED":
            # a coordinator that is just stopping hangs up in the same way
            return in_a_row >= TURNED_DOWN
        if isinstance(failure, AuthenticationError):
            return not (self.ever_attached and failure.code in _MAY_PASS)
        # whatever else is not about the link (a key file that is gone, a bug) does not heal by itself at the start
        return not isinstance(failure, LinkError) and not self.ever_attached
