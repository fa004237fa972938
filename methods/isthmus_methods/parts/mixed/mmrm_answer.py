"""What people read of an MMRM: coefficients, Sigma, least-squares means by visit, each with its degrees of freedom.

Source: Satterthwaite (1946); Giesbrecht & Burns (1985), Biometrics 41, 477-486; Kenward & Roger (1997), Biometrics 53,
983-997, without the term of second derivatives, which an unstructured covariance in its elements does not have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array, Booleans
from isthmus_methods.parts.inference import matrix, number
from isthmus_methods.parts.ls_means import Weights, arm_means, equal_weights, proportional_weights
from isthmus_methods.parts.mixed.mixed_columns import Basis
from isthmus_methods.parts.mixed.mixed_coordinates import (
    Coordinates,
    centred_means,
    columns_present,
    coordinates,
    level_rows,
)
from isthmus_methods.parts.mixed.reml_search import Found, reml_loglik

NOT_ESTIMABLE: dict[str, Answer] = dict.fromkeys(
    (
        "estimate",
        "se",
        "t",
        "df_satterthwaite",
        "p_satterthwaite",
        "ci95_satterthwaite_lower",
        "ci95_satterthwaite_upper",
        "se_kenward_roger_linear",
        "p_kenward_roger_linear",
        "df_residual_nlme",
        "p_residual_df",
        "p_normal",
    )
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer is asked to have."""

    arm: str  # factor; "" for no least-squares means
    control: str
    visit: str
    visits: tuple[str, ...]  # those that have records


@dataclass(frozen=True, slots=True)
class Tests:
    """t tests of combinations (p,) of the centred columns' coefficients."""

    beta: Array  # (p,), the outcome's centre added to the intercept
    spread: Array  # (p, p)
    slopes: Array  # (q, p, p), C F_a C
    weights: Array  # (q, q)
    adjusted: Array  # (p, p), of Kenward and Roger
    residual_df: int
    where: Coordinates

    @classmethod
    def of(cls, found: Found, where: Coordinates, middle: float) -> Tests:
        spread = found.point.spread
        of_x = found.slopes[:, :-1, :-1]
        carried = spread @ of_x
        crossed = np.einsum("ab,aij,bjk->ik", found.weights, carried, carried, optimize=True) @ spread
        adjusted = spread + 2.0 * (spread @ found.second[:-1, :-1] @ spread - crossed)
        beta = found.point.beta.copy()
        beta[0] += middle
        residual_df = round(float(found.plain[0, 0])) - int(found.kept.sum())
        return cls(beta, spread, carried @ spread, found.weights, (adjusted + adjusted.T) / 2, residual_df, where)

    def mean(self, combined: Array) -> dict[str, Answer]:
        """`test` of a combination of all columns; None all over where it is not estimable."""
        return self.test(combined) if self.where.estimable(combined) else dict(NOT_ESTIMABLE)

    def test(self, combined: Array) -> dict[str, Answer]:
        """The estimate of a combination of the columns kept, and its tests."""
        line = np.where(self.where.kept, combined, 0.0)
        estimate, variance = float(line @ self.beta), float(line @ self.spread @ line)
        if not variance > 0:
            return dict(NOT_ESTIMABLE)
        se, gradient = math.sqrt(variance), np.einsum("i,aij,j->a", line, self.slopes, line, optimize=True)
        t, df = estimate / se, 2.0 * variance**2 / float(gradient @ self.weights @ gradient)
        reach = float(special.stdtrit(df, 0.975)) * se
        kenward_roger = math.sqrt(max(float(line @ self.adjusted @ line), 0.0))
        return {
            "estimate": estimate,
            "se": se,
            "t": t,
            "df_satterthwaite": df,
            "p_satterthwaite": two_sided(t, df),
            "ci95_satterthwaite_lower": estimate - reach,
            "ci95_satterthwaite_upper": estimate + reach,
            "se_kenward_roger_linear": kenward_roger,
            "p_kenward_roger_linear": two_sided(estimate / kenward_roger, df) if kenward_roger > 0 else None,
            "df_residual_nlme": self.residual_df,
            "p_residual_df": two_sided(t, self.residual_df),
            "p_normal": 2.0 * float(special.ndtr(-abs(t))),
        }


def two_sided(t: float, df: float) -> float | None:
    """Two-sided p of Student's t."""
    return number(2.0 * float(special.stdtr(df, -abs(t))))


def mmrm_answer(found: Found, basis: Basis, centre: Array, middle: float, asked: Asked) -> dict[str, Answer]:
    """The part of the answer that is made of the sums."""
    rows = level_rows(basis, found.plain)
    present = columns_present(basis, rows) & _visits_present(basis, asked)
    where = coordinates(basis, centre, found.plain, found.kept, present)
    tests = Tests.of(found, where, middle)
    names, m = where.names(basis), len(asked.visits)
    fixed: dict[str, Answer] = {
        basis.terms.names[j]: tests.test(where.combinations[j]) if found.kept[j] else dict(NOT_ESTIMABLE)
        for j in np.flatnonzero(present)
    }
    sigma = found.point.sigma
    sd = np.sqrt(np.diag(sigma))
    covariance = np.where(
        np.outer(found.kept, found.kept), where.combinations @ tests.spread @ where.combinations.T, np.nan
    )
    rank, loglik = int(found.kept.sum()), reml_loglik(found, where.relation)
    means = centred_means(basis, found.plain)
    answer: dict[str, Answer] = {
        "n_records": round(float(found.plain[0, 0])),
        "covariate_means_over_records": _means(basis, means, centre),
        "fixed": fixed,
        "vcov_beta": matrix(names, covariance[np.ix_(present, present)]),
        "sigma_matrix": matrix(asked.visits, sigma),
        "correlation": matrix(asked.visits, _unit_diagonal(sigma / np.outer(sd, sd))),
        "loglik_reml": loglik,
        "minus2_reml": -2.0 * loglik,
        "aic_reml_fixed_plus_cov_nlme": -2.0 * loglik + 2.0 * (rank + m * (m + 1) / 2),
        "aic_reml_cov_only_sas_mmrm": -2.0 * loglik + m * (m + 1),
    }
    if asked.visit in rows:
        # known from the model's own sums, where a country's gate withheld the counts too
        answer["records_per_visit"] = {visit: rows[asked.visit][visit] for visit in asked.visits}
    if not asked.arm:
        return answer
    return answer | _ls_means(tests, basis, rows, means, asked)


def _ls_means(
    tests: Tests, basis: Basis, rows: Mapping[str, Mapping[str, int]], means: Mapping[str, float], asked: Asked
) -> dict[str, Answer]:
    counted: dict[str, Array | None] = dict.fromkeys(name for name, _ in basis.terms.factors)
    counted |= {name: np.array(list(own.values()), dtype=np.float64) for name, own in rows.items()}
    levels = basis.terms.levels_present(counted)
    return {
        "ls_means_equal_weights": _by_visit(tests, basis, equal_weights(levels), means, asked, levels[asked.arm]),
        "ls_means_proportional_weights": _by_visit(
            tests, basis, proportional_weights(rows), means, asked, levels[asked.arm]
        ),
    }


def _by_visit(
    tests: Tests,
    basis: Basis,
    weights: Weights,
    means: Mapping[str, float],
    asked: Asked,
    arms: tuple[str, ...],
) -> dict[str, Answer]:
    by_visit: dict[str, Answer] = {}
    averaged = {name for name, _ in basis.terms.factors} - {asked.arm, asked.visit}
    if not averaged <= weights.keys() or not frozenset[str]().union(*basis.numbers) <= means.keys():
        # a factor or a number that stands only in products: what to average it over is not known
        return {}
    for visit in asked.visits:
        lines = arm_means(basis.terms, asked.arm, arms, asked.control, weights, means, {asked.visit: visit})
        by_visit[f"{asked.visit}={visit}"] = {
            "means": {arm: tests.mean(line) for arm, line in lines.means.items()},
            "difference_vs_control": {arm: tests.mean(line) for arm, line in lines.differences.items()},
        }
    return by_visit


def _visits_present(basis: Basis, asked: Asked) -> Booleans:
    return np.array(
        [all(f != basis.visit or level in asked.visits for f, level in pairs) for pairs in basis.terms.levels],
        dtype=np.bool_,
    )


def _means(basis: Basis, means: Mapping[str, float], centre: Array) -> dict[str, Answer]:
    middle = dict(zip(basis.centred, centre.tolist(), strict=True))
    return {name: mean + middle.get(name, 0.0) for name, mean in means.items()}


def _unit_diagonal(correlation: Array) -> Array:
    exact = correlation.copy()
    np.fill_diagonal(exact, 1.0)
    return exact
