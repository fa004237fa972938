"""The oracle sees what it is there for, and the catalogue is whole."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from attacks import rows
from attacks.__main__ import catalogue_table, main, table
from attacks.attack import Attack, Listed, Outcome
from attacks.evidence import Evidence, answer_of, claimed, standing_in
from attacks.guards import GUARDS, is_there
from attacks.mount import Verdict, judged
from attacks.mounted import CATALOGUE, chosen
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_to_message

PAGE = Path(__file__).resolve().parents[2] / "docs/attacks.md"


def payload(*numbers: float) -> bytes:
    summary = summary_pb2.Summary()
    summary.items.add(field="sum", label="LAB").value.CopyFrom(array_to_message(np.array(numbers)))
    return study_pb2.Signed(context="isthmus/summary/1", body=summary.SerializeToString()).SerializeToString()


def evidence(message: bytes = b"", release: bytes = b"", text: str = "") -> Evidence:
    return Evidence([message], [release] if release else [], {"log": text})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (evidence(), False),
        (evidence(release=payload(7200.5, 60.0)), False),
        (evidence(release=payload(129.587)), True),
        (evidence(release=payload(-129.587 * (1 + 1e-9))), True),
        (evidence(release=payload(129.587**2)), True),
        (evidence(release=payload(129.6)), False),
        (evidence(message=b"x" + struct.pack("<d", 129.587)), True),
        (evidence(message=struct.pack("<f", 8412.643)), True),
        (evidence(message=b"of ZZ-7731,"), True),
        (evidence(text="bad cell '129.587 mg/l'"), True),
        (evidence(text="milliseconds 3129.587"), False),
        (evidence(text="task a90731f0"), False),
        (evidence(text="person 90731"), True),
    ],
)
def test_value_of_the_victim_is_seen_wherever_it_stands(given: Evidence, found: bool) -> None:
    assert bool(standing_in(given)) == found


def test_what_the_attacker_wrote_himself_is_no_finding() -> None:
    given = evidence(text="the filter uses level 'Erdheim-Chester'")
    assert standing_in(given)
    assert not standing_in(given, ["Erdheim-Chester"])


@pytest.mark.parametrize(
    ("name", "value", "so"),
    [("age", 97.0, True), ("age", 97.9, True), ("age", 98.0, False), ("nobody", 0.0, True), ("lab", np.nan, False)],
)
def test_claim_is_held_against_the_truth_to_one_in_a_hundred(name: str, value: float, so: bool) -> None:
    assert bool(claimed({name: value})) == so


def test_refusal_and_summary_are_read_from_bytes() -> None:
    assert answer_of(b"r", 1, payload(1.0, 2.0))["sum"].tolist() == [1.0, 2.0]
    refusal = summary_pb2.Refusal(code="SMALL_CELL").SerializeToString()
    signed = study_pb2.Signed(context="isthmus/refusal/1", body=refusal).SerializeToString()
    assert answer_of(b"r", 1, signed).code == "SMALL_CELL"


def test_victim_alone_has_what_the_truth_says() -> None:
    here, elsewhere = rows.persons("AA", 1, True), rows.persons("BB", 2, False)
    victim = here.loc[rows.PLACE]
    for column, name in (("AGE", "age"), ("LAB", "lab"), ("MARK", "marker"), ("DAY", "day"), ("VISITDT", "visit date")):
        assert float(victim[column]) == rows.TRUTH[name]
        assert (here[column] == victim[column]).sum() == 1
        assert not (elsewhere[column] == victim[column]).any()
    assert (here.CLASS == "RARE").sum() == (here.DX == rows.RARE_DIAGNOSIS).sum() == here.M.isna().sum() == 1


# --------------------------------------------------------------------------- the catalogue


def test_every_number_of_the_catalogue_has_an_entry_and_each_name_is_there_once() -> None:
    assert {attack.number for attack in CATALOGUE} == set(range(1, 59))
    names = [attack.name for attack in CATALOGUE]
    assert len(names) == len(set(names))


def test_guards_and_stopping_codes_are_named() -> None:
    for attack in CATALOGUE:
        if isinstance(attack, Attack):
            assert attack.guards
            assert all(code.isupper() for code in attack.stopped_by)


def test_every_guard_that_can_be_left_out_is_there_and_used() -> None:
    used = {name for attack in CATALOGUE if isinstance(attack, Attack) for name in attack.guards}
    assert set(GUARDS) <= used
    assert all(is_there(name) for name in GUARDS)
    assert is_there("cells_are_large")
    assert not is_there("no such guard")


def test_page_has_the_catalogue_as_it_is() -> None:
    assert "\n".join(catalogue_table(CATALOGUE)) in PAGE.read_text(encoding="utf-8")


def test_documents_that_are_named_are_there() -> None:
    for attack in CATALOGUE:
        if isinstance(attack, Listed):
            page, _, heading = attack.document.partition(", ")
            text = (PAGE.parents[1] / page).read_text(encoding="utf-8")
            assert f"# {heading}\n" in text, attack.document


def test_attacks_are_chosen_by_number_or_by_title() -> None:
    assert [a.name for a in chosen("12")] == ["12", "12b", "12c"]
    assert [a.name for a in chosen("12b,7")] == ["7", "12b"]
    assert "26" in [a.name for a in chosen("hostile")]
    with pytest.raises(SystemExit):
        main(["--only", "no such attack"])


# --------------------------------------------------------------------------- verdicts


FOUND, NOTHING = ("age worked out as 97",), ()
ATTACK = Attack(1, "t", "analyst", "d", ("cells_are_large",), frozenset({"SMALL_CELL"}), lambda scene: {})


def outcome(found: tuple[str, ...], *codes: str, error: str = "", fault: bool = False) -> Outcome:
    return Outcome(found, codes, 0.0, error, fault)


@pytest.mark.parametrize(
    ("off", "on", "standing"),
    [
        (outcome(FOUND), outcome(NOTHING, "SMALL_CELL"), "stopped"),
        (outcome(FOUND), outcome(FOUND), "open"),
        (outcome(FOUND), outcome(FOUND, "SMALL_CELL"), "open"),
        (outcome(NOTHING), outcome(NOTHING, "SMALL_CELL"), "broken"),
        (outcome(FOUND), outcome(NOTHING, "UNREACHABLE"), "broken"),
        (outcome(FOUND), outcome(NOTHING), "broken"),
        (outcome(FOUND), outcome(NOTHING, "SMALL_CELL", error="KeyError"), "broken"),
        (outcome(NOTHING, error="KeyError"), outcome(NOTHING, "SMALL_CELL"), "broken"),
        (outcome(FOUND, fault=True), outcome(NOTHING, "SMALL_CELL"), "broken"),
    ],
)
def test_attack_is_stopped_only_by_what_should_stop_it(off: Outcome, on: Outcome, standing: str) -> None:
    said, why = judged(ATTACK, off, on)
    assert (said, bool(why)) == (standing, True)


@pytest.mark.parametrize(
    ("standing", "holds"),
    [("stopped", True), ("not promised", True), ("no ground", True), ("open", False), ("broken", False)],
)
def test_what_is_open_or_broken_does_not_hold(standing: str, holds: bool) -> None:
    verdict = Verdict(ATTACK, standing, "why", outcome(FOUND), outcome(NOTHING))
    assert verdict.holds == holds
    assert "succeeds" in table([verdict])[1]
