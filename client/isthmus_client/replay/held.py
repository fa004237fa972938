"""A result held against the run that its journals give: every number, and what it says of where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from isthmus_client.replay.compare import Difference, Nearness, compare_answers
from isthmus_client.replay.faults import fault
from isthmus_client.replay.replayed import Outcome, Replayed
from isthmus_client.results.fit import plain
from isthmus_methods.codec import answer_from_message, answer_to_message

Result = Mapping[str, object]


def answer_of(replayed: Replayed) -> object:
    """The answer as it stands in a result's file; None where there is none."""
    if replayed.done is None:
        return None
    return plain(answer_from_message(answer_to_message(replayed.done.answer)))


def hold(result: Result, replayed: Replayed, name: str, exact: bool = False) -> tuple[Replayed, Nearness | None]:
    """The run, failed where the result does not say what the journals give, and how near its numbers are.

    Parameters
    ----------
    result
        One result of a file.
    replayed
        The run of its number.
    name
        Of the file.
    exact
        Whether only equality to the bit will do.
    """
    where = f"{name}, {result.get('analysis') or result.get('method')}"
    if replayed.outcome in (Outcome.FAILED, Outcome.INCOMPLETE, Outcome.OTHER_RELEASE):
        return replayed, None
    if replayed.outcome is Outcome.TRAINED:
        wrong = _other_training(result, replayed)
        if wrong is not None:
            return _failed(replayed, where, wrong), None
        # without the model nothing of the result was held against anything
        other = replace(replayed, outcome=Outcome.OTHER_RELEASE, why=f"{where}: {replayed.why}")
        return (replayed if replayed.model else other), None
    if replayed.outcome is Outcome.NO_ANSWER:
        return _failed(replayed, where, f"it has an answer, and the journals give none: {replayed.why}"), None
    near = compare_answers(result["answer"], answer_of(replayed))
    if isinstance(near, Difference):
        said, pooled = repr(near.reported), repr(near.pooled)
        return _failed(replayed, where, f"{near.where} is {said}, the journals give {pooled}"), None
    if exact and not near.to_the_bit:
        return _failed(replayed, where, f"its numbers are equal {near}; asked for is equality to the bit"), None
    wrong = next(_differences(result, replayed), None)
    return (replayed, near) if wrong is None else (_failed(replayed, where, wrong), None)


def _other_training(result: Result, replayed: Replayed) -> str | None:
    """What the result of a training says that the journals do not: its rounds, and the model where they give it."""
    if result.get("rounds") != len(replayed.rounds):
        return f"rounds is {result.get('rounds')!r}, the journals give {len(replayed.rounds)}"
    answer = result["answer"]
    said = answer.get("digest") if isinstance(answer, dict) else None
    if replayed.model and said != replayed.model:
        return f"its model has the digest {said!r}, the countries' models give {replayed.model!r}"
    return None


def not_in_journals(result: Result, name: str) -> Replayed:
    """For a result whose run is in no journal."""
    run = str(result["run"])
    number = bytes.fromhex(run) if len(run) == 32 and set(run) <= set("0123456789abcdef") else b""
    where = f"{name}, {result.get('analysis') or result.get('method')}"
    return _failed(Replayed(number, Outcome.FAILED), where, f"its run {run[:64]!r} is in no journal")


def _failed(replayed: Replayed, where: str, what: str) -> Replayed:
    error = fault("RESULT_DIFFERS", where, what)
    return replace(replayed, outcome=Outcome.FAILED, why=error.message, error=error)


def _differences(result: Result, replayed: Replayed) -> Iterator[str]:
    """What a result says beside its numbers and the journals say otherwise."""
    study, done = replayed.study, replayed.done
    if study is None or done is None:
        return
    ours: Mapping[str, object] = {
        "study": {"name": study.name, "version": study.version, "digest": replayed.study_digest.hex()},
        "analysis": replayed.analysis or None,
        "rounds": len(replayed.rounds),
        "missing_countries": [left.country for left in replayed.left_out],
        "exact": _exact(replayed),
    }
    for key, value in ours.items():
        if result.get(key) != value:
            yield f"{key} is {result.get(key)!r}, the journals give {value!r}"
    told = result.get("caveats")
    for caveat in done.caveats:
        if not isinstance(told, list) or caveat not in told:
            yield f"the caveat is left out: {caveat}"
    contributions = result.get("contributions")
    by_node = {
        str(c.get("node")): c for c in (contributions if isinstance(contributions, list) else []) if isinstance(c, dict)
    }
    for answer in replayed.rounds[-1].answers:
        if answer.refusal is not None:
            continue
        given = {
            "state": "contributed",
            "policy_digest": answer.policy_digest.hex(),
            "dataset_digest": answer.dataset_digest.hex(),
            "software": answer.software,
            "withheld": withheld_of(replayed, answer.node),
        }
        claimed = by_node.get(answer.node, {})
        for key, value in given.items():
            if claimed.get(key) != value:
                yield f"{key} of {answer.country} is {claimed.get(key)!r}, the journals give {value!r}"


def withheld_of(replayed: Replayed, node: str) -> list[str]:
    """What a country's gate withheld over the rounds, each as ``field[label]: rule``."""
    found: dict[str, None] = {}
    for answer in replayed.answers():
        if answer.node == node:
            for name, label, rule in answer.withheld():
                found.setdefault(f"{name}[{label}]: {rule}" if label else f"{name}: {rule}")
    return list(found)


def _exact(replayed: Replayed) -> bool:
    """Whether the answer is that of the pooled rows of all the study's countries."""
    done = replayed.done
    if done is None or done.caveats or replayed.left_out:
        return False
    nodes: Sequence[str] = [a.node for a in replayed.rounds[-1].answers]
    fields = {w.partition(":")[0].partition("[")[0] for node in nodes for w in withheld_of(replayed, node)}
    return fields <= done.made_up_for
