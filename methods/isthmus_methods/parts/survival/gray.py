"""Gray's test of the cumulative incidence of one cause between groups, within strata.

Source: Gray (1988), Ann. Statist. 16, 1141-1154, rho = 0; step for step as R cmprsk's `cuminc` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import chi_square_p
from isthmus_methods.parts.time_table import at_risk


def gray_pieces(counts: Array, censored: int, cause: int) -> tuple[Array, Array]:
    """Scores (K,) and their covariance (K, K) within one stratum.

    Parameters
    ----------
    counts : (K, levels, T), leavers by group, level of the cause and step.
    censored, cause : the level of no event, and the one tested.
    """
    left = counts.sum(axis=1)
    events = left - counts[:, censored]
    used = np.flatnonzero(events.sum(axis=0))
    n = at_risk(np.rint(left).astype(np.int64))[:, used].astype(np.float64)
    own, every = counts[:, cause][:, used], events[:, used]
    groups = len(counts)
    score, covariance = np.zeros(groups), np.zeros((groups, groups))
    c = np.zeros((groups, groups))  # columns: what one group adds to all
    v2, v3 = np.zeros((groups, groups)), np.zeros(groups)
    survival, incidence, null = np.ones(groups), np.zeros(groups), 0.0
    for k in range(len(used)):
        risk, d1, d = n[:, k], own[:, k], every[:, k]
        there = risk > 0
        before = survival.copy()
        weight = np.where(there, risk / np.where(before > 0, before, 1.0), 0.0)
        survival = np.where(there, before * (1.0 - d / np.where(there, risk, 1.0)), before)
        earlier = incidence.copy()
        incidence = np.where(there, earlier + before * d1 / np.where(there, risk, 1.0), earlier)
        total, free = float(weight.sum()), float((weight * (1.0 - earlier)).sum())
        events_here, null_before = float(d1.sum()), null
        if events_here > 0:
            null += events_here / total
            score += d1 - events_here * weight * (1.0 - earlier) / free
            a = np.diag(weight) - np.outer(weight, weight) / total
            c += a * events_here / (total * (1.0 - null_before))
            for i in np.flatnonzero(there):
                t4 = 1.0 - (1.0 - null) / survival[i] if survival[i] > 0 else 1.0
                tied = 1.0 - (events_here - 1.0) / (total * before[i] - 1.0) if events_here > 1 else 1.0
                q = tied * before[i] * events_here / (total * risk[i])
                w = a[:, i] - t4 * c[:, i]
                v3[i] += t4 * t4 * q
                v2[:, i] += w * t4 * q
                covariance += np.outer(w, w) * q
        d2 = d - d1
        for i in np.flatnonzero((d2 > 0) & (survival > 0)):
            t4 = (1.0 - null) / survival[i]
            tied = 1.0 - (d2[i] - 1.0) / (risk[i] - 1.0) if d2[i] > 1 else 1.0
            q = tied * before[i] ** 2 * d2[i] / risk[i] ** 2
            w = t4 * c[:, i]
            v3[i] += t4 * t4 * q
            v2[:, i] -= w * t4 * q
            covariance += np.outer(w, w) * q
    for k in range(groups):
        mine = c[:, k]
        covariance += np.outer(mine, mine) * v3[k] + np.outer(mine, v2[:, k]) + np.outer(v2[:, k], mine)
    return score, covariance


def gray_test(strata: Sequence[Array], censored: int, cause: int) -> dict[str, Answer]:
    """The test over strata, each as `gray_pieces` takes it; groups without rows anywhere do not count."""
    rows = np.sum([counts.sum(axis=(1, 2)) for counts in strata], axis=0)
    present = np.flatnonzero(rows > 0)
    df = len(present) - 1
    if df < 1:
        return {"statistic": None, "p": None, "df": max(df, 0)}
    pieces = [gray_pieces(counts[present], censored, cause) for counts in strata]
    score = np.sum([s for s, _ in pieces], axis=0)[:-1]
    covariance = np.sum([v for _, v in pieces], axis=0)[:-1, :-1]
    if not np.any(np.diag(covariance) > 0):
        return {"statistic": 0.0, "p": None, "df": df}
    statistic = float(score @ np.linalg.lstsq(covariance, score, rcond=1e-12)[0])
    return {"statistic": statistic, "p": chi_square_p(statistic, df), "df": df}
