"""What an attack is: who mounts it, what stands against it, how that is left out, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from attacks.scene import Scene

User = Literal["analyst", "coordinator", "node", "network"]
# What the attacker works out, by what it is about: a key of `rows.TRUTH`.
Claims = Mapping[str, float]
Mount = Callable[["Scene"], Claims]


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack that is mounted twice.

    `guards` names what is left out of the node the first time, all of it in `guards.py`; with everything in place,
    the node must say one of the codes of `stopped_by`, so that an attack that merely broke counts for nothing. Where a
    guard is not in this release the attack is mounted as it is, and listed as open. `given` are circumstances that
    hold both times, as a library whose error quotes a cell.
    """

    number: int
    title: str
    user: User
    defence: str
    guards: tuple[str, ...]
    stopped_by: frozenset[str]
    mount: Mount
    variant: str = ""  # several ways to mount one attack
    given: tuple[str, ...] = ()
    also: tuple[str, ...] = ()  # other nodes that the guards are left out of, where several nodes guard one
    of_coordinator: bool = False  # the guard stands at the coordinator, and is left out of it
    words: tuple[str, ...] = ()  # secrets that the attacker has already and writes into the request

    @property
    def name(self) -> str:
        return f"{self.number}{self.variant}"


@dataclass(frozen=True, slots=True)
class Listed:
    """An attack that is not mounted, and why."""

    number: int
    title: str
    user: User
    defence: str
    standing: Literal["open", "not promised", "no ground"]
    why: str
    document: str  # the page that says so
    variant: str = ""

    @property
    def name(self) -> str:
        return f"{self.number}{self.variant}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one time of mounting."""

    found: tuple[str, ...]  # what the oracle found of the victim, in words
    codes: tuple[str, ...]  # what the gate, the node and the coordinator said
    seconds: float
    error: str = ""  # the attack itself broke
    fault: bool = False  # the node answered with a fault of its own

    @property
    def succeeded(self) -> bool:
        return bool(self.found)
