"""Generalised linear models: outcomes that are 0 or 1, counts, or positive amounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Generalised(Asks):
    """Calls that fit one. None is stratified by country: name the country as a term where it should be one."""

    def glm(
        self,
        formula: str,
        *,
        family: str | None = None,
        link: str | None = None,
        drop1: bool | None = None,
        robust: bool | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Logistic, Poisson, quasi-Poisson, gamma or Gaussian regression, as R's ``glm``.

        Parameters
        ----------
        formula
            ``"RESP == 'Y' ~ TRT01P + AGE + country"``, ``"NAE ~ TRT01P + offset(log(TRTDUR)) + cluster(SITEID)"``.
        family
            ``"binomial"`` (the default), ``"poisson"``, ``"quasipoisson"``, ``"gamma"`` or ``"gaussian"``.
        link
            None: the family's usual one.
        drop1
            Also a test of each term that no other contains.
        robust
            Also heteroscedasticity-consistent standard errors: HC0, HC1 and HC3.
        **common
            As in `Common`.
        """
        options = {"family": family, "link": link, "drop1": drop1, "robust": robust}
        return self.ask("glm", formula, options=options, **common)

    def negative_binomial(self, formula: str, *, drop1: bool | None = None, **common: Unpack[Common]) -> Plan:
        """Negative binomial regression of counts, as ``MASS::glm.nb`` at the maximum of the likelihood.

        Parameters
        ----------
        formula
            ``"NAE ~ TRT01P + country + offset(log(TRTDUR))"``.
        drop1
            Also a likelihood-ratio test of each term, theta estimated anew.
        **common
            As in `Common`.
        """
        return self.ask("negative_binomial", formula, options={"drop1": drop1}, **common)
