"""A node in sealed rounds: what it lets in, that states are derived, and what it says once it was started anew."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isthmus.v1 import exchange_pb2, sealed_pb2, spec_pb2, study_pb2, summary_pb2, values_pb2
from isthmus_methods.codec import state_to_messages
from isthmus_node.custodian.reading import study_words
from isthmus_node.egress.journal_read import read
from isthmus_node.egress.wire import Header
from isthmus_node.sealing import derived, rounds as sealing_rounds
from isthmus_node.sealing.round import Round
from isthmus_trust.documents import SEALED_SHARE, SUMMARY, canonical, digest
from isthmus_trust.identity import IdentityKey, fingerprint
from isthmus_trust.sealed import LOST

RUN = bytes(16)
OTHERS = ("de", "be")


class Others:
    """The other two countries of a study: each has this country's numbers as its own."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.keys = [IdentityKey.generate() for _ in OTHERS]
        own = site.study.participants[0]
        more = [
            study_pb2.Participant(node=n, country=n.upper(), identity_key=k.public, custodian_key=k.public)
            for n, k in zip(OTHERS, self.keys, strict=True)
        ]
        study = study_pb2.Study()
        study.CopyFrom(site.study)
        del study.participants[:]
        study.participants.extend([own, *more])
        study.name, study.mode = "SEALED", study_pb2.SEALED
        site.study = study
        site.decide(site.announce())

    def task(self, **changes: Any) -> study_pb2.Signed:
        signed: study_pb2.Signed = self.site.task(
            **{"participants": ["nl", *OTHERS], "sealed_attempt": 1, "run": RUN, **changes}
        )
        return signed

    def clear(self) -> bytes:
        """The body of this country's own signed summary."""
        (run,) = (r for r in self.site.service._parts.sealing._runs.values() if r.round is not None)
        return study_pb2.Signed.FromString(run.round.clear.payload).body

    def begin(self, signed: study_pb2.Signed) -> list[Round]:
        task = digest(signed.body)
        found = []
        for name, key in zip(OTHERS, self.keys, strict=True):
            clear = SimpleNamespace(
                payload=canonical(key.sign(SUMMARY, self.clear())),
                header=Header(task, name, name.upper()),
                policy_digest=b"",
                purpose=study_pb2.TRIAL_ANALYSIS,
                words="",
                digest=b"",
            )
            notes = self.site.service._parts.sealing._runs[RUN].order.method.notes
            found.append(Round(clear, notes, self.site.study.participants, key))  # type: ignore[arg-type]
        return found

    def play(self, signed: study_pb2.Signed) -> None:
        """A round to its end."""
        self.site.ask(signed)
        task = digest(signed.body)
        others = self.begin(signed)
        words = [self.said(task), *(one.opening for one in others)]
        for _ in range(4):
            heard = [one.hear(words) for one in others]
            self.tell(task, words)
            payloads = [h if isinstance(h, study_pb2.Signed) else study_pb2.Signed.FromString(h.payload) for h in heard]
            shares = payloads[0].context == SEALED_SHARE
            own = study_pb2.Signed.FromString(self.site.wire.submitted[-1]) if shares else self.said(task)
            words = [own, *payloads]
        self.tell(task, words)

    def tell(self, task: bytes, words: Sequence[study_pb2.Signed]) -> None:
        self.site.service.sealed(sealed_pb2.SealedStep(task=task, words=words))
        self.site.service.work_off()

    def said(self, task: bytes) -> study_pb2.Signed:
        told, word, code = self.site.wire.said[-1]
        assert (told, code) == (task, ""), code
        assert word is not None
        return word


@pytest.fixture
def others(site: Any) -> Others:
    return Others(site)


def code_of(site: Any) -> str:
    (refusal,) = site.answers()
    assert isinstance(refusal, summary_pb2.Refusal), refusal
    return refusal.code


def expected(site: Any) -> derived.Derived:
    found: derived.Derived = site.service._parts.sealing._runs[RUN].expected
    return found


def events(site: Any) -> list[str]:
    return [entry.record.event for entry in read(site.home.journal)]


# --------------------------------------------------------------------------- what is let in


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sealed_attempt": 0}, "SEALED_MODE"),
        ({"participants": ["nl", "de"]}, "SEALED_FEW"),
        ({"sealed_attempt": 4}, "SEALED_ATTEMPTS"),
        ({"round": 2}, ""),
    ],
)
def test_task_that_does_not_fit_a_sealed_study_is_refused(others: Others, changes: dict[str, Any], code: str) -> None:
    others.site.ask(others.task(**changes))
    if code:
        assert code_of(others.site) == code
    else:
        # nothing is known here of the round before
        assert others.site.answers() == []
        assert others.site.wire.said[-1][2] == LOST


def test_sealed_task_of_an_open_study_is_refused(site: Any) -> None:
    site.ask(site.task(sealed_attempt=1))
    assert code_of(site) == "SEALED_MODE"


def test_request_that_names_the_country_is_refused(others: Others) -> None:
    spec = spec_pb2.Spec()
    spec.CopyFrom(others.site.study.plan[0].spec)
    spec.terms.add(columns=[spec_pb2.Column(variable="COUNTRY")])
    others.site.ask(others.task(spec=spec, analysis=""))
    assert code_of(others.site) == "SEALED_COUNTRY"


def test_four_countries_of_which_one_is_left_out_are_refused(others: Others) -> None:
    site, extra = others.site, IdentityKey.generate()
    site.study.participants.add(node="at", country="AT", identity_key=extra.public, custodian_key=extra.public)
    site.study.name = "FOUR"
    site.decide(site.announce())
    site.ask(others.task())
    assert code_of(site) == "SEALED_PARTICIPANTS"


def test_one_country_under_two_names_is_one(others: Others) -> None:
    site = others.site
    site.study.participants[2].identity_key = site.study.participants[1].identity_key
    site.study.name = "TWICE"
    site.decide(site.announce())
    site.ask(others.task())
    assert code_of(site) == "SEALED_FEW"


def test_custodian_reads_that_a_study_is_sealed_and_whose_keys_are_in_it(others: Others) -> None:
    words = "\n".join(study_words(others.site.study))
    assert "mode: sealed" in words
    assert all(fingerprint(p.identity_key) in words for p in others.site.study.participants)


# --------------------------------------------------------------------------- rounds


def test_round_leaves_a_share_and_no_summary(others: Others) -> None:
    site, signed = others.site, others.task()
    others.play(signed)
    (payload,) = site.wire.submitted
    assert study_pb2.Signed.FromString(payload).context == SEALED_SHARE
    entries = {e.record.event: e for e in read(site.home.journal)}
    assert entries["RELEASED"].payload == payload
    assert events(site)[-3:] == ["ACKNOWLEDGED", "UNSEALED", "SUMMED"]
    kept = (site.home.sealed / f"{digest(signed.body).hex()}.signed").read_bytes()
    assert digest(kept) == entries["RELEASED"].record.clear_digest
    assert not any(kept in path.read_bytes() for path in site.home.journal.glob("journal*"))


def test_journal_has_the_share_before_it_is_sent_and_the_mask_before_it_is_revealed(
    others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    wire = others.site.wire
    submit, say = wire.Submit, wire.say

    def submitting(chunks: Any, timeout: float | None = None) -> Any:
        seen.append(f"share after {events(others.site)[-1]}")
        return submit(chunks, timeout)

    def saying(task: bytes, word: Any, code: str = "") -> None:
        seen.append(f"{word.context.split('/')[1]} after {events(others.site)[-1]}")
        say(task, word, code)

    monkeypatch.setattr(wire, "Submit", submitting)
    monkeypatch.setattr(wire, "say", saying)
    others.play(others.task())
    assert "share after RELEASED" in seen
    assert "sealed-reveal after UNSEALED" in seen


def test_next_round_is_asked_with_what_this_node_worked_out(others: Others) -> None:
    others.play(others.task())
    turn = expected(others.site).turn
    assert turn is not None
    others.play(others.task(round=2, state=state_to_messages(turn.state)))
    assert expected(others.site).number == 3
    assert len(others.site.wire.submitted) == 2


def changed(turn: Any, by: float) -> list[values_pb2.NamedArray]:
    state = {name: np.array(value, dtype=np.float64) for name, value in turn.state.items()}
    name = max(state, key=lambda n: float(np.abs(state[n]).max(initial=0.0)))
    place = np.unravel_index(np.argmax(np.abs(state[name])), state[name].shape)
    state[name][place] *= 1.0 + by
    return state_to_messages(state)


@pytest.mark.parametrize(("by", "taken"), [(1e-12, True), (1e-8, False), (0.5, False)])
def test_other_state_is_refused_but_for_the_last_digits(others: Others, by: float, taken: bool) -> None:
    others.play(others.task())
    signed = others.task(round=2, state=changed(expected(others.site).turn, by))
    others.site.ask(signed)
    assert (others.site.wire.said[-1][0] == digest(signed.body)) is taken
    if not taken:
        last = study_pb2.Signed.FromString(others.site.wire.submitted[-1])
        assert summary_pb2.Refusal.FromString(last.body).code == "STATE_NOT_DERIVED"


def test_any_state_is_taken_with_the_guard_left_out(others: Others, monkeypatch: pytest.MonkeyPatch) -> None:
    others.play(others.task())
    monkeypatch.setattr(sealing_rounds, "check_derived", lambda *_: None)
    signed = others.task(round=2, state=changed(expected(others.site).turn, 0.5))
    others.site.ask(signed)
    assert others.site.wire.said[-1][0] == digest(signed.body)


@pytest.mark.parametrize("number", [1, 3])
def test_round_out_of_turn_is_refused_or_lost(others: Others, number: int) -> None:
    others.play(others.task())
    turn = expected(others.site).turn
    assert turn is not None
    others.site.ask(others.task(round=number, state=state_to_messages(turn.state)))
    last = study_pb2.Signed.FromString(others.site.wire.submitted[-1])
    if number == 1:
        assert summary_pb2.Refusal.FromString(last.body).code in ("STATE_IN_FIRST_ROUND", "STATE_NOT_DERIVED")
    else:
        assert last.context == SEALED_SHARE
        assert others.site.wire.said[-1][2] == LOST


# --------------------------------------------------------------------------- what goes wrong


def test_forged_word_ends_the_round_at_this_node(others: Others, lines: Any) -> None:
    signed = others.task()
    others.site.ask(signed)
    task = digest(signed.body)
    first, second = others.begin(signed)
    stranger = IdentityKey.generate().sign(first.opening.context, first.opening.body)
    others.tell(task, [others.said(task), stranger, second.opening])
    assert others.site.wire.said[-1] == (task, None, "WRONG_SIGNER")
    assert others.site.wire.submitted == []


@pytest.mark.parametrize("steps", [0, 2, 3])
def test_node_started_anew_has_lost_the_round(others: Others, steps: int) -> None:
    site, signed = others.site, others.task()
    site.ask(signed)
    task, parts = digest(signed.body), others.begin(signed)
    words = [others.said(task), *(p.opening for p in parts)]
    for _ in range(steps):
        heard = [p.hear(words) for p in parts]
        others.tell(task, words)
        told = [h if isinstance(h, study_pb2.Signed) else study_pb2.Signed.FromString(h.payload) for h in heard]
        shares = told[0].context == SEALED_SHARE
        own = study_pb2.Signed.FromString(site.wire.submitted[-1]) if shares else others.said(task)
        words = [own, *told]
    before = list(site.wire.submitted)
    site.open()
    site.attach()
    site.ask(signed)
    if steps:
        # the share left, and its mask is gone
        others.tell(task, words)
        assert site.wire.said[-1] == (task, None, LOST)
    else:
        # nothing left but a key, which is made anew
        opening = others.said(task)
        assert canonical(opening) != canonical(words[0])
    assert [p for p in site.wire.submitted if p not in before] == []


def test_same_task_again_says_the_same_word(others: Others) -> None:
    signed = others.task()
    others.site.ask(signed)
    others.site.ask(signed)
    first, second = (word for _, word, _ in others.site.wire.said)
    assert first is not None
    assert second is not None
    assert canonical(first) == canonical(second)


def test_held_numbers_are_seen_before_they_are_masked(others: Others, site: Any) -> None:
    site.adopt('[release]\noutputs = "ask"\n[purpose.trial_analysis]\n')
    site.ask(others.task())
    assert site.wire.said == []
    assert site.wire.waits[-1].code == "OUTPUT_HELD"
    (held,) = site.service._parts.held.everything()
    site.decide(held.digest, context="isthmus/release/1")
    assert site.wire.said[-1][1] is not None
    assert site.wire.submitted == []


def test_run_that_ended_is_forgotten(others: Others) -> None:
    signed = others.task()
    others.site.ask(signed)
    others.site.service.run_ended(exchange_pb2.RunEnded(run=RUN, given=True))
    others.site.service.work_off()
    others.tell(digest(signed.body), [])
    assert others.site.wire.said[-1][2] == LOST
