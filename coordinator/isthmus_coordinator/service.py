"""The whole coordinator, put together: from a home folder to an open port and back."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import IO

from isthmus.errors import ConfigError
from isthmus.memory import large_blocks_apart
from isthmus_coordinator.analyses.desk import Desk
from isthmus_coordinator.analyses.records import Answered
from isthmus_coordinator.analyses.rounds import Rounds
from isthmus_coordinator.clock import Clock, moment, wall_clock
from isthmus_coordinator.config import (
    Home,
    Settings,
    already_there,
    database_url,
    load_settings,
    write_settings,
)
from isthmus_coordinator.roster.enrolment import Enrolment
from isthmus_coordinator.roster.limits import PolicyLimits
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.studies.catalogue import Studies
from isthmus_coordinator.studies.proposals import FindMethod
from isthmus_coordinator.training.half import Trainings
from isthmus_coordinator.training.process import Bounds
from isthmus_methods.contract import Procedure
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import check_name, general_name
from isthmus_trust.identity import IdentityKey


def find_method(name: str, version: int | None) -> Procedure:
    """The method, or the training, from the index of this installation, loaded when first asked for."""
    from isthmus_methods import registry

    return registry.find_procedure(name, version)


def create(home: Home, name: str, hosts: tuple[str, ...], port: int) -> None:
    """Make a coordinator in a folder that has none: authority, keys, settings, store.

    Raises
    ------
    ConfigError
        ``HOME_EXISTS``, or where something cannot be written.
    UsageError
        ``BAD_NAME`` or ``BAD_HOST``.
    """
    check_name(name)
    for host in hosts:
        general_name(host)
    if home.config.exists() or home.authority.exists():
        raise already_there(home)
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "CANNOT_WRITE",
            f"{home.path} cannot be made: {error.strerror}",
            "choose a folder this user may write to, with --home",
        ) from error
    Authority.create(home.authority, name)
    IdentityKey.generate().save(home.identity_key)
    # last: a folder with settings is a whole coordinator
    write_settings(home, name, hosts, port)
    database = Database(database_url(home, load_settings(home)))
    try:
        database.upgrade()
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class Office:
    """What every command of the coordinator works with; no port."""

    home: Home
    settings: Settings
    database: Database
    authority: Authority
    identity: IdentityKey
    roster: Roster
    enrolment: Enrolment
    studies: Studies
    clock: Clock
    find_method: FindMethod

    def close(self) -> None:
        self.database.close()


def open_office(home: Home, *, find: FindMethod = find_method, clock: Clock = wall_clock) -> Office:
    """Open a coordinator's folder; `ConfigError` where it is none, or damaged."""
    settings = load_settings(home)
    authority = Authority.open(home.authority, lambda: moment(clock()))
    identity = IdentityKey.load(home.identity_key)
    database = Database(database_url(home, settings))
    roster = Roster(database, clock)
    return Office(
        home=home,
        settings=settings,
        database=database,
        authority=authority,
        identity=identity,
        roster=roster,
        enrolment=Enrolment(database, roster, authority, identity.public, clock),
        studies=Studies(database, roster, find, clock),
        clock=clock,
        find_method=find,
    )


class Coordinator:
    """A coordinator that runs: store brought up to date, runs taken up, port open."""

    def __init__(self, office: Office, *, heartbeat: float = 15.0) -> None:
        from isthmus_coordinator.link.analyst import AnalystServicer
        from isthmus_coordinator.link.door import Door
        from isthmus_coordinator.link.exchange import ExchangeServicer
        from isthmus_coordinator.link.hub import Hub
        from isthmus_coordinator.link.port import Certificates, Port
        from isthmus_coordinator.witnesses.desk import Witnesses

        self.office = office
        settings = office.settings
        self.hub = Hub(office.clock)
        trainings = Trainings(
            Bounds(
                settings.training.seconds, settings.training.memory_mib, settings.max_submission_bytes, office.home.path
            ),
            settings.training.strategies,
            Answered(office.database),
        )
        self.rounds = Rounds(
            office.database,
            office.roster,
            office.studies,
            self.hub,
            office.identity,
            office.find_method,
            office.clock,
            trainings,
        )
        limits = PolicyLimits(office.database, office.clock)
        desk = Desk(
            office.database,
            office.studies,
            self.rounds,
            trainings,
            office.find_method,
            self.hub.attached,
            office.clock,
            settings.deadline_seconds,
            settings.training.runs,
            limits.find,
        )
        witnesses = Witnesses(
            settings.name, office.identity, office.database, office.roster, office.studies, self.hub, office.clock
        )
        self.rounds.on_ended(witnesses.run_ended)
        door = Door(office.roster)
        door.on_revoked(self.rounds.check_deadlines)
        self.hub.on_change(self.rounds.node_changed)
        exchange = ExchangeServicer(
            settings.name,
            door,
            self.hub,
            office.roster,
            office.enrolment,
            office.studies,
            self.rounds,
            limits,
            witnesses,
            office.home.path,
            max_submission=settings.max_submission_bytes,
            heartbeat=heartbeat,
        )
        analyst = AnalystServicer(door, self.hub, office.roster, office.studies, desk)
        self._port = Port(Certificates(office.authority, settings.hosts, office.clock), door, exchange, analyst)
        self._lock: IO[bytes] | None = None

    def start(self, port: int | None = None) -> int:
        """Bring the store up to date, take up runs, open the port; the port's number.

        Parameters
        ----------
        port
            Another port than the one of the settings; 0: any that is free.
        """
        large_blocks_apart()
        settings = self.office.settings
        wanted = settings.port if port is None else port
        self._lock = _only_one(self.office.home)
        # before anything is touched: another program on the port is the most common mistake
        self._port.check_free(settings.listen_on, wanted)
        self.office.database.upgrade()
        self.rounds.resume()
        return self._port.open(settings.listen_on, wanted)

    def stop(self, seconds: float = 2.0) -> None:
        """End streams, then calls, then the store. What was acknowledged is on disk."""
        self.hub.close()
        self.rounds.close()
        self._port.close(seconds)
        self.office.close()
        if self._lock is not None:
            self._lock.close()


def is_running(home: Home) -> bool:
    """Whether a process runs the coordinator of this folder now."""
    try:
        _only_one(home).close()
    except ConfigError:
        return True
    return False


def _only_one(home: Home) -> IO[bytes]:
    """Hold the home folder's lock for as long as this process lives."""
    lock = os.fdopen(os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigError(
            "ALREADY_RUNNING",
            f"another process runs the coordinator in {home.path}; rule: one at a time",
            "stop it first, or use another home folder",
        ) from error
    return lock
