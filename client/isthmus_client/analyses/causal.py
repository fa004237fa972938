"""Effects of a treatment that was not given at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Causal(Asks):
    """Calls that weight rows by the probability of the treatment they had."""

    def iptw(
        self,
        formula: str,
        *,
        treatment: str,
        treated: str | None = None,
        estimand: str | None = None,
        stratify_by_country: bool | None = None,
        trim: tuple[float, float] | None = None,
        truncate: float | None = None,
        times: Sequence[float] | None = None,
        tau: float | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Inverse probability of treatment weighting: balance, weighted hazard ratios and survival curves.

        Parameters
        ----------
        formula
            ``"Surv(AVAL, CNSR == 0) ~ AGE + STAGE + country"``: on the right what the choice of treatment depends on.
        treatment
            The treatment that was given.
        treated
            Its level that is the treated; None: the second of two.
        estimand
            ``"ate"`` (the default) or ``"att"``.
        stratify_by_country
            False: hazard ratios with one baseline hazard for all countries.
        trim
            Bounds of the propensity; rows outside them are left out.
        truncate
            The largest weight.
        times, tau
            Of the weighted curves: when they are given, and the end of the restricted mean.
        **common
            As in `Common`.
        """
        options = {
            "treated": treated,
            "estimand": estimand,
            "stratify_by_country": stratify_by_country,
            "trim": trim,
            "truncate": truncate,
            "times": times,
            "tau": tau,
        }
        return self.ask("iptw", formula, roles={"treatment": treatment}, options=options, **common)
