"""A replay in words, and as plain values: from each number to the bytes that every country let go for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from isthmus.version import __version__
from isthmus_client.replay.bundle import Bundle
from isthmus_client.replay.compare import Nearness, Place, is_number, leaves, place_text
from isthmus_client.replay.evidence import Answered, Approval
from isthmus_client.replay.held import answer_of, withheld_of
from isthmus_client.replay.replayed import Outcome, Replayed

# Digits of a digest that are shown to people; all of them stand in the JSON.
_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Judged:
    """A run, pooled again, and how near a result's numbers are where one was held against it."""

    replayed: Replayed
    near: Nearness | None = None


def numbers_of(replayed: Replayed, wanted: str = "") -> list[tuple[str, object]]:
    """The numbers of the answer with their places; those only whose place has the text in it."""
    found: list[tuple[Place, object]] = list(leaves(answer_of(replayed)))
    named = [(place_text(place), value) for place, value in found if is_number(value)]
    return [(place, value) for place, value in named if wanted in place]


# --------------------------------------------------------------------------- for machines


def document_of(bundles: Sequence[Bundle], judged: Sequence[Judged], result: str) -> dict[str, object]:
    """Everything as plain values; digests and keys in full."""
    return {
        "software": __version__,
        "bundles": [
            {
                "name": b.name,
                "node": b.node,
                "country": b.country,
                "records": b.records,
                "root": b.root.hex(),
                "verifier": list(b.seen),
            }
            for b in bundles
        ],
        "result": result or None,
        "runs": [_run(one) for one in judged],
    }


def _run(judged: Judged) -> dict[str, object]:
    run, study, task = judged.replayed, judged.replayed.study, judged.replayed.task
    error = run.error
    return {
        "run": run.run.hex(),
        "outcome": run.outcome.value,
        "why": run.why or None,
        "error": None if error is None else {"code": error.code, "message": error.message, "remedy": error.remedy},
        "study": None
        if study is None
        else {"name": study.name, "version": study.version, "digest": run.study_digest.hex()},
        "analysis": run.analysis or None,
        "method": None if task is None else f"{task.spec.method}/{task.spec.method_version}",
        "equal": None if judged.near is None else _nearness(judged.near),
        "numbers": len(numbers_of(run)),
        "answer": answer_of(run),
        "caveats": list(run.done.caveats) if run.done is not None else [],
        "countries": [_country(run, answer) for answer in (run.rounds[-1].answers if run.rounds else ())],
        "left_out": [{"country": c.country, "node": c.node, "reason": c.reason} for c in run.left_out],
        "earlier_attempts": run.earlier_attempts,
        "rounds": [
            {
                "round": one.number,
                "task": one.task.hex(),
                "coordinator": one.answers[0].coordinator,
                "asked": _nearness(one.asked),
                "answers": [_answer(answer) for answer in one.answers],
            }
            for one in run.rounds
        ],
    }


def _nearness(near: Nearness) -> dict[str, object]:
    return {
        "to_the_bit": near.to_the_bit,
        "largest_difference": None if near.to_the_bit else near.largest,
        "at": near.where or None,
    }


def _country(run: Replayed, answer: Answered) -> dict[str, object]:
    return {
        "country": answer.country,
        "node": answer.node,
        "bundle": answer.bundle,
        "identity": answer.identity,
        "software": answer.software,
        "policy_digest": answer.policy_digest.hex(),
        "policy": None
        if answer.policy is None
        else {
            "number": answer.policy.number,
            "adopted_at": _moment(answer.policy.adopted_at),
            "reason": answer.policy.reason,
            "key": answer.policy.key,
            "record": answer.policy.sequence,
        },
        "dataset_digest": answer.dataset_digest.hex(),
        "withheld": withheld_of(run, answer.node),
        "approvals": [
            {
                "about": a.about,
                "decided_at": _moment(a.decided_at),
                "reason": a.reason,
                "key": a.key,
                "record": a.sequence,
            }
            for a in answer.approvals
        ],
    }


def _answer(answer: Answered) -> dict[str, object]:
    return {
        "country": answer.country,
        "node": answer.node,
        "record": answer.sequence,
        "recorded_at": _moment(answer.recorded_at),
        "payload_digest": answer.payload_digest.hex(),
        "payload_bytes": answer.payload_bytes,
        "policy_digest": answer.policy_digest.hex(),
        "dataset_digest": answer.dataset_digest.hex(),
        "software": answer.software,
    }


# --------------------------------------------------------------------------- for people


def words(bundles: Sequence[Bundle], judged: Sequence[Judged], result: str, number: str | None) -> Iterator[str]:
    """Line by line. `number`: show the numbers whose place has this text in it; None shows how many there are."""
    for bundle in bundles:
        yield f"bundle {bundle.name}: {bundle.country}, the verifier passes it"
        yield from (f"  {line}" for line in bundle.seen)
    for one in judged:
        yield ""
        yield from _run_words(one, result, number)
    if number is not None and not any(numbers_of(one.replayed, number) for one in judged):
        yield ""
        yield f"no number of any answer has {number!r} in its place"
    yield ""
    yield _last_line([one.replayed for one in judged])


def _run_words(judged: Judged, result: str, number: str | None) -> Iterator[str]:
    run = judged.replayed
    yield _headline(run)
    if run.study_digest:
        yield f"  study digest {run.study_digest.hex()}"
    yield f"  {_verdict(judged, result)}"
    if run.earlier_attempts:
        sealed = run.task is not None and run.task.sealed_attempt > 0
        over = "over the same countries, as a node was started anew" if sealed else "over fewer countries each time"
        yield f"  begun {run.earlier_attempts + 1} times, {over}: this is the last"
    for left in run.left_out:
        yield f"  without {left.country}: {left.reason}"
    for caveat in run.done.caveats if run.done is not None else ():
        yield f"  {caveat}"
    if number is not None and run.outcome is Outcome.POOLED:
        found = numbers_of(run, number)
        yield from (f"  {place} = {value!r}" for place, value in found)
    if not run.rounds:
        return
    yield from _table(
        ("round", "country", "record", "journaled (UTC)", "bytes", "SHA-256 of the bytes"),
        [
            (str(r.number), a.country, str(a.sequence), _moment(a.recorded_at), f"{a.payload_bytes:,}",
             a.payload_digest.hex()[: 2 * _SHOWN])
            for r in run.rounds for a in r.answers
        ],
    )  # fmt: skip
    last = run.rounds[-1].answers
    yield from _table(
        ("country", "node", "software", "policy", "dataset", "signed by"),
        [
            (a.country, a.node, a.software or "", _short(a.policy_digest),
             _short(a.dataset_digest), a.identity[:19])
            for a in last
        ],
    )  # fmt: skip
    for answer in last:
        yield from (f"  {answer.country}: {_approval(approval)}" for approval in answer.approvals)
        if answer.policy is not None:
            policy = answer.policy
            signed = f"at {_moment(policy.adopted_at)} (key {policy.key[:19]}, record {policy.sequence})"
            yield f"  {answer.country}: its policy number {policy.number} was signed {signed}"
        if not run.analysis and all(a.about != "request" for a in answer.approvals):
            yield f"  {answer.country}: no decision about this request itself is in the journal: its policy let it pass"
    yield f"  asked by the coordinator's key {last[0].coordinator[:19]}"


def _headline(run: Replayed) -> str:
    name = run.analysis or ("outside the plan" if run.task is not None else "unknown analysis")
    method = f" ({run.task.spec.method}/{run.task.spec.method_version})" if run.task is not None else ""
    study = f", study {run.study.name} version {run.study.version}" if run.study is not None else ""
    return f"{name}{method}{study}, run {run.run.hex()}"


def _verdict(judged: Judged, result: str) -> str:
    run = judged.replayed
    if run.outcome is not Outcome.POOLED:
        words = {
            Outcome.FAILED: "FAIL",
            Outcome.NO_ANSWER: "no answer",
            Outcome.INCOMPLETE: "INCOMPLETE",
            Outcome.TRAINED: "CHECKED, NOT COMPUTED AGAIN",
            Outcome.OTHER_RELEASE: "CANNOT BE REPLAYED HERE",
        }
        return f"{words[run.outcome]}: {run.why}"
    count, rounds = len(numbers_of(run)), len(run.rounds)
    said = f"{count} number{'s' * (count != 1)} pooled again in {rounds} round{'s' * (rounds != 1)}"
    asked = next((r.asked for r in run.rounds if not r.asked.to_the_bit), None)
    said += "; every round asked what the sums before it give" if rounds > 1 else ""
    said += f", {asked}" if asked is not None else ""
    if judged.near is not None:
        said += f"; equal to {result} {judged.near}"
    return f"PASS: {said}"


def _approval(approval: Approval) -> str:
    about = "the study" if approval.about == "study" else f"this {approval.about}"
    reason = f", reason: {approval.reason}" if approval.reason else ""
    signed = f"key {approval.key[:19]}, record {approval.sequence}"
    return f"{about} was approved by its custodian at {_moment(approval.decided_at)} ({signed}){reason}"


def _last_line(runs: Sequence[Replayed]) -> str:
    count: Mapping[Outcome, int] = {o: sum(r.outcome is o for r in runs) for o in Outcome}
    said = ", ".join(f"{count[o]} {o.value}" for o in Outcome if count[o])
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {said}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[k]) for row in (headings, *rows)) for k in range(len(headings))]
    for row in (headings, *rows):
        yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _short(digest: bytes) -> str:
    return digest.hex()[:_SHOWN]


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
