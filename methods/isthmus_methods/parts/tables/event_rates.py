"""What is read from persons with an event, events and time at risk by arm: incidence, rates, arms compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import Z95
from isthmus_methods.parts.tables.two_arms import clopper_pearson, fisher_p_2x2, garwood, interval, risk_difference

DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Arms:
    """Subjects and exposure by arm, over the countries that an answer covers."""

    names: tuple[str, ...]
    control: int
    rate_per: float
    subjects: Array  # (A, 2) with and without an exposure
    exposure: Array | None  # (A,) days; None: withheld by some country

    def answer(self) -> dict[str, Answer]:
        """Subjects, days, years and mean exposure of each arm."""
        told: dict[str, Answer] = {}
        for k, name in enumerate(self.names):
            days = None if self.exposure is None else float(self.exposure[k])
            told[name] = {
                "N": round(float(self.subjects[k].sum())),
                "exposure_days": days,
                "person_years": None if days is None else days / DAYS_A_YEAR,
                "exposure_mean": None if days is None or not self.subjects[k, 0] else days / float(self.subjects[k, 0]),
            }
        return told


def by_arm_of(arms: Arms, persons: Array, events: Array, lost: Array | None) -> dict[str, Answer]:
    """Incidence, event rate and exposure-adjusted incidence rate of one set of events, arm by arm.

    Parameters
    ----------
    persons, events, lost : (A,), subjects with an event, events, exposure after the first.
    """
    return {name: _arm(arms, k, persons, events, lost) for k, name in enumerate(arms.names)}


def _arm(arms: Arms, k: int, persons: Array, events: Array, lost: Array | None) -> dict[str, Answer]:
    x, n, number = float(persons[k]), float(arms.subjects[k].sum()), float(events[k])
    days = math.nan if arms.exposure is None else float(arms.exposure[k])
    at_risk = math.nan if lost is None else days - float(lost[k])
    low, high = clopper_pearson(x, n)
    return {
        "n_subjects": round(x),
        "N": round(n),
        "percent": 100.0 * x / n if n else None,
        "clopper_pearson95_percent": interval(100.0 * low, 100.0 * high),
        "n_events": round(number),
        **_rate("event_rate", number, days, arms.rate_per),
        "time_at_risk": None if math.isnan(at_risk) else at_risk,
        **_rate("eair", x, at_risk, arms.rate_per),
    }


def _rate(name: str, x: float, time: float, per: float) -> dict[str, Answer]:
    known = time > 0
    low, high = garwood(x, time) if known else (math.nan, math.nan)
    return {name: x / time * per if known else None, f"{name}_ci95": interval(low * per, high * per)}


def block_of(arms: Arms, persons: Array, events: Array, lost: Array | None) -> dict[str, Answer]:
    """`by_arm_of`, and each arm against control."""
    return {
        "by_arm": by_arm_of(arms, persons, events, lost),
        "vs_control": {name: _versus(arms, k, persons, lost) for k, name in enumerate(arms.names) if k != arms.control},
    }


def _versus(arms: Arms, k: int, persons: Array, lost: Array | None) -> Mapping[str, Answer]:
    x1, x0 = float(persons[k]), float(persons[arms.control])
    n1, n0 = float(arms.subjects[k].sum()), float(arms.subjects[arms.control].sum())
    ratio = math.nan
    if arms.exposure is not None and lost is not None and x1 and x0:
        t1, t0 = (float(arms.exposure[j] - lost[j]) for j in (k, arms.control))
        ratio = (x1 / t1) / (x0 / t0) if t1 > 0 and t0 > 0 else math.nan
    reach = Z95 * math.sqrt(1 / x1 + 1 / x0) if x1 and x0 else math.nan
    return {
        "risk_difference": risk_difference(x1, n1, x0, n0),
        "risk_ratio": (x1 / n1) / (x0 / n0) if x1 and x0 else None,
        "fisher_p": fisher_p_2x2(round(x1), round(n1), round(x0), round(n0)),
        "eair_ratio": None if math.isnan(ratio) else ratio,
        "eair_ratio_ci95": interval(ratio * math.exp(-reach), ratio * math.exp(reach)),
    }
