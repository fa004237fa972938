"""Where an attack takes place: whose node it is, what the attacker can ask, and what is kept of it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from attacks.evidence import Answer, Evidence, answer_of, read_messages
from attacks.network import GUARDED, UNGUARDED, Network, study_name
from isthmus.errors import IsthmusError
from isthmus.v1 import spec_pb2, summary_pb2
from isthmus_client.connection import Connection
from isthmus_client.study import Study
from isthmus_methods.contract import State
from isthmus_node.egress.journal_read import Entry, read
from isthmus_trust.identity import IdentityKey

# Seconds a round of an attack may take.
DEADLINE = 60


@dataclass(slots=True)
class Scene:
    """One mounting of one attack against one of the victim's nodes."""

    network: Network
    node: str
    connection: Connection
    told: list[str] = field(default_factory=list)  # what the attacker was told
    answers: list[Answer] = field(default_factory=list)  # of the victim's node, in the order in which they left
    _records: int = 0
    _recorded: int = 0
    _logs: dict[str, int] = field(default_factory=dict)

    # ----------------------------------------------------------------- the analyst

    def study(self, purpose: str = "trial") -> Study:
        return self.connection.study(study_name(self.node, purpose))

    def ask(self, method: str, formula: str | None = None, *, purpose: str = "trial", **asked: Any) -> list[Answer]:
        """Ask as an analyst, through the client; the victim's answers to this run, none where it was not asked."""
        try:
            plan = self.study(purpose).ask(
                method,
                formula,
                dataset=asked.pop("dataset", "PERSONS"),
                missing_country=asked.pop("missing_country", "fail"),
                deadline=DEADLINE,
                **asked,
            )
            plan.start()
        except IsthmusError as error:
            self._hear(error)
            return []
        try:
            fit = plan.run(progress=False)
            self.told.append(str(fit.as_dict()))
        except IsthmusError as error:
            self._hear(error)
        return self.answers_to(plan.runs[0])

    def spec(self, method: str, formula: str | None = None, **asked: Any) -> spec_pb2.Spec:
        """A request as the client writes it, to be changed and sent by somebody else."""
        plan = self.study().ask(method, formula, dataset=asked.pop("dataset", "PERSONS"), **asked)
        spec: spec_pb2.Spec = plan.steps[0].analysis.spec
        return spec

    # ----------------------------------------------------------------- the coordinator with code of its own

    def order(
        self, spec: spec_pb2.Spec, state: State | None = None, *, run: bytes = b"", number: int = 1, **changed: Any
    ) -> Answer | None:
        """Send a task that no honest coordinator would; the answer, None where the node said nothing."""
        purpose = changed.pop("in_study", "trial")
        task = self.network.hostile.task(
            self.study(purpose).message, spec, state=state, run=run, number=number, **changed
        )
        return self.send(task)

    def send(self, task: summary_pb2.Task, **how: Any) -> Answer | None:
        name = self.network.hostile.send(self.node, task, **how)
        payload = self.network.hostile.answered(name)
        if payload is None:
            return None
        answer = answer_of(task.run, task.round, payload)
        self.answers.append(answer)
        return answer

    def order_in_vain(self, spec: spec_pb2.Spec, *, more: bytes = b"", key: IdentityKey | None = None) -> bool:
        """Send a task to which a node should say nothing at all; whether it answered.

        A sound task behind it tells when the node is done with it: it takes one after the other.
        """
        hostile, study = self.network.hostile, self.study().message
        name = hostile.send(self.node, hostile.task(study, spec), more=more, key=key)
        self.send(hostile.task(study, spec))
        payload = hostile.answered(name, 0.0)
        if payload is not None:
            self.answers.append(answer_of(b"", 1, payload))
        return payload is not None

    # ----------------------------------------------------------------- what is kept

    def answers_to(self, run: bytes) -> list[Answer]:
        """What the victim's node answered in a run; kept for the oracle too."""
        found = [answer_of(run, e.record.round, e.payload) for e in self._releases() if e.record.run == run]
        self.answers += found
        return found

    def others(self, run: bytes, number: int) -> list[Answer]:
        """What the other countries answered to a round: the coordinator has these as well."""
        found = []
        for node in ("bb", "cc"):
            for entry in read(self.network.box.node_home(node) / "state/journal"):
                if entry.payload and (entry.record.run, entry.record.round) == (run, number):
                    found.append(answer_of(run, number, entry.payload))
        return [answer for answer in found if not answer.code]

    def lengths(self) -> list[int]:
        """How long the answers were, as somebody on the network sees: in the order in which they left."""
        sent = read_messages(self.network.record(self.node), self._recorded)
        return [len(body) for call, body in sent if call.startswith("Submit")]

    def codes(self) -> tuple[str, ...]:
        """Every code that was said of the attack."""
        said = {a.code for a in self.answers if a.code}
        said |= {code for a in self.answers for code in a.withheld.values()}
        said |= {text.partition(":")[0] for text in self.told if text.partition(":")[0].isupper()}
        log = self.network.box.home / "logs" / f"node-{self.node}.log"
        for line in log.read_bytes()[self._logs.get(log.name, 0) :].decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                said.add(json.loads(line).get("code", ""))
        return tuple(sorted(said - {""}))

    def evidence(self) -> Evidence:
        """Everything since the attack began."""
        texts = {"attacker": "\n".join(self.told), "metrics": self.network.metrics(self.node)}
        # the victim's other node takes no part in this mounting: what it logs is of one before
        aside = {f"node-{node}.log" for node in (GUARDED, UNGUARDED) if node != self.node}
        for path in (self.network.box.home / "logs").glob("*.log"):
            if path.name in aside:
                continue
            with path.open("rb") as file:
                file.seek(self._logs.get(path.name, 0))
                texts[path.name] = file.read().decode("utf-8", "replace")
        record = self.network.record(self.node)
        return Evidence(
            [body for _, body in read_messages(record, self._recorded)],
            [entry.payload for entry in self._releases()],
            texts,
        )

    def _hear(self, error: IsthmusError) -> None:
        self.told.append(f"{error.code}: {error.message} {error.remedy}")

    def _releases(self) -> list[Entry]:
        entries = list(read(self.network.box.node_home(self.node) / "state/journal"))
        return [entry for entry in entries[self._records :] if entry.payload]

    def begin(self) -> None:
        self._records = sum(1 for _ in read(self.network.box.node_home(self.node) / "state/journal"))
        self._recorded = self.network.record(self.node).stat().st_size
        self._logs = {p.name: p.stat().st_size for p in (self.network.box.home / "logs").glob("*.log")}


def scene(network: Network, connection: Connection, node: str, coordinator: str, guards: str, given: str) -> Scene:
    """The node started as it should be, and nothing noted yet."""
    network.run_as(node, coordinator, guards, given)
    made = Scene(network, node, connection)
    made.begin()
    return made
