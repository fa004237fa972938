"""A policy in plain words: what is allowed to whom, and what a change would allow that was not allowed before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from isthmus_node.egress.pace import Pace
from isthmus_node.egress.permits import ASKED, Permits
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.presets import EXPLORATORY, OUTPUTS, RERUNS, RUNS, preset
from isthmus_node.egress.thresholds import KEYS, PURPOSES, RECIPIENTS, VARIABLE_ROLES, Limits
from isthmus_node.egress.training_policy import TrainingPolicy

_EXPLORATORY = {
    "refuse": "analyses outside an approved plan are refused",
    "ask": "analyses outside an approved plan run once a person here has said yes to each",
    "allow": "analyses outside an approved plan run without a person looking",
}
_RUNS = {
    "ask": "each run, of planned analyses too, waits until a person here has said yes to it (not over open data)",
    "allow": "planned analyses of approved studies run without being asked about again",
}
_OUTPUTS = {
    "ask": "what is computed is held until a person here has seen the exact numbers and released them (not open data)",
    "allow": "what met the rules leaves without a person looking at the numbers first",
}
_RERUNS = {
    "refuse": "the same analysis is not answered again with other countries, where a study keeps countries apart",
    "ask": "the same analysis is answered once more with other countries, where a person here has said yes to that run",
}
# Whoever receives, where a study does not say who.
UNNAMED = ""
# Nothing leaves for it, whatever a policy says.
_COMMITTEE = "closed_committee"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that another policy allows, or no longer allows."""

    allows: bool  # True: allowed by the new policy and not by the old; False: the other way round
    where: str  # the key in policy.toml, e.g. "purpose.trial_analysis.cell_persons"
    words: str


def rules(policy: Policy, purpose: str) -> tuple[str, ...]:
    """What is allowed for one purpose and to whom, each rule a sentence."""
    limits = policy.limits.get(PURPOSES[purpose])
    if limits is None:
        return (f"{purpose}: nothing leaves, the policy has no table [purpose.{purpose}]",)
    if purpose == _COMMITTEE:
        return (f"{purpose}: nothing leaves until releases can be encrypted to the committee's keys",)
    return (
        *_recipients(policy, purpose),
        *(f"{purpose}: {limits.rule(key)}" for key in KEYS),
        *_tighter(policy, purpose),
    )


def whole(policy: Policy) -> tuple[str, ...]:
    """What holds for every purpose, each rule a sentence."""
    lines = [_RUNS[policy.runs], _OUTPUTS[policy.outputs], _RERUNS[policy.reruns], _EXPLORATORY[policy.exploratory]]
    if policy.preset:
        based = preset(policy.preset)
        lines.insert(0, f"based on the preset {policy.preset}, {based.title}: {based.standing}")
    roles = [role for role, number in VARIABLE_ROLES.items() if number in policy.refused_roles]
    if roles:
        lines.append(f"variables that a study marks as {' or '.join(roles)} are never used")
    lines += [*policy.permits.words(), *policy.pace.words(), *policy.training.words()]
    if policy.refused_variables:
        lines.append(f"these variables are never used: {', '.join(sorted(policy.refused_variables))}")
    return tuple(lines)


def differences(old: Policy | None, new: Policy, installed: Collection[str]) -> tuple[Change, ...]:
    """What a new policy allows that the old one did not, and what it no longer allows.

    Parameters
    ----------
    old
        The policy in force; None where there is none: then nothing is allowed.
    new
        The one to compare.
    installed
        Names of the methods at this node.
    """
    if old is None:
        old = Policy.read('[methods]\nallow = []\n[exploratory]\nanalyses = "refuse"\n')
    return (
        *_sets("methods.allow", "method", _methods(old, installed), _methods(new, installed)),
        *_order("exploratory.analyses", EXPLORATORY, _EXPLORATORY, old.exploratory, new.exploratory),
        *_order("runs.each", RUNS, _RUNS, old.runs, new.runs),
        *_order("runs.other_countries", RERUNS, _RERUNS, old.reruns, new.reruns),
        *_order("release.outputs", OUTPUTS, _OUTPUTS, old.outputs, new.outputs),
        *_sets("variables.refuse_roles", "variables marked as", _roles(new), _roles(old)),
        *_sets("variables.refuse", "variable", new.refused_variables, old.refused_variables),
        *_permits(old.permits, new.permits),
        *_paces(old.pace, new.pace),
        *_trainings(old.training, new.training),
        *(change for purpose in PURPOSES if purpose != _COMMITTEE for change in _purpose(old, new, purpose)),
    )


def _permits(old: Permits, new: Permits) -> Iterator[Change]:
    """Numbers of permit and dossier: what is filled in lets more out, what is asked for and missing nothing."""
    for name in (*ASKED, "counted_since"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Change(bool(after), f"permits.{name}", f"{name} {after or 'is empty'}; it was: {before or 'empty'}")
    if old.missing != new.missing:
        words = ", ".join(new.missing)
        yield Change(
            not new.missing, "permits", f"nothing leaves without {words}" if words else "no number is missing any more"
        )


def _paces(old: Pace, new: Pace) -> Iterator[Change]:
    """Slots and locks: more refusals before a lock, and shorter slots, let more be learnt."""
    for key, more_is_looser in (("of_requester", True), ("of_study", True), ("days", False)):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield Change((after > before) is more_is_looser, f"refusals.{key}", new.words()[1])
    if old.slot_seconds != new.slot_seconds:
        yield Change(new.slot_seconds < old.slot_seconds, "release.slot_seconds", new.words()[0])


def _trainings(old: TrainingPolicy, new: TrainingPolicy) -> Iterator[Change]:
    """Apps and rounds: another version or source of an app is another app."""
    yield from _sets("training.apps", "app", _apps(old), _apps(new))
    if old.apps and new.apps and old.rounds != new.rounds:
        yield Change(new.rounds > old.rounds, "training.rounds", new.words()[0])


def _apps(training: TrainingPolicy) -> frozenset[str]:
    return frozenset(
        f"{name} of version {app.version} and source {app.digest.hex()}" for name, app in training.apps.items()
    )


def _recipients(policy: Policy, purpose: str) -> Iterator[str]:
    named = policy.recipients.get(PURPOSES[purpose])
    if named is not None:
        parts = [part for part, number in RECIPIENTS.items() if number in named]
        yield f"{purpose}: to {', '.join(parts) or 'nobody'} and nobody else; a study has to say who receives"


def _tighter(policy: Policy, purpose: str) -> Iterator[str]:
    """Where a recipient's own table asks more than the purpose does."""
    base = policy.limits[PURPOSES[purpose]]
    for part, number in RECIPIENTS.items():
        own = policy.recipients.get(PURPOSES[purpose], {}).get(number, base)
        changed = [key for key in KEYS if getattr(own, key) != getattr(base, key)]
        yield from (f"{purpose}: to {part}, {own.rule(key)}" for key in changed)


def _purpose(old: Policy, new: Policy, purpose: str) -> Iterator[Change]:
    """Changes of one purpose, said once for all recipients that they are the same for."""
    before, after = _audiences(old, purpose), _audiences(new, purpose)
    groups: dict[tuple[Limits | None, Limits | None], list[str]] = {}
    for part, limits in before.items():
        groups.setdefault((limits, after[part]), []).append(part)
    for (was, will), parts in groups.items():
        to = "" if len(parts) == len(before) else " to " + ", ".join(part or "recipients not named" for part in parts)
        where = f"purpose.{purpose}"
        if was is None and will is not None:
            yield Change(True, where, f"{purpose}{to}: what meets its rules may leave; nothing did")
        elif was is not None and will is None:
            yield Change(False, where, f"{purpose}{to}: nothing leaves any more")
        elif was is not None and will is not None:
            yield from _thresholds(was, will, where, f"{purpose}{to}")


def _thresholds(was: Limits, will: Limits, where: str, title: str) -> Iterator[Change]:
    for name, key in KEYS.items():
        before, after = getattr(was, name), getattr(will, name)
        if before != after:
            words = f"{title}: {will.rule(name)}; it was: {was.rule(name)}"
            yield Change(key.is_looser(after, before), f"{where}.{name}", words)


def _audiences(policy: Policy, purpose: str) -> Mapping[str, Limits | None]:
    number = PURPOSES[purpose]
    named = {part: policy.limits_to(number, [role]) for part, role in RECIPIENTS.items()}
    return {UNNAMED: policy.limits_to(number, ()), **named}


def _methods(policy: Policy, installed: Collection[str]) -> frozenset[str]:
    return frozenset(installed) if policy.methods is None else policy.methods


def _roles(policy: Policy) -> frozenset[str]:
    return frozenset(role for role, number in VARIABLE_ROLES.items() if number in policy.refused_roles)


def _sets(where: str, what: str, before: Collection[str], after: Collection[str]) -> Iterator[Change]:
    """Changes of what may be used, from one set to another."""
    for name in sorted(set(after) - set(before)):
        yield Change(True, where, f"{what} {name} may be used")
    for name in sorted(set(before) - set(after)):
        yield Change(False, where, f"{what} {name} may not be used any more")


def _order(where: str, order: tuple[str, ...], words: Mapping[str, str], before: str, after: str) -> Iterator[Change]:
    """A change of a word, in an order from tight to loose."""
    if before != after:
        yield Change(order.index(after) > order.index(before), where, words[after])
