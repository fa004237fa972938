"""Test of proportional hazards: the score test of adding x g(t) to the model at its own estimate.

Source: Grambsch & Therneau (1994), Biometrika 81, 515-526; as an exact score test, Therneau, survival 3.0 (`cox.zph`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Answer, Array, Booleans
from isthmus_methods.parts.cross_product import CrossProduct
from isthmus_methods.parts.inference import chi_square_p
from isthmus_methods.parts.newton import quadratic, solve
from isthmus_methods.parts.survival.partial_likelihood import RiskSets, cross_product, information, row_slots
from isthmus_methods.parts.survival.risk_sets import SortedRows


@dataclass(frozen=True, slots=True)
class Weighted:
    """One block's sums with the event times weighted by g and by g^2. Adds."""

    centre: Array  # (p,)
    once: CrossProduct
    twice: CrossProduct
    events_x: Array  # (p,) sum over events of g (x - centre)
    events_g: float  # sum over events of g

    def __add__(self, other: Weighted) -> Weighted:
        moved = other.events_x + other.events_g * (other.centre - self.centre)
        return Weighted(
            self.centre,
            self.once + other.once,
            self.twice + other.twice,
            self.events_x + moved,
            self.events_g + other.events_g,
        )


def weighted(rows: SortedRows, sets: RiskSets, g: Array) -> Weighted:
    """The sums of one block; `g` (J,) at the event times."""
    _, died, _ = row_slots(rows, sets)
    at_events = g[died]
    return Weighted(
        rows.centre,
        cross_product(rows, sets, False, g),
        cross_product(rows, sets, False, g * g),
        at_events @ rows.x[rows.death_rows, 1:],
        float(at_events.sum()),
    )


def pieces(total: Weighted, sets: RiskSets, g: Array) -> dict[str, Array]:
    """What leaves: sum of g over events, sum of g (x - xbar), information with g and with g^2."""
    expected = (sets.hazard * g) @ sets.at_risk[:, 1:] - (sets.death_hazard * g) @ sets.dying[:, 1:]
    observed = total.events_x + total.events_g * (total.centre - sets.centre)
    return {
        "events": np.array([total.events_g]),
        "score": observed - expected,
        "information": information(total.once, sets, g),
        "information_squared": information(total.twice, sets, g * g),
    }


def left_continuous_survival(table: Array) -> Array:
    """1 - S(t-) on the grid, S the Kaplan-Meier curve of all rows, (T,).

    Parameters
    ----------
    table : (3, T), events, leavers and late entries at each step.
    """
    events, leavers, entries = table
    at_risk = np.cumsum(leavers[::-1])[::-1] - np.cumsum(entries[::-1])[::-1]
    stay = np.where(at_risk > 0, 1.0 - events / np.where(at_risk > 0, at_risk, 1.0), 1.0)
    return 1.0 - np.concatenate([[1.0], np.cumprod(stay)[:-1]])


def proportionality_tests(
    terms: Sequence[tuple[str, Sequence[int]]],
    score: Array,
    info: Array,
    summed: Mapping[str, Array],
    n_event: float,
    kept: Booleans,
) -> dict[str, Answer]:
    """One score test a term, and one of all.

    Parameters
    ----------
    terms : name of each term and its columns.
    score, info : (p,), (p, p) of the model itself, at the estimate.
    summed : `pieces` of all countries.
    kept : (p,), columns that have an estimate.
    """
    mean = float(summed["events"][0]) / n_event
    u = summed["score"] - mean * score
    once = summed["information"] - mean * info
    twice = summed["information_squared"] - 2.0 * mean * summed["information"] + mean**2 * info
    main = np.flatnonzero(kept)
    answer: dict[str, Answer] = {}
    for name, columns in (*terms, ("GLOBAL", range(len(kept)))):
        chosen = np.array([j for j in columns if kept[j]], dtype=np.int64)
        if not len(chosen):
            continue
        both = np.block(
            [
                [info[np.ix_(main, main)], once[np.ix_(main, chosen)]],
                [once[np.ix_(chosen, main)], twice[np.ix_(chosen, chosen)]],
            ]
        )
        vector = np.concatenate([np.zeros(len(main)), u[chosen]])
        statistic, df = quadratic(vector, both), int(solve(both).kept[len(main) :].sum())
        answer[name] = {"chisq": statistic, "df": df, "p": chi_square_p(statistic, df)}
    return answer
