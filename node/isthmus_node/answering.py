"""From an order to the bytes that may leave: rows, method, gate, wire. Knows no network."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from isthmus.errors import ConfigError, IsthmusError, Refused
from isthmus.recent import RecentMap
from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus.version import __version__
from isthmus_methods import codec
from isthmus_methods.contract import Array, Method, Procedure, Spec, Summary, leaving
from isthmus_methods.registry import METHODS, PROCEDURES, find_procedure
from isthmus_methods.validate import check_spec
from isthmus_node.admission import Order, Ourselves
from isthmus_node.catalogue import Datasets
from isthmus_node.compute.ages import Ages, told_of
from isthmus_node.compute.answer import Cache, answer
from isthmus_node.compute.cohorts import Place, cohorts_of, listed_places
from isthmus_node.compute.normal import request_name
from isthmus_node.compute.request import check_request
from isthmus_node.custodian.contributors import Behind
from isthmus_node.custodian.reruns import Reruns
from isthmus_node.custodian.stating import stated_limits
from isthmus_node.egress.auditor import Audit, Auditor
from isthmus_node.egress.gate import Refusal, first_look, judge, refuse
from isthmus_node.egress.pace import Pace
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Accountant, Debit, Persons
from isthmus_node.egress.thresholds import KEYS, Limits
from isthmus_node.egress.update_rules import Trained
from isthmus_node.egress.wire import Header, Outbound, encode, encode_refusal
from isthmus_node.shelf import Shelved
from isthmus_node.sources.table import Table
from isthmus_node.training.answer import answer_message
from isthmus_node.training.runs import Runs
from isthmus_trust.identity import IdentityKey

# Runs whose dataset snapshot is remembered.
_RUNS_KEPT = 256


class Answering:
    """Answers orders over this site's datasets.

    Parameters
    ----------
    ourselves, identity
        Who answers, and the key that signs.
    datasets
        The site's rows.
    policy
        Gives the policy in force.
    auditor
        Holds each release against all those before it.
    reruns
        With which countries each analysis was answered.
    runs
        Trainings at work.
    accountant
        Writes down what noise spends.
    """

    def __init__(
        self,
        ourselves: Ourselves,
        identity: IdentityKey,
        datasets: Datasets,
        policy: Callable[[], Policy],
        auditor: Auditor,
        reruns: Reruns,
        runs: Runs,
        accountant: Accountant,
    ) -> None:
        self._runs = runs
        self._accountant = accountant
        self._ourselves = ourselves
        self._identity = identity
        self._datasets = datasets
        self._policy = policy
        self._auditor = auditor
        self._reruns = reruns
        self._cache = Cache()
        self._ages = Ages()
        self._stated: tuple[bytes, study_pb2.Signed | None] = (b"", None)
        self._told_of: tuple[bytes, tuple[str, ...]] = (b"", ())
        self._behind: tuple[bytes, Callable[[], Behind]] | None = None
        self._asked: tuple[Spec, str, bytes, bytes] | None = None
        self._named: tuple[Spec, bytes, bool] | None = None
        self._listed: tuple[bytes, frozenset[Place]] = (b"", frozenset())
        self._snapshots: RecentMap[bytes, bytes] = RecentMap(_RUNS_KEPT)

    def answer(self, order: Order, state: dict[str, Array] | None = None) -> Outbound:
        """The country's answer to one round, judged and signed; a refusal by the gate is an answer too.

        Parameters
        ----------
        state
            What came beside the task; None: what is in it. A training leaves nothing in it.

        Raises
        ------
        Exception
            Whatever goes wrong on the way to the gate; the caller makes a refusal of it with `refusal`.
        """
        task = order.task
        table, open_data = self._load(order.dataset, task)
        events = None
        if order.events is not None:
            events, both_open = self._load(order.events, task)
            # what comes from two datasets is as open as the less open of them
            open_data = open_data and both_open
        policy, trained = self._policy().towards(task.purpose, order.recipients), None
        top = self._age_top(task, policy, open_data)
        if top:
            table = self._ages.up_to(table, top)
            events = None if events is None else self._ages.up_to(events, top)
        snapshot = table.digest
        if events is not None:
            snapshot = hashlib.sha256(table.named_digest() + events.named_digest()).digest()
        self._check_snapshot(task, snapshot)
        if not open_data:
            self._check_contributors(order)
            if not order.shelved.study.by_country:
                self._reruns.check(
                    self._analysis(order, table, events, snapshot), task, order.shelved.study, self._policy().reruns
                )
        # a request that cannot be computed is told so, whatever its cohort
        self._cache.prepared(order.spec, table, order.method, events)
        audit = self._audit(order, table, events, snapshot)
        header = self._header(order.digest, task, order.shelved, snapshot)
        header = replace(header, ages_up_to=told_of(order.spec, top) if top else 0.0)
        if not open_data:
            if not task.analysis and self._name(order)[1]:
                policy = policy.without_zeros()
            refused = first_look(task.purpose, policy, audit.first_violation)
            if refused is not None:
                return encode_refusal(refused, header, self._identity)
        state = codec.state_from_messages(task.state) if state is None else state
        if isinstance(order.method, Method):
            summary = answer(order.spec, table, state, self._cache, order.method, events)
        else:
            limits = None if open_data else policy.limits.get(task.purpose)
            summary, trained = self._train(order, table, state, limits, policy.outputs == "ask")
        leaves = leaving(order.method, order.spec.options)
        outcome = judge(
            summary,
            leaves,
            order.method.notes,
            task.purpose,
            policy,
            open_data,
            audit.violation,
            trained,
            late=task.round > 1,
            sealed=task.sealed_attempt > 0,
        )
        # the gate has a copy of its own, and a model is large
        del summary
        if isinstance(outcome, Refusal):
            return encode_refusal(outcome, header, self._identity)
        if not open_data:
            self._behind = order.digest, partial(self._persons, order, table, events)
        return encode(outcome, replace(header, reference=policy.permits.reference), self._identity)

    def behind(self, task: bytes) -> Behind | None:
        """The persons behind the answer that was made last; None of another, of open data, of a refusal."""
        return self._behind[1]() if self._behind is not None and self._behind[0] == task else None

    def _persons(self, order: Order, table: Table, events: Table | None) -> Behind:
        used = self._cache.prepared(order.spec, table, order.method, events).used
        present = np.zeros(table.persons, dtype=np.bool_)
        present[table.subject[used]] = True
        countries = tuple(order.shelved.study.recipient_countries)
        return Behind(table.named_digest(), table.persons_by_name, np.flatnonzero(present), countries)

    def _analysis(self, order: Order, table: Table, events: Table | None, snapshot: bytes) -> bytes:
        """Equal for requests of one study over the same persons of a snapshot, however their filters are written."""
        spec, study = order.spec, order.shelved.study.name
        kept = self._asked
        if kept is None or kept[0] is not spec or kept[1:3] != (study, snapshot):
            selected = self._cache.prepared(spec, table, order.method, events).selected
            asked = request_name(replace(spec, where=None)) + snapshot + np.packbits(selected).tobytes()
            kept = self._asked = spec, study, snapshot, hashlib.sha256(study.encode() + b"\0" + asked).digest()
        return kept[3]

    def _train(
        self, order: Order, table: Table, state: dict[str, Array], limits: Limits | None, is_seen_first: bool
    ) -> tuple[Summary, Trained]:
        prepared = self._cache.prepared(order.spec, table, order.method)
        run = self._runs.run(order.task, order.spec, table, prepared)
        persons = Persons(order.dataset.name, order.spec.subject, table.persons_by_name, table.named_digest())

        def pay() -> Debit:
            if limits is None:
                raise ConfigError("NOTHING_TO_PAY", "without thresholds no noise is drawn", "report it")
            return self._accountant.debit(persons, limits, self._about(order, table.digest))

        if run.kept is not None and run.kept[0] == order.digest:
            return run.kept[1:]
        answered = answer_message(run, order.task, state, limits, pay)
        run.kept = (order.digest, *answered) if is_seen_first else None
        return answered

    def _audit(self, order: Order, table: Table, events: Table | None, snapshot: bytes) -> Audit:
        spec, task = order.spec, order.task
        return Audit(
            self._auditor,
            self._name(order)[0] + snapshot,
            lambda: cohorts_of(
                spec,
                table,
                order.method,
                self._cache.prepared(spec, table, order.method, events),
                events,
                None if spec.training is None else self._runs.held_rows(spec, table),
                None if task.analysis else self._places_of_plan(order.shelved),
            ),
            bool(task.analysis),
            self._about(order, snapshot),
        )

    def _about(self, order: Order, snapshot: bytes) -> journal_pb2.Record:
        """What an order is about, and the rows that it was answered from, for the journal."""
        record = order.about()
        record.dataset_digest = snapshot
        return record

    def _name(self, order: Order) -> tuple[bytes, bool]:
        """The request's name, and whether it cuts where the approved plan does not."""
        if self._named is None or self._named[0] is not order.spec:
            asked = listed_places([(order.spec, order.method)])
            cuts = not asked <= self._places_of_plan(order.shelved)
            self._named = order.spec, request_name(order.spec), cuts
        return self._named[1:]

    def _places_of_plan(self, shelved: Shelved) -> frozenset[Place]:
        """Where the analyses of an approved plan cut; once a study."""
        digest = shelved.digest
        if self._listed[0] != digest:
            asked: list[tuple[Spec, Procedure]] = []
            for analysis in shelved.study.plan:
                # an analysis that this installation cannot read lists nothing
                with contextlib.suppress(IsthmusError):
                    method = find_procedure(analysis.spec.method, analysis.spec.method_version)
                    spec = codec.spec_from_message(analysis.spec, shelved.study)
                    check_spec(spec, method)
                    check_request(spec, method)
                    asked.append((spec, method))
            self._listed = digest, listed_places(asked)
        return self._listed[1]

    def refusal(self, digest: bytes, task: summary_pb2.Task, shelved: Shelved | None, error: BaseException) -> Outbound:
        """The refusal for an error: fixed code, rule and remedy, nothing of what the rows said."""
        try:
            policy: Policy | None = self._policy()
        except IsthmusError:
            policy = None
        header = self._header(digest, task, shelved, b"")
        return encode_refusal(refuse(error, task.purpose, policy, self._is_open(task)), header, self._identity)

    def limits(self) -> tuple[bytes, study_pb2.Signed | None]:
        """Digest of the policy in force, and what it asks for, signed, for the coordinator; empty without one."""
        try:
            policy = self._policy()
        except IsthmusError:
            return b"", None
        open_datasets = tuple(r.name for r in self._datasets.list() if r.open_data)
        if self._told_of != (policy.digest, open_datasets):
            stated = stated_limits(policy, self._ourselves.node, self._identity, open_datasets)
            self._told_of, self._stated = (policy.digest, open_datasets), (policy.digest, stated)
        return self._stated

    def pace(self) -> Pace:
        """Release slots and the lock as the policy has them; the defaults where there is none."""
        try:
            return self._policy().pace
        except IsthmusError:
            return Pace()

    def procedures(self) -> list[Procedure]:
        """What may be asked of this node: the methods, and trainings where the policy lets an app train."""
        try:
            trains = bool(self._policy().training.apps)
        except IsthmusError:
            trains = False
        return [procedure for name, procedure in PROCEDURES.items() if trains or name in METHODS]

    def forget(self) -> None:
        """Drop prepared rows: a dataset was registered anew."""
        self._cache.clear()
        self._ages = Ages()
        self._runs.close()

    def run_ended(self, run: bytes) -> None:
        """The coordinator says that a run is over."""
        self._runs.end(run)

    def tidy(self) -> None:
        """Let go of what was not asked for long."""
        self._runs.tidy()

    def close(self) -> None:
        """The node ends."""
        self._runs.close()

    def _is_open(self, task: summary_pb2.Task) -> bool:
        """Whether all the data that a task is about are open; False where that cannot be said."""
        names = [task.spec.dataset, *([task.spec.events.dataset] if task.spec.HasField("events") else [])]
        try:
            return self._datasets.are_open(names)
        except Exception:  # noqa: BLE001 - an error while an error is answered: then the data are not open
            return False

    def _load(self, dataset: study_pb2.Dataset, task: summary_pb2.Task) -> tuple[Table, bool]:
        """A dataset, and whether its custodian marked it as open data."""
        registration = self._datasets.get(dataset.name)
        return self._datasets.load(dataset.name, dataset, refresh=task.round == 1), registration.open_data

    def _age_top(self, task: summary_pb2.Task, policy: Policy, open_data: bool) -> float:
        """Years above which ages are read as that; 0: as they are."""
        limits = None if open_data else policy.limits.get(task.purpose)
        return 0.0 if limits is None or limits.age_top >= KEYS["age_top"].off else float(limits.age_top)

    def _check_contributors(self, order: Order) -> None:
        """As many countries in the run as the policy asks for."""
        task = order.task
        limits = self._policy().limits_to(task.purpose, order.recipients)
        if limits is None:
            return
        for key in ("contributors", *(() if order.spec.training is None else ("update_contributors",))):
            if len(task.participants) < getattr(limits, key):
                raise Refused(
                    "FEW_CONTRIBUTORS",
                    f"the site's policy lets nothing out for this; rule: {limits.rule(key)}",
                    "run the analysis with more countries, or ask the site's custodian",
                )

    def _check_snapshot(self, task: summary_pb2.Task, digest: bytes) -> None:
        """All rounds of a run are over the same rows."""
        seen = self._snapshots.get(task.run)
        if task.round > 1 and seen is not None and seen != digest:
            raise Refused(
                "DATASET_CHANGED",
                "the site's dataset changed between two rounds; rule: a run is over one snapshot",
                "run the analysis again",
            )
        self._snapshots.put(task.run, digest)

    def _header(self, digest: bytes, task: summary_pb2.Task, shelved: Shelved | None, snapshot: bytes) -> Header:
        return Header(
            task=digest,
            node=self._ourselves.node,
            country=self._ourselves.country,
            study=shelved.study.name if shelved else "",
            study_digest=task.study_digest,
            analysis=task.analysis,
            run=task.run,
            round=task.round,
            dataset_digest=snapshot,
            software=__version__,
        )
