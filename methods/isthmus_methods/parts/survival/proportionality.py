"""Test of proportional hazards: the score test of adding x g(t) to the model at its own estimate.

Source: Grambsch & Therneau (1994), Biometrika 81, 515-526; as an exact score test, Therneau, survival 3.0 (`cox.zph`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isthmus_methods.contract import Answer, Array, Booleans, ModelSupport, OutcomeSupport
from isthmus_methods.parts.cross_product import CrossProduct, padded_sum
from isthmus_methods.parts.inference import chi_square_p
from isthmus_methods.parts.moments import largest_two
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
    g_by_person: Array  # the same by person
    events_by_person: Array  # number of events by person

    def __add__(self, other: Weighted) -> Weighted:
        moved = other.events_x + other.events_g * (other.centre - self.centre)
        return Weighted(
            self.centre,
            self.once + other.once,
            self.twice + other.twice,
            self.events_x + moved,
            self.events_g + other.events_g,
            padded_sum(self.g_by_person, other.g_by_person),
            padded_sum(self.events_by_person, other.events_by_person),
        )


def weighted(rows: SortedRows, sets: RiskSets, g: Array) -> Weighted:
    """The sums of one block; `g` (J,) at the event times."""
    _, died, _ = row_slots(rows, sets)
    at_events, subject = g[died], rows.subject[rows.death_rows]
    return Weighted(
        rows.centre,
        cross_product(rows, sets, False, g),
        cross_product(rows, sets, False, g * g),
        at_events @ rows.x[rows.death_rows, 1:],
        float(at_events.sum()),
        np.bincount(subject, weights=at_events, minlength=1).astype(np.float64),
        np.bincount(subject, minlength=1).astype(np.float64),
    )


def shape_support(total: Weighted, model: ModelSupport) -> ModelSupport:
    """What the gate judges the sums with g by: the model's own support, and whose g it is.

    The same sums without g leave too, and g and g - c tell as much: each person's share is taken about the events'
    median, so that a g which is the same for all events but a few is theirs.
    """
    there = total.events_by_person > 0
    g, events = total.g_by_person[there], total.events_by_person[there]
    if not len(g):
        return model
    sizes = np.abs(g - events * np.median(g / events))
    largest, second = largest_two(sizes)
    some = int(np.count_nonzero(sizes))
    return replace(model, outcome=OutcomeSupport(some, None, float(largest), float(second), float(sizes.sum())))


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


def is_scale(values: Array) -> bool:
    """Whether these may be a scale of time, at times that ascend: from 0 to 1, and never falling."""
    return bool(np.all((values >= 0.0) & (values <= 1.0)) and np.all(np.diff(values) >= 0.0))


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
