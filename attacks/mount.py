"""Mounting: each attack with its guard left out and with it in place, and what the oracle says of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from attacks.attack import Attack, Listed, Outcome
from attacks.evidence import claimed, standing_in
from attacks.guards import is_there
from attacks.network import COUNTRIES, GUARDED, HONEST, UNGUARDED, Network
from attacks.scene import scene
from isthmus.errors import IsthmusError
from isthmus_client.connection import Connection


@dataclass(frozen=True, slots=True)
class Verdict:
    """An attack, and what came of it."""

    attack: Attack | Listed
    standing: str  # "stopped", "open", "not promised", "no ground", "broken"
    why: str
    off: Outcome | None = None
    on: Outcome | None = None

    @property
    def holds(self) -> bool:
        return self.standing in ("stopped", "not promised", "no ground")


def mount_all(
    network: Network, attacks: Sequence[Attack | Listed], say: Callable[[Verdict], None] = lambda _: None
) -> list[Verdict]:
    """Mount attacks; the node that is left unguarded is started anew only where the next needs another guard out."""
    verdicts: dict[str, Verdict] = {}
    mounted = [a for a in attacks if isinstance(a, Attack)]
    with network.box.connect() as connection:
        for attack in sorted(mounted, key=lambda a: (a.user == "coordinator", a.given, a.guards)):
            verdict = mount(network, connection, attack)
            verdicts[attack.name] = verdict
            say(verdict)
    for other in attacks:
        if isinstance(other, Listed):
            verdicts[other.name] = Verdict(other, other.standing, other.why)
    return [verdicts[a.name] for a in attacks]


def mount(network: Network, connection: Connection, attack: Attack) -> Verdict:
    """Both times, the guarded one first; what earlier attacks have locked is unlocked before, as a custodian would."""
    for node in COUNTRIES:
        network.unlock(node)
    missing = [name for name in attack.guards if not is_there(name)]
    on = once(network, connection, attack, GUARDED, ())
    if "LOCKED" in on.codes and "LOCKED" not in attack.stopped_by:
        # the lock fell in the middle of it, because of what came before
        network.unlock(GUARDED)
        on = once(network, connection, attack, GUARDED, ())
    if missing:
        said = f"this release has no {', '.join(missing)}"
        return Verdict(
            attack, "open", f"{said}; the attack {'succeeds' if on.succeeded else 'did not succeed'}", None, on
        )
    off = once(network, connection, attack, UNGUARDED, attack.guards)
    return Verdict(attack, *judged(attack, off, on), off, on)


def judged(attack: Attack, off: Outcome, on: Outcome) -> tuple[str, str]:
    """Standing and reason."""
    if on.succeeded:
        return "open", f"succeeds with its guard in place: {'; '.join(on.found)}"
    if on.error or off.error:
        return "broken", f"the attack itself broke: {on.error or off.error}"
    if not off.succeeded:
        return "broken", f"does not succeed without its guard, so that it shows nothing ({', '.join(off.codes)})"
    if off.fault and "BUG" not in attack.stopped_by:
        return "broken", "without its guard the node ran into a fault, which tells something too: it shows nothing"
    if attack.stopped_by and not attack.stopped_by & set(on.codes):
        wanted = " or ".join(sorted(attack.stopped_by))
        return "broken", f"stopped, but not by {wanted}: {', '.join(on.codes) or 'nothing was said'}"
    by = ", ".join(sorted(attack.stopped_by & set(on.codes))) or "nothing of it is there"
    return "stopped", f"{by}; without: {off.found[0]}"


def once(network: Network, connection: Connection, attack: Attack, node: str, out: Sequence[str]) -> Outcome:
    """One mounting, read by the oracle; what other nodes went without they have again afterwards."""
    try:
        return _once(network, connection, attack, node, out)
    finally:
        for other in attack.also:
            network.run_as(other)
        network.coordinate_as()


def _once(network: Network, connection: Connection, attack: Attack, node: str, out: Sequence[str]) -> Outcome:
    coordinator = "hostile" if attack.user == "coordinator" else HONEST
    began = time.monotonic()
    try:
        for other in attack.also:
            network.run_as(other, guards=_names(out))
        if attack.of_coordinator:
            network.coordinate_as(_names(out))
        at = scene(network, connection, node, coordinator, _names(out), _names(attack.given))
    except IsthmusError as fault:
        return Outcome((), (), time.monotonic() - began, f"the node did not start: {fault.message}")
    claims: dict[str, float] = {}
    error = ""
    try:
        claims = dict(attack.mount(at))
    except Exception as fault:  # noqa: BLE001 - an attack that breaks is that attack's verdict
        error = f"{type(fault).__name__}: {fault}"
    found = (*claimed(claims), *standing_in(at.evidence(), attack.words))
    broke = any(answer.code == "BUG" for answer in at.answers)
    return Outcome(found, at.codes(), time.monotonic() - began, error, broke)


def _names(names: Sequence[str]) -> str:
    return ",".join(names) or "-"


def grouped(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, int]]:
    """How many of each standing."""
    for standing in ("stopped", "not promised", "no ground", "open", "broken"):
        number = sum(v.standing == standing for v in verdicts)
        if number:
            yield standing, number
