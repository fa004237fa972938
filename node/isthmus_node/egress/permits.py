"""Numbers of a site's permit and dossier: what a jurisdiction's preset asks the custodian to fill in.

They are the custodian's words. Nothing here knows whether a number is one, or makes a release lawful.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime

from isthmus_node.egress.policy_keys import bad, known, table

# What a preset may ask for; each a text of at most so many characters.
ASKED = ("permit", "dossier")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Permits:
    """What `[permits]` says. `asked`: those that the preset asks for. `counted_since`: ISO date, empty: ever."""

    permit: str = ""
    dossier: str = ""
    counted_since: str = ""
    asked: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """What is asked for and not filled in: without it nothing leaves but open data."""
        return tuple(name for name in self.asked if not getattr(self, name))

    @property
    def reference(self) -> str:
        """As it stands in an answer and in the result, e.g. ``permit 2026-17``."""
        return "; ".join(f"{name} {own}" for name in ASKED if (own := getattr(self, name)))

    def words(self) -> tuple[str, ...]:
        """Each in a sentence."""
        said = [
            f"{name}: {getattr(self, name)}, in the words of the custodian" for name in ASKED if getattr(self, name)
        ]
        said += [f"{name}: NOT FILLED IN, so that nothing leaves but open data" for name in self.missing]
        return (*said, *([f"persons are counted since {self.counted_since}"] if self.counted_since else []))

    def form(self) -> dict[str, object]:
        """As it is in the policy's canonical form."""
        return asdict(self)


def permits(file: Mapping[str, object], asked: Collection[str]) -> Permits:
    """What a policy file says; `ConfigError` for an unknown key or a value of another type."""
    own = known(table(file.get("permits", {}), "[permits]"), (*ASKED, "counted_since"), "permits.")
    since = own.get("counted_since", "")
    if isinstance(since, str) and since:
        try:
            since = date.fromisoformat(since)
        except ValueError:
            raise bad("permits.counted_since", "a date, as 2026-01-01") from None
    if since and (not isinstance(since, date) or isinstance(since, datetime)):
        raise bad("permits.counted_since", "a date, as 2026-01-01")
    return Permits(
        **{name: _text(name, own.get(name, "")) for name in ASKED},
        counted_since=since.isoformat() if isinstance(since, date) else "",
        asked=tuple(name for name in ASKED if name in asked),
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise bad(f"permits.{name}", f"a text of at most {_LONGEST} characters")
    return value.strip()
