"""Sentences that say how an answer is not the pooled one."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_methods.contract import Contributions


def joined(countries: tuple[str, ...]) -> str:
    return ", ".join(countries)


def of_notes(contributions: Contributions, notes: Mapping[str, str]) -> tuple[str, ...]:
    """The method's declared notes that countries raised, with the countries named."""
    return tuple(
        notes[code].replace("{countries}", joined(countries))
        for code, countries in contributions.notes().items()
        if code in notes
    )


def of_withheld(what: str, withheld: Mapping[str, str], covered: tuple[str, ...]) -> str:
    """That some countries' share of `what` was withheld, by which rule, and which countries it covers."""
    by_rule = ", ".join(f"{country} withheld ({code})" for country, code in withheld.items())
    return f"{what}: {by_rule}; " + (f"it covers {joined(covered)}" if covered else "no country is left in it")
