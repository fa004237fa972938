"""Sentences that say how an answer is not the pooled one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isthmus_methods.contract import Array, Booleans, Contributions
from isthmus_methods.parts.newton import Move


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


def of_field(contributions: Contributions, field: str, label: str, what: str) -> list[str]:
    """The same of one field, here called `what`; nothing where every gate let it out."""
    missing = contributions.withheld(field, label)
    covered = tuple(s.country for s in contributions.summaries if (field, label) in s.values)
    return [of_withheld(what, missing, covered)] if missing else []


def of_fields(contributions: Contributions, names: Mapping[str, str], *, labelled: bool = False) -> list[str]:
    """The same of several fields, by what they are for: each sentence once. `labelled` : their labels with it."""
    said: dict[str, None] = {}
    for field, what in names.items():
        for label in contributions.labels(field):
            said |= dict.fromkeys(
                of_field(contributions, field, label, f"{what} {label}".strip() if labelled else what)
            )
    return list(said)


def of_fit(
    over: Move | None, names: Sequence[str], infinite: Array | Booleans, rounds: float, which: str = ""
) -> list[str]:
    """How a fit did not end at a maximum; nothing where it did.

    `infinite` : of the coefficients `names`, those that had not converged. `which` : of several fits, which one.
    """
    if over is Move.INFINITE:
        far = ", ".join(name for name, on in zip(names, infinite, strict=True) if on)
        return [f"the log-likelihood converged before {far}: the coefficient may be infinite (separation){which}"]
    return [] if over is Move.CONVERGED else [not_converged(rounds) + which]


def not_converged(rounds: float) -> str:
    return f"the fit did not converge in {round(rounds)} rounds: the numbers are its last step's"
