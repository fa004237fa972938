"""The stream: opened, kept, opened again; what ends it for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import grpc
import pytest

from isthmus.errors import AuthenticationError, IsthmusError, LinkError, VersionError
from isthmus.v1 import exchange_pb2, study_pb2
from isthmus_node.config import Proxy
from isthmus_node.link.attach import TURNED_DOWN, Attachment
from isthmus_node.link.backoff import FIRST, LONGEST, Backoff
from isthmus_node.link.channel import Dial, Session, Timing

PATIENCE = 30.0


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.attached_times = threading.Semaphore(0)
        self.detached_times = threading.Semaphore(0)
        self.tasks: list[study_pb2.Signed] = []
        self.order: list[str] = []
        self.session: Session | None = None

    def hello(self) -> exchange_pb2.Hello:
        return exchange_pb2.Hello(software="0.1.0", methods=["cox/1"], datasets=["ADTTE"])

    def waiting(self) -> int:
        return 3

    def attached(self, session: Session, welcome: exchange_pb2.Welcome) -> None:
        self.session = session
        self.order.append("attached")
        self.attached_times.release()

    def detached(self) -> None:
        self.order.append("detached")
        self.detached_times.release()

    def study(self, signed: study_pb2.Signed) -> None:
        self.order.append("study")

    def task(self, signed: study_pb2.Signed) -> None:
        self.order.append("task")
        self.tasks.append(signed)

    def run_ended(self, ended: exchange_pb2.RunEnded) -> None:
        self.order.append("run ended")

    def withdrawal(self, withdrawal: exchange_pb2.Withdrawal) -> None:
        self.order.append(f"withdrawal {withdrawal.reason}")


class Kept:
    """An attachment on a thread of its own, and how it ended."""

    def __init__(self, dial: Callable[[], Dial], log: Any, timing: Timing, **more: Any) -> None:
        self.heard = Heard()
        backoff = more.pop("backoff", Backoff(Random(1), first=0.01, longest=0.05))
        self.attachment = Attachment(dial, self.heard, log, backoff, timing, **more)
        self.ended_with: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.attachment.run()
        except IsthmusError as error:
            self.ended_with.append(error)

    def wait_attached(self) -> None:
        assert self.heard.attached_times.acquire(timeout=PATIENCE)

    def end(self) -> None:
        self.attachment.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def wait_end(self) -> BaseException:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.ended_with[0]


@pytest.fixture
def keep(lines: Any, fast: Timing) -> Iterator[Callable[..., Kept]]:
    made: list[Kept] = []

    def start(dial: Dial | Callable[[], Dial], **more: Any) -> Kept:
        asked = (lambda: dial) if isinstance(dial, Dial) else dial
        made.append(Kept(asked, lines.log, more.pop("timing", fast), **more))
        return made[-1]

    yield start
    for one in made:
        one.end()


# --------------------------------------------------------------------------- backoff


def test_backoff_stays_within_its_bounds() -> None:
    for seed in range(50):
        backoff = Backoff(Random(seed))
        waits = [backoff.next() for _ in range(40)]
        assert all(FIRST <= wait <= LONGEST for wait in waits)
        assert waits[0] <= 2 * FIRST
        assert max(waits[10:]) > LONGEST / 3


def test_backoff_of_two_nodes_differs() -> None:
    one, other = Backoff(Random(1)), Backoff(Random(2))
    assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]


def test_backoff_grows_and_is_short_again_after_a_reset() -> None:
    backoff = Backoff(Random(3))
    bounds = [max(Backoff_at(k).next() for k in [n] * 200) for n in (0, 3, 6)]
    assert bounds == sorted(bounds)
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 2 * FIRST
    assert backoff.tries == 1


_SEEDS = iter(range(10_000))


def Backoff_at(tries: int) -> Backoff:
    backoff = Backoff(Random(next(_SEEDS)))
    for _ in range(tries):
        backoff.next()
    return backoff


# --------------------------------------------------------------------------- sessions


def test_attachment_says_hello_and_keeps_beating(dial: Dial, coordinator: Any, keep: Callable[..., Kept]) -> None:
    keep(dial).wait_attached()
    assert [list(hello.datasets) for hello in coordinator.exchange.hellos] == [["ADTTE"]]
    for _ in range(3):
        assert coordinator.exchange.beats.acquire(timeout=PATIENCE)


def test_orders_are_handed_on_in_their_order(dial: Dial, coordinator: Any, keep: Callable[..., Kept]) -> None:
    message = exchange_pb2.CoordinatorMessage
    coordinator.exchange.orders = [
        message(study=study_pb2.Signed(body=b"s")),
        message(task=study_pb2.Signed(body=b"t")),
        message(heartbeat=exchange_pb2.Heartbeat()),
        message(withdrawal=exchange_pb2.Withdrawal(task=b"t", reason="CANCELLED")),
    ]
    kept = keep(dial)
    kept.wait_attached()
    assert coordinator.exchange.beats.acquire(timeout=PATIENCE)
    kept.end()
    assert kept.heard.order == ["attached", "study", "task", "withdrawal CANCELLED", "detached"]


def test_attachment_survives_the_coordinators_restart(
    ground: Any, serve_with: Callable[..., Any], make_dial: Callable[..., Dial], keep: Callable[..., Kept], lines: Any
) -> None:
    first = serve_with(ground)
    kept = keep(make_dial(first.address))
    kept.wait_attached()
    first.stop()
    assert kept.heard.detached_times.acquire(timeout=PATIENCE)
    second = serve_with(ground, port=first.port)
    kept.wait_attached()
    assert second.exchange.hellos
    assert kept.thread.is_alive()
    assert lines.named("detached"), "the loss was said once"


def test_attachment_dials_until_the_coordinator_is_there(
    ground: Any, serve_with: Callable[..., Any], make_dial: Callable[..., Dial], keep: Callable[..., Kept], lines: Any
) -> None:
    gone = serve_with(ground)
    gone.stop()
    tried = threading.Semaphore(0)

    def explain(dial: Dial) -> IsthmusError:
        tried.release()
        return LinkError("CONNECTION_REFUSED", "refused", "wait")

    kept = keep(make_dial(gone.address), explain=explain)
    for _ in range(3):
        assert tried.acquire(timeout=PATIENCE)
    serve_with(ground, port=gone.port)
    kept.wait_attached()
    assert len(lines.named("detached")) == 1, "the same reason is not said at every try"


def test_half_open_connection_is_seen_and_replaced(
    dial: Dial, proxy: Callable[..., Any], keep: Callable[..., Kept], fast: Timing
) -> None:
    made = proxy()
    kept = keep(replace(dial, proxy=Proxy(made.address)), timing=replace(fast, ping=0.3, pong=0.3))
    kept.wait_attached()
    made.swallow()
    assert kept.heard.detached_times.acquire(timeout=PATIENCE), "nothing answers any more, and nothing was closed"
    made.carry()
    kept.wait_attached()


def test_silence_is_seen_within_45_seconds_by_default() -> None:
    timing = Timing()
    assert timing.ping + timing.pong <= 45.0
    assert timing.ping >= 30.0, "more often, and the coordinator ends the call: too many pings"


def test_reopened_session_dials_with_what_is_there_then(
    dial: Dial, coordinator: Any, keep: Callable[..., Kept], ground: Any
) -> None:
    dialled: list[Dial] = []

    def ask() -> Dial:
        chain, key = ground.node()
        dialled.append(replace(dial, chain=chain, key=key))
        return dialled[-1]

    kept = keep(ask)
    kept.wait_attached()
    kept.attachment.reopen()
    kept.wait_attached()
    assert len(coordinator.exchange.hellos) == 2
    assert dialled[0].chain != dialled[1].chain


def test_distrusted_session_is_opened_again(dial: Dial, coordinator: Any, keep: Callable[..., Kept]) -> None:
    kept = keep(dial)
    kept.wait_attached()
    kept.attachment.distrust()
    kept.wait_attached()
    assert len(coordinator.exchange.hellos) == 2


# --------------------------------------------------------------------------- what ends it


def test_version_too_far_away_ends_the_attachment_and_names_both(
    dial: Dial, coordinator: Any, keep: Callable[..., Kept]
) -> None:
    coordinator.exchange.software = "0.9.0"
    error = keep(dial).wait_end()
    assert isinstance(error, VersionError)
    assert "0.1.0" in error.message
    assert "0.9.0" in error.message


def test_version_one_minor_away_is_no_hindrance(dial: Dial, coordinator: Any, keep: Callable[..., Kept]) -> None:
    coordinator.exchange.software = "0.2.7"
    keep(dial).wait_attached()


def test_what_the_coordinator_says_of_us_ends_the_attachment(
    dial: Dial, coordinator: Any, keep: Callable[..., Kept]
) -> None:
    revoked = AuthenticationError("REVOKED", "node nl was taken off the roster", "ask the coordinating team")
    coordinator.exchange.refusal = revoked
    error = keep(dial).wait_end()
    assert isinstance(error, AuthenticationError)
    assert (error.code, error.message, error.remedy) == (revoked.code, revoked.message, revoked.remedy)


@pytest.mark.parametrize("times", [TURNED_DOWN - 1, TURNED_DOWN])
def test_hanging_up_is_believed_only_after_some_times(
    dial: Dial, coordinator: Any, keep: Callable[..., Kept], times: int
) -> None:
    coordinator.stop()
    failures = [AuthenticationError("CERTIFICATE_NOT_ACCEPTED", "hung up", "ask")] * times
    ended = threading.Event()

    def explain(dial: Dial) -> IsthmusError:
        if failures:
            return failures.pop()
        ended.set()
        return LinkError("CONNECTION_REFUSED", "refused", "wait")

    kept = keep(dial, explain=explain)
    if times == TURNED_DOWN:
        assert isinstance(kept.wait_end(), AuthenticationError)
    else:
        assert ended.wait(PATIENCE)
        assert kept.thread.is_alive()


def test_proxy_that_begins_to_inspect_does_not_end_a_node_that_was_attached(
    ground: Any, serve_with: Callable[..., Any], make_dial: Callable[..., Dial], keep: Callable[..., Kept]
) -> None:
    running = serve_with(ground)
    inspecting = threading.Semaphore(0)

    def explain(dial: Dial) -> IsthmusError:
        inspecting.release()
        return AuthenticationError("WRONG_ISSUER", "what answers is not the coordinator", "exempt it")

    kept = keep(make_dial(running.address), explain=explain)
    kept.wait_attached()
    running.stop()
    for _ in range(3):
        assert inspecting.acquire(timeout=PATIENCE)
    assert kept.thread.is_alive()


def test_expired_certificate_of_ours_ends_the_attachment_and_says_when(
    make_dial: Callable[..., Dial], coordinator: Any, keep: Callable[..., Kept]
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=60)
    error = keep(make_dial(coordinator.address, at=long_ago)).wait_end()
    assert isinstance(error, AuthenticationError)
    assert error.code == "CERTIFICATE_EXPIRED"
    assert (long_ago + timedelta(days=30)).strftime("%Y-%m-%d") in error.message


def test_certificate_of_a_stranger_ends_the_attachment(
    make_dial: Callable[..., Dial], coordinator: Any, foreign_ground: Any, keep: Callable[..., Kept]
) -> None:
    chain, key = foreign_ground.node()
    error = keep(replace(make_dial(coordinator.address), chain=chain, key=key)).wait_end()
    assert isinstance(error, AuthenticationError)


def test_wrong_issuer_ends_a_node_that_never_was_attached(
    serve_with: Callable[..., Any], foreign_ground: Any, make_dial: Callable[..., Dial], keep: Callable[..., Kept]
) -> None:
    other = serve_with(foreign_ground)
    error = keep(make_dial(other.address)).wait_end()
    assert isinstance(error, AuthenticationError)
    assert error.code == "WRONG_ISSUER"


def test_bug_at_the_coordinator_is_no_reason_to_end_once_attached(
    dial: Dial, coordinator: Any, keep: Callable[..., Kept]
) -> None:
    kept = keep(dial)
    kept.wait_attached()
    coordinator.exchange.refusal = IsthmusError("BUG", "a fault", "report it")
    kept.attachment.distrust()
    assert coordinator.exchange.refused.acquire(timeout=PATIENCE)
    coordinator.exchange.refusal = None
    kept.wait_attached()


def test_stop_while_waiting_ends_at_once(make_dial: Callable[..., Dial], coordinator: Any, keep: Any) -> None:
    coordinator.stop()
    waiting = threading.Event()

    class Long(Backoff):
        def next(self) -> float:
            waiting.set()
            return 3600.0

    kept = keep(make_dial(coordinator.address), backoff=Long(Random(1)))
    assert waiting.wait(PATIENCE)
    kept.end()
    assert kept.ended_with == []


def test_channels_are_closed_with_their_sessions(
    dial: Dial, coordinator: Any, keep: Callable[..., Kept], fast: Timing
) -> None:
    from isthmus_node.link.channel import open_channel

    opened: list[grpc.Channel] = []

    def opener(dial: Dial, timing: Timing) -> grpc.Channel:
        opened.append(open_channel(dial, timing))
        return opened[-1]

    kept = keep(dial, opener=opener)
    kept.wait_attached()
    kept.attachment.reopen()
    kept.wait_attached()
    kept.end()
    for channel in opened:
        with pytest.raises(ValueError, match="closed"):
            Session(channel, fast).stub.Decide(exchange_pb2.DecideRequest(), timeout=1)
