"""A sealed study over real processes: the same answers, and no country's numbers at the coordinator."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_kit import answer_bytes, run_program
from sealed_kit import propose

from isthmus.errors import IsthmusError, Refused
from isthmus.v1 import sealed_pb2, study_pb2, summary_pb2
from isthmus_client.demo import COUNTRIES
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Sandbox
from isthmus_methods.codec import array_from_message
from isthmus_node.egress.journal_read import Entry, read
from isthmus_trust.documents import SEALED_SHARE, digest
from isthmus_trust.ring import from_bytes, from_ring, to_bytes, to_ring

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]
ANALYSES = ("table-1", "linear", "logistic", "cox")


@dataclass
class Ran:
    """The same plan in a sealed study and in an open one."""

    box: Sandbox
    study: str
    sealed: Mapping[str, Fit]
    open: Mapping[str, Fit]

    def runs(self) -> set[bytes]:
        return {fit.result.run for fit in self.sealed.values()}


@pytest.fixture(scope="module")
def ran(network: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("sealed")
    names = {mode: propose(network, folder, f"{mode.upper()}-RFS", mode) for mode in ("sealed", "open")}
    with network.connect() as connection:
        fits = {
            mode: {plan: connection.study(name).planned(plan).run(progress=False) for plan in ANALYSES}
            for mode, name in names.items()
        }
    return Ran(network, names["sealed"], fits["sealed"], fits["open"])


def journal(box: Sandbox, node: str) -> list[Entry]:
    return list(read(box.node_home(node) / "state/journal"))


def answers(box: Sandbox, node: str) -> int:
    """How many answers have left a node; acknowledgements may still come."""
    return sum(bool(entry.payload) for entry in journal(box, node))


def shares(ran: Ran, node: str) -> list[Entry]:
    """What left a node in the sealed study."""
    return [entry for entry in journal(ran.box, node) if entry.payload and entry.record.run in ran.runs()]


def kept(ran: Ran, node: str, entry: Entry) -> bytes:
    """The signed summary that is in a share."""
    return (ran.box.node_home(node) / "state/sealed" / f"{entry.record.task.hex()}.signed").read_bytes()


def clear_numbers(ran: Ran, node: str, entry: Entry) -> list[float]:
    signed = study_pb2.Signed.FromString(kept(ran, node, entry))
    items = summary_pb2.Summary.FromString(signed.body).items
    given = [array_from_message(item.value) for item in items if not item.withheld_by]
    return [float(x) for value in given for x in np.asarray(value, dtype=np.float64).ravel()]


def numbers_of(tree: object, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from numbers_of(value, f"{path}/{key}")
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from numbers_of(value, f"{path}/{place}")
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, tree


# --------------------------------------------------------------------------- the result


@pytest.mark.parametrize("plan", ANALYSES)
def test_sealed_result_is_the_open_one(ran: Ran, plan: str) -> None:
    sealed, plain = (dict(fit.as_dict()["answer"]) for fit in (ran.sealed[plan], ran.open[plan]))
    # rows left out are told by country in open mode, and of all together in a sealed study
    left_out = [sum(dict(numbers_of(answer.pop("excluded", {}))).values()) for answer in (sealed, plain)]
    assert left_out[0] == left_out[1]
    ours, theirs = dict(numbers_of(sealed)), dict(numbers_of(plain))
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        assert value == pytest.approx(theirs[path], rel=1e-10, abs=1e-12), path
        assert type(value) is type(theirs[path]), path


def test_result_says_that_it_is_sealed_and_has_no_number_of_a_country(ran: Ran) -> None:
    fit = ran.sealed["logistic"]
    assert any("the coordinator saw the sum over NL, BE, DE and AT" in note for note in fit.result.caveats)
    assert fit.exact
    rounds = fit.as_dict()["sealed"]
    assert isinstance(rounds, list)
    assert len(rounds) == fit.result.rounds
    assert "all signed keys" in str(fit.provenance())
    text = json.dumps(fit.as_dict()) + fit.text()
    for node in COUNTRIES:
        for entry in shares(ran, node):
            for number in clear_numbers(ran, node, entry):
                # small whole numbers stand everywhere
                assert abs(number) < 1000 or repr(number) not in text


def test_every_journal_has_what_all_signed(ran: Ran) -> None:
    fit = ran.sealed["logistic"]
    for node in COUNTRIES:
        records = [e.record for e in journal(ran.box, node) if e.record.run == fit.result.run]
        summed = [sealed_pb2.SealedReceipt.FromString(r.receipt) for r in records if r.event == "SUMMED"]
        assert [r.event for r in records].count("UNSEALED") == fit.result.rounds
        assert len(summed) == fit.result.rounds
        for receipt, told in zip(summed, fit.result.sealed, strict=True):
            agreed = {sealed_pb2.SealedAgreement.FromString(w.body).transcript for w in receipt.agreements}
            listed = {sealed_pb2.SealedList.FromString(w.body).list for w in receipt.lists}
            assert (agreed, listed) == ({told.transcript}, {told.list})


def test_explanation_says_what_the_coordinator_sees(ran: Ran) -> None:
    with ran.box.connect() as connection:
        said = str(connection.study(ran.study).planned("table-1").explain())
    assert "sealed: the coordinator sees the sum over all countries" in said
    # cells of a histogram are no sum, and do not leave
    assert "rows at each value" not in said


# --------------------------------------------------------------------------- what the coordinator has


def test_nothing_that_reached_the_coordinator_has_a_number_of_a_country(ran: Ran) -> None:
    whole = b"".join(
        path.read_bytes() for path in ran.box.coordinator_home.rglob("*") if path.is_file() and "db" in path.name
    )
    plain = 0
    for node in COUNTRIES:
        for entry in shares(ran, node):
            assert study_pb2.Signed.FromString(entry.payload).context == SEALED_SHARE
            assert entry.payload not in kept(ran, node, entry)
            assert digest(kept(ran, node, entry)) == entry.record.clear_digest
            share = sealed_pb2.SealedShare.FromString(study_pb2.Signed.FromString(entry.payload).body)
            # the share itself reached it, and no number of the summary is in it or anywhere beside it
            assert share.vector in whole
            masked = from_ring(from_bytes(share.vector)).tolist()
            for number in clear_numbers(ran, node, entry):
                assert number not in masked
                if abs(number) > 1000:
                    assert to_bytes(to_ring(np.array([number]), 4)) not in whole
                    plain += np.float64(number).tobytes() in whole
    # the open study is of the same rows: its summaries stand there, and the search finds them
    assert plain > 0
    _only_shares_are_stored(ran)


def _only_shares_are_stored(ran: Ran) -> None:
    path = next(p for p in ran.box.coordinator_home.rglob("*") if p.is_file() and p.read_bytes()[:6] == b"SQLite")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("select r.run, s.signed from submissions s join rounds r on r.task = s.task").fetchall()
    found = [signed for run, signed in rows if run in ran.runs()]
    assert found
    for stored in found:
        answer = sealed_pb2.SealedAnswer.FromString(stored)
        assert answer.share.context == SEALED_SHARE
        assert answer.share.ByteSize() + answer.reveal.ByteSize() + 16 > len(stored)


# --------------------------------------------------------------------------- custodians and inspectors


def test_custodian_sees_the_numbers_that_were_in_a_share(ran: Ran) -> None:
    home = str(ran.box.node_home("at"))
    shown = run_program("isthmus-node", "journal", "show", "--numbers", "--all", "--home", home)
    numbers = [x for entry in shares(ran, "at") for x in clear_numbers(ran, "at", entry) if x != int(x)]
    assert numbers
    assert all(repr(number) in shown.stdout for number in numbers)
    assert "what can be read of it is the sum over 4 countries" in shown.stdout


@pytest.fixture(scope="module")
def bundles(ran: Ran, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    for node in COUNTRIES:
        ran.box.node(node, "journal", "export", "-o", str(folder / node))
    return [folder / node for node in COUNTRIES]


def replayed(bundles: list[Path], *more: str) -> tuple[int, dict[str, Any]]:
    ended = run_program("isthmus", "replay", *map(str, bundles), "--json", *more)
    return ended.code, json.loads(ended.stdout)["data"]


@pytest.mark.parametrize("plan", ANALYSES)
def test_replay_computes_every_number_again(ran: Ran, bundles: list[Path], tmp_path: Path, plan: str) -> None:
    file = ran.sealed[plan].to_json(tmp_path / "result.json")
    code, data = replayed(bundles, "--result", str(file), "--exact")
    assert (code, [run["outcome"] for run in data["runs"]]) == (0, ["pooled"]), data["runs"][0]["why"]
    assert data["runs"][0]["numbers"] > 10


def test_bundle_holds_no_clear_number_and_passes_the_verifier(ran: Ran, bundles: list[Path]) -> None:
    for node, bundle in zip(COUNTRIES, bundles, strict=True):
        passed = subprocess.run([sys.executable, str(bundle / "verifier.py"), str(bundle)], capture_output=True)
        assert passed.returncode == 0, passed.stdout
        everything = b"".join(path.read_bytes() for path in bundle.rglob("*") if path.is_file())
        assert all(kept(ran, node, entry) not in everything for entry in shares(ran, node))


def test_replay_without_a_country_is_not_complete(ran: Ran, bundles: list[Path]) -> None:
    code, data = replayed(bundles[:3], "--run", ran.sealed["cox"].result.run.hex())
    assert (code, data["runs"][0]["outcome"]) == (17, "incomplete")


# --------------------------------------------------------------------------- what does not go


def test_answer_of_which_a_part_would_be_withheld_is_refused_as_a_whole(ran: Ran) -> None:
    with ran.box.connect() as connection, pytest.raises(Refused) as caught:
        connection.study(ran.study).planned("withheld").run(progress=False)
    assert caught.value.code == "SMALL_CELL"


@pytest.mark.parametrize(
    ("method", "formula", "more", "code"),
    [
        ("meta_analysis", "Surv(rfstime, status) ~ hormon", {}, "BY_COUNTRY"),
        ("linear_model", "pgr ~ age + country", {}, "SEALED_COUNTRY"),
        ("glm", "status ~ age", {"where": "country != 'NL'"}, "SEALED_COUNTRY"),
        ("mmrm", "pgr ~ age", {}, ""),
        ("linear_model", "pgr ~ age", {"missing_country": "go on without"}, "SEALED_GOES_ON"),
    ],
)
def test_what_does_not_add_is_refused_before_anybody_is_asked(
    ran: Ran, method: str, formula: str, more: dict[str, Any], code: str
) -> None:
    before = {node: answers(ran.box, node) for node in COUNTRIES}
    with ran.box.connect() as connection, pytest.raises(IsthmusError) as caught:
        connection.study(ran.study).ask(method, formula, **more).run(progress=False)
    assert code in ("", caught.value.code)
    assert {node: answers(ran.box, node) for node in COUNTRIES} == before


def test_answers_are_those_of_the_rows_and_not_of_the_order(ran: Ran) -> None:
    with ran.box.connect() as connection:
        again = connection.study(ran.study).planned("cox").run(progress=False)
    assert answer_bytes(again) == answer_bytes(ran.sealed["cox"])
