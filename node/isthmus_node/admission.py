"""May this task run here? Who asks, about which approved study, for which planned analysis, by which method."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from isthmus.errors import Refused, UsageError, WaitingForApproval
from isthmus.v1 import journal_pb2, spec_pb2, study_pb2, summary_pb2
from isthmus_methods import codec
from isthmus_methods.contract import Procedure, Scope, Spec
from isthmus_methods.registry import find_procedure
from isthmus_methods.training import EVALUATE, MESSAGES
from isthmus_methods.validate import check_spec
from isthmus_methods.variables import used_variables
from isthmus_node.custodian.decisions import REQUEST, RUN, Decisions, request_digest, run_digest
from isthmus_node.egress.policy import Policy
from isthmus_node.sealing.admitted import check_sealed
from isthmus_node.shelf import Shelf, Shelved, participant_of
from isthmus_node.training.installed import check_plan
from isthmus_trust.bounds import check_spec as check_bounds, check_task
from isthmus_trust.documents import DECISION, TASK, canonical, digest, open_signed

# Specs read from messages that are kept: a fit asks with the same one in every round.
_SPECS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Who this node is, by name and keys, and whose orders it takes."""

    node: str
    country: str
    identity: bytes
    custodian: bytes
    coordinator: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A task that may run here."""

    digest: bytes
    task: summary_pb2.Task
    shelved: Shelved
    spec: Spec
    method: Procedure
    dataset: study_pb2.Dataset
    events: study_pb2.Dataset | None = None  # the second dataset, where the request has one
    recipients: tuple[int, ...] = ()  # the parts that those play who receive the result; empty: not said

    def about(self) -> journal_pb2.Record:
        """What it is about, for the journal."""
        task = self.task
        return journal_pb2.Record(
            study=self.shelved.study.name,
            study_digest=task.study_digest,
            analysis=task.analysis,
            run=task.run,
            round=task.round,
            task=self.digest,
        )


def open_task(signed: study_pb2.Signed, coordinator: bytes) -> tuple[bytes, summary_pb2.Task]:
    """A task and its digest; `AuthenticationError` unless it is the coordinator's own, unchanged."""
    return digest(signed.body), open_signed(signed, TASK, summary_pb2.Task, coordinator)


class Admission:
    """Judges tasks before a row is looked at. Remembers what it has read, so that rounds after the first cost little.

    Parameters
    ----------
    ourselves
        Who we are.
    shelf, decisions
        Studies that arrived, and what the custodian said of them.
    policy
        Gives the site's policy in force now.
    now
        UTC, nanoseconds since 1970.
    is_open
        Whether all datasets of these names are open data: nobody is asked about each run over them.
    answers
        How many answers a run has had here.
    """

    def __init__(
        self,
        ourselves: Ourselves,
        shelf: Shelf,
        decisions: Decisions,
        policy: Callable[[], Policy],
        now: Callable[[], int],
        is_open: Callable[[Collection[str]], bool] = lambda _: False,
        answers: Callable[[bytes], int] = lambda _: 0,
    ) -> None:
        self._is_open = is_open
        self._answers = answers
        self._ourselves = ourselves
        self._shelf = shelf
        self._decisions = decisions
        self._policy = policy
        self._now = now
        self._specs: dict[tuple[bytes, bytes], Spec] = {}

    def admit(self, name: bytes, task: summary_pb2.Task) -> Order:
        """The order that the task is.

        Parameters
        ----------
        name
            Digest of the task.
        task
            As the coordinator signed it.

        Raises
        ------
        WaitingForApproval
            A person at the site has to decide first: `STUDY_NOT_HERE`, `STUDY_NOT_DECIDED`, `REQUEST_NOT_DECIDED`,
            `RUN_NOT_DECIDED`.
        Refused, UsageError
            It may not run, whoever waits.
        """
        check_task(task)
        ours = self._ourselves
        shelved = self._shelf.get(task.study_digest)
        if shelved is None:
            raise WaitingForApproval(
                "STUDY_NOT_HERE", "the study of this task has not arrived at the site", "propose it to the coordinator"
            )
        study = shelved.study
        participant_of(study, ours.node, ours.identity, ours.custodian)
        self._check_participants(task, study)
        self._check_decision(task.study_digest, study)
        if task.deadline and self._now() > task.deadline:
            raise Refused(
                "DEADLINE_PAST",
                "the task's deadline is over; rule: an answer that comes too late is not given",
                "run the analysis again; if the deadline should not be over, compare the clocks of both sides",
            )
        policy = self._policy()
        if not policy.allows_method(task.spec.method):
            raise Refused(
                "METHOD_NOT_ALLOWED",
                f"the site's policy does not allow method {task.spec.method[:64]!r}",
                "ask the site's custodian to allow it, or use another method",
            )
        recipients = self._check_plan(task, study, policy)
        _check_recipients(task, recipients, policy)
        method = find_procedure(task.spec.method, task.spec.method_version)
        spec = self._spec(task, study, method)
        _check_round(task, study, method, spec)
        check_sealed(task, study, spec, method)
        _check_training(task, spec, policy)
        self._check_answers(task, study, spec)
        datasets = {d.name: d for d in study.datasets}
        events = datasets[spec.events.dataset] if spec.events is not None else None
        _check_variables(spec, policy, datasets[spec.dataset], events)
        self._check_permits(task, policy)
        self._check_asked(task, policy)
        return Order(name, task, shelved, spec, method, datasets[spec.dataset], events, recipients)

    def _check_participants(self, task: summary_pb2.Task, study: study_pb2.Study) -> None:
        names = list(task.participants)
        in_order = [p.node for p in study.participants if p.node in set(names)]
        if self._ourselves.node not in names or names != in_order:
            raise Refused(
                "WRONG_PARTICIPANTS",
                "the task's participants are not this node and others of the study, each once, in the study's order",
                "run the analysis again with a coordinator of this release",
            )

    def _check_decision(self, study_digest: bytes, study: study_pb2.Study) -> None:
        made = self._decisions.about(study_digest, DECISION)
        if made is None:
            raise WaitingForApproval(
                "STUDY_NOT_DECIDED",
                f"the site's custodian has not decided on study {study.name} version {study.version}",
                "wait for the custodian: isthmus-node approve or refuse",
            )
        if not made.decision.approved:
            raise Refused(
                "STUDY_DECLINED",
                f"the site's custodian declined study {study.name} version {study.version}",
                "ask the site's custodian; a changed study is a new version",
            )

    def _check_plan(self, task: summary_pb2.Task, study: study_pb2.Study, policy: Policy) -> tuple[int, ...]:
        """What the study says of this analysis, held against the task; gives the parts of who receives its result."""
        if task.analysis:
            planned = next((a for a in study.plan if a.name == task.analysis), None)
            if planned is None:
                raise Refused(
                    "NOT_IN_PLAN",
                    f"study {study.name} version {study.version} has no analysis {task.analysis[:64]!r} in its plan",
                    "name one of its planned analyses, or make a new version of the study",
                )
            if _bytes(planned.spec) != _bytes(task.spec) or planned.purpose != task.purpose:
                raise Refused(
                    "NOT_AS_PLANNED",
                    f"what is asked is not analysis {task.analysis[:64]!r} as the site approved it; "
                    "rule: the same to the byte",
                    "ask for it as it was approved, or make a new version of the study",
                )
            return tuple(planned.recipients or study.recipient_roles)
        if task.purpose != study.exploratory_purpose or not task.purpose:
            raise Refused(
                "EXPLORATORY_PURPOSE",
                f"study {study.name} does not let analyses outside its plan through for this purpose",
                "use the study's exploratory purpose, or add the analysis to the plan",
            )
        if policy.exploratory == "refuse":
            raise Refused(
                "EXPLORATORY_REFUSED",
                "the site's policy lets no analysis through that is not in an approved plan",
                "add the analysis to the plan: a new version of the study",
            )
        return tuple(study.recipient_roles)

    def _check_permits(self, task: summary_pb2.Task, policy: Policy) -> None:
        """Where the preset asks for the number of a permit or dossier: that the custodian has filled it in."""
        missing = policy.permits.missing
        if missing and not self._is_open(_datasets(task)):
            raise Refused(
                "PERMIT_MISSING",
                f"the site's policy has no number of a {' and a '.join(missing)}; "
                f"rule: under preset {policy.preset} nothing but open data leaves without",
                f"ask the site's custodian to fill in [permits] {missing[0]} in the policy and sign it: "
                "isthmus-node policy adopt",
            )

    def _check_answers(self, task: summary_pb2.Task, study: study_pb2.Study, spec: Spec) -> None:
        """A run of a training has no more answers than its plan has messages, whatever rounds they call themselves.

        It may begin again as often as it may go on without one more country.
        """
        if spec.training is None:
            return
        times = max(1, len(study.participants) - 1)
        if self._answers(task.run) >= 2 * spec.training.rounds * times:
            raise Refused(
                "TOO_MANY_ROUNDS",
                f"the run was answered as often here as a training of {spec.training.rounds} rounds can be; "
                "rule: no more models of a coordinator's choice than the plan has",
                "plan more rounds",
            )

    def _check_asked(self, task: summary_pb2.Task, policy: Policy) -> None:
        """Where the policy has a person decide, of this run or of this analysis outside the plan: that it was a yes."""
        if policy.runs == "ask" and not self._is_open(_datasets(task)):
            made = self._decisions.about(run_digest(task), RUN)
            if made is None:
                raise WaitingForApproval(
                    "RUN_NOT_DECIDED",
                    "the site's custodian decides on each run before it starts",
                    "wait for the custodian: isthmus-node approve or refuse",
                )
            if not made.decision.approved:
                raise Refused("RUN_DECLINED", "the site's custodian declined this run", "ask the site's custodian")
            return
        if task.analysis or policy.exploratory == "allow":
            return
        made = self._decisions.about(request_digest(task), REQUEST)
        if made is None:
            raise WaitingForApproval(
                "REQUEST_NOT_DECIDED",
                "the analysis is not in the plan; the site's custodian looks at it first",
                "wait for the custodian: isthmus-node approve or refuse",
            )
        if not made.decision.approved:
            raise Refused(
                "REQUEST_DECLINED",
                "the site's custodian declined this analysis, which is not in the plan",
                "ask the site's custodian, or add it to the plan: a new version of the study",
            )

    def _spec(self, task: summary_pb2.Task, study: study_pb2.Study, method: Procedure) -> Spec:
        """The request, checked against dictionary and method the first time that it comes."""
        key = (task.study_digest, _bytes(task.spec))
        spec = self._specs.get(key)
        if spec is None:
            check_bounds(task.spec)
            spec = codec.spec_from_message(task.spec, study)
            check_spec(spec, method)
            while len(self._specs) >= _SPECS_KEPT:
                del self._specs[next(iter(self._specs))]
            self._specs[key] = spec
        return spec


def _datasets(task: summary_pb2.Task) -> set[str]:
    """Names of the datasets that a task is about."""
    return {task.spec.dataset, *([task.spec.events.dataset] if task.spec.HasField("events") else [])}


def _check_recipients(task: summary_pb2.Task, recipients: tuple[int, ...], policy: Policy) -> None:
    """Where the policy names who gets results for a purpose: everybody who does is among them."""
    if task.purpose not in policy.limits or policy.limits_to(task.purpose, recipients) is not None:
        return  # without the purpose the gate refuses, whoever asks
    if not recipients:
        raise Refused(
            "RECIPIENT_NOT_NAMED",
            "the site's policy names who may receive results for this purpose, and the study does not say who does; "
            "rule: a recipient is named",
            "make a new version of the study with recipient_roles",
        )
    raise Refused(
        "RECIPIENT_NOT_ALLOWED",
        "the site's policy lets nothing out to one of the recipients for this purpose",
        "leave the recipient out of the analysis, or ask the site's custodian",
    )


def _check_variables(spec: Spec, policy: Policy, *datasets: study_pb2.Dataset | None) -> None:
    """No variable that the policy keeps out, by its role in the study's dictionary or by its name."""
    if not policy.refused_roles and not policy.refused_variables:
        return
    used = used_variables(spec) | (used_variables(spec.events) if spec.events is not None else frozenset())
    for dataset in datasets:
        for variable in dataset.variables if dataset is not None else ():
            kept_out = variable.name in policy.refused_variables or not policy.refused_roles.isdisjoint(variable.roles)
            if variable.name in used and kept_out:
                raise Refused(
                    "VARIABLE_KEPT_IN",
                    f"the site's policy lets no analysis use {variable.name[:64]!r}; rule: it stays in the country",
                    "leave it out of filter, roles and terms",
                )


def _check_round(task: summary_pb2.Task, study: study_pb2.Study, method: Procedure, spec: Spec) -> None:
    if len(task.run) != 16 or not 1 <= task.round <= method.rounds[1]:
        raise Refused(
            "ROUND_OUT_OF_BOUNDS",
            f"method {method.name} has at most {method.rounds[1]} rounds; rule: no more are answered",
            "simplify the model: fewer terms, or merged levels",
        )
    if task.round == 1 and task.state and spec.training is None:
        raise Refused(
            "STATE_IN_FIRST_ROUND",
            "the first round brings values of its own; rule: starting values are the method's",
            "run the analysis again with a coordinator of this release",
        )
    if method.scope(spec) is Scope.BY_COUNTRY and not study.by_country:
        raise Refused(
            "BY_COUNTRY",
            f"method {method.name} shows each country's own summary, and study {study.name} does not let it",
            "use a method that needs the total only, or make a new version of the study that allows it",
        )


def _check_training(task: summary_pb2.Task, spec: Spec, policy: Policy) -> None:
    """A task of a training says what is asked of an app that the policy lets train; others say nothing of the kind."""
    plan = spec.training
    if plan is None:
        if task.HasField("message") or task.state_bytes or task.state_digest:
            raise UsageError("NO_TRAINING", f"method {spec.method[:64]} trains no model", "leave the message out")
        return
    check_plan(plan, policy.training)
    if task.message.type not in MESSAGES:
        raise UsageError("UNKNOWN_MESSAGE", f"an app is asked to {' or '.join(MESSAGES)}", "ask for one of these")
    if task.message.type == EVALUATE and plan.held_out <= 0:
        raise UsageError(
            "NOTHING_HELD_OUT",
            "an evaluation is over the persons held out, and the plan holds nobody out",
            "hold out a share of the persons, or have the strategy evaluate nothing (fraction_evaluate = 0)",
        )


def _bytes(spec: spec_pb2.Spec) -> bytes:
    return canonical(spec)
