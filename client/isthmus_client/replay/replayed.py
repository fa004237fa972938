"""What a replay finds: the rounds of a run, what was asked and answered in each, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from isthmus.errors import IsthmusError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_client.replay.compare import Nearness
from isthmus_client.replay.evidence import Answered
from isthmus_methods.contract import Done


class Outcome(StrEnum):
    """What came of a run."""

    POOLED = "pooled"  # the journals give its answer
    NO_ANSWER = "no answer"  # it ended without one: refused, a country missing, not converged, cancelled
    INCOMPLETE = "incomplete"  # a country's bundle is not among those given
    TRAINED = "trained"  # a model: what left holds, what its strategy made of it is not computed again
    OTHER_RELEASE = "other release"  # its method is not in this installation
    FAILED = "failed"  # something does not hold


@dataclass(frozen=True, slots=True)
class Round:
    """One round: what was asked, how near that is to what the round before gives, and each country's bytes."""

    number: int
    task: bytes  # SHA-256
    asked: Nearness
    answers: tuple[Answered, ...]  # in the study's order


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A country of the study that is not in the answer."""

    country: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run, pooled again."""

    run: bytes
    outcome: Outcome
    why: str = ""
    error: IsthmusError | None = None
    study: study_pb2.Study | None = None
    study_digest: bytes = b""
    task: summary_pb2.Task | None = None  # of the first round
    rounds: tuple[Round, ...] = ()
    earlier_attempts: int = 0
    left_out: tuple[LeftOut, ...] = ()
    done: Done | None = None
    # Of a training whose strategy takes means: digest of the last model that the journals give, in hexadecimal digits.
    model: str = ""

    @property
    def analysis(self) -> str:
        return self.task.analysis if self.task is not None else ""

    @property
    def participants(self) -> tuple[str, ...]:
        """Countries whose sums are in the answer."""
        return tuple(a.country for a in self.rounds[-1].answers) if self.rounds else ()

    def answers(self) -> Iterator[Answered]:
        """Every answer that was pooled, round by round."""
        for done in self.rounds:
            yield from done.answers


class Ends(Exception):
    """A run ends here without an answer, and nothing is wrong with that by itself."""

    def __init__(self, outcome: Outcome, why: str, error: IsthmusError | None = None) -> None:
        super().__init__(why)
        self.outcome, self.why, self.error = outcome, why, error
