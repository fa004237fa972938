"""The accountant: what noise has spent, of the same persons or dataset, over all runs. The journal is its ledger.

A debit is on the disk before the noise is drawn, and stays where nothing left after all. Nothing here reads a value.

Source: zero-concentrated differential privacy, Bun and Steinke 2016 (TCC, LNCS 9985); it adds up over releases (lemma
1.7), however each was chosen by those before it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError, Refused
from isthmus.recent import RecentMap
from isthmus.v1 import journal_pb2
from isthmus.v1.summary_pb2 import PrivacySpent
from isthmus_node.egress.auditor import KEY_FILE
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.update_rules import rho_of
from isthmus_trust.documents import canonical, read_canonical
from isthmus_trust.key_files import read_secret, replace

# The chance with which (epsilon, delta) may fail; rho is what is kept, and epsilon what people know.
DELTA = 1e-6
ACCOUNTANT = "zCDP, Gaussian"
SUFFIX = ".persons"
# Tasks whose seed is kept: asked again before anything left, they get the same noise.
_SEEDS_KEPT = 256
# Sums of the same debits in another order differ in their last bits.
_ROUNDING = 1e-12

Pseudonyms = NDArray[np.uint64]


class Recorder(Protocol):
    """The journal, as the accountant needs it."""

    def append(self, record: journal_pb2.Record) -> object: ...

    def debits(self) -> Sequence[journal_pb2.Record]: ...


@dataclass(frozen=True, slots=True)
class Persons:
    """All persons of a dataset. `known_by`: the variable that names them; empty where each row is one."""

    dataset: str
    known_by: str
    names: Callable[[], Sequence[str]]
    snapshot: bytes  # digest of rows and names: names are read once for each


@dataclass(frozen=True, slots=True)
class Debit:
    """What was written down for a task, and the seed of its noise."""

    privacy: PrivacySpent
    seed: bytes = field(repr=False)  # 32 bytes, secret


def epsilon_of(rho: float, delta: float = DELTA) -> float:
    """The epsilon of (epsilon, delta) that a rho implies.

    Source: Bun and Steinke 2016, proposition 1.3.
    """
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))


class Spent:
    """What the debits of a journal have spent. Safe to use from several threads.

    Parameters
    ----------
    folder
        The auditor's: lists of the pseudonyms of persons are beside its states.
    debits
        Of the journal, in order.

    Raises
    ------
    ConfigError
        ``PRIVACY_BEHIND``: the journal has a debit of persons whose list is gone or is another.
    """

    def __init__(self, folder: Path, debits: Iterable[journal_pb2.Record]) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._groups: dict[bytes, Pseudonyms] = {}
        self._spent: dict[tuple[str, bytes], float] = {}
        self._of_task: dict[bytes, PrivacySpent] = {}
        self._common: dict[tuple[bytes, bytes], bool] = {}
        for record in debits:
            if record.persons_digest not in self._groups:
                self._groups[record.persons_digest] = self._read(record.persons_digest)
            self._take(record)

    def totals(self) -> dict[str, float]:
        """Rho spent by now of each dataset that noise was paid for: of the persons in it who have spent most."""
        with self._lock:
            return {
                dataset: max(self._total(dataset, group) for name, group in self._spent if name == dataset)
                for dataset in sorted({name for name, _ in self._spent})
            }

    def _take(self, record: journal_pb2.Record) -> PrivacySpent:
        key, spent = (record.dataset, record.persons_digest), spent_in(record)
        self._spent[key] = self._spent.get(key, 0.0) + spent.rho
        self._of_task[record.task] = spent
        return spent

    def _total(self, dataset: str, group: bytes) -> float:
        """What was spent under this name, whoever was in it, and for anybody of these persons, whatever the name."""
        return math.fsum(
            rho for (name, other), rho in self._spent.items() if name == dataset or self._have_common(other, group)
        )

    def _have_common(self, one: bytes, other: bytes) -> bool:
        if (one, other) not in self._common:
            self._common[one, other] = bool(np.isin(self._groups[one], self._groups[other]).any())
        return self._common[one, other]

    def _read(self, digest: bytes) -> Pseudonyms:
        path = self._path(digest)
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).digest() != digest:
            raise ConfigError(
                "PRIVACY_BEHIND",
                f"the journal has debits of persons whose list {path.name} is gone or is another; "
                "rule: without what was spent nothing is spent",
                "restore the node's state folder, journal and auditor together, from the newest backup",
            )
        return np.frombuffer(content, dtype="<u8")

    def _path(self, digest: bytes) -> Path:
        return self._folder / (digest.hex()[:32] + SUFFIX)


class Accountant(Spent):
    """The accountant of a running node: what was spent, and what is spent from now on.

    Parameters
    ----------
    folder
        As `Spent`; persons are known by the auditor's key in it.
    journal
        The ledger.
    """

    def __init__(self, folder: Path, journal: Recorder) -> None:
        super().__init__(folder, journal.debits())
        self._journal = journal
        self._seeds: RecentMap[bytes, bytes] = RecentMap(_SEEDS_KEPT)
        self._snapshot: tuple[bytes, bytes] = (b"", b"")

    def debit(self, persons: Persons, limits: Limits, about: journal_pb2.Record) -> Debit:
        """Write down what the noise of one answer spends; on the disk when this returns.

        A task is debited once: one answer to it leaves, however often it is made.

        Parameters
        ----------
        persons
            Of the dataset trained on: all of them, whoever is left out of the training.
        limits
            With the noise and the budget.
        about
            Study, analysis, run, round, task and snapshot, for the journal.

        Raises
        ------
        Refused
            ``PRIVACY_SPENT`` where the budget does not have that much left.
        ConfigError
            Where it cannot be written: then no noise may be drawn.
        """
        with self._lock:
            found = self._of_task.get(about.task)
            if found is None:
                record = self._record(persons, limits, about)
                self._journal.append(record)
                found = self._take(record)
            seed = self._seeds.get(about.task) or self._seeds.put(about.task, secrets.token_bytes(32))
            return Debit(found, seed)

    def _record(self, persons: Persons, limits: Limits, about: journal_pb2.Record) -> journal_pb2.Record:
        group = self._group(persons)
        rho, budget = rho_of(limits.update_noise), limits.privacy_budget
        total = self._total(persons.dataset, group) + rho
        if not total <= budget * (1 + _ROUNDING):
            raise Refused(
                "PRIVACY_SPENT",
                f"what is left of the budget is less than this costs; rule: {limits.rule('privacy_budget')}",
                "none but for the site's custodian: what was spent comes back by nothing but other persons",
            )
        record = journal_pb2.Record()
        record.CopyFrom(about)
        record.actor, record.event, record.dataset, record.persons_digest = "node", "DEBITED", persons.dataset, group
        spent = PrivacySpent(
            rho=rho,
            rho_total=total,
            rho_budget=budget,
            epsilon_total=epsilon_of(total),
            delta=DELTA,
            accountant=ACCOUNTANT,
        )
        record.privacy = canonical(spent)
        record.words = f"noise of a model costs the persons of {persons.dataset} rho {rho:.6g}: {words(spent)}"
        return record

    def _group(self, persons: Persons) -> bytes:
        """The digest of the persons' list, which is on the disk; lists are made once a snapshot."""
        if self._snapshot[0] != persons.snapshot:
            key, of = read_secret(self._folder / KEY_FILE), "" if persons.known_by else f"{persons.dataset}\0"
            made = b"".join(hmac.digest(key, (of + name).encode(), "sha256")[:8] for name in persons.names())
            content = np.unique(np.frombuffer(made, dtype="<u8")).tobytes()
            digest = hashlib.sha256(content).digest()
            if digest not in self._groups:
                replace(self._path(digest), content)
                self._groups[digest] = np.frombuffer(content, dtype="<u8")
            self._snapshot = persons.snapshot, digest
        return self._snapshot[1]


def spent_in(record: journal_pb2.Record) -> PrivacySpent:
    """What a debit in the journal spends."""
    return read_canonical(record.privacy, PrivacySpent)


def words(spent: PrivacySpent) -> str:
    """What is spent by a debit and those before it, in plain words."""
    return (
        f"{spent.rho_total:.6g} of {spent.rho_budget:.6g} spent, which is epsilon {spent.epsilon_total:.4g} at "
        f"delta {spent.delta:g} ({spent.accountant})"
    )
