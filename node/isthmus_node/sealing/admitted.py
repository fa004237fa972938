"""May this task run sealed, and must it? Among whom, and how often it may begin."""

from __future__ import annotations

from isthmus.errors import Refused
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.adding import check_adds
from isthmus_methods.contract import Procedure, Spec
from isthmus_trust.sealed import FEWEST, MOST_ATTEMPTS


def check_sealed(task: summary_pb2.Task, study: study_pb2.Study, spec: Spec, method: Procedure) -> None:
    """Raise unless a task is sealed where its study is, and open where that is.

    Raises
    ------
    Refused
        ``SEALED_MODE``, ``SEALED_PARTICIPANTS``, ``SEALED_FEW``, ``SEALED_ATTEMPTS``, and what `check_adds` says.
    """
    if (study.mode == study_pb2.SEALED) is not (task.sealed_attempt > 0):
        raise Refused(
            "SEALED_MODE",
            f"study {study.name} is {'sealed' if task.sealed_attempt == 0 else 'open'}, and the task is not; "
            "rule: as the custodian approved it",
            "run the analysis again with a coordinator of this release",
        )
    if not task.sealed_attempt:
        return
    check_countries(task, study)
    if task.sealed_attempt > MOST_ATTEMPTS:
        raise Refused(
            "SEALED_ATTEMPTS",
            f"the run has begun more than {MOST_ATTEMPTS} times; rule: no more",
            "see which node or connection does not hold, then run the analysis again",
        )
    check_adds(spec, method)


def check_countries(task: summary_pb2.Task, study: study_pb2.Study) -> None:
    """Raise unless all of the study's countries take part, and they are enough that none can be told from the sum."""
    taking_part = [p for p in study.participants if p.node in set(task.participants)]
    # one country under two names is one
    if min(len({p.node for p in taking_part}), len({p.identity_key for p in taking_part})) < FEWEST:
        raise Refused(
            "SEALED_FEW",
            f"a sealed round needs at least {FEWEST} countries; rule: of two, each knows the other's numbers",
            "propose a version of the study with more countries, or in open mode",
        )
    if len(task.participants) != len(study.participants):
        raise Refused(
            "SEALED_PARTICIPANTS",
            f"a sealed round is over all countries of study {study.name}; rule: the difference of two sums is not to "
            "be one country's own",
            "wait for the country that is away, or propose a version of the study without it",
        )
