"""The catalogue: what is mounted, a module a family, and what is only listed, in the order of its numbers."""

from __future__ import annotations

import re

from attacks.attack import Attack, Listed
from attacks.mounted import cells, cohorts, countries, exchange, listed, models, requests, sealed, time_tables, training

CATALOGUE: tuple[Attack | Listed, ...] = tuple(
    sorted(
        (
            *cells.ATTACKS,
            *models.ATTACKS,
            *time_tables.ATTACKS,
            *requests.ATTACKS,
            *cohorts.ATTACKS,
            *exchange.ATTACKS,
            *countries.ATTACKS,
            *sealed.ATTACKS,
            *training.ATTACKS,
            *listed.LISTED,
        ),
        key=lambda attack: (attack.number, attack.variant),
    )
)


def chosen(only: str) -> list[Attack | Listed]:
    """Those whose name or title a pattern is found in; numbers with commas between name them exactly."""
    if re.fullmatch(r"\d+[a-z]?(,\d+[a-z]?)*", only):
        names = only.split(",")
        return [a for a in CATALOGUE if a.name in names or str(a.number) in names]
    return [a for a in CATALOGUE if re.search(only, f"{a.name} {a.title}")]
