"""R's calls for what countries say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isthmus_client.r_code.grammar import Call, country_variable, r_column, r_formula
from isthmus_methods.contract import Spec, coefficient_names
from isthmus_methods.request import written_name, written_text

INTERCEPT = "(Intercept)"
TIGHT = "glm.control(epsilon = 1e-15, maxit = 200)"


def _meta_analysis(spec: Spec, rows: str) -> list[str]:
    by = spec.role("by")
    studies = r_column(by[0]) if by else written_name(country_variable(spec))
    model = replace(spec, roles={role: columns for role, columns in spec.roles.items() if role != "by"})
    split = f"split({rows}, ~ {studies}, drop = TRUE)"
    return [
        "library(metafor)",
        *_estimates(model, split),
        'rma(y, v, method = "FE"); rma(y, v, method = "DL"); rma(y, v, method = "REML")',
        'rma(y, v, method = "ML"); rma(y, v, method = "PM"); rma(y, v, method = "REML", test = "knha")',
    ]


def _regional_consistency(spec: Spec, rows: str) -> list[str]:
    texts = spec.options.get("regions", ())
    regions = [str(text).partition("=") for text in texts] if isinstance(texts, tuple) else []
    named = ", ".join(
        f"{written_text(country.strip())} = {written_text(name.strip())}"
        for name, _, inside in regions
        for country in inside.split("+")
    )
    pi, lower = spec.options.get("pi", 0.5), spec.options.get("benefit", "lower") != "higher"
    split = f"split({rows}, ~ {written_name(country_variable(spec))}, drop = TRUE)"
    return [
        "library(metafor)",
        *_estimates(spec, split),
        f"country <- names({split})",
        f"region <- c({named})[country]; region <- ifelse(is.na(region), country, region)"
        if named
        else "region <- country",
        "w <- c(tapply(1 / v, region, sum)); y <- c(tapply(y / v, region, sum)) / w; v <- 1 / w",
        f"d <- sum(w * y) / sum(w); b <- {'-' if lower else ''}y; overall <- {'-' if lower else ''}d",
        f"data.frame(y, v, fraction = w / sum(w), share = y / d, method_1 = b >= {pi} * overall, method_2 = b > 0)",
        'blup(rma(y, v, method = "REML"))',
    ]


def _estimates(spec: Spec, split: str) -> list[str]:
    return _odds_ratios(spec, split) if spec.options.get("estimate") == "log_odds_ratio" else _fits(spec, split)


def _fits(spec: Spec, split: str) -> list[str]:
    estimate, formula = str(spec.options.get("estimate", "cox")), r_formula(spec)
    slopes = coefficient_names(spec)
    names = slopes if estimate == "cox" else (INTERCEPT, *slopes)
    chosen = str(spec.options.get("coefficient", "")) or slopes[0]
    position = names.index(chosen) + 1 if chosen in names else 1
    fit = {
        "glm": f"glm({formula}, data = d, family = {_family(spec)}, control = {TIGHT})",
        "linear_model": f"lm({formula}, data = d)",
    }.get(estimate, f'coxph({formula}, data = d, ties = "{spec.options.get("ties", "efron")}")')
    return [
        f"fits <- lapply({split}, function(d)",
        f"  {fit})",
        f"k <- {position}  # the coefficient {written_text(chosen)}",
        "y <- sapply(fits, function(f) coef(f)[k]); v <- sapply(fits, function(f) vcov(f)[k, k])",
    ]


def _family(spec: Spec) -> str:
    name = str(spec.options.get("family", "binomial"))
    return {"gamma": 'Gamma("log")'}.get(name, f"{name}()")


def _odds_ratios(spec: Spec, split: str) -> list[str]:
    row, column = (r_column(spec.role(role)[0]) for role in ("row", "column"))
    treated, control, event = (
        written_text(str(spec.options.get(name, default)))
        for name, default in (("treated", ""), ("control", ""), ("event_value", "1"))
    )
    return [
        f"tables <- lapply({split}, function(d) with(d, table(",
        f"  factor({row}, c({treated}, {control})), factor({column} == {event}, c(TRUE, FALSE)))))",
        "y <- sapply(tables, function(t) log(t[1, 1] * t[2, 2] / (t[1, 2] * t[2, 1]))); "
        "v <- sapply(tables, function(t) sum(1 / t))",
    ]


CALLS: Mapping[str, Call] = {"meta_analysis": _meta_analysis, "regional_consistency": _regional_consistency}
