"""Each country's own estimates side by side, and what they say together."""

from __future__ import annotations

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
        chosen = estimate or _estimate(formula, family, row)
        roles = {name: text for name, text in (("row", row), ("column", column), ("by", by)) if text is not None}
        options: dict[str, object] = {
            "estimate": None if chosen == "cox" else chosen,
            "coefficient": coefficient,
            "ties": ties,
            "family": family,
            "link": link,
            "treated": treated,
            "control": control,
            "event_value": None if event is None else _text(event),
        }
        return self.ask("meta_analysis", formula, roles=roles, options=options, **common)


def _estimate(formula: str | None, family: str | None, row: str | None) -> Estimate:
    if formula is None:
        if row is None:
            raise UsageError(
                "WRONG_FORMULA",
                "a meta-analysis needs a formula, or row and column of a two-by-two table",
                'write "OUTCOME ~ ARM", or row = "ARM", column = "OUTCOME"',
            )
        return "log_odds_ratio"
    if formula.lstrip().startswith("Surv"):
        return "cox"
    return "glm" if family is not None else "linear_model"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"
