"""Time to an event: curves, tests, Cox models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from isthmus_client.analyses.common import Asks, Common
from isthmus_client.plan import Plan

if TYPE_CHECKING:
    from typing import Unpack


class Survival(Asks):
    """Calls about times to an event."""

    def km(
        self,
        formula: str,
        *,
        times: Sequence[float] | None = None,
        tau: float | None = None,
        options: Mapping[str, object] | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Kaplan-Meier curves, overall and for each level of each factor on the right side.

        Parameters
        ----------
        formula
            ``"Surv(AVAL, CNSR == 0) ~ TRT01P"``; ``~ 1`` for the overall curve alone.
        times
            Times at which survival is given, in the unit of the time variable.
        tau
            End of the restricted mean survival time; None: none.
        options
            Further settings of the method.
        **common
            As in `Common`.
        """
        return self.ask("kaplan_meier", formula, options={"times": times, "tau": tau, **(options or {})}, **common)

    def log_rank(self, formula: str, *, options: Mapping[str, object] | None = None, **common: Unpack[Common]) -> Plan:
        """Log-rank tests between the levels of the factor on the right side; ``strata()`` for stratified ones."""
        return self.ask("log_rank", formula, options=options, **common)

    def cox(
        self,
        formula: str,
        *,
        ties: str | None = None,
        robust: bool | None = None,
        stratify_by_country: bool | None = None,
        weights: str | None = None,
        by: Literal["country"] | None = None,
        coefficient: str | None = None,
        options: Mapping[str, object] | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Cox's model, stratified by country unless told otherwise.

        Parameters
        ----------
        formula
            ``"Surv(AVAL, CNSR == 0) ~ TRT01P + AGE + strata(LINE) + cluster(USUBJID)"``.
        ties
            ``"efron"`` (as R) or ``"breslow"``.
        robust
            Sandwich standard errors; always with ``cluster()``.
        stratify_by_country
            False: one baseline hazard for all countries, and the country may be a term. Sums over the persons at risk
            at each event time leave then, which sites seldom allow on a grid of days.
        weights
            Case weights, a column: ``"w"`` or ``"log(w)"``.
        by
            ``"country"``: each country's own estimates and their meta-analysis beside the pooled fit.
        coefficient
            The one that the meta-analysis is of, e.g. ``"TRT01P=High"``; None: the treatment arm's, or the first.
        options
            Further settings of the method.
        **common
            As in `Common`.
        """
        settings: dict[str, object] = {
            "ties": ties,
            "robust": robust,
            "stratify_by_country": stratify_by_country,
            **(options or {}),
        }
        roles = {"weights": weights} if weights else None
        plan = self.ask("cox", formula, roles=roles, by=None if by == "country" else by, options=settings, **common)
        if by is None:
            return plan
        beside = self.ask(
            "meta_analysis", formula, options={"coefficient": coefficient, "ties": settings["ties"]}, **common
        )
        return Plan(plan.study, (*plan.steps, *beside.steps))
