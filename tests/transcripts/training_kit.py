"""What one country lets out for a training, as a text that people read: the door, with a step of a model before it.

What an app does in its own process is one step of logistic regression here, worked out by hand. Numbers with noise are
not shown, because they are others each time; what they cost is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attacks import rows
from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus_methods.contract import Array, CellSupport, Item, MetricSupport, Summary
from isthmus_methods.training import Training
from isthmus_node.egress.auditor import Auditor
from isthmus_node.egress.gate import Refusal, judge, refuse
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Accountant, Persons
from isthmus_node.egress.update_rules import Trained
from isthmus_node.egress.updates import ready
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_trust.documents import REFUSAL
from isthmus_trust.identity import IdentityKey

Shown = Callable[[summary_pb2.Summary | summary_pb2.Refusal], list[str]]
TRIAL = study_pb2.TRIAL_ANALYSIS
PLAIN = "[purpose.trial_analysis]"
NOISE = f"{PLAIN}\nupdate_norm = 0.5\nupdate_noise = 1.5"
MEASURES = {"loss": (0.0, 20.0), "accuracy": (0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Round:
    """A round of a training in words."""

    about: str
    policy: str = PLAIN
    persons: int = 60
    batch: int = 60
    measured: int = 60  # persons behind the measures
    more: Mapping[str, float] = field(default_factory=dict)  # measures that the app does not declare

    def words(self) -> Iterator[str]:
        yield self.about
        yield f"trained  {self.persons} persons, in batches of {self.batch}"
        yield from (f"policy   {line}" for line in self.policy.splitlines()[1:])


ROUNDS = (
    Round("A step over everybody: weights as they are, measures with four digits"),
    Round("Everybody, in batches of one", batch=1),
    Round("Too few persons", persons=40, batch=40),
    Round("Measures over fewer persons than the weights are", measured=12),
    Round("A measure that the app does not declare", more={"largest": 129.587}),
    Round("Counts and measures coarser", f"{PLAIN}\nexamples_rounding = 25\nmetric_digits = 1"),
    Round("A change cut to a norm", f"{PLAIN}\nupdate_norm = 0.01"),
    Round("Noise, paid for before it is drawn", NOISE),
    Round("The same once more: what is left does not pay for it", NOISE),
)


def transcript(folder: Path, shown: Shown) -> str:
    """The text; `shown` gives the lines of a summary or a refusal."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[str] = ["What leaves the country for a training, round by round."]
    with Journal.open(folder / "journal") as journal:
        Auditor(folder / "auditor", journal)
        accountant, key = Accountant(folder / "auditor", journal), IdentityKey.generate()
        for number, asked in enumerate(ROUNDS, start=1):
            parts += ["", "=" * 100, *asked.words()]
            payload = _bytes_of(asked, number, accountant, key)
            signed = study_pb2.Signed.FromString(payload)
            parts.append(f"-- round {number}: {signed.context}, {len(signed.body)} bytes")
            if signed.context == REFUSAL:
                parts += shown(summary_pb2.Refusal.FromString(signed.body))
                continue
            summary = summary_pb2.Summary.FromString(signed.body)
            parts += shown(_without_noise(summary))
            if summary.HasField("privacy"):
                spent = summary.privacy
                parts.append(
                    f"   privacy: rho {spent.rho:.6g}, {spent.rho_total:.6g} of {spent.rho_budget:.6g} in all, "
                    f"epsilon {spent.epsilon_total:.6g} at delta {spent.delta:g}, by {spent.accountant}"
                )
        parts += ["", "=" * 100, "The journal's debits"]
        parts += [f"   {record.words}" for record in journal.debits()]
    return "\n".join(parts) + "\n"


def _without_noise(summary: summary_pb2.Summary) -> summary_pb2.Summary:
    if summary.HasField("privacy"):
        for item in summary.items:
            if item.field == "arrays":
                item.value.doubles = bytes(len(item.value.doubles))
    return summary


def _bytes_of(asked: Round, number: int, accountant: Accountant, key: IdentityKey) -> bytes:
    policy, header = Policy.read(asked.policy), Header(bytes(32), "aa", "AA")
    task = hashlib.sha256(f"round {number}".encode()).digest()
    people = rows.persons("AA", 1, True).head(asked.persons)
    persons = Persons("PERSONS", "SUBJ", lambda: people.SUBJ.tolist(), bytes(32))
    sent: dict[str, Array] = {"weights": np.zeros(2), "intercept": np.zeros(1)}
    trained, measures = _step(people)
    try:
        limits = policy.limits[TRIAL]
        update = ready(
            trained,
            sent,
            asked.persons,
            asked.batch,
            limits,
            lambda: accountant.debit(persons, limits, journal_pb2.Record(task=task)),
        )
    except IsthmusError as error:
        return encode_refusal(refuse(error, TRIAL, policy), header, key).payload
    count = np.array([asked.persons])
    items = [Item("arrays", array, update.support, name) for name, array in update.arrays.items()]
    items.append(Item("examples", count, CellSupport(count)))
    for name, value in {**measures, **asked.more}.items():
        support = MetricSupport(asked.measured, *MEASURES.get(name, (0.0, 1e6)))
        items.append(Item("metrics", np.array([value]), support, name))
    held_against = Trained({name: array.shape for name, array in sent.items()}, MEASURES, update.privacy)
    verdict = judge(Summary(tuple(items)), Training.leaves, (), TRIAL, policy, False, lambda _: None, held_against)
    if isinstance(verdict, Refusal):
        return encode_refusal(verdict, header, key).payload
    return encode(verdict, header, key).payload


def _step(people: Any) -> tuple[dict[str, Array], dict[str, float]]:
    """One step of a logistic model from zero, and how good it is."""
    X = people[["X1", "X2"]].to_numpy(dtype=np.float64)
    y = people.RESP.to_numpy(dtype=np.float64)
    weights, intercept = 0.5 * X.T @ (y - 0.5) / len(y), 0.5 * float(np.mean(y - 0.5))
    eta = X @ weights + intercept
    loss = float(np.mean(np.logaddexp(0.0, eta) - y * eta))
    measures = {"accuracy": float(np.mean((eta >= 0) == (y > 0))), "loss": loss}
    return {"weights": weights, "intercept": np.array([intercept])}, measures
