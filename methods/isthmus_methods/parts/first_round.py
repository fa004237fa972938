"""What the first round of a regression says about its rows: kept at the coordinator, told in the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Contributions, Spec, State
from isthmus_methods.parts import caveats
from isthmus_methods.parts.model_terms import ModelTerms, level_rows

# Notes that the countries of every regression raise.
NO_ROWS, LEVEL_ABSENT = "NO_ROWS", "LEVEL_ABSENT"
NO_ROWS_SAYS = "{countries}: no complete rows, so nothing of it is in the model"
LEVEL_ABSENT_SAYS = "{countries}: no row has one of the levels, so the others alone say what its effect is"


def remember_rows(contributions: Contributions, spec: Spec, terms: ModelTerms) -> dict[str, Array]:
    """Rows left out by country, rows at each level over countries, and the notes that countries raised."""
    kept: dict[str, Array] = {}
    for country, number in contributions.by_country("excluded").items():
        kept[f"excluded {country}"] = number
    for name, number_at in level_rows(contributions, terms).items():
        if number_at is not None:
            kept[f"levels {name}"] = number_at
    kept |= {f"every level {country}": np.ones(1) for country in _lacking_nothing(contributions, spec, terms)}
    return {**kept, **remember_notes(contributions)}


def _lacking_nothing(contributions: Contributions, spec: Spec, terms: ModelTerms) -> list[str]:
    """Countries with rows at every level that any country has: a level of nobody is dropped, and no country lacks it.

    None where a gate withheld rows by level. Levels of the country itself do not count: a country has one.
    """
    lacking: set[str] = set()
    for name, _ in terms.factors:
        if spec.is_country(name):
            continue
        pooled = contributions.whole("levels", name)
        if pooled is None:
            return []
        for country, rows in contributions.by_country("levels", name).items():
            if np.any((rows == 0) & (pooled > 0)):
                lacking.add(country)
    return [country for country in contributions.countries if country not in lacking]


def remember_notes(contributions: Contributions) -> dict[str, Array]:
    """The notes that countries raised in this round."""
    return {
        f"note {code} {country}": np.ones(1)
        for code, countries in contributions.notes().items()
        for country in countries
    }


def told_rows(kept: State, terms: ModelTerms) -> dict[str, Answer]:
    """Rows left out by country, and rows at each level, of `remember_rows`."""
    return {
        "excluded": {
            key.removeprefix("excluded "): round(float(kept[key][0])) for key in kept if key.startswith("excluded ")
        },
        "levels": {
            name: {level: round(float(x)) for level, x in zip(levels, kept[f"levels {name}"], strict=True)}
            for name, levels in terms.factors
            if f"levels {name}" in kept
        },
    }


def told_notes(kept: State, spec: Spec, notes: Mapping[str, str], codes: Collection[str]) -> list[str]:
    """The sentences of some of the notes, with the countries that raised them in the study's order.

    A country knows its own rows alone: that it has none at a level is no news where no country has any.
    """
    said = []
    for code, sentence in notes.items():
        start = f"note {code} "
        raised = [key.removeprefix(start) for key in kept if key.startswith(start)]
        raised = [country for country in raised if country not in no_news(kept).get(code, ())]
        countries = tuple(c for c in dict.fromkeys([*spec.countries, *raised]) if c in raised)
        if code in codes and countries:
            said.append(sentence.replace("{countries}", caveats.joined(countries)))
    return said


def no_news(kept: State) -> dict[str, frozenset[str]]:
    """Of `remember_rows`, what need not be told: `Done.no_news`."""
    start = "every level "
    return {LEVEL_ABSENT: frozenset(key.removeprefix(start) for key in kept if key.startswith(start))}


def taking_part(contributions: Contributions, spec: Spec) -> Array:
    """1 for each of the study's countries that takes part in this round, 0 for the others."""
    order = {country: k for k, country in enumerate(spec.countries or contributions.countries)}
    present = np.zeros(len(order))
    for country in contributions.countries:
        if country in order:
            present[order[country]] = 1.0
    return present


def check_same_countries(contributions: Contributions, spec: Spec, before: Array) -> None:
    """Raise `MethodError` unless the countries are those that took part `before`."""
    if not np.array_equal(before, taking_part(contributions, spec)):
        raise MethodError(
            "COUNTRIES_CHANGED",
            "a country left or joined in the middle of the fit, and its share cannot be taken out of earlier rounds",
            "run the analysis again with the countries that stay",
        )
