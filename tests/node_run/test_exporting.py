"""A journal as a bundle, and the verifier that needs no isthmus: it passes what is whole and names what is not."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from isthmus.errors import ConfigError, UsageError
from isthmus.untrusted import csv_cell
from isthmus.v1 import journal_pb2, summary_pb2
from isthmus.v1.study_pb2 import TRIAL_ANALYSIS
from isthmus_node import config as node_config
from isthmus_node.custodian.adoption import record_of
from isthmus_node.custodian.decisions import REQUEST, request_digest
from isthmus_node.egress.journal_file import MAGIC, Frame, read_frames
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Accountant, Persons, spent_in
from isthmus_node.exporting import export
from isthmus_node.public_keys import write_public
from isthmus_node.witness.known import RosterFile
from isthmus_node.witness.own import Checkpoints
from isthmus_trust import verifier
from isthmus_trust.checkpoints import cosign, sign_checkpoint, to_line
from isthmus_trust.documents import BUNDLE, ROSTER, canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.verifier import Failed, told_by, verify

FORMULA = '=HYPERLINK("http://x")\n"quoted", and on'


class Exported:
    """A site's home with a journal of every kind of record, two witnesses, and the bundle of it."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site, self.home = site, site.home
        self.config = _joined(site)
        self.be = IdentityKey.generate()
        roster = journal_pb2.Roster(
            coordinator="test",
            nodes=[
                journal_pb2.RosterNode(name="be", country="BE", identity_key=self.be.public, custodian_key=bytes(32)),
                journal_pb2.RosterNode(name="nl", country="NL", identity_key=site.identity.public),
            ],
        )
        RosterFile(self.home.roster, site.coordinator.public).write(site.coordinator.sign(ROSTER, canonical(roster)))
        self.own = Checkpoints(self.home.checkpoints, "nl", site.identity.public)
        self._work()
        self.folder = folder / "bundle"
        self.made = export(self.config, self.folder)
        site.close()

    def _work(self) -> None:
        site = self.site
        site.open()
        site.noticing.notice()
        site.attach()
        site.decide(site.announce())
        site.journal.append(journal_pb2.Record(actor="custodian", event="DECLINED", study="=1+1", words=FORMULA))
        site.ask(site.task())
        self._pay()
        self.witness(("be",))
        site.ask(site.task(run=b"another run 16 b", round=2))  # refused: no round before it
        planned = site.study.plan[0]
        other = site.task(analysis="", run=b"outside the plan", spec=planned.spec)
        site.ask(other)
        site.decide(request_digest(summary_pb2.Task.FromString(other.body)), context=REQUEST)
        self.witness(("coordinator", "be"))

    def _pay(self) -> None:
        """What noise in a model costs, as a training writes it down."""
        limits = Policy.read("[purpose.trial_analysis]\nupdate_norm = 1.0\nupdate_noise = 2.0").limits[TRIAL_ANALYSIS]
        persons = Persons("ADTTE", "USUBJID", lambda: ["S1", "S2"], bytes(32))
        accountant = Accountant(self.home.auditor, self.site.journal)
        accountant.debit(persons, limits, journal_pb2.Record(study="MODELS", task=bytes(32), run=b"r" * 16))

    def witness(self, names: tuple[str, ...]) -> None:
        size, root = self.site.journal.head()
        kept = self.own.make(self.site.identity, size, root, 1_700_000_000_000_000_000 + size)
        for name in names:
            key = self.be if name == "be" else self.site.coordinator
            assert self.own.add(digest(kept.checkpoint.body), cosign(key, name, kept.checkpoint, 0, 1))


def _joined(site: Any) -> node_config.NodeConfig:
    home = site.home
    home.settings.write_text('name = "nl"\ncountry = "NL"\ncoordinator = "127.0.0.1:1"\n')
    site.identity.save(home.identity_key)
    write_public(home.custodian_public, site.custodian.public)
    write_public(home.coordinator_key, site.coordinator.public)
    return node_config.load(home, env={})


_kept: list[Exported] = []


@pytest.fixture
def exported(make_site: Callable[..., Any], lines: Any, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Made once: every test works on a copy of the bundle."""
    if not _kept:
        folder = tmp_path_factory.mktemp("exported")
        _kept.append(Exported(make_site(folder, lines.log), folder))
    return _kept[0]


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported.folder, tmp_path / "copy"))


def failure(path: Path, **told: Any) -> Failed:
    with pytest.raises(Failed) as caught:
        verify(path, told_by(told.get("against", []), told.get("key", ""), told.get("roster", "")))
    return caught.value


def resign(exported: Exported, folder: Path, **changes: Any) -> None:
    """What a site can do that has its own key: put a new cover over what is in the folder."""
    cover = json.loads((folder / "bundle.json").read_text())
    covered = [p for p in folder.rglob("*") if p.is_file() and p.name not in ("bundle.json", "bundle.sig")]
    cover["files"] = {
        p.relative_to(folder).as_posix(): verifier.hashlib.sha256(p.read_bytes()).hexdigest() for p in covered
    }
    body = json.dumps({**cover, **changes}).encode()
    (folder / "bundle.json").write_bytes(body)
    (folder / "bundle.sig").write_bytes(canonical(exported.site.identity.sign(BUNDLE, body)))


# --------------------------------------------------------------------------- what is in it


def test_bundle_holds_the_journal_byte_for_byte_and_every_document(exported: Exported) -> None:
    folder = exported.folder
    assert (folder / "journal.bin").read_bytes() == (exported.home.journal / "journal").read_bytes()
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    study = verifier.hashlib.sha256(canonical(exported.site.study)).hexdigest()
    assert {f"studies/{study}.pb", f"approvals/{study}.study.pb", "roster.json", "verifier.py"} <= names
    policies = {one.digest.hex(): one.text for one in exported.site.adoptions.everything()}
    for name, text in policies.items():
        assert (folder / f"policies/{name}.toml").read_bytes() == text
        assert verifier.hashlib.sha256((folder / f"policies/{name}.json").read_bytes()).hexdigest() == name
    # only what no plan has: the one request outside it
    assert len([name for name in names if name.startswith("tasks/")]) == 1
    cover = json.loads((folder / "bundle.json").read_text())
    assert (cover["format"], cover["node"], cover["country"]) == (verifier.FORMAT, "nl", "NL")
    assert cover["tree_size"] == exported.made.records == len((folder / "records.jsonl").read_text().splitlines())
    assert set(cover["files"]) == names - {"bundle.json", "bundle.sig"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {0o600, 0o700}


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_policy_that_is_not_the_one_in_force_is_named(exported: Exported, copy: Path, suffix: str) -> None:
    (path,) = (copy / "policies").glob(f"*.{suffix}")
    path.write_bytes(path.read_bytes().replace(b"5", b"4"))
    resign(exported, copy)
    failed = failure(copy)
    assert failed.where == f"policies/{path.name}"
    assert "not the policy" in failed.what


class TakenUpAgain(Exported):
    """A node that was made to take up an older policy."""

    def _work(self) -> None:
        site = self.site
        site.open()
        (first,) = site.adoptions.everything()
        site.adopt("[purpose.trial_analysis]\ncell_persons = 20\n")
        site.policy()
        site.journal.append(record_of(first))


def test_older_policy_taken_up_again_is_named(make_site: Callable[..., Any], lines: Any, tmp_path: Path) -> None:
    failed = failure(TakenUpAgain(make_site(tmp_path, lines.log), tmp_path).folder)
    assert failed.where == "record 3"
    assert "policy number 1 came in force after number 2" in failed.what


def test_bundle_holds_no_private_key(exported: Exported) -> None:
    secret = [exported.site.identity, exported.site.custodian]
    raw = [key._private.private_bytes_raw() for key in secret]
    for path in exported.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"PRIVATE" not in content, path
        assert not any(key in content or key.hex().encode() in content for key in raw), path


def test_table_gives_a_spreadsheet_no_formula(exported: Exported) -> None:
    with (exported.folder / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = next(row for row in rows if row["event"] == "DECLINED")
    assert (found["study"], found["words"]) == ("'=1+1", "'" + FORMULA.replace("\n", "\\u000a"))
    assert not any(cell[:1] in "=+-@\t\r" for row in rows for cell in row.values() if cell)


@given(st.text() | st.sampled_from(["=1", " +1", "-1", "-1e5", "\r=1", "＝1", "\U000e0001", "\ud800"]))
def test_verifier_reads_the_table_as_it_is_written(text: str) -> None:
    assert verifier.row_of({"words": text, "document": "x", "payload": "y"}) == [csv_cell(text)]


def test_records_as_json_hold_the_bytes_that_left(exported: Exported) -> None:
    lines = [json.loads(line) for line in (exported.folder / "records.jsonl").read_text().splitlines()]
    released = next(line for line in lines if line["event"] == "RELEASED")
    assert base64.b64decode(released["payload"]) in exported.site.wire.submitted


def test_selection_writes_out_one_run_and_keeps_the_journal_whole(exported: Exported, tmp_path: Path) -> None:
    run = b"another run 16 b".hex()
    made = export(exported.config, tmp_path / "one.zip", run=run[:10])
    assert (made.records, made.chosen) == (exported.made.records, 1)
    assert verify(tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert [json.loads(line)["run"] for line in archive.read("records.jsonl").splitlines()] == [run]
        assert archive.read("journal.bin") == (exported.folder / "journal.bin").read_bytes()
    assert stat.S_IMODE((tmp_path / "one.zip").stat().st_mode) == 0o600
    assert export(exported.config, tmp_path / "study", study="TEST").chosen == 5
    assert verify(tmp_path / "study")
    assert export(exported.config, tmp_path / "none", study="no such study").chosen == 0
    assert verify(tmp_path / "none")


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        export(exported.config, exported.folder)
    assert caught.value.code == "FILE_EXISTS"
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as failed:
        export(exported.config, tmp_path / "file" / "bundle")
    assert failed.value.code == "BUNDLE_NOT_WRITTEN"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --------------------------------------------------------------------------- the verifier


def test_verifier_knows_every_field_of_a_record() -> None:
    kinds = {number: name for number, (name, _) in verifier.RECORD.items()}
    assert kinds == {found.number: found.name for found in journal_pb2.Record.DESCRIPTOR.fields}


def test_whole_bundle_passes_and_says_who_saw_how_much(exported: Exported) -> None:
    said = "\n".join(verify(exported.folder))
    size = exported.made.records
    assert f"{size} records, 3 answers that left; root {exported.made.root.hex()}" in said
    for name, key in (("be", exported.be), ("the coordinator", exported.site.coordinator)):
        assert f"seen by {name} (key {verifier.fingerprint(key.public)[:19]}): {size} of {size} records" in said
    assert exported.made.roster in said


def test_verifier_of_the_bundle_runs_without_anything_installed(exported: Exported, tmp_path: Path) -> None:
    """Isolated, without site-packages, in an empty folder and environment: only the standard library is there."""
    command = [sys.executable, "-I", "-S", str(exported.folder / "verifier.py")]
    done = subprocess.run([*command, str(exported.folder)], capture_output=True, text=True, cwd=tmp_path, env={})
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "PASS", "")
    broken = Path(shutil.copytree(exported.folder, tmp_path / "broken"))
    journal = bytearray((broken / "journal.bin").read_bytes())
    journal[-1] ^= 1
    (broken / "journal.bin").write_bytes(journal)
    done = subprocess.run([*command, str(broken)], capture_output=True, text=True, cwd=tmp_path, env={})
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"FAIL record {exported.made.records}: ")
    done = subprocess.run([*command, str(tmp_path / "nothing")], capture_output=True, text=True, cwd=tmp_path, env={})
    assert (done.returncode, done.stderr) == (1, "")


def frames_of(folder: Path) -> list[Frame]:
    return [frame for frame in read_frames(folder / "journal.bin") if isinstance(frame, Frame)]


def lines_of(content: bytes, name: str) -> object:
    """What a program reads in a file: of lines of JSON and of a table what they say, not how their lines end."""
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in content.splitlines() if line]
    if name.endswith(".csv"):
        return list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))
    return content


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_changed_byte_is_found_and_the_record_named(exported: Exported, data: st.DataObject) -> None:
    names = sorted(p.relative_to(exported.folder).as_posix() for p in exported.folder.rglob("*") if p.is_file())
    # half of them in the journal
    name = data.draw(st.one_of(st.just("journal.bin"), st.sampled_from(names)), label="file")
    path = exported.folder / name
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1), label="at")
    flip = data.draw(st.integers(1, 255), label="flip")
    try:
        path.write_bytes(before[:at] + bytes([before[at] ^ flip]) + before[at + 1 :])
        failed = failure(exported.folder)
    finally:
        path.write_bytes(before)
    if name == "journal.bin" and at >= len(MAGIC):
        number = next(frame.number for frame in frames_of(exported.folder) if frame.start <= at < frame.end)
        assert failed.where == f"record {number}"
    elif name in ("records.jsonl", "records.csv"):
        assert failed.where.startswith("record")
    elif name in ("bundle.json", "bundle.sig"):
        assert failed.where.startswith("bundle.")
    else:
        assert failed.where.startswith(name)


def cut(folder: Path, records: int) -> None:
    """Leave so many records."""
    journal = (folder / "journal.bin").read_bytes()
    (folder / "journal.bin").write_bytes(journal[: frames_of(folder)[records - 1].end])


def rewrite(exported: Exported, folder: Path, records: int, **cover: Any) -> None:
    """A site that rewrites its own journal: so many records are left, and everything of its own is signed anew."""
    cut(folder, records)
    roots = verifier.Roots()
    head = b""
    with (folder / "journal.bin").open("rb") as journal:
        for entry in verifier.read_journal(journal):
            roots.add(entry.written)
            head = verifier.hashlib.sha256(entry.written).digest()
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:records]))
    with (folder / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[: records + 1]
    with (folder / "records.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    shutil.rmtree(folder / "tasks", ignore_errors=True)
    resign(exported, folder, tree_size=records, root=roots.root().hex(), head=head.hex(), **cover)


def test_cut_journal_is_found_by_the_nodes_own_checkpoint(exported: Exported, copy: Path) -> None:
    rewrite(exported, copy, exported.made.records - 2)
    failed = failure(copy)
    assert failed.where.startswith("checkpoints.jsonl line 2")
    assert "cut back" in failed.what


def test_journal_cut_with_its_checkpoints_is_found_by_what_a_witness_kept(
    exported: Exported, copy: Path, tmp_path: Path
) -> None:
    """Everything the site holds was rewritten: alone it looks whole, and the witness's file shows what is missing."""
    kept = tmp_path / "from be"
    kept.write_text(to_line(exported.own.get(exported.made.records)) + "\n")
    (copy / "checkpoints.jsonl").write_bytes(b"")
    rewrite(exported, copy, exported.made.records - 2)
    assert any("no witness" in line for line in verify(copy))
    failed = failure(copy, against=[str(kept)])
    assert failed.where == "journal.bin"
    assert "cut back" in failed.what
    assert any("from be" in line for line in verify(exported.folder, told_by([str(kept)], "", "")))


def test_checkpoint_of_a_replaced_journal_is_found(exported: Exported, copy: Path, tmp_path: Path) -> None:
    size = exported.made.records
    kept = tmp_path / "kept"
    other = journal_pb2.Witnessed(checkpoint=sign_checkpoint(exported.site.identity, "nl", size, bytes(32), 1))
    kept.write_text(to_line(other))
    assert "replaced" in failure(copy, against=[str(kept)]).what
    (copy / "checkpoints.jsonl").write_text(to_line(other) + "\n")
    resign(exported, copy)
    assert failure(copy).where == "checkpoints.jsonl line 1"


def test_fingerprints_from_elsewhere_are_held_against_the_bundle(exported: Exported) -> None:
    key = verifier.fingerprint(exported.site.identity.public)
    assert verify(exported.folder, told_by([], key.upper(), exported.made.roster))
    assert failure(exported.folder, key="0" * 64).where == "bundle.json"
    assert failure(exported.folder, roster="0" * 64).where == "roster.pb"


def test_cosignature_of_a_stranger_does_not_count(exported: Exported, copy: Path) -> None:
    kept = exported.own.get(exported.made.records)

    def put(signer: IdentityKey) -> None:
        forged = journal_pb2.Witnessed(checkpoint=kept.checkpoint)
        forged.cosignatures.append(cosign(signer, "be", kept.checkpoint, 0, 1))
        (copy / "checkpoints.jsonl").write_text(to_line(forged) + "\n")
        resign(exported, copy)

    put(IdentityKey.generate())
    said = "\n".join(verify(copy))
    assert "seen by nobody known, and not counted" in said
    assert "no witness: that the journal was not replaced as a whole is not shown" in said
    put(exported.site.identity)
    assert failure(copy).where == "checkpoints.jsonl line 1"


def test_file_more_or_less_is_named(exported: Exported, copy: Path) -> None:
    (copy / "more.txt").write_text("")
    assert failure(copy).where == "more.txt"
    (copy / "more.txt").unlink()
    (copy / "roster.json").unlink()
    assert failure(copy).where == "roster.json"
    (copy / "journal.bin").unlink()
    assert failure(copy).where == "journal.bin"


def test_documents_signed_for_anew_by_the_site_are_still_held_against_the_journal(
    exported: Exported, copy: Path
) -> None:
    """The site's own key cannot sign for the coordinator, the custodian or an author."""
    (study,) = (copy / "studies").iterdir()
    approval = next((copy / "approvals").glob("*.study.pb"))
    (task,) = (copy / "tasks").iterdir()
    for path, other in ((study, task), (task, approval), (approval, task), (copy / "roster.pb", task)):
        before = path.read_bytes()
        path.write_bytes(other.read_bytes())
        resign(exported, copy)
        assert failure(copy).where == path.relative_to(copy).as_posix()
        path.write_bytes(before)
    resign(exported, copy)
    assert verify(copy)


def test_zip_with_a_file_twice_is_no_bundle(exported: Exported, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("bundle.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("bundle.json", "{}")
    assert "twice" in failure(tmp_path / "twice.zip").what


@pytest.mark.parametrize("body", [b"", b"\xff" * 40, b"\x0a\xff", b"\x0b", b"\x08", b"\x0d\x01"])
def test_bytes_that_are_no_message_are_a_failure_not_a_crash(body: bytes, tmp_path: Path) -> None:
    if body:
        with pytest.raises(Failed):
            verifier.fields_of(body, "record 1")
    (tmp_path / "bundle.json").write_bytes(body)
    (tmp_path / "bundle.sig").write_bytes(body)
    failure(tmp_path)


def test_names_give_the_terminal_no_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verifier.main([str(tmp_path / "a\x1b[31mb")]) == 1
    assert "\x1b" not in capsys.readouterr().out


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bundle_that_a_site_made_up_is_judged_and_never_makes_the_verifier_fall_over(
    exported: Exported, data: st.DataObject
) -> None:
    """Any bytes in any file, all of it signed for with the site's key: a verdict, not an exception."""
    names = sorted(p.relative_to(exported.folder).as_posix() for p in exported.folder.rglob("*") if p.is_file())
    name = data.draw(st.sampled_from([n for n in names if not n.startswith("bundle.")]), label="file")
    path, covers = exported.folder / name, [exported.folder / f for f in ("bundle.json", "bundle.sig")]
    before = {one: one.read_bytes() for one in (path, *covers)}
    content = before[path]
    cut = data.draw(st.integers(0, len(content)), label="cut")
    extra = data.draw(st.binary(max_size=60), label="extra")
    try:
        path.write_bytes(content[:cut] + extra + content[cut + data.draw(st.integers(0, 40), label="gone") :])
        resign(exported, exported.folder)
        # files that only people read are as the site says they are
        if verifier.main([str(exported.folder)]) == 0:
            unread = name in ("verifier.py", "roster.json") or name.startswith("policies/")
            assert unread or lines_of(path.read_bytes(), name) == lines_of(content, name)
    finally:
        for one, kept in before.items():
            one.write_bytes(kept)


@pytest.mark.parametrize(
    "changes",
    [
        {"selection": []},
        {"selection": {"run": None, "study": 5}},
        {"format": []},
        {"identity_key": 5},
        {"identity_key": ""},
        {"coordinator_key": "00"},
        {"tree_size": "many"},
        {"files": 5},
        {"files": {"journal.bin": None}},
        {"node": {}},
    ],
    ids=str,
)
def test_cover_that_says_anything_is_a_failure_not_a_crash(
    exported: Exported, copy: Path, changes: dict[str, Any]
) -> None:
    resign(exported, copy)
    cover = {**json.loads((copy / "bundle.json").read_text()), **changes}
    body = json.dumps(cover).encode()
    (copy / "bundle.json").write_bytes(body)
    (copy / "bundle.sig").write_bytes(canonical(exported.site.identity.sign(BUNDLE, body)))
    failure(copy)


def test_what_noise_spent_is_in_the_bundle_in_words_and_as_it_was_written_down(exported: Exported) -> None:
    records = [json.loads(line) for line in (exported.folder / "records.jsonl").read_text().splitlines()]
    (debit,) = [record for record in records if record["event"] == "DEBITED"]
    assert "rho 0.5" in debit["words"]
    assert spent_in(journal_pb2.Record(privacy=bytes.fromhex(debit["privacy"]))).rho_total == 0.5
