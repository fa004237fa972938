"""One round of the pooled half: what the coordinator does as it runs, and an inspector does again years later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isthmus.errors import MethodError
from isthmus_methods.contract import Cleared, Contributions, Done, Kind, Method, Next, Spec, State, leaving
from isthmus_methods.parts.caveats import joined
from isthmus_methods.plausible import check_plausible, remembered

# Before the names of what is kept in a method's memory for the rules of later rounds.
_EARLIER = "plausible:"


def pool_round(
    method: Method, summaries: Sequence[Cleared], spec: Spec, state: State, memory: State, number: int
) -> Next | Done:
    """Pool the countries' summaries of one round.

    Parameters
    ----------
    method
        Its pooled half is run.
    summaries
        One a country, in the study's order: sums are taken in this order, so the bytes of the answer do not depend on
        which country answered first.
    spec
        The request with these countries, and no others.
    state, memory
        What the round was asked with, and what the method kept at the coordinator: empty in the first round.
    number
        Of the round, from 1.

    Raises
    ------
    MethodError
        ``NOT_CONVERGED`` where the method wants more rounds than it may have; whatever its pooled half raises.
    Implausible
        ``IMPLAUSIBLE`` where a country sent sums that no rows can have: nothing is pooled.
    """
    earlier = {key.removeprefix(_EARLIER): value for key, value in memory.items() if key.startswith(_EARLIER)}
    check_plausible(method, summaries, spec, earlier)
    own = {key: value for key, value in memory.items() if not key.startswith(_EARLIER)}
    turn = method.pool(Contributions(tuple(summaries)), spec, state, own)
    if isinstance(turn, Done):
        return replace(turn, caveats=(*turn.caveats, *_rounded(method, summaries, spec), *_topped(summaries)))
    if number >= method.rounds[1]:
        raise MethodError(
            "NOT_CONVERGED",
            f"{method.name} did not converge in {method.rounds[1]} rounds",
            "simplify the model: fewer terms, or merged levels",
        )
    kept = {f"{_EARLIER}{key}": value for key, value in remembered(method, summaries, earlier).items()}
    return replace(turn, memory={**turn.memory, **kept})


def _rounded(method: Method, summaries: Sequence[Cleared], spec: Spec) -> list[str]:
    """Sentences on the countries whose policies round counts, where the request has counts that are rounded."""
    if not any(field.kind is Kind.COUNT for field in leaving(method, spec.options).values()):
        return []
    steps = sorted({summary.rounded_to for summary in summaries} - {1})
    return [
        f"Counts of {joined(tuple(s.country for s in summaries if s.rounded_to == step))} are rounded to multiples of "
        f"{step}, as the policy asks for this purpose, before they are added: totals and what is worked out of counts "
        "are those of the rounded ones. Numbers of rows that sums and models are over are exact."
        for step in steps
    ]


def _topped(summaries: Sequence[Cleared]) -> list[str]:
    """Sentences on the countries that read great ages as smaller ones."""
    return [
        f"Ages above {top:g} years are taken as {top:g} in "
        f"{joined(tuple(s.country for s in summaries if s.ages_up_to == top))}, as the policy asks."
        for top in sorted({summary.ages_up_to for summary in summaries} - {0.0})
    ]
