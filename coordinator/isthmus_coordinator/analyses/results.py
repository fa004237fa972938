"""The result of a run with where it comes from: who contributed, what was withheld, how it is not exact."""

from __future__ import annotations

import re

from isthmus.v1 import analyst_pb2
from isthmus.version import __version__
from isthmus_coordinator.analyses.run import Failure, Run
from isthmus_coordinator.analyses.states import State
from isthmus_methods import codec
from isthmus_methods.contract import Done


def result_bytes(run: Run, done: Done | None = None, failure: Failure | None = None) -> bytes:
    """The result as it is stored and given to analysts.

    Parameters
    ----------
    run
        As it ended.
    done
        The method's answer, where there is one.
    failure
        Why there is none.
    """
    request = run.request
    inexact = caveats_of(run, done)
    result = analyst_pb2.Result(
        run=request.run,
        study=request.study.name,
        study_version=request.study.version,
        study_digest=request.study_digest,
        analysis=request.analysis,
        spec=request.spec_message,
        purpose=request.purpose,
        state=run.state.value,
        exact=done is not None and not inexact,
        caveats=[*inexact, *(notes_of(run, done) if done is not None else ())],
        rounds=run.round,
        software=__version__,
        started_at=run.started_at,
        ended_at=run.ended_at,
        contributions=[_contribution(run, p.node, p.country) for p in request.study.participants],
    )
    for one in run.sums:
        result.sealed.add(transcript=one.transcript, list=one.list)
    if done is not None:
        result.answer.CopyFrom(codec.answer_to_message(done.answer))
    if failure is not None:
        result.failure.CopyFrom(failure_message(failure))
    return result.SerializeToString(deterministic=True)


def caveats_of(run: Run, done: Done | None) -> list[str]:
    """Sentences that say how the answer is not that of all participants' pooled rows."""
    if done is None:
        return []
    request = run.request
    caveats = list(done.caveats)
    remaining = ", ".join(request.country(node) for node in run.participants)
    for node in (p.node for p in request.study.participants):
        left = run.left_out.get(node)
        if left is None:
            continue
        caveats.append(
            f"{request.country(node)} is not in this result: {left.failure.message} [{left.failure.code}]. "
            f"The result is that of {remaining}."
        )
    if request.trains:
        caveats += _training_caveats(run)
    for node in run.participants:
        given = run.given.get(node)
        # ``field[label]: RULE`` or ``field: RULE``
        missed = [w for w in given.withheld if re.split(r"[\[:]", w)[0] not in done.made_up_for] if given else []
        if missed and request.sealed:
            # in every country alike
            caveats.append(f"No sum over countries, and so not in a sealed result: {'; '.join(missed)}.")
            break
        if missed:
            caveats.append(f"{request.country(node)} withheld: {'; '.join(missed)}.")
    return caveats


def _training_caveats(run: Run) -> list[str]:
    countries = {node: run.request.country(node) for node in run.participants}
    noisy = [country for node, country in countries.items() if (g := run.given.get(node)) and g.privacy is not None]
    never = [country for node, country in countries.items() if node not in run.given]
    caveats = []
    if noisy:
        caveats.append(f"{_joined(noisy)} cut their models and put noise into them, as their policies ask.")
    if never:
        caveats.append(f"The strategy never asked {_joined(never)}: nothing of them is in the model.")
    return caveats


def notes_of(run: Run, done: Done) -> list[str]:
    """What the method has to say about some countries; the answer stays exact."""
    method = run.request.method
    if run.request.sealed:
        raised = sorted({code for one in run.sums for code in one.notes} - done.no_news.keys())
        names = _joined([run.request.country(node) for node in run.participants])
        said = f"Sealed: the coordinator saw the sum over {names}, and no country's own numbers."
        return [said, *(method.notes[code].replace("{countries}", "one or more of the countries") for code in raised)]
    codes = sorted({code for given in run.given.values() for code in given.notes})
    sentences = []
    for code in codes:
        countries = [
            run.request.country(node)
            for node in run.participants
            if node in run.given and code in run.given[node].notes
        ]
        countries = [country for country in countries if country not in done.no_news.get(code, ())]
        if not countries:
            continue
        # a note's text is the method's own; braces in it other than these are left alone
        sentences.append(method.notes[code].replace("{countries}", _joined(countries)))
    return sentences


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _contribution(run: Run, node: str, country: str) -> analyst_pb2.Contribution:
    releases, size = run.traffic.get(node, (0, 0))
    message = analyst_pb2.Contribution(node=node, country=country, releases=releases, bytes=size)
    given = run.given.get(node)
    left = run.left_out.get(node)
    if left is not None:
        message.state = left.how
        message.failure.CopyFrom(failure_message(left.failure))
    else:
        never = run.request.trains and run.state is State.DONE
        message.state = "contributed" if given is not None else "not asked" if never else "missing"
    if given is not None:
        message.policy_digest = given.policy_digest
        message.dataset_digest = given.dataset_digest
        message.software = given.software
        message.reference = given.reference
        message.withheld.extend(given.withheld)
        if given.privacy is not None:
            message.privacy.CopyFrom(given.privacy)
    return message


def failure_message(failure: Failure) -> analyst_pb2.Failure:
    """A failure as analysts get it."""
    return analyst_pb2.Failure(
        code=failure.code, message=failure.message, remedy=failure.remedy, exit_code=failure.exit_code
    )
