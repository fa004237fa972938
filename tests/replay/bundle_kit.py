"""Countries, coordinator and journals in one process: the coordinator's own turns, the nodes' own gate and journal."""

from __future__ import annotations

import contextlib
import copy
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

from made_up_trial import EVENTS, EXAMPLES, TRIAL, by_country, example_spec, trial_rows

from isthmus.v1 import analyst_pb2, journal_pb2, study_pb2, summary_pb2
from isthmus_client.results.fit import fit_of
from isthmus_coordinator.analyses import turns
from isthmus_coordinator.analyses.answers import read_answer
from isthmus_coordinator.analyses.run import Request, Run
from isthmus_coordinator.analyses.submission import Submission
from isthmus_methods import codec, contract as c
from isthmus_methods.contract import leaving
from isthmus_methods.in_process import summarise
from isthmus_methods.registry import find
from isthmus_node.config import NodeConfig
from isthmus_node.egress.gate import Cleared, judge, refuse
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_file import MAGIC, Frame, pack, read_frames
from isthmus_node.egress.journal_read import FILE
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_node.exporting import export
from isthmus_node.homes import Home, find_home
from isthmus_node.public_keys import write_public
from isthmus_node.shelf import Shelf
from isthmus_node.witness.known import RosterFile
from isthmus_trust.documents import DECISION, POLICY, ROSTER, STUDY, TASK, canonical, digest
from isthmus_trust.identity import IdentityKey

COUNTRIES = TRIAL["country"].levels
_TYPES = {
    c.VariableType.NUMERIC: study_pb2.Variable.NUMERIC,
    c.VariableType.INTEGER: study_pb2.Variable.INTEGER,
    c.VariableType.FACTOR: study_pb2.Variable.FACTOR,
}
# (method, example): what a plan of the study is called, and what runs it.
REQUESTS = {f"{name}, {key}": (name, key) for name, examples in EXAMPLES.items() for key in examples}


def _variable(variable: c.Variable) -> study_pb2.Variable:
    message = study_pb2.Variable(
        name=variable.name,
        type=_TYPES[variable.type],
        unit=variable.unit,
        levels=variable.levels,
        roles=[study_pb2.Variable.COUNTRY] if variable.roles else [],
        may_be_missing=variable.may_be_missing,
    )
    for name in ("minimum", "maximum", "grid"):
        if getattr(variable, name) is not None:
            setattr(message, name, getattr(variable, name))
    return message


@dataclass
class Site:
    """A country's keys and home."""

    country: str
    folder: Path
    coordinator: bytes
    identity: IdentityKey = field(default_factory=IdentityKey.generate)
    custodian: IdentityKey = field(default_factory=IdentityKey.generate)

    @property
    def node(self) -> str:
        return self.country.lower()

    @property
    def home(self) -> Home:
        return find_home(self.folder)

    def move_in(self, study: study_pb2.Signed) -> None:
        """Make the home, as joining and the first study do."""
        home = self.home
        home.make()
        self.identity.save(home.identity_key)
        write_public(home.custodian_public, self.custodian.public)
        write_public(home.coordinator_key, self.coordinator)
        Shelf(home.studies).put(study)

    def export(self, target: Path) -> Path:
        """A bundle, as the site's own command writes it."""
        return export(self.config, target).path

    @property
    def config(self) -> NodeConfig:
        key = self.folder / "custodian.key"
        return NodeConfig(self.home, self.node, self.country, None, None, key, "info", None, 1 << 30, 60, {}, {})

    def decide(self, study_digest: bytes, *, approved: bool = True) -> None:
        decision = study_pb2.Decision(
            study_digest=study_digest, node=self.node, approved=approved, decided_at=self.journal_now(), reason="test"
        )
        signed = self.custodian.sign(DECISION, canonical(decision))
        with Journal.open(self.home.journal, self.journal_now) as journal:
            event = "APPROVED" if approved else "DECLINED"
            journal.append(journal_pb2.Record(actor="custodian", event=event, document=canonical(signed)))

    def adopt(self, policy: bytes, number: int, key: IdentityKey | None = None) -> None:
        """Put a policy in force."""
        document = study_pb2.AdoptedPolicy(
            node=self.node, serial=number, digest=policy, adopted_at=self.journal_now(), reason="test"
        )
        signed = canonical((key or self.custodian).sign(POLICY, canonical(document)))
        with Journal.open(self.home.journal, self.journal_now) as journal:
            journal.append(journal_pb2.Record(actor="custodian", event="POLICY", policy_digest=policy, document=signed))

    _clock: int = 1_795_000_000_000_000_000

    def journal_now(self) -> int:
        self._clock += 1_000_000
        return self._clock


# What a node makes of a task besides its sums: None lets it answer as it is.
Meddle = Callable[[str, summary_pb2.Task], str]


class Region:
    """Four countries with rows, one coordinator, one study with every example of every method in its plan."""

    def __init__(self, folder: Path, missing: study_pb2.MissingCountry = study_pb2.FAIL) -> None:
        self.folder = folder
        self.rows = trial_rows(1, 240)
        self.missing = missing
        self.declined: tuple[str, ...] = ()  # countries whose custodian said no
        # false: the policy's floors hold, and a small cell is withheld
        self.open_data = True
        self.coordinator = IdentityKey.generate()
        self.author = IdentityKey.generate()
        self.sites = {country: Site(country, folder / country, self.coordinator.public) for country in COUNTRIES}
        self.policy = Policy.load(DEFAULT_FILE)
        self.study = self._study()
        self.sign_study()
        self.now = 1_795_000_000_000_000_000

    def sign_study(self) -> None:
        self.signed = self.author.sign(STUDY, canonical(self.study))
        self.study_digest = digest(self.signed.body)

    def approve(self) -> None:
        for site in self.sites.values():
            site.move_in(self.signed)
            site.adopt(self.policy.digest, 1)
            site.decide(self.study_digest, approved=site.country not in self.declined)

    def enrol(self, **other: IdentityKey) -> str:
        """Every site keeps the coordinator's roster, with another identity key for some; its fingerprint."""
        nodes = [
            journal_pb2.RosterNode(
                name=site.node,
                country=site.country,
                identity_key=other.get(site.node, site.identity).public,
                custodian_key=site.custodian.public,
            )
            for site in self.sites.values()
        ]
        signed = self.coordinator.sign(ROSTER, canonical(journal_pb2.Roster(coordinator="test", nodes=nodes)))
        for site in self.sites.values():
            RosterFile(site.home.roster, self.coordinator.public).write(signed)
        return digest(signed.body).hex()

    def moved(self, folder: Path) -> Region:
        """The same region over copies of its homes, which a test may spoil."""
        other = copy.copy(self)
        other.folder, other.sites = folder, {}
        for country, site in self.sites.items():
            shutil.copytree(site.folder, folder / country)
            other.sites[country] = replace(site, folder=folder / country)
        return other

    def run(
        self,
        analysis: str,
        answer: Meddle | None = None,
        change: Callable[[turns.Turn], turns.Turn] | None = None,
        *,
        exploratory: bool = False,
    ) -> analyst_pb2.Result:
        """An analysis of the plan from its first round to its result.

        Parameters
        ----------
        answer
            What a country does with a task: "give", "refuse", "stay away", or "too late" (journaled, not taken).
        change
            What a coordinator that lies makes of each turn.
        """
        with patch("isthmus_node.egress.journal_file.os.fsync"):
            return self._run(analysis, answer or (lambda *_: "give"), change or (lambda turn: turn), exploratory)

    def _run(
        self, analysis: str, answer: Meddle, change: Callable[[turns.Turn], turns.Turn], exploratory: bool
    ) -> analyst_pb2.Result:
        planned = next(a for a in self.study.plan if a.name == analysis)
        spec = codec.spec_from_message(planned.spec, self.study)
        method = find(spec.method)
        request = Request(
            run=secrets.token_bytes(16),
            study_digest=self.study_digest,
            study=self.study,
            analysis="" if exploratory else analysis,
            spec_message=planned.spec,
            spec=spec,
            method=method,
            purpose=planned.purpose,
            missing_country=self.missing,
            deadline_seconds=600,
            requested_by="test",
            submitted_at=self.now,
        )
        blocks = by_country(self.rows, spec, method)
        waiting = Run(request, tuple(s.node for s in self.sites.values()))
        gone = {country.lower(): turns.not_approved(country, country.lower()) for country in self.declined}
        if gone:
            waiting = turns.leave_out(waiting, gone, "FAILED", self.sign, self.now).run
        run = change(turns.begin(waiting, self.sign, self.now)).run
        while not run.final:
            assert run.task is not None
            task = summary_pb2.Task.FromString(run.task.signed.body)
            answers = []
            for site in self.sites.values():
                if site.node not in run.participants or (does := answer(site.country, task)) == "stay away":
                    continue
                payload = self._answer(site, request, run.task.signed, task, blocks[site.country], does == "refuse")
                if does == "too late":
                    continue
                with contextlib.closing(Submission()) as given:
                    given.add(payload)
                    answers.append(read_answer(request, site.node, run.task.digest, given, self.now))
            turn = turns.take_in(run, answers, self.sign, self.now)
            if not turn.run.final and turn.run.task is run.task:
                turn = turns.out_of_time(turn.run, self.sign, self.now)
            run = change(turn).run
        return analyst_pb2.Result.FromString(run.result or b"")

    def _answer(
        self,
        site: Site,
        request: Request,
        signed: study_pb2.Signed,
        task: summary_pb2.Task,
        blocks: Sequence[c.Block],
        refuses: bool,
    ) -> bytes:
        header = Header(
            task=digest(signed.body),
            node=site.node,
            country=site.country,
            study=self.study.name,
            study_digest=task.study_digest,
            analysis=task.analysis,
            run=task.run,
            round=task.round,
            dataset_digest=digest(site.country.encode()),
            software="0.1.0",
        )
        if refuses:
            outbound = encode_refusal(refuse(ValueError("no"), task.purpose, self.policy), header, site.identity)
        else:
            state = codec.state_from_messages(task.state)
            summary = summarise(request.method, blocks, request.spec, state)
            verdict = judge(
                summary, leaving(request.method, request.spec.options), request.method.notes, task.purpose,
                self.policy, self.open_data, lambda _: None,
            )  # fmt: skip
            assert isinstance(verdict, Cleared), verdict
            outbound = encode(verdict, header, site.identity)
        with Journal.open(site.home.journal, site.journal_now) as journal:
            return journal.release(outbound, canonical(signed)).payload

    def sign(self, body: bytes) -> study_pb2.Signed:
        return self.coordinator.sign(TASK, body)

    def export(self, folder: Path, without: Sequence[str] = ()) -> list[Path]:
        """A bundle of each country."""
        return [site.export(folder / site.node) for site in self.sites.values() if site.country not in without]

    def result_file(self, path: Path, *results: analyst_pb2.Result) -> Path:
        document = {"schema_version": 1, "results": [fit_of(r, self.study).as_dict() for r in results]}
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def _study(self) -> study_pb2.Study:
        return study_pb2.Study(
            name="TRIAL",
            version=1,
            title="A made-up trial",
            datasets=[
                study_pb2.Dataset(name=name, subject=subject, variables=[_variable(v) for v in variables.values()])
                for name, subject, variables in (("trial", "", TRIAL), ("events", "", EVENTS))
            ],
            participants=[
                study_pb2.Participant(
                    node=site.node,
                    country=site.country,
                    identity_key=site.identity.public,
                    custodian_key=site.custodian.public,
                )
                for site in self.sites.values()
            ],
            plan=[
                study_pb2.Analysis(
                    name=title,
                    spec=codec.spec_to_message(_bound(name, key)),
                    purpose=study_pb2.TRIAL_ANALYSIS,
                    missing_country=self.missing,
                )
                for title, (name, key) in REQUESTS.items()
            ],
            by_country=True,
        )


def _bound(name: str, key: str) -> c.Spec:
    spec = example_spec(name, EXAMPLES[name][key])
    return replace(spec, version=find(name).version)


# --------------------------------------------------------------------------- a site that rewrites its journal

# A record and its payload as they should stand; None takes the entry out.
Rewrite = Callable[[journal_pb2.Record, bytes], "tuple[journal_pb2.Record, bytes] | None"]


def rewrite(site: Site, change: Rewrite) -> None:
    """A site's journal written again, every number and hash made to fit: its chain, and its own seal, show nothing."""
    previous, number, entries = bytes(32), 0, [MAGIC]
    for record, payload in entries_of(site):
        changed = change(record, payload)
        if changed is None:
            continue
        record, payload = changed
        number += 1
        record.sequence, record.previous = number, previous
        record.payload_bytes, record.payload_digest = len(payload), digest(payload) if payload else b""
        body = canonical(record)
        previous = digest(body)
        entries.append(pack(body, payload))
    (site.home.journal / FILE).write_bytes(b"".join(entries))


def entries_of(site: Site) -> Iterator[tuple[journal_pb2.Record, bytes]]:
    for frame in read_frames(site.home.journal / FILE):
        assert isinstance(frame, Frame)
        yield journal_pb2.Record.FromString(frame.record), frame.payload


def summary_of(payload: bytes) -> summary_pb2.Summary:
    return summary_pb2.Summary.FromString(study_pb2.Signed.FromString(payload).body)
