"""Models of an outcome that is no time to an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Regression(Asks):
    """Calls that fit a regression. None is stratified by country: name the country as a term where it should be one."""

    def ordinal(self, formula: str, *, drop1: bool | None = None, **common: Unpack[Common]) -> Plan:
        """Proportional odds model of an ordered outcome.

        Parameters
        ----------
        formula
            ``"CIBIC ~ TRTP + AGE + country"``; the outcome is a factor whose levels are in order.
        drop1
            False: without the likelihood-ratio test of each term.
        **common
            As in `Common`.
        """
        return self.ask("ordinal", formula, options={"drop1": drop1}, **common)

    def gee(
        self,
        formula: str,
        *,
        family: str | None = None,
        cluster: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Generalised estimating equations with robust standard errors; exchangeable and independent.

        Parameters
        ----------
        formula
            ``"RESPONSE ~ TRTP * AVISITN + country"``; the outcome is a number, or 0 and 1 for ``family="binomial"``.
        family
            ``"gaussian"``, ``"binomial"``, ``"poisson"``, ``"quasipoisson"`` or ``"gamma"``.
        cluster
            Which rows belong together; None: the study's subject. ``cluster(ID)`` in the formula says the same.
        **common
            As in `Common`.
        """
        roles = {} if cluster is None else {"cluster": cluster}
        return self.ask("gee", formula, roles=roles, options={"family": family}, **common)
