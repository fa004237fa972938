"""Noise that is asked for again and again: without a budget it averages out, with one it is not drawn often enough."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import Refused
from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import Array, CellSupport, Item, Summary
from isthmus_methods.training import Training
from isthmus_node.egress import privacy
from isthmus_node.egress.auditor import Auditor
from isthmus_node.egress.gate import Refusal, judge
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Accountant, Persons
from isthmus_node.egress.update_rules import Trained
from isthmus_node.egress.updates import ready
from isthmus_node.egress.wire import Header, encode
from isthmus_trust.identity import IdentityKey

TRIAL = study_pb2.TRIAL_ANALYSIS
# The loosest budget a trial may have pays for one round of this little noise: rho = 2 / 0.45^2 = 9.9.
POLICY = Policy.read(
    "[purpose.trial_analysis]\nupdate_norm = 1.0\nupdate_noise = 0.45\nprivacy_budget = 10.0", (), Path("policy.toml")
)
SENT = {"weights": np.zeros(2), "intercept": np.zeros(1)}
# What the victim's country knows: a change of norm 1.
SECRET = {"weights": np.array([0.48, -0.64]), "intercept": np.array([0.6])}
# So many that the mean of the noise is 0.45 / 60 = 0.0075.
REPEATS = 3600


def asked_again(folder: Path, times: int) -> list[bytes]:
    """The bytes that left for the same question in as many runs."""
    key, left = IdentityKey.generate(), []
    persons = Persons("ADSL", "USUBJID", lambda: [f"S{n}" for n in range(80)], bytes(32))
    with Journal.open(folder / "journal") as journal:
        Auditor(folder / "auditor", journal)
        accountant = Accountant(folder / "auditor", journal)
        for number in range(times):
            task = hashlib.sha256(number.to_bytes(4, "big")).digest()
            left.append(_answer(accountant, persons, Header(task, "nl", "NL"), key))
    return left


def _answer(accountant: Accountant, persons: Persons, header: Header, key: IdentityKey) -> bytes:
    limits = POLICY.limits[TRIAL]
    try:
        update = ready(
            {name: np.array(array) for name, array in SECRET.items()},
            SENT,
            80,
            80,
            limits,
            lambda: accountant.debit(persons, limits, journal_pb2.Record(task=header.task)),
        )
    except Refused as error:
        return error.code.encode()
    items = [Item("arrays", array, update.support, name) for name, array in update.arrays.items()]
    items.append(Item("examples", np.array([80]), CellSupport(np.array([80]))))
    trained = Trained({name: array.shape for name, array in SENT.items()}, {}, update.privacy)
    verdict = judge(Summary(tuple(items)), Training.leaves, (), TRIAL, POLICY, False, lambda _: None, trained)
    assert not isinstance(verdict, Refusal)
    return encode(verdict, header, key).payload


def mean_of(payloads: list[bytes]) -> Array:
    """What the attacker works out of the bytes: the mean of every number of the models in them."""
    found = []
    for payload in payloads:
        body = study_pb2.Signed.FromString(payload).body
        summary = summary_pb2.Summary.FromString(body)
        found.append(np.concatenate([array_from_message(i.value) for i in summary.items if i.field == "arrays"]))
    return np.mean(found, axis=0)


def test_mean_of_repeated_noise_is_the_secret_without_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unlimited(Accountant):
        def _total(self, dataset: str, group: bytes) -> float:
            return 0.0

    monkeypatch.setattr("isthmus_node.egress.journal_file.os.fsync", lambda _: None)  # thousands of debits
    monkeypatch.setitem(globals(), "Accountant", Unlimited)
    left = asked_again(tmp_path, REPEATS)
    assert mean_of(left) == pytest.approx(np.array([0.48, -0.64, 0.6]), abs=0.04)


def test_repeated_noise_is_refused_once_the_budget_is_spent(tmp_path: Path) -> None:
    left = asked_again(tmp_path, 50)
    assert left[1:] == [b"PRIVACY_SPENT"] * 49
    # one draw tells little: each number is off by 0.45 on average
    assert privacy.epsilon_of(2 / 0.45**2) > 30, "and yet so little noise promises little"
