"""Journals, tasks and results that were tampered with: each named. With the guard taken out, each goes through."""

from __future__ import annotations

import json
import math
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bundle_kit import Region, Site, entries_of, rewrite, summary_of

from isthmus.errors import ConfigError, CountriesMissing, DataError, IsthmusError
from isthmus.v1 import analyst_pb2, journal_pb2, study_pb2, summary_pb2
from isthmus_client.replay import Judged, Outcome, driver, evidence, exit_code_of, held, read_bundles, replay
from isthmus_client.replay.compare import Difference, Nearness, compare_answers
from isthmus_client.replay.faults import Fault
from isthmus_coordinator.analyses import turns
from isthmus_methods.codec import array_from_message, array_to_message
from isthmus_node.egress.journal_file import Frame, read_frames
from isthmus_node.exporting import export
from isthmus_node.shelf import Shelf
from isthmus_trust import verifier
from isthmus_trust.documents import DECISION, POLICY, STUDY, SUMMARY, TASK, canonical, digest, read_canonical
from isthmus_trust.identity import IdentityKey

ANALYSIS = "cox, efron"


@dataclass(frozen=True)
class Case:
    """A region, a Cox fit of several rounds in it, and homes that a test may spoil; they are exported when judged."""

    region: Region
    result: analyst_pb2.Result
    file: Path
    out: Path

    def site(self, country: str) -> Site:
        return self.region.sites[country]

    def export(self, without: tuple[str, ...] = ()) -> list[Path]:
        return self.region.export(self.out / secrets.token_hex(4), without)

    def judged(self, *, held: bool = False, exact: bool = False, without: tuple[str, ...] = ()) -> Judged:
        (one,) = replay(read_bundles(self.export(without)), self.file if held else None, exact=exact)
        return one

    def fault(self, *, held: bool = False, exact: bool = False) -> IsthmusError:
        judged = self.judged(held=held, exact=exact)
        assert judged.replayed.outcome is Outcome.FAILED, judged.replayed.outcome
        assert exit_code_of([judged]) == DataError.exit_code
        error = judged.replayed.error
        assert error is not None
        return error

    def damage(self) -> Fault:
        """What is found before any run is pooled."""
        with pytest.raises(Fault) as caught:
            self.judged()
        assert caught.value.exit_code == DataError.exit_code
        return caught.value

    def told(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.file.read_text())["results"][0]
        return result

    def records(self, country: str, event: str = "RELEASED") -> list[journal_pb2.Record]:
        return [record for record, _ in entries_of(self.site(country)) if record.event == event]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Region, analyst_pb2.Result]:
    region = Region(tmp_path_factory.mktemp("region"))
    region.approve()
    result = region.run(ANALYSIS)
    assert (result.state, result.rounds > 2) == ("done", True)
    return region, result


@pytest.fixture
def case(made: tuple[Region, analyst_pb2.Result], tmp_path: Path) -> Case:
    region, result = made
    file = region.result_file(tmp_path / "result.json", result)
    return Case(region.moved(tmp_path / "homes"), result, file, tmp_path / "out")


@contextmanager
def without(target: Any, name: str, instead: Any) -> Iterator[None]:
    """A guard taken out, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, instead)
        yield


def nothing(*_: object, **__: object) -> list[str]:
    """Checking nothing."""
    return []


def any_key(signed: study_pb2.Signed, context: str, message_type: Any, key: bytes | None = None) -> Any:
    """Reading a document whoever signed it, or nobody."""
    return read_canonical(signed.body, message_type)


def pooled_answer(judged: Judged) -> object:
    assert judged.replayed.outcome is Outcome.POOLED, judged.replayed.why
    return held.answer_of(judged.replayed)


def test_untouched_bundles_hold(case: Case) -> None:
    judged = case.judged(held=True, exact=True)
    assert judged.near == Nearness()
    assert exit_code_of([judged]) == 0


# --------------------------------------------------------------------------- bytes of a journal


@pytest.mark.parametrize("change", ["a byte", "its end"])
def test_changed_journal_is_found_and_its_record_named(case: Case, change: str) -> None:
    bundles = case.export()
    path = bundles[1] / "journal.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if change == "a byte" else path.read_bytes()[:-1])
    with pytest.raises(Fault, match=r"record \d+ of jp") as caught:
        read_bundles(bundles)
    assert (caught.value.code, caught.value.exit_code) == ("BUNDLE_DAMAGED", 11)


def test_journal_without_its_last_record_is_not_what_was_sealed(case: Case) -> None:
    bundles = case.export()
    path = bundles[1] / "journal.bin"
    frames = [frame for frame in read_frames(path) if isinstance(frame, Frame)]
    path.write_bytes(path.read_bytes()[: frames[-1].start])
    with pytest.raises(Fault, match="of jp: it has more records than the journal"):
        read_bundles(bundles)


@pytest.mark.parametrize("file", ["records.csv", "bundle.json", "bundle.sig", "extra.txt"])
def test_file_that_was_changed_or_added_is_named(case: Case, file: str) -> None:
    bundles = case.export()
    path = bundles[2] / file
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    with pytest.raises(Fault, match=file.split(".")[0]) as caught:
        read_bundles(bundles)
    assert "kr" in caught.value.message


def test_bundle_sealed_by_another_key_is_found(case: Case) -> None:
    """Somebody who has a copy of a journal and no key of the node."""
    (case.site("KR").home.identity_key).unlink()
    IdentityKey.generate().save(case.site("KR").home.identity_key)
    assert "signed by another key than it should be" in case.damage().message
    with without(verifier, "verify", nothing):
        assert "kr: it is sealed by another key" in case.fault().message


def with_other_number(key: IdentityKey | None) -> Callable[..., Any]:
    """A site's journal in which another number left in a round, signed with a key, or with the old signature on it."""

    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event != "RELEASED" or record.round != 1:
            return record, payload
        signed = study_pb2.Signed.FromString(payload)
        summary = summary_of(payload)
        item = next(i for i in summary.items if i.value.WhichOneof("values") == "counts")
        item.value.CopyFrom(array_to_message(array_from_message(item.value) + 1))
        signed.body = canonical(summary)
        return record, canonical(signed if key is None else key.sign(SUMMARY, signed.body))

    return change


@pytest.mark.parametrize("key", [None, IdentityKey.generate()], ids=["old signature", "another key"])
def test_sums_that_the_node_did_not_sign_are_found(case: Case, key: IdentityKey | None) -> None:
    rewrite(case.site("KR"), with_other_number(key))
    wanted = case.records("KR")[0].sequence
    error = case.damage()
    assert f"record {wanted} of kr" in error.message
    # with the guards out, the other sums give another answer, and nobody would know
    with without(verifier, "verify", nothing), without(evidence, "open_signed", any_key):
        forged = pooled_answer(case.judged())
        assert isinstance(compare_answers(case.told()["answer"], forged), Difference)


def test_padding_that_says_something_is_found(case: Case) -> None:
    """A site that sends more than its gate knows of, signed with its own key."""
    site = case.site("TW")

    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if (record.event, record.round) != ("RELEASED", 1):
            return record, payload
        summary = summary_of(payload)
        summary.padding[:] = [b"129.587"]
        return record, canonical(site.identity.sign(SUMMARY, canonical(summary)))

    rewrite(site, change)
    assert "the padding of an answer holds something" in case.fault().message
    with without(evidence, "check_padding", nothing):
        assert case.judged().replayed.outcome is Outcome.POOLED


def test_record_that_names_another_dataset_than_was_signed_is_found(case: Case) -> None:
    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event == "RELEASED":
            record.dataset_digest = bytes(32)
        return record, payload

    rewrite(case.site("CN"), change)
    assert "another policy or dataset" in case.damage().message
    with without(verifier, "verify", nothing):
        assert "another dataset" in case.fault().message
    with without(verifier, "verify", nothing), without(evidence, "_check_record", lambda *_: None):
        assert case.judged().replayed.outcome is Outcome.POOLED


def test_round_taken_out_is_found_and_country_and_round_named(case: Case) -> None:
    rewrite(case.site("TW"), lambda r, p: None if (r.event, r.round) == ("RELEASED", 2) else (r, p))
    error = case.fault()
    assert error.code == "ROUND_MISSING"
    assert "round 2: the journal of TW" in error.message


def test_result_over_a_last_round_that_is_in_no_journal_is_found(case: Case) -> None:
    last = case.result.rounds
    for site in case.region.sites.values():
        rewrite(site, lambda r, p: None if (r.event, r.round) == ("RELEASED", last) else (r, p))
    judged = case.judged()
    assert judged.replayed.outcome is Outcome.NO_ANSWER
    assert f"round {last} is in no journal" in judged.replayed.why
    error = case.fault(held=True)
    assert (error.code, "cox, efron" in error.message) == ("RESULT_DIFFERS", True)


def test_rounds_out_of_a_middle_of_every_journal_are_missed(case: Case) -> None:
    for site in case.region.sites.values():
        rewrite(site, lambda r, p: None if (r.event, r.round) == ("RELEASED", 2) else (r, p))
    assert case.fault().message.startswith("round 2: it is in no journal")


# --------------------------------------------------------------------------- studies and decisions


def test_study_of_another_version_is_not_taken_for_the_approved_one(case: Case) -> None:
    other = study_pb2.Study()
    other.CopyFrom(case.region.study)
    other.version = 2
    signed = case.region.author.sign(STUDY, canonical(other))
    for site in case.region.sites.values():
        Shelf(site.home.studies).put(signed)
        rewrite(site, lambda r, p: (_with(r, study_digest=digest(signed.body)) if r.run else r, p))
    error = case.fault()
    assert (error.code, "another study" in error.message) == ("NOT_AS_RECORDED", True)


def test_study_under_the_name_of_another_is_found(case: Case) -> None:
    (path,) = case.site("CN").home.studies.iterdir()
    path.write_bytes(canonical(case.region.author.sign(STUDY, canonical(study_pb2.Study(name="OTHER")))))
    assert "another than its name says" in case.damage().message


def test_study_in_no_bundle_is_said(case: Case) -> None:
    for site in case.region.sites.values():
        shutil.rmtree(site.home.studies)
    assert "is in no bundle" in case.fault().message


def _with(record: journal_pb2.Record, **fields: Any) -> journal_pb2.Record:
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def test_answer_without_a_decision_is_found(case: Case) -> None:
    rewrite(case.site("JP"), lambda r, p: None if r.event == "APPROVED" else (r, p))
    error = case.fault()
    assert (error.code, "of jp" in error.message) == ("NOT_APPROVED", True)
    with without(evidence, "_approvals", lambda *_: ()):
        assert case.judged().replayed.outcome is Outcome.POOLED


def decided(case: Case, country: str, key: IdentityKey, *, approved: bool) -> None:
    """The decision in a journal replaced by another."""
    site = case.region.sites[country]
    decision = study_pb2.Decision(
        study_digest=case.region.study_digest, node=site.node, approved=approved, decided_at=1, reason="test"
    )
    document = canonical(key.sign(DECISION, canonical(decision)))
    event = "APPROVED" if approved else "DECLINED"
    rewrite(
        case.site(country),
        lambda r, p: (_with(r, event=event, document=document) if r.event == "APPROVED" else r, p),
    )


def test_answer_after_the_custodian_declined_is_found(case: Case) -> None:
    decided(case, "JP", case.region.sites["JP"].custodian, approved=False)
    error = case.fault()
    assert (error.code, "declined" in error.message) == ("NOT_APPROVED", True)


def test_decision_of_somebody_else_is_no_approval(case: Case) -> None:
    decided(case, "JP", IdentityKey.generate(), approved=True)
    assert "record 2 of jp" in case.damage().message
    with without(verifier, "verify", nothing):
        assert "another key than the custodian's" in case.fault().message


def test_answer_under_another_policy_than_the_one_in_force_is_found(case: Case) -> None:
    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event == "POLICY":
            document = study_pb2.AdoptedPolicy(node="jp", serial=1, digest=bytes(32))
            signed = case.site("JP").custodian.sign(POLICY, canonical(document))
            record.policy_digest, record.document = bytes(32), canonical(signed)
        return record, payload

    rewrite(case.site("JP"), change)
    assert "left under a policy" in case.damage().message
    with without(verifier, "verify", nothing):
        assert "it left under another policy than record 1" in case.fault().message
        with without(evidence, "_policy", lambda *_: None):
            assert case.judged().replayed.outcome is Outcome.POOLED


def test_policy_that_somebody_else_signed_is_found(case: Case) -> None:
    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event == "POLICY":
            signed = study_pb2.Signed.FromString(record.document)
            record.document = canonical(IdentityKey.generate().sign(POLICY, signed.body))
        return record, payload

    rewrite(case.site("JP"), change)
    assert "record 1 of jp: the policy is signed by another key" in case.damage().message
    with without(verifier, "verify", nothing):
        assert "record 1 of jp: the policy is not signed by the custodian" in case.fault().message


def test_keys_of_the_study_are_those_of_the_roster(case: Case) -> None:
    wanted = case.region.enrol()
    (judged,) = replay(read_bundles(case.export(), wanted))
    assert judged.replayed.outcome is Outcome.POOLED
    case.region.enrol(kr=IdentityKey.generate())
    assert "names other keys for 'kr' than the roster" in case.fault().message
    with pytest.raises(Fault, match=r"roster\.pb of cn: the roster has the fingerprint"):
        read_bundles(case.export(), wanted)


def test_bundle_without_the_roster_that_was_asked_for_is_found(case: Case) -> None:
    with pytest.raises(Fault, match=r"roster\.pb of cn"):
        read_bundles(case.export(), "ab" * 32)


# --------------------------------------------------------------------------- a coordinator that lies


def lying(state: Callable[[dict[str, Any]], dict[str, Any]], number: int) -> Callable[[Region], Any]:
    """A coordinator that asks a round with another state than the sums give, and signs it."""

    def change_of(region: Region) -> Callable[[turns.Turn], turns.Turn]:
        def change(turn: turns.Turn) -> turns.Turn:
            task = turn.run.task
            if task is None or turn.run.final or task.round != number:
                return turn
            message = summary_pb2.Task.FromString(task.signed.body)
            message.state[0].array.CopyFrom(array_to_message(state(dict(task.state))[message.state[0].name]))
            signed = region.sign(canonical(message))
            opened = replace(task, signed=signed, digest=digest(signed.body), state=driver.as_carried(message))
            return replace(turn, run=replace(turn.run, task=opened))

        return change

    return change_of


def region_with(folder: Path, change: Callable[[Region], Any]) -> tuple[Region, analyst_pb2.Result]:
    region = Region(folder)
    region.approve()
    return region, region.run(ANALYSIS, change=change(region))


def test_state_that_does_not_follow_from_the_sums_is_found(tmp_path: Path) -> None:
    region, result = region_with(tmp_path, lying(lambda s: {k: v + 0.125 for k, v in s.items()}, 2))
    assert result.state == "done"
    bundles = read_bundles(region.export(tmp_path / "out"))
    (judged,) = replay(bundles)
    error = judged.replayed.error
    assert error is not None
    assert error.code == "TASK_NOT_POOLED"
    assert error.message.startswith("round 2, record ")
    assert "the countries' sums give" in error.message
    with without(driver, "check_task", lambda *_: Nearness()):
        assert replay(bundles)[0].replayed.outcome is Outcome.POOLED


def test_state_in_other_last_bits_holds_to_1e_12_and_says_so(tmp_path: Path) -> None:
    region, result = region_with(tmp_path, lying(lambda s: {k: v * (1 + 2e-16) + 3e-17 for k, v in s.items()}, 2))
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")))
    assert judged.replayed.outcome is Outcome.POOLED, judged.replayed.why
    near = judged.replayed.rounds[1].asked
    assert (near.to_the_bit, near.holds) == (False, True)
    assert result.state == "done"


def test_two_tasks_in_one_round_are_found(case: Case) -> None:
    """One country is asked something else than the others, and answers it."""
    region = case.region
    site = region.sites["KR"]

    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event != "RELEASED" or record.round != 1:
            return record, payload
        task = summary_pb2.Task.FromString(study_pb2.Signed.FromString(record.document).body)
        task.deadline += 1
        signed = region.sign(canonical(task))
        summary = summary_of(payload)
        summary.task = digest(signed.body)
        record.task, record.document = digest(signed.body), canonical(signed)
        return record, canonical(site.identity.sign(SUMMARY, canonical(summary)))

    rewrite(case.site("KR"), change)
    error = case.fault()
    assert error.code == "TWO_TASKS"
    assert "of kr answers another task" in error.message


def test_second_answer_to_one_task_is_found(case: Case) -> None:
    """A node that signed two answers to one task."""
    twice = next((r, p) for r, p in entries_of(case.site("CN")) if (r.event, r.round) == ("RELEASED", 2))
    rewrite(case.site("CN"), lambda r, p: twice if (r.event, r.round) == ("RELEASED", 3) else (r, p))
    assert case.fault().code == "TWO_TASKS"


def test_task_that_nobody_signed_is_found(case: Case) -> None:
    stranger = IdentityKey.generate()

    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if record.event == "RELEASED" and record.round == 1:
            signed = study_pb2.Signed.FromString(record.document)
            record.document = canonical(stranger.sign(TASK, signed.body))
        return record, payload

    rewrite(case.site("CN"), change)
    assert "the task is signed by another key" in case.damage().message
    with without(verifier, "verify", nothing):
        assert "another coordinator" in case.fault().message


def test_answer_without_its_task_is_said(case: Case) -> None:
    rewrite(case.site("CN"), lambda r, p: (_with(r, document=b"") if r.event == "RELEASED" else r, p))
    assert case.fault().code == "RECORD_FORGED"


# --------------------------------------------------------------------------- a result that is another


def forge(case: Case, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(case.file.read_text())
    change(document["results"][0])
    case.file.write_text(json.dumps(document))


def coefficient(result: dict[str, Any]) -> dict[str, Any]:
    return next(iter(result["answer"]["coef"].values()))


def test_forged_number_is_named(case: Case) -> None:
    def change(result: dict[str, Any]) -> None:
        name = next(k for k, v in coefficient(result).items() if isinstance(v, float))
        coefficient(result)[name] *= 1 + 1e-9

    forge(case, change)
    error = case.fault(held=True)
    assert error.code == "RESULT_DIFFERS"
    assert "result.json, cox, efron: coef/" in error.message
    with without(held, "compare_answers", lambda *_: Nearness()):
        assert exit_code_of([case.judged(held=True)]) == 0


def test_number_in_other_last_bits_holds_unless_bits_are_asked_for(case: Case) -> None:
    def change(result: dict[str, Any]) -> None:
        name = next(k for k, v in coefficient(result).items() if isinstance(v, float))
        coefficient(result)[name] = math.nextafter(coefficient(result)[name], 9.0)

    forge(case, change)
    judged = case.judged(held=True)
    assert judged.near is not None
    assert (judged.near.to_the_bit, judged.near.holds) == (False, True)
    assert case.fault(held=True, exact=True).code == "RESULT_DIFFERS"


def nested(depth: int) -> object:
    made: object = 1.0
    for _ in range(depth):
        made = [made]
    return made


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a number taken out": (lambda r: r["answer"].pop("loglik"), "loglik"),
    "a number put in": (lambda r: r["answer"].update(extra=1.0), "extra"),
    "a whole number": (lambda r: r["answer"].update(n=r["answer"]["n"] + 1), "n is"),
    "a country hidden": (lambda r: r.update(missing_countries=["TW"]), "missing_countries"),
    "another study": (lambda r: r["study"].update(digest="00" * 32), "study is"),
    "said to be inexact": (lambda r: r.update(exact=not r["exact"]), "exact is"),
    "another dataset": (lambda r: r["contributions"][2].update(dataset_digest="00" * 32), "dataset_digest of KR"),
    "another policy": (lambda r: r["contributions"][0].update(policy_digest=""), "policy_digest of CN"),
    "a withheld field hidden": (lambda r: r["contributions"][3].update(withheld=["x: Y"]), "withheld of TW"),
    "a list for a name": (lambda r: r["contributions"][0].update(node=[1]), "of CN is None"),
    "an answer nested without end": (lambda r: r["answer"].update(loglik=nested(500)), "loglik"),
    "not a number": (lambda r: r["answer"].update(n=math.nan), "n is nan"),
    "another run": (lambda r: r.update(run="ab" * 16), "is in no journal"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_result_is_found(case: Case, name: str) -> None:
    change, told = FORGERIES[name]
    forge(case, change)
    assert told in case.fault(held=True).message


def test_result_without_a_country_that_is_said_to_be_in_it_is_found(tmp_path: Path) -> None:
    """The coordinator drops one country's sums and says nothing."""

    region = Region(tmp_path)
    region.approve()
    whole = turns.pool_round
    with without(turns, "pool_round", lambda m, given, *rest: whole(m, [g for g in given if g.country != "TW"], *rest)):
        result = region.run("crosstab, exact")
    assert (result.state, result.rounds) == ("done", 1)
    file = region.result_file(tmp_path / "result.json", result)
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")), file)
    assert judged.replayed.error is not None
    assert judged.replayed.error.code == "RESULT_DIFFERS"


# --------------------------------------------------------------------------- what was given


def test_missing_bundle_is_named(case: Case) -> None:
    judged = case.judged(held=True, without=("TW",))
    assert judged.replayed.outcome is Outcome.INCOMPLETE
    assert "the bundle of TW is not among those given" in judged.replayed.why
    assert exit_code_of([judged]) == CountriesMissing.exit_code


def test_two_bundles_of_one_node_are_refused(case: Case) -> None:
    with pytest.raises(ConfigError) as caught:
        read_bundles([case.export()[0], case.export()[0]])
    assert caught.value.code == "BUNDLE_TWICE"


def test_export_of_one_run_has_that_run_only(case: Case) -> None:
    second = case.region.run("crosstab, exact")
    config = case.site("CN").config
    for chosen, wanted in (({"run": second.run.hex()[:8]}, [second.run]), ({"study": "OTHER"}, [])):
        target = case.out / secrets.token_hex(4)
        export(config, target, **chosen)
        (bundle,) = read_bundles([target])
        assert [entry.record.run for entry in bundle.answers] == wanted


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": "isthmus bundle 9"}', b"[" * 100_000])
def test_something_else_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.json").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_bundles([tmp_path])
    assert caught.value.code == "NO_BUNDLE"


def test_file_that_is_no_archive_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and nothing")
    for path in (tmp_path / "x.zip", tmp_path / "nothing.zip"):
        with pytest.raises(ConfigError) as caught:
            read_bundles([path])
        assert caught.value.code == "NO_BUNDLE"
