"""The rows of `r_answers/cox_*.csv`: their dictionary, and R's answers about them in the shape of ours."""

from __future__ import annotations

from typing import Any

from isthmus_methods import contract as c


def number(name: str, **more: Any) -> c.Variable:
    return c.Variable(name, c.VariableType.NUMERIC, may_be_missing=True, **more)


def factor(name: str, *levels: str) -> c.Variable:
    return c.Variable(name, c.VariableType.FACTOR, levels=levels)


VARIABLES = {
    "country": factor("country", "AA", "BB", "CC", "DD", "EE", "FF"),
    "arm": factor("arm", "control", "low", "high"),
    "sex": factor("sex", "f", "m"),
    "stage": factor("stage", "I", "II", "III", "IV"),
    "site": c.Variable("site", c.VariableType.TEXT),
    "id": c.Variable("id", c.VariableType.INTEGER),
    "time": number("time", minimum=0.0, maximum=200.0, grid=1.0),
    **{name: number(name) for name in ("age", "marker", "start", "event", "dose", "sum", "region", "exposed")},
}


def as_ours(theirs: dict[str, Any]) -> dict[str, Any]:
    """R's answer in the shape of ours."""
    coefficients = {key: {"estimate": theirs["estimate"][key], "se": theirs["se"][key]} for key in theirs["estimate"]}
    ours: dict[str, Any] = {
        "n": theirs["n"],
        "n_event": theirs["n_event"],
        "coef": coefficients,
        "loglik_null": theirs["loglik_null"],
        "loglik": theirs["loglik"],
        "score_test": {"statistic": theirs["score_test"], "df": theirs["df"]},
        "lr_test": {"df": theirs["df"]},
    }
    for key in ("concordance", "cox_zph"):
        if key in theirs:
            ours[key] = theirs[key]
    if "robust" in theirs:
        robust = theirs["robust"]
        ours["robust"] = {
            "coef": {key: {"se": se} for key, se in robust["se"].items()},
            "robust_wald": {"statistic": robust["robust_wald"]},
            "robust_score_test": {"statistic": robust["robust_score_test"]},
        }
    return ours
