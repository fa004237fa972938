"""What the first round of a regression says about its rows: kept at the coordinator, told in the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Contributions, Spec, State
from isthmus_methods.parts import caveats
from isthmus_methods.parts.model_terms import ModelTerms, level_rows


def remember_rows(contributions: Contributions, terms: ModelTerms) -> dict[str, Array]:
    """Rows left out by country, rows at each level over countries, and the notes that countries raised."""
    kept: dict[str, Array] = {}
    for country, number in contributions.by_country("excluded").items():
        kept[f"excluded {country}"] = number
    for name, number_at in level_rows(contributions, terms).items():
        if number_at is not None:
            kept[f"levels {name}"] = number_at
    return {**kept, **remember_notes(contributions)}


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
    """The sentences of some of the notes, with the countries that raised them in the study's order."""
    said = []
    for code, sentence in notes.items():
        start = f"note {code} "
        raised = [key.removeprefix(start) for key in kept if key.startswith(start)]
        countries = tuple(c for c in dict.fromkeys([*spec.countries, *raised]) if c in raised)
        if code in codes and countries:
            said.append(sentence.replace("{countries}", caveats.joined(countries)))
    return said


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
