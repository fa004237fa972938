"""Each country's own estimates side by side, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from isthmus.errors import UsageError
from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan

Estimate = Literal["cox", "glm", "linear_model", "log_odds_ratio"]
Family = Literal["binomial", "poisson", "quasipoisson", "gamma", "gaussian"]


class Meta(Asks):
    """Calls that compare countries."""

    def meta_analysis(
        self,
        formula: str | None = None,
        *,
        estimate: Estimate | None = None,
        coefficient: str | None = None,
        ties: str | None = None,
        family: Family | None = None,
        link: str | None = None,
        row: str | None = None,
        column: str | None = None,
        treated: str | None = None,
        control: str | None = None,
        event: str | float | None = None,
        by: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """A model in each country on its own, and the meta-analysis of one coefficient under every usual model.

        Parameters
        ----------
        formula
            ``"Surv(AVAL, CNSR == 0) ~ TRT01P"`` for Cox models, ``"DEAD ~ TRT01P + AGE"`` for the others; none for log
            odds ratios.
        estimate
            What each country estimates; None: ``"cox"`` where the formula has ``Surv(...)``, ``"glm"`` where a family
            is named, ``"log_odds_ratio"`` where `row` is, otherwise ``"linear_model"``.
        coefficient
            E.g. ``"TRT01P=High"``; None: the treatment arm's, or the first.
        ties
            Of Cox models: ``"efron"`` (as R) or ``"breslow"``.
        family, link
            Of generalised linear models: ``"binomial"`` (logit), ``"poisson"``, ``"quasipoisson"``, ``"gamma"`` (log).
        row, column, treated, control, event
            Of log odds ratios: arm and outcome, the two arms compared, and the value of `column` that is an event (1).
        by
            What the studies are: a factor whose levels each lie within one country; None: the countries.
        **common
            As in `Common`.

        Raises
        ------
        UsageError
            ``BY_COUNTRY`` where the study does not say that results by country may be shown.
        """
        roles = {name: text for name, text in (("row", row), ("column", column), ("by", by)) if text is not None}
        options: dict[str, object] = {
            "estimate": _estimate(estimate, formula, family, row),
            "coefficient": coefficient,
            "ties": ties,
            "family": family,
            "link": link,
            "treated": treated,
            "control": control,
            "event_value": None if event is None else _text(event),
        }
        return self.ask("meta_analysis", formula, roles=roles, options=options, **common)

    def regional_consistency(
        self,
        formula: str | None = None,
        *,
        regions: Mapping[str, Sequence[str]] | None = None,
        benefit: Literal["lower", "higher"] | None = None,
        pi: float | None = None,
        bound: float | None = None,
        lower_bound: float | None = None,
        lower_level: float | None = None,
        interaction_level: float | None = None,
        tau2: Literal["REML", "DL", "PM", "ML"] | None = None,
        tau_scale: float | None = None,
        estimate: Estimate | None = None,
        coefficient: str | None = None,
        ties: str | None = None,
        family: Family | None = None,
        link: str | None = None,
        row: str | None = None,
        column: str | None = None,
        treated: str | None = None,
        control: str | None = None,
        event: str | float | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Is the effect the same from region to region (ICH E17): criteria, qualitative interaction, shrunken effects.

        Parameters
        ----------
        formula, estimate, coefficient, ties, family, link, row, column, treated, control, event
            What each country estimates, as in `meta_analysis`.
        regions
            Countries of each region, e.g. ``{"EastAsia": ["CN", "JP", "KR"]}``; a country that stands in none is a
            region of its own. None: every country by itself.
        benefit
            Whether a ``"lower"`` or a ``"higher"`` coefficient is better; None: lower for hazard ratios.
        pi
            Share of the overall effect that a region should keep (0.5).
        bound, lower_bound, lower_level
            What every region's effect, and its lower limit at that one-sided level, should reach; benefit positive.
        interaction_level
            Of the test of treatment by region (0.1).
        tau2
            How the variance between regions is estimated for the empirical Bayes estimates.
        tau_scale
            Scale of the half-normal prior of the standard deviation between regions; None: 0.5 for log ratios.
        **common
            As in `Common`.

        Raises
        ------
        UsageError
            ``BY_COUNTRY`` where the study does not say that results by country may be shown.
        """
        roles = {name: text for name, text in (("row", row), ("column", column)) if text is not None}
        options: dict[str, object] = {
            "estimate": _estimate(estimate, formula, family, row),
            "coefficient": coefficient,
            "ties": ties,
            "family": family,
            "link": link,
            "treated": treated,
            "control": control,
            "event_value": None if event is None else _text(event),
            "regions": [f"{name}={'+'.join(inside)}" for name, inside in regions.items()] if regions else None,
            "benefit": benefit,
            "pi": pi,
            "bound": bound,
            "lower_bound": lower_bound,
            "lower_level": lower_level,
            "interaction_level": interaction_level,
            "tau2": tau2,
            "tau_scale": tau_scale,
        }
        return self.ask("regional_consistency", formula, roles=roles, options=options, **common)


def _estimate(chosen: Estimate | None, formula: str | None, family: str | None, row: str | None) -> Estimate | None:
    """What each country estimates; None where it is what the methods do unless told otherwise."""
    found = chosen or _meant(formula, family, row)
    return None if found == "cox" else found


def _meant(formula: str | None, family: str | None, row: str | None) -> Estimate:
    if formula is None:
        if row is None:
            raise UsageError(
                "WRONG_FORMULA",
                "an estimate in each country needs a formula, or row and column of a two-by-two table",
                'write "OUTCOME ~ ARM", or row = "ARM", column = "OUTCOME"',
            )
        return "log_odds_ratio"
    if formula.lstrip().startswith("Surv"):
        return "cox"
    return "glm" if family is not None else "linear_model"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"
