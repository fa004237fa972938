"""What people read of a linear mixed model with random intercepts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array, Booleans
from isthmus_methods.parts.inference import coefficients, matrix
from isthmus_methods.parts.mixed.mixed_columns import Basis
from isthmus_methods.parts.mixed.mixed_coordinates import Coordinates, columns_present, coordinates, level_rows
from isthmus_methods.parts.mixed.random_intercepts import Fit, Group, fit

SINGULAR = (
    "the random intercept's variance is estimated as zero, the boundary of what it can be: the groups differ no more "
    "than their records do, and the other estimates are those of a model without it"
)
SINGULAR_SUBJECTS = "the variance between subjects is estimated as zero, the boundary of what it can be"


def lmm_answer(
    groups: Sequence[Group],
    found: Fit,
    rho: float | None,
    basis: Basis,
    fitted: tuple[Array, float, Array, Booleans],
    subjects: int,
) -> tuple[dict[str, Answer], tuple[str, ...]]:
    """The answer, and caveats.

    Parameters
    ----------
    groups : their sums at `rho`.
    found : the REML fit.
    rho : the subjects' variance by the records'; None where subjects have no intercept.
    fitted : centre of the numbers, of the outcome; cross-products (P, P) of columns and outcome; columns kept (p,).
    """
    centre, middle, plain, kept = fitted
    present = columns_present(basis, level_rows(basis, plain))
    where = coordinates(basis, centre, plain, kept, present)
    records = round(float(plain[0, 0]))
    names = tuple(group.name for group in groups)
    caveats = [SINGULAR] if found.ratio == 0 else []
    if rho is not None:
        caveats += [SINGULAR_SUBJECTS] if rho == 0 else []
        block = _block(found, where, basis, middle, names)
        nested: dict[str, Answer] = {"tau2_subject": rho * found.sigma2, "tau_subject": math.sqrt(rho * found.sigma2)}
        total = found.sigma2 * (1.0 + rho) + found.tau2
        shares: dict[str, Answer] = {
            "icc": found.tau2 / total,
            "icc_subject": (found.tau2 + rho * found.sigma2) / total,
        }
        own = {**block, **nested, **shares, **_criteria(block["loglik"], where, records, 3)}
        return {"n": records, "groups": len(groups), "subjects": subjects, "REML": own}, tuple(caveats)
    likely = fit(groups, kept, float(records), restricted=False)
    none = fit(groups, kept, float(records), restricted=False, fixed=0.0)
    statistic = max(2.0 * (likely.loglik - none.loglik), 0.0)
    answer: dict[str, Answer] = {"n": records, "groups": len(groups)}
    for name, one in (("REML", found), ("ML", likely)):
        block = _block(one, where, basis, middle, names)
        answer[name] = {
            **block,
            "icc": one.tau2 / (one.tau2 + one.sigma2),
            **_criteria(block["loglik"], where, records, 2),
        }
    answer["lrt_random_intercept_ML"] = {
        "statistic": statistic,
        "p_half_chi2_1": 0.5 * float(special.chdtrc(1, statistic)),
    }
    return answer, tuple(caveats)


def _block(found: Fit, where: Coordinates, basis: Basis, middle: float, names: Sequence[str]) -> dict[str, Answer]:
    present, kept = where.present, where.kept
    beta = found.beta.copy()
    beta[0] += middle
    estimates = np.where(kept, where.combinations @ beta, np.nan)
    covariance = np.where(np.outer(kept, kept), where.combinations @ found.spread @ where.combinations.T, np.nan)
    shown, spread = estimates[present], covariance[np.ix_(present, present)]
    loglik = found.loglik
    if found.restricted:
        # of the model's own columns, not of the centred ones
        loglik -= float(np.linalg.slogdet(where.relation)[1])
    return {
        "fixed": coefficients(where.names(basis), shown, spread, hazard_ratio=False),
        "sigma2": found.sigma2,
        "sigma": math.sqrt(found.sigma2),
        "tau2_country": found.tau2,
        "tau_country": math.sqrt(found.tau2),
        "loglik": loglik,
        "vcov": matrix(where.names(basis), spread),
        "blup": dict(zip(names, found.effects.tolist(), strict=True)),
        "blup_cond_sd": dict(zip(names, found.effect_sd.tolist(), strict=True)),
    }


def _criteria(loglik: Answer, where: Coordinates, records: int, variances: int) -> Mapping[str, Answer]:
    value = float(loglik) if isinstance(loglik, float) else math.nan
    parameters = int(where.kept.sum()) + variances
    return {"aic": -2.0 * value + 2.0 * parameters, "bic": -2.0 * value + math.log(records) * parameters}
