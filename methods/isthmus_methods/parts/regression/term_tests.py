"""F tests of a linear model's terms: type II, given all that do not contain it, and type III, sum-to-zero coding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Answer, Array, Booleans
from isthmus_methods.parts.inference import f_p, number
from isthmus_methods.parts.ls_means import numbers_in
from isthmus_methods.parts.model_terms import INTERCEPT, ModelTerms

# Two sets of columns span the same where no direction of length 1 adds more than this.
SAME = 1e-6
# A product of indicators of levels and of numeric columns.
Monomial = tuple[frozenset[tuple[str, str]], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Projection:
    """The outcome's part in the model's space, in coordinates in which the model's cross-product is the identity."""

    columns: Array  # (r, p): the model's columns
    outcome: Array  # (r,)
    independent: bool  # no column is a combination of others

    def basis(self, picked: Sequence[int]) -> Array:
        """An orthonormal basis of the space of some columns, (r, rank)."""
        chosen = self.columns[:, list(picked)]
        sizes = np.sqrt((chosen**2).sum(axis=0))
        chosen = chosen[:, sizes > 0] / sizes[sizes > 0]
        if not chosen.size:
            return np.zeros((len(self.outcome), 0))
        if self.independent:
            return np.asarray(np.linalg.qr(chosen)[0])
        left, values, _ = np.linalg.svd(chosen, full_matrices=False)
        return np.asarray(left[:, values > SAME])

    def added(self, given: Sequence[int], new: Sequence[int]) -> tuple[float, int]:
        """Sum of squares and degrees of freedom that `new` columns explain beyond those `given`."""
        base = self.basis(given)
        both = self.basis([*given, *new])
        beyond = both - base @ (base.T @ both)
        # what is left of an orthonormal basis has singular values of 1, and of 0 in the space given
        left, values, _ = np.linalg.svd(beyond, full_matrices=False)
        extra = left[:, values > 0.5]
        return float(((extra.T @ self.outcome) ** 2).sum()), extra.shape[1]


def f_test(ss: float, df: int, residual: float, residual_df: int) -> dict[str, Answer]:
    """One line of an analysis of variance; `residual` : residual sum of squares."""
    possible = df > 0 and residual_df > 0 and residual > 0
    f = ss / df / (residual / residual_df) if possible else float("nan")
    return {
        "ss": number(ss) if df > 0 else None,
        "df": df,
        "F": number(f),
        "p": f_p(f, df, residual_df) if possible else None,
    }


def type_two(
    terms: ModelTerms, present: Booleans, model: Projection, residual: float, residual_df: int
) -> dict[str, Answer]:
    """Each term given all others that do not contain it.

    Source: Yates (1934), JASA 29, 51-66; Fox (2016), Applied Regression Analysis, 3rd ed., section 8.2.
    """
    answer: dict[str, Answer] = {}
    for k, (name, columns) in enumerate(terms.terms):
        mine = [j for j in columns if present[j]]
        if not mine:
            continue
        others = [0] if terms.intercept else []
        for m, (_, theirs) in enumerate(terms.terms):
            if m != k and not terms.parts[k] < terms.parts[m]:
                others += [j for j in theirs if present[j]]
        ss, df = model.added(others, mine)
        answer[name] = f_test(ss, df, residual, residual_df)
    return answer


def sum_to_zero(terms: ModelTerms, present: Booleans, levels: Mapping[str, tuple[str, ...]]) -> Array | None:
    """The columns in sum-to-zero coding as combinations of those in treatment coding, (p', p'), both of `present`.

    None where a product stands without the lower ones it contains, so that the codings do not span the same.
    `levels` : of each factor those with rows, the reference first.
    """
    numbers = numbers_in(terms)
    places: dict[Monomial, int] = {}
    shown = np.flatnonzero(present)
    for place, j in enumerate(shown):
        places[frozenset(terms.levels[j]), numbers[j]] = place
    coded = np.zeros((len(shown), len(shown)))
    for place, j in enumerate(shown):
        total: dict[Monomial, float] = {(frozenset(), numbers[j]): 1.0}
        for factor, level in terms.levels[j]:
            # 1[level] - 1[reference], the reference written as 1 - sum of the others
            own: dict[frozenset[tuple[str, str]], float] = {frozenset(): -1.0}
            for other in levels[factor][1:]:
                own[frozenset({(factor, other)})] = 2.0 if other == level else 1.0
            product: dict[Monomial, float] = {}
            for (pairs, names), a in total.items():
                for pair, b in own.items():
                    key = pairs | pair, names
                    product[key] = product.get(key, 0.0) + a * b
            total = product
        for key, value in total.items():
            if key not in places:
                return None
            coded[places[key], place] = value
    return coded


def type_three(
    terms: ModelTerms,
    present: Booleans,
    levels: Mapping[str, tuple[str, ...]],
    back: Array,
    estimates: Array,
    inverse: Array,
    residual: float,
    residual_df: int,
) -> dict[str, Answer] | None:
    """Each term's columns in the whole model, factors in sum-to-zero coding, the intercept at covariates 0.

    Parameters
    ----------
    present : (p,), columns in the model, none of them aliased; p' in number.
    back : (p', p'), from the coordinates of the fit to the coefficients.
    estimates, inverse : (p',) and (p', p'), in the coordinates of the fit: coefficients and the inverse cross-product.

    None where the codings do not span the same space.

    Source: Searle (1971), Linear Models, chapter 5; as R's `car::Anova(type = 3)` under `contr.sum`.
    """
    coded = sum_to_zero(terms, present, levels)
    if coded is None:
        return None
    whole = np.linalg.solve(coded, back)
    place = {int(j): k for k, j in enumerate(np.flatnonzero(present))}
    answer: dict[str, Answer] = {}
    for name, columns in ((INTERCEPT, (0,)), *terms.terms):
        mine = [place[j] for j in columns if present[j]]
        if not mine:
            continue
        rows = whole[mine]
        tested, spread = rows @ estimates, rows @ inverse @ rows.T
        scale = 1.0 / np.sqrt(np.diag(spread))
        unit = np.linalg.solve(spread * np.outer(scale, scale), tested * scale)
        answer[name] = f_test(float(tested * scale @ unit), len(mine), residual, residual_df)
    return answer
