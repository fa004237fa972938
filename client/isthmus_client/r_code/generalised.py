"""R's calls for generalised linear models."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, r_column, r_formula
from isthmus_methods.contract import Spec

_FAMILIES = {"gamma": 'Gamma("log")'}


def _formula(spec: Spec) -> tuple[str, str]:
    """The formula without its cluster, and the cluster."""
    cluster = "".join(r_column(column) for column in spec.role("cluster"))
    return r_formula(spec).replace(f" + cluster({cluster})", "").replace(f"cluster({cluster})", "1"), cluster


def _glm(spec: Spec, rows: str) -> list[str]:
    formula, cluster = _formula(spec)
    family = str(spec.options.get("family", "binomial"))
    tight = "control = glm.control(epsilon = 1e-15, maxit = 200)"
    lines = [f"fit <- glm({formula}, data = {rows}, family = {_FAMILIES.get(family, family)}, {tight})", "summary(fit)"]
    if spec.options.get("drop1") is True:
        lines.append(f'drop1(fit, test = "{"Chisq" if family in ("binomial", "poisson") else "F"}")')
    if spec.options.get("robust") is True or cluster:
        lines += ["library(lmtest); library(sandwich)"]
    if spec.options.get("robust") is True:
        lines += [f'coeftest(fit, vcovHC(fit, type = "{kind}"))' for kind in ("HC0", "HC1", "HC3")]
    if cluster:
        lines.append(f'coeftest(fit, vcovCL(fit, cluster = ~ {cluster}, type = "HC1"))')
    return lines


def _negative_binomial(spec: Spec, rows: str) -> list[str]:
    return [
        "library(MASS)",
        f"summary(glm.nb({r_formula(spec)}, data = {rows}, control = glm.control(epsilon = 1e-14, maxit = 500)))",
    ]


CALLS: Mapping[str, Call] = {"glm": _glm, "negative_binomial": _negative_binomial}
