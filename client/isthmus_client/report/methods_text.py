"""The methods paragraph of a report, from the requests themselves."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus_client.results import CoxFit, Fit, KmFit, LogRankFit, MetaFit, TableOneFit
from isthmus_methods.contract import column_name


def methods_text(fits: Sequence[Fit]) -> list[str]:
    """Paragraphs that a statistician may paste into a paper, each about one method used."""
    paragraphs = [_pooling(fits)]
    for fit in fits:
        said = _of(fit)
        if said and said not in paragraphs:
            paragraphs.append(said)
    return paragraphs


def _pooling(fits: Sequence[Fit]) -> str:
    countries = [c for c in fits[0].provenance().contributions if c.state == "contributed"]
    return (
        f"Patient rows stayed in the {len(countries)} countries that contributed. Each country's node computed the"
        " sums a method needs, a gate in that country checked them against its disclosure policy, and only these sums"
        " left it. Pooled estimates were computed from the sums of the countries; unless a caveat says otherwise they"
        " equal those of the same analysis on the pooled rows."
    )


def _of(fit: Fit) -> str:
    if isinstance(fit, CoxFit):
        ties = str(fit.spec.options.get("ties", "efron")).capitalize()
        strata = ", ".join(["country", *(column_name(c) for c in fit.spec.role("strata"))])
        text = (
            f"Hazard ratios are from Cox's proportional hazards model stratified by {strata}, with {ties}'s handling of"
            " ties, over the rows complete in all variables of the model; 95 % confidence intervals and P values are"
            " Wald's."
        )
        robust = fit.robust
        return text + (
            f" Standard errors are robust, clustered by {robust.get('cluster') or 'person'}." if robust else ""
        )
    if isinstance(fit, KmFit):
        return (
            "Survival was estimated by the Kaplan-Meier method on the study's time grid, with Greenwood's variance and"
            " log-log pointwise 95 % confidence limits; medians have limits from the same band."
            + (" Restricted mean survival time is the area under the curve." if _has_mean(fit) else "")
        )
    if isinstance(fit, LogRankFit):
        within = f", stratified by {', '.join(fit.strata)}" if fit.strata else ""
        return (
            f"Survival was compared by the log-rank test{within}; the tests with Peto-Peto and Gehan-Breslow weights"
            " are shown beside it."
        )
    if isinstance(fit, MetaFit):
        return (
            f"{_own(fit)} The estimates of {fit.coefficient} were"
            " combined by inverse variance, as a fixed effect and with the random effects of DerSimonian and Laird;"
            " heterogeneity is given as Cochran's Q, I² and τ²."
        )
    if isinstance(fit, TableOneFit):
        return (
            "Numbers are described by mean and standard deviation, factors by count and percentage of those not"
            " missing."
        )
    return ""


def _own(fit: MetaFit) -> str:
    where = "each country" if fit.studies_are == "country" else f"each level of {fit.studies_are}"
    return {
        "glm": f"A generalised linear model ({fit.spec.options.get('family', 'binomial')}) was fitted in {where}.",
        "linear_model": f"A linear model was fitted in {where}.",
        "log_odds_ratio": f"The log odds ratio of {where}'s two-by-two table was taken, without continuity correction.",
    }.get(fit.estimate, f"The model was also fitted in {where} on its own.")


def _has_mean(fit: KmFit) -> bool:
    return "rmst" in fit.table().columns
