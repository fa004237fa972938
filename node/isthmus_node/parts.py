"""What the service of a node works with, put together once at the start."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus_node.admission import Admission, Ourselves
from isthmus_node.answering import Answering
from isthmus_node.catalogue import Datasets
from isthmus_node.custodian.contributors import Contributors
from isthmus_node.custodian.decisions import Decisions
from isthmus_node.custodian.held import HeldAnswers
from isthmus_node.custodian.locks import Locks
from isthmus_node.custodian.reruns import Reruns
from isthmus_node.egress.journal import Journal
from isthmus_node.noticing import Noticing
from isthmus_node.ops.logs import Log
from isthmus_node.sealing.rounds import Sealing
from isthmus_node.shelf import Shelf
from isthmus_node.waiting_room import WaitingRoom


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service works with."""

    ourselves: Ourselves
    shelf: Shelf
    decisions: Decisions
    datasets: Datasets
    journal: Journal
    admission: Admission
    answering: Answering
    noticing: Noticing
    log: Log
    waiting_room: WaitingRoom
    held: HeldAnswers
    reruns: Reruns
    contributors: Contributors
    locks: Locks
    sealing: Sealing
