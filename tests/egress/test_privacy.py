"""The accountant: rho adds up over runs, restarts and names, is written down first, and runs out."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import ConfigError, Refused
from isthmus.recent import RecentMap
from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus_node.egress.auditor import KEY_FILE, Auditor
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_read import read
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import DELTA, Accountant, Debit, Persons, epsilon_of, spent_in
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.update_rules import rho_of

# A round costs rho 0.125, so eight of them spend the budget of 1.
POLICY = Policy.read("[purpose.trial_analysis]\nupdate_norm = 0.5\nupdate_noise = 4.0")
LIMITS: Limits = POLICY.limits[study_pb2.TRIAL_ANALYSIS]
ALL = tuple(f"S{number:03d}" for number in range(80))


def of(names: Sequence[str] = ALL, dataset: str = "ADSL", known_by: str = "USUBJID") -> Persons:
    snapshot = hashlib.sha256(repr((dataset, tuple(names))).encode()).digest()
    return Persons(dataset, known_by, lambda: names, snapshot)


def about(task: str) -> journal_pb2.Record:
    return journal_pb2.Record(study="S", task=hashlib.sha256(task.encode()).digest(), run=b"r" * 16, round=1)


class Site:
    """An accountant over a journal on the disk, which can be started anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open()

    def open(self) -> None:
        self.journal = Journal.open(self.folder / "journal")
        Auditor(self.folder / "auditor", self.journal)
        self.accountant = Accountant(self.folder / "auditor", self.journal)

    def restart(self) -> None:
        self.journal.close()
        self.open()

    def debit(self, task: str, persons: Persons | None = None, limits: Limits = LIMITS) -> Debit:
        return self.accountant.debit(persons or of(), limits, about(task))

    def total(self, task: str, persons: Persons | None = None) -> float:
        return self.debit(task, persons).privacy.rho_total

    def code(self, task: str, persons: Persons | None = None) -> str:
        try:
            self.debit(task, persons)
        except Refused as error:
            return error.code
        return ""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_debits_add_up_until_the_budget_is_spent_and_then_nothing_is_drawn(site: Site) -> None:
    assert [site.total(f"round {n}") for n in range(8)] == [0.125 * n for n in range(1, 9)]
    assert site.code("round 9") == "PRIVACY_SPENT"
    with pytest.raises(Refused, match=r"spend 1\.0 \(rho\) or less"):
        site.debit("round 10")
    assert len(site.journal.debits()) == 8


def test_debit_is_in_the_journal_with_everything_that_people_ask(site: Site) -> None:
    spent = site.debit("one").privacy
    (record,) = [entry.record for entry in read(site.folder / "journal")]
    assert (record.event, record.actor, record.study, record.dataset) == ("DEBITED", "node", "S", "ADSL")
    assert spent_in(record) == spent
    assert (spent.rho, spent.rho_total, spent.rho_budget) == (0.125, 0.125, 1.0)
    assert (spent.delta, spent.accountant) == (DELTA, "zCDP, Gaussian")
    assert spent.epsilon_total == epsilon_of(0.125)
    assert "0.125 of 1 spent" in record.words
    assert b"S001" not in (site.folder / "journal" / "journal").read_bytes()


def test_same_task_is_debited_once_and_gets_the_same_noise(site: Site) -> None:
    first = site.debit("one")
    assert site.debit("one") == first
    assert site.debit("two").seed != first.seed
    assert len(site.journal.debits()) == 2


def test_debits_outlive_a_restart_and_the_noise_does_not(site: Site) -> None:
    first = site.debit("one")
    site.restart()
    again = site.debit("one")
    assert again.privacy == first.privacy
    assert again.seed != first.seed, "no seed is on the disk"
    assert site.total("two") == 0.25


@pytest.mark.parametrize(
    ("names", "dataset", "known_by", "spent"),
    [
        (ALL, "ADSL2", "USUBJID", True),  # the same rows under another name
        (ALL, "ADSL2", "SUBJID", True),  # and by another variable
        (ALL[:79], "ADSL2", "USUBJID", True),  # fewer of them
        (("S079", *(f"T{n}" for n in range(60))), "ADSL2", "USUBJID", True),  # one of them among others
        (tuple(f"T{n}" for n in range(60)), "ADSL", "USUBJID", True),  # other persons under the same name
        (tuple(f"T{n}" for n in range(60)), "OTHER", "USUBJID", False),
        (ALL, "OTHER", "", False),  # rows that are numbered have no person in common with others
    ],
)
def test_dataset_registered_anew_has_no_new_budget(
    site: Site, names: tuple[str, ...], dataset: str, known_by: str, spent: bool
) -> None:
    assert site.total("before") == 0.125
    assert site.total("after", of(names, dataset, known_by)) == (0.25 if spent else 0.125)
    site.restart()
    assert site.total("later", of(names, dataset, known_by)) == (0.375 if spent else 0.25)


def test_persons_of_two_datasets_are_charged_for_both(site: Site) -> None:
    site.debit("one", of(ALL[:40], "FIRST"))
    site.debit("two", of(ALL[40:], "SECOND"))
    assert site.total("three", of(ALL, "BOTH")) == 0.375
    # whoever is in one of them was in two of the three
    assert site.total("four", of(ALL[:40], "FIRST")) == 0.375
    assert site.accountant.totals() == {"BOTH": 0.5, "FIRST": 0.375, "SECOND": 0.25}
    assert site.total("five", of(ALL, "BOTH")) == 0.625


def test_runs_at_once_do_not_spend_more_than_there_is(site: Site) -> None:
    codes: list[str] = []
    start = threading.Barrier(4)

    def run(name: int) -> None:
        start.wait()
        codes.extend(site.code(f"run {name} round {n}") for n in range(5))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count("") == 8
    assert math.fsum(spent_in(record).rho for record in site.journal.debits()) == 1.0


def test_debit_that_cannot_be_written_is_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(ConfigError) as caught:
            site.debit("one")
    assert caught.value.code == "JOURNAL_NOT_WRITABLE"
    assert site.total("one") == 0.125


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.egress.test_privacy import Site
site = Site(Path(sys.argv[1]))
site.debit("one")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_node_killed_between_debit_and_answer_has_spent(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    site = Site(tmp_path)
    assert site.total("two") == 0.25
    # the task that was under way is answered after all, and not charged again
    assert site.total("one") == 0.125
    assert len(site.journal.debits()) == 2


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"8" * 16)])
def test_node_without_the_list_of_persons_does_not_start(site: Site, harm: Callable[[Path], None]) -> None:
    site.debit("one")
    (path,) = (site.folder / "auditor").glob("*.persons")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"S001" not in path.read_bytes()
    harm(path)
    with pytest.raises(ConfigError) as caught:
        site.restart()
    assert caught.value.code == "PRIVACY_BEHIND"
    site.journal.close()


def test_older_copy_of_everything_has_forgotten_what_was_spent_since(site: Site) -> None:
    # nothing inside the node can tell; checkpoints that others witnessed can, as for everything in the journal
    site.debit("one")
    site.journal.close()
    copy = {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}
    site.open()
    site.debit("two")
    site.journal.close()
    for path, content in copy.items():
        path.write_bytes(content)
    site.open()
    assert site.total("three") == 0.25
    assert (site.folder / "auditor" / KEY_FILE).exists()


# --------------------------------------------------------------------------- arithmetic


# Noise of the policy, rounds, their rho, and the epsilon at delta = 1e-6 of so many Gaussian mechanisms whose
# sensitivity is 1 and whose deviation is half the multiplier, by dp-accounting 0.6.0: RdpAccountant(orders=1 +
# exp(linspace(-6, 9, 4001))) and PLDAccountant(value_discretization_interval=1e-4), each composed with
# GaussianDpEvent(multiplier / 2). Computed once, in an environment of its own.
BY_OTHERS = (
    (2.0, 1, 0.5, 5.221535565908445, 4.886554124377032),
    (4.0, 8, 1.0, 7.766220710700178, 7.286080969711125),
    (4.0, 20, 2.5, 13.373652448041213, 12.59524673936135),
    (10.0, 100, 2.0, 11.688596252545425, 10.997151218387838),
)
# As opendp 0.16.0 has it: make_gaussian over vectors, l2 distance 2, scale 4: map(2.0).
OPENDP_RHO = 0.125


@pytest.mark.parametrize(("noise", "rounds", "rho", "by_renyi", "by_loss"), BY_OTHERS)
def test_accountants_of_others_agree(noise: float, rounds: int, rho: float, by_renyi: float, by_loss: float) -> None:
    total = math.fsum(rho_of(noise) for _ in range(rounds))
    assert total == pytest.approx(rho, rel=1e-12)
    # what is said is an upper bound, and no more than an eighth above theirs
    assert by_loss < by_renyi < epsilon_of(total) < 1.125 * by_renyi
    assert exact(total, DELTA) == pytest.approx(by_loss, rel=1e-4)
    assert rho_of(4.0) == OPENDP_RHO


def renyi(rho: float, delta: float) -> float:
    """The best epsilon over orders, from Renyi divergence order * rho: Mironov 2017, proposition 3."""
    orders = 1 + np.exp(np.linspace(-6, 9, 20001))
    return float(np.min(orders * rho + math.log(1 / delta) / (orders - 1)))


def exact(rho: float, delta: float) -> float:
    """The smallest epsilon that a Gaussian mechanism of this rho has: Balle and Wang 2018, theorem 8, by bisection."""

    def normal(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    mu = math.sqrt(2 * rho)
    low, high = 0.0, 200.0
    for _ in range(200):
        middle = (low + high) / 2
        chance = normal(mu / 2 - middle / mu) - math.exp(middle) * normal(-mu / 2 - middle / mu)
        low, high = (low, middle) if chance <= delta else (middle, high)
    return high


@pytest.mark.parametrize("rho", [0.01, 0.125, 1.0, 2.63, 10.0])
def test_epsilon_is_the_best_over_renyi_orders_and_never_below_the_exact_one(rho: float) -> None:
    assert epsilon_of(rho) == pytest.approx(renyi(rho, DELTA), rel=1e-6)
    assert exact(rho, DELTA) <= epsilon_of(rho) <= 1.35 * exact(rho, DELTA)


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_rho_is_that_of_a_normal_sum_of_twice_the_norm(noise: float) -> None:
    # the Renyi divergence of order a between two normals a distance d apart is a d^2 / (2 sd^2): by quadrature
    order, norm = 3.0, 0.7
    sd, distance = noise * norm, 2 * norm
    x = np.linspace(-40 * sd, 40 * sd + distance, 2_000_001)
    log_ratio = (-((x - distance) ** 2) + x**2) / (2 * sd**2)
    density = np.exp(-(x**2) / (2 * sd**2)) / (sd * math.sqrt(2 * math.pi))
    area = np.trapezoid(density * np.exp(order * log_ratio), x)
    assert math.log(area) / (order - 1) / order == pytest.approx(rho_of(noise), rel=1e-9)


def test_seed_is_secret() -> None:
    assert "seed" not in repr(Debit(summary_pb2.PrivacySpent(), secrets.token_bytes(32)))


def test_seeds_of_the_newest_tasks_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.accountant, "_seeds", RecentMap(2))
    seeds = [site.debit(f"task {n}").seed for n in range(3)]
    assert site.debit("task 2").seed == seeds[2]
    assert site.debit("task 0").seed != seeds[0]


def test_list_of_the_same_persons_is_written_once(site: Site) -> None:
    site.debit("one")
    corrected = replace(of(), snapshot=bytes(32))
    assert site.total("two", corrected) == 0.25
    assert len(list((site.folder / "auditor").glob("*.persons"))) == 1
