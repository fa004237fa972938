"""How often this site refuses before it locks, and when its answers leave: what of the policy is no threshold.

Refusals are an oracle for whoever builds requests so that a refusal depends on a person; time is one for whoever
measures how long an answer takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.errors import ConfigError
from isthmus_node.egress.policy_keys import bad, known, table

# key -> (default, loosest, in words). Conventions of this project: far above what honest work meets, far below what
# reading a person's values by refusals takes (a bisection of one value to 1 % needs about seven answers a person).
_REFUSALS: Mapping[str, tuple[int, int, str]] = {
    "of_requester": (20, 100, "refusals that may depend on rows, to one requester in one study"),
    "of_study": (60, 300, "the same to all requesters of a study together"),
    "days": (7, 1, "days for which a refusal counts"),
}
LONGEST_SLOT = 3600.0
# Keys of [release]; `outputs` is the policy's, which holds it against the preset.
RELEASE = ("slot_seconds", "outputs")


@dataclass(frozen=True, slots=True)
class Pace:
    """Release slots and the lock.

    `slot_seconds`: an answer leaves at a whole multiple of this after its order came; 0: as soon as it is there.
    `of_requester`, `of_study`: after so many refusals within `days` days that may depend on rows, everything that the
    requester (or anybody) asks in the study is refused until the custodian unlocks it.
    """

    slot_seconds: float = 0.0
    of_requester: int = _REFUSALS["of_requester"][0]
    of_study: int = _REFUSALS["of_study"][0]
    days: int = _REFUSALS["days"][0]

    def words(self) -> tuple[str, ...]:
        """Each rule a sentence."""
        slot = (
            f"an answer leaves at a whole multiple of {self.slot_seconds:g} s after its order came"
            if self.slot_seconds
            else "an answer leaves as soon as it is there: how long it takes can be measured"
        )
        return (
            slot,
            f"after {self.of_requester} refusals to one requester in one study, or {self.of_study} to all of them, "
            f"within {self.days} day{'s' * (self.days != 1)} (those that may depend on rows, each question once), the "
            "study is locked for them until the custodian unlocks it",
        )


def pace(file: Mapping[str, object]) -> Pace:
    """What a policy file says of its pace; `ConfigError` for an unknown key, a value of another type, a looser one."""
    release = known(table(file.get("release", {}), "[release]"), RELEASE, "release.")
    refusals = known(table(file.get("refusals", {}), "[refusals]"), _REFUSALS, "refusals.")
    slot = release.get("slot_seconds", 0)
    if isinstance(slot, bool) or not isinstance(slot, int | float) or not 0 <= slot <= LONGEST_SLOT:
        raise bad("release.slot_seconds", f"a number of seconds between 0 and {LONGEST_SLOT:g}")
    return Pace(float(slot), **{name: _count(name, refusals.get(name)) for name in _REFUSALS})


def _count(name: str, value: object) -> int:
    default, loosest, about = _REFUSALS[name]
    if value is None:
        return default
    where = f"refusals.{name}"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad(where, f"a whole number, 1 or more: {about}")
    if value < loosest if name == "days" else value > loosest:
        raise ConfigError(
            "POLICY_BELOW_FLOOR",
            f"{where} is looser than isthmus allows; rule: the floor is {loosest}",
            f"set it to {loosest} or tighter (tighter is {'larger' if name == 'days' else 'smaller'})",
        )
    return value
