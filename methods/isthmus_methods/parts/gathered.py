"""What countries gave: what a fit cannot do without, and values kept at the coordinator from one round to the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Contributions, State

_WITHHELD = "withheld:"


def needed(contributions: Contributions, field: str, label: str = "") -> Array:
    """The total of a field that the fit cannot do without. Raises `MethodError` ``NO_COUNTRY`` where nobody gave it."""
    total = contributions.total(field, label)
    if total is None:
        raise no_country()
    return total


def no_country() -> MethodError:
    return MethodError("NO_COUNTRY", "no country gave its share of the model", "ask why in each country's refusal")


@dataclass(frozen=True, slots=True)
class Gathered:
    """Values by country, field and label; and the rule by which the gate withheld a country's label."""

    values: Mapping[tuple[str, str, str], Array]
    withheld: Mapping[tuple[str, str], str]  # (country, label) -> code of the first rule

    @classmethod
    def of(cls, contributions: Contributions) -> Gathered:
        values: dict[tuple[str, str, str], Array] = {}
        withheld: dict[tuple[str, str], str] = {}
        for summary in contributions.summaries:
            for (name, label), value in summary.values.items():
                values[summary.country, name, label] = np.asarray(value, dtype=np.float64)
            for (_, label), code in summary.withheld.items():
                withheld.setdefault((summary.country, label), code)
        return cls(values, withheld)

    def countries(self, order: Sequence[str]) -> tuple[str, ...]:
        """Countries that took part in any round, in the study's order."""
        taking_part = {country for country, _, _ in self.values} | {country for country, _ in self.withheld}
        return tuple(c for c in dict.fromkeys([*order, *sorted(taking_part)]) if c in taking_part)

    def giving(self, countries: Sequence[str], names: Sequence[str], label: str) -> tuple[str, ...]:
        """Countries that gave every one of these fields for a label."""
        return tuple(c for c in countries if all((c, name, label) in self.values for name in names))

    def total(self, countries: Collection[str], name: str, label: str) -> Array:
        """Sum over these countries, all of which gave it."""
        return np.asarray(np.sum([self.values[c, name, label] for c in countries], axis=0))

    def after(self, earlier: Gathered) -> Gathered:
        """This round's values beside those of an earlier one."""
        return Gathered({**earlier.values, **self.values}, {**self.withheld, **earlier.withheld})

    def remember(self) -> dict[str, Array]:
        """As a method's memory: named `field/country/label`."""
        kept = {f"{name}/{country}/{label}": value for (country, name, label), value in self.values.items()}
        for (country, label), code in self.withheld.items():
            kept[f"{_WITHHELD}{code}/{country}/{label}"] = np.zeros(0)
        return kept

    @classmethod
    def recall(cls, memory: State) -> Gathered:
        values: dict[tuple[str, str, str], Array] = {}
        withheld: dict[tuple[str, str], str] = {}
        for key, value in memory.items():
            name, country, label = key.split("/", 2)
            if name.startswith(_WITHHELD):
                withheld[country, label] = name.removeprefix(_WITHHELD)
            else:
                values[country, name, label] = np.asarray(value)
        return cls(values, withheld)
