"""A run of an analysis as a value: what was asked, where it stands, what came from whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from isthmus.errors import IsthmusError
from isthmus.v1 import sealed_pb2, spec_pb2, study_pb2, summary_pb2
from isthmus_coordinator.analyses.states import FINAL, State
from isthmus_coordinator.analyses.submission import Submission
from isthmus_methods.contract import Cleared, Procedure, Spec, State as Arrays

# What is stored of an answer that is no refusal.
SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run ended, or a country did not take part."""

    code: str
    message: str
    remedy: str
    exit_code: int

    @classmethod
    def of(cls, error: IsthmusError) -> Failure:
        return cls(error.code, error.message, error.remedy, error.exit_code)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Never changes while it runs."""

    run: bytes
    study_digest: bytes
    study: study_pb2.Study
    analysis: str  # name in the plan; empty: exploratory
    spec_message: spec_pb2.Spec
    spec: Spec
    method: Procedure
    purpose: study_pb2.Purpose
    missing_country: study_pb2.MissingCountry
    deadline_seconds: int
    requested_by: str
    submitted_at: int
    # The request for each set of participants: made once, so that methods can keep what they derive from it.
    _specs: dict[tuple[str, ...], Spec] = field(default_factory=dict, compare=False, repr=False)

    @property
    def sealed(self) -> bool:
        """Whether the coordinator sees the sum over the countries only."""
        return self.study.mode == study_pb2.SEALED

    @property
    def trains(self) -> bool:
        """Whether it is the training of a model: its pooled half is a strategy in a process of its own."""
        return self.spec.training is not None

    def country(self, node: str) -> str:
        """Country of a participant."""
        return next(p.country for p in self.study.participants if p.node == node)

    def spec_for(self, nodes: tuple[str, ...]) -> Spec:
        """The request with the countries of these nodes only."""
        if nodes not in self._specs:
            self._specs[nodes] = replace(self.spec, countries=tuple(self.country(node) for node in nodes))
        return self._specs[nodes]


@dataclass(frozen=True, slots=True)
class OpenTask:
    """The task of a round that was announced, or is about to be."""

    digest: bytes
    signed: study_pb2.Signed
    round: int
    # Nodes that answer it, in the study's order.
    asked: tuple[str, ...]
    opened_at: int
    deadline: int
    # As decoded from what is stored and sent, so that a restart changes no bit.
    state: Arrays
    memory: Arrays
    memory_bytes: bytes
    # SHA-256 of the state where it is fetched; `state` is empty then.
    state_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node submitted for a task: its cleared summary, or its refusal."""

    node: str
    digest: bytes  # of the submission
    received_at: int
    cleared: Cleared | None = None
    refusal: Failure | None = None
    policy_digest: bytes = b""
    dataset_digest: bytes = b""
    software: str = ""
    reference: str = ""
    # A copy: nothing of the summary's own message is held.
    privacy: summary_pb2.PrivacySpent | None = None
    # Of a sealed study: its share and its reveal.
    sealed: sealed_pb2.SealedAnswer | None = None
    # Until it is stored.
    submission: Submission | None = None

    @property
    def kind(self) -> str:
        return "refusal" if self.cleared is None else SUMMARY


@dataclass(frozen=True, slots=True)
class Given:
    """What a country gave over the rounds of the present attempt."""

    policy_digest: bytes
    dataset_digest: bytes
    software: str
    reference: str  # numbers of permit and dossier, in the custodian's words
    withheld: tuple[str, ...] = ()  # "field[label]: rule"
    notes: frozenset[str] = frozenset()
    # Spent in this attempt, and by the dataset up to the newest answer; None where no noise was drawn.
    privacy: summary_pb2.PrivacySpent | None = None


def given_with(before: Given | None, answer: Answer, cleared: Cleared) -> Given:
    """What a country gave, one more answer added."""
    withheld = dict.fromkeys(before.withheld if before else ())
    for (name, label), rule in cleared.withheld.items():
        withheld.setdefault(f"{name}[{label}]: {rule}" if label else f"{name}: {rule}")
    return Given(
        policy_digest=answer.policy_digest,
        dataset_digest=answer.dataset_digest,
        software=answer.software,
        reference=answer.reference,
        withheld=tuple(withheld),
        notes=cleared.notes | (before.notes if before else frozenset()),
        privacy=_spent(before.privacy if before else None, answer.privacy),
    )


def _spent(
    before: summary_pb2.PrivacySpent | None, now: summary_pb2.PrivacySpent | None
) -> summary_pb2.PrivacySpent | None:
    if before is None or now is None:
        return now or before
    spent = summary_pb2.PrivacySpent()
    spent.CopyFrom(now)
    spent.rho += before.rho
    return spent


@dataclass(frozen=True, slots=True)
class Sum:
    """What is known of one round of a sealed study beside its numbers."""

    transcript: bytes  # T, which every participant signed
    list: bytes  # L, which every participant signed
    notes: frozenset[str]  # that one country or more raised


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A country that the run goes on, or ended, without."""

    how: str  # "missing" or "refused"
    failure: Failure


@dataclass(frozen=True, slots=True)
class Run:
    """A run at one moment. Turns make a new one; nothing in it is changed in place."""

    request: Request
    # Nodes whose summaries are added, in the study's order.
    participants: tuple[str, ...]
    state: State = State.WAITING
    attempt: int = 1
    task: OpenTask | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    given: Mapping[str, Given] = field(default_factory=dict)
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    # Releases and their bytes, over all attempts.
    traffic: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # What a person at a site is waited for, by the node's word about the open task: its code.
    waits: Mapping[str, str] = field(default_factory=dict)
    # Of a sealed study: one a round of the present attempt.
    sums: tuple[Sum, ...] = ()
    # What ended the last of these rounds: every participant's reveal.
    ended_round: sealed_pb2.SealedStep | None = None
    measure: str = ""
    measured: float = 0.0
    started_at: int = 0
    ended_at: int = 0
    result: bytes | None = None

    @property
    def round(self) -> int:
        return 0 if self.task is None else self.task.round

    @property
    def asked(self) -> tuple[str, ...]:
        """Nodes of the open task; all participants where none is open."""
        return self.participants if self.task is None else self.task.asked

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Nodes that were asked the open task and have not answered it."""
        return tuple(node for node in self.asked if node not in self.answers)
