"""lifelines' and statsmodels' answers on the pooled rows and the seconds they take; reading the rows is not counted.

``python pooled.py PART FOLDER ANSWER.json``
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

said: dict[str, Any] = {}


def rows_of(folder: Path) -> pd.DataFrame:
    columns = {}
    for name in (folder / "columns.txt").read_text(encoding="utf-8").split():
        values = np.fromfile(folder / f"{name}.f8")
        levels = folder / f"{name}.levels"
        if levels.exists():
            names = levels.read_text(encoding="utf-8").splitlines()
            columns[name] = pd.Categorical.from_codes(values.astype(int), names)
        else:
            columns[name] = values
    return pd.DataFrame(columns)


def tell(name: str, version: str, fit: Callable[[], object], **values: Any) -> None:
    """Seconds of up to three runs, fewer where they are long."""
    seconds: list[float] = []
    processor: list[float] = []
    while len(seconds) < 3 and sum(seconds) < 4:
        began, used = time.perf_counter(), time.process_time()
        fit()
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    said[name] = {
        "version": version,
        "seconds": seconds,
        "processor_seconds": processor,
        **{k: np.atleast_1d(np.asarray(v, dtype=float)).tolist() for k, v in values.items()},
    }


def cox(rows: pd.DataFrame, x: list[str]) -> None:
    import lifelines

    used = rows[["DAY", "EVENT", "COUNTRY", *x]]

    def fit(**options: Any) -> Any:
        return lifelines.CoxPHFitter().fit(used, "DAY", "EVENT", strata=["COUNTRY"], **options)

    # its default stops early: tight, to compare the answers
    tight = fit(fit_options={"precision": 1e-12, "r_precision": 1e-14})
    tell("lifelines CoxPHFitter", lifelines.__version__, fit, coef=tight.params_, loglik=tight.log_likelihood_)


def glm(rows: pd.DataFrame, x: list[str]) -> None:
    import statsmodels
    import statsmodels.api as sm
    from statsmodels.formula.api import glm as by_formula

    model = "RESP ~ " + " + ".join(x)

    def array(**options: Any) -> Any:
        return sm.Logit(rows["RESP"].to_numpy(), sm.add_constant(rows[x].to_numpy())).fit(disp=0, **options)

    tight = array(tol=1e-13)
    tell("statsmodels Logit, array", statsmodels.__version__, array, coef=tight.params, deviance=-2 * tight.llf)

    def formula(**options: Any) -> Any:
        return by_formula(model, rows, family=sm.families.Binomial()).fit(**options)

    tight = formula(tol=1e-14)
    tell("statsmodels GLM, formula", statsmodels.__version__, formula, coef=tight.params, deviance=tight.deviance)


def km(rows: pd.DataFrame, _: list[str]) -> None:
    import lifelines
    from lifelines.statistics import logrank_test

    arms = [rows["ARM"] == arm for arm in ("0", "1")]

    def fit() -> tuple[list[Any], Any]:
        curves = [lifelines.KaplanMeierFitter().fit(rows["DAY"][arm], rows["EVENT"][arm]) for arm in arms]
        first, second = arms
        test = logrank_test(rows["DAY"][first], rows["DAY"][second], rows["EVENT"][first], rows["EVENT"][second])
        return curves, test

    curves, test = fit()
    survival = [c.survival_function_.iloc[:, 0][c.event_table["observed"] > 0].to_numpy() for c in curves]
    tell(
        "lifelines KaplanMeierFitter + logrank_test",
        lifelines.__version__,
        fit,
        survival=np.concatenate(survival),
        chisq_unstratified=test.test_statistic,
    )


def lmm(rows: pd.DataFrame, x: list[str], theta: float) -> None:
    import statsmodels
    from statsmodels.formula.api import mixedlm
    from statsmodels.regression import mixed_linear_model

    formula = "Y ~ ARM + SEX + " + " + ".join(x)

    def fit() -> Any:
        return mixedlm(formula, rows, groups=rows["SITE"]).fit(reml=True)

    own: Any = fit()
    # its restricted likelihood at the ratio of the variances that the exchange found
    params: Any = mixed_linear_model.MixedLMParams
    ratio = np.array([[theta**2]])
    coef, _ = own.model.get_fe_params(ratio, np.zeros(0))
    loglik = own.model.loglike(params.from_components(fe_params=coef, cov_re=ratio))
    values = {"coef": coef, "loglik": loglik, "own_coef": own.fe_params, "own_loglik": own.llf}
    tell("statsmodels MixedLM", statsmodels.__version__, fit, **values)


def main() -> None:
    part, folder, answer = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    rows = rows_of(folder)
    theta = folder / "theta.extra"
    parts: dict[str, Callable[[pd.DataFrame, list[str]], None]] = {
        "cox": cox,
        "glm": glm,
        "km": km,
        "lmm": lambda rows, x: lmm(rows, x, float(np.fromfile(theta)[0])),
    }
    if part in parts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts[part](rows, [name for name in rows if name[0] == "X" and name[1:].isdigit()])
    answer.write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
