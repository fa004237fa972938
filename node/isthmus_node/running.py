"""A node at work: everything put together, started in order, watched over, and ended in order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from random import SystemRandom
from types import FrameType

from isthmus.confined import forbid_core_dumps, libraries_heard, only_the_log_speaks, refuse_traces
from isthmus.errors import ConfigError, IsthmusError
from isthmus.memory import few_heaps
from isthmus.v1 import journal_pb2
from isthmus.version import __version__
from isthmus_node.admission import Admission, Ourselves
from isthmus_node.answering import Answering
from isthmus_node.catalogue import Datasets
from isthmus_node.config import NodeConfig
from isthmus_node.custodian.adoption import Adopted, Adoptions, record_of
from isthmus_node.custodian.contributors import Contributors
from isthmus_node.custodian.decisions import Decisions
from isthmus_node.custodian.held import HeldAnswers
from isthmus_node.custodian.locks import Locks
from isthmus_node.custodian.policy_in_force import PolicyInForce
from isthmus_node.custodian.reruns import Reruns
from isthmus_node.egress.auditor import Auditor
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Accountant
from isthmus_node.homes import check_joined, only_one
from isthmus_node.link.attach import Attachment
from isthmus_node.link.backoff import Backoff
from isthmus_node.link.channel import Session, Timing, dial_of
from isthmus_node.link.enrol import renew, renewal_due
from isthmus_node.noticing import Noticing
from isthmus_node.ops.health import Health
from isthmus_node.ops.logs import Log
from isthmus_node.ops.notify import Notifier
from isthmus_node.parts import Parts
from isthmus_node.public_keys import read_public
from isthmus_node.sealing.rounds import Sealing
from isthmus_node.service import Service
from isthmus_node.shelf import Shelf
from isthmus_node.training.held_out import HeldOut
from isthmus_node.training.runner import Bounds, check_apart
from isthmus_node.training.runs import Runs
from isthmus_node.waiting_room import WaitingRoom
from isthmus_node.witness.known import RosterFile, known_keys
from isthmus_node.witness.own import Checkpoints
from isthmus_node.witness.seen import Seen
from isthmus_node.witness.work import Witnessing
from isthmus_trust.certificates import read_chain
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import read_secret, replace

# Seconds between two looks at what people did; tasks do not wait for it.
LOOK = 0.2
# Seconds between two tries to write or send what could not be.
SETTLE = 15.0
# Seconds between two looks at the certificate's age.
RENEWAL = 600.0


def ourselves_of(config: NodeConfig) -> Ourselves:
    """Who this node is, from its settings and keys."""
    home = config.home
    return Ourselves(
        node=config.name,
        country=config.country,
        identity=IdentityKey.load(home.identity_key).public,
        custodian=read_public(home.custodian_public),
        coordinator=read_public(home.coordinator_key),
    )


class Node:
    """A node from start to end. `run` returns when it was asked to stop, and raises where it cannot go on.

    Parameters
    ----------
    config
        Its settings.
    log, notifier
        Where events go, and word to the service manager.
    timing
        How long silence on the link may last.
    say
        Prints a line for whoever started the node.
    """

    def __init__(
        self,
        config: NodeConfig,
        log: Log,
        notifier: Notifier | None = None,
        timing: Timing | None = None,
        say: Callable[[str], None] = lambda line: print(line, flush=True),  # noqa: T201 - a command speaks
    ) -> None:
        check_joined(config.home, config.name, config.coordinator is not None)
        self._config = config
        self._log = log
        self._notifier = notifier or Notifier()
        self._timing = timing or Timing()
        self._say = say
        self._stopping = threading.Event()
        self._reason = "fault"
        self._ended: list[BaseException] = []
        self._ready = False
        self._standing: dict[str, object] = {}
        self._certificate_expires = 0

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask the node to end; usable as a signal handler."""
        del frame
        # no more than this: a handler may interrupt the log itself
        self._reason = signal.Signals(number).name if number else "asked"
        self._stopping.set()

    def run(self) -> None:
        """Start, stay, end.

        Raises
        ------
        IsthmusError
            What keeps the node from starting, or from going on: settings, policy, journal, certificate, version.
        """
        home = self._config.home
        home.make()
        with only_one(home), Journal.open(home.journal) as journal:
            witnessing = self._witnessing(journal)
            service, attachment, look = self._put_together(journal, witnessing)
            self._log.event("starting", node=self._config.name, software=__version__, home=str(home.config))
            health = self._health(service)
            threads = [
                threading.Thread(target=self._guarded(service.run), name="work", daemon=True),
                threading.Thread(target=self._guarded(attachment.run), name="link", daemon=True),
                threading.Thread(target=self._guarded(witnessing.run), name="witness", daemon=True),
            ]
            for thread in threads:
                thread.start()
            try:
                self._watch(service, look, threads)
            finally:
                self._log.event("stopping", reason=self._reason)
                self._notifier.stopping()
                attachment.stop()
                service.stop()
                witnessing.stop()
                for thread in threads:
                    thread.join(timeout=5.0)
                if health is not None:
                    health.close()
                with contextlib.suppress(OSError):
                    home.standing.unlink()
            if self._ended:
                raise self._ended[0]

    def _witnessing(self, journal: Journal) -> Witnessing:
        """Checkpoints of the journal; a journal that is not the one this node signed for last does not start."""
        home = self._config.home
        ourselves, shelf = ourselves_of(self._config), Shelf(home.studies)
        own = Checkpoints(home.checkpoints, ourselves.node, ourselves.identity)
        own.check_newest(journal.records, journal)
        roster = RosterFile(home.roster, ourselves.coordinator)

        def keys() -> dict[bytes, str]:
            known = roster.read()
            return known_keys(ourselves.coordinator, shelf.everything(), known[1] if known else None)

        return Witnessing(
            ourselves.node,
            IdentityKey.load(home.identity_key),
            journal,
            own,
            Seen(home.witnessed),
            roster,
            keys,
            lambda: (p for shelved in shelf.everything() for p in shelved.study.participants),
            self._log,
        )

    def _put_together(self, journal: Journal, witnessing: Witnessing) -> tuple[Service, Attachment, Callable[[], bool]]:
        config, log = self._config, self._log
        home = config.home
        ourselves = ourselves_of(config)
        identity = IdentityKey.load(home.identity_key)
        shelf = Shelf(home.studies)
        decisions = Decisions(home.decisions, config.name, ourselves.custodian)
        datasets = Datasets(home.state, config.country)

        def journal_policy(policy: Policy, adopted: Adopted) -> None:
            journal.append(record_of(adopted))
            log.event("policy-changed", digest=policy.digest.hex())

        journal.append(journal_pb2.Record(actor="node", event="STARTED", words=f"isthmus {__version__} started"))
        # no policy, no start: nothing could leave anyway
        adoptions = Adoptions(home.policies, config.name, ourselves.custodian)
        policy = PolicyInForce(home.policy, adoptions, lambda: journal.policy, journal_policy)
        policy()
        noticing = Noticing(home.state / "noticed.json", decisions, datasets, shelf, journal, log)
        noticing.notice()
        reruns = Reruns(home.reruns, decisions)
        service = Service(
            Parts(
                ourselves=ourselves,
                shelf=shelf,
                decisions=decisions,
                datasets=datasets,
                journal=journal,
                admission=Admission(
                    ourselves, shelf, decisions, policy, time.time_ns, datasets.are_open, journal.answers
                ),
                answering=Answering(
                    ourselves,
                    identity,
                    datasets,
                    policy,
                    Auditor(home.auditor, journal),
                    reruns,
                    self._runs(datasets),
                    Accountant(home.auditor, journal),
                ),
                noticing=noticing,
                log=log,
                waiting_room=WaitingRoom(home.waiting),
                held=HeldAnswers(home.held, decisions),
                reruns=reruns,
                contributors=Contributors(home.contributors),
                locks=Locks(home.refusals, decisions, journal),
                sealing=Sealing(identity, journal, home.sealed),
            ),
            distrust=lambda: attachment.distrust(),
            greet_again=lambda: attachment.reopen(),
        )
        attachment = Attachment(
            lambda: dial_of(config), service, log, Backoff(SystemRandom()), self._timing, witness=witnessing
        )

        def renew_when_due(session: Session | None) -> None:
            if session is None or not renewal_due(read_secret(home.certificate), datetime.now(UTC)):
                return
            try:
                peer = renew(session, home, config.name, identity)
            except IsthmusError as error:
                log.failure("certificate-not-renewed", error)
                return
            log.event("certificate-renewed", expires=peer.expires_at.isoformat(timespec="seconds"))
            attachment.reopen()

        self._renew_when_due = renew_when_due

        def changed() -> bool:
            told_otherwise = service.welcome is not None and service.told != policy.digest
            return noticing.changed() or policy.changed() or told_otherwise

        return service, attachment, changed

    def _runs(self, datasets: Datasets) -> Runs:
        """Trainings, in processes that cannot read what is this node's."""
        home = self._config.home

        def check() -> None:
            check_apart([home.config, home.state, self._config.custodian_key, *datasets.files()])

        bounds = Bounds(self._config.training_memory, self._config.training_seconds)
        return Runs(self._config.name, HeldOut(home.held_out_key), bounds, check)

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by `run`, on the main thread
                self._ended.append(error)
            self._stopping.set()

        return guarded

    def _health(self, service: Service) -> Health | None:
        port = self._config.health_port
        if port is None:
            return None
        health = Health(
            port,
            ready=lambda: service.welcome is not None,
            figures=lambda: {
                **service.figures(),
                "isthmus_node_certificate_seconds_left": self._certificate_expires - int(time.time()),
            },
        )
        self._log.event("health-listens", port=health.port)
        return health

    def _watch(self, service: Service, changed: Callable[[], bool], threads: list[threading.Thread]) -> None:
        """The main thread: says ready, looks for decisions, keeps the service manager informed."""
        started = settled = time.monotonic()
        renewed = told = float("-inf")
        while not self._stopping.wait(LOOK):
            now = time.monotonic()
            self._tell(service)
            if changed():
                service.look_again()
            if now - settled >= SETTLE:
                settled = now
                service.settle_again()
            if now - renewed >= RENEWAL and service.welcome is not None:
                renewed = now
                service.do(self._renew_when_due)
            alive = self._notifier.alive_seconds
            if alive is not None and now - told >= alive and all(thread.is_alive() for thread in threads):
                told = now
                self._notifier.alive()
            if not self._ready and now - started >= 5.0:
                started = now
                self._notifier.still_starting(30.0, "waiting for the coordinator")

    def _tell(self, service: Service) -> None:
        """Keep the file that `status` reads up to date, and say ready once attached."""
        welcome = service.welcome
        standing = {
            "pid": os.getpid(),
            "attached": welcome is not None,
            "coordinator": str(self._config.coordinator),
            "coordinator_software": welcome.software if welcome is not None else "",
            "waiting": service.waiting(),
        }
        if standing != {k: self._standing.get(k) for k in standing}:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            certificate = read_chain(read_secret(self._config.home.certificate))[0]
            self._certificate_expires = int(certificate.not_valid_after_utc.timestamp())
            self._standing = {**standing, "since": since}
            self._write_standing()
        if welcome is not None and not self._ready:
            # last: whoever hears it and asks for the status finds the node attached
            self._ready = True
            self._notifier.ready(f"attached to {self._config.coordinator}")
            self._say(f"ready {self._config.name} -> {self._config.coordinator}")

    def _write_standing(self) -> None:
        try:
            replace(self._config.home.standing, json.dumps(self._standing).encode())
        except ConfigError:
            # a full disk must not end the node, and what was true before it was full must not stand there as if it were
            self._standing = {}
            with contextlib.suppress(OSError):
                self._config.home.standing.unlink(missing_ok=True)


def run_node(config: NodeConfig) -> None:
    """Run a node in this process until a signal ends it.

    Raises
    ------
    ConfigError
        ``TRACE_SET`` where the environment would have it write what passes through it; what `Node.run` raises.
    """
    refuse_traces()
    forbid_core_dumps()
    few_heaps()
    with only_the_log_speaks() as stream:
        log = Log(config.log_level, stream)
        with libraries_heard(log):
            node = Node(config, log)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, node.stop)
            node.run()
