"""Means compared: t tests, analyses of variance, linear models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Linear(Asks):
    """Calls about the mean of a number."""

    def lm(
        self,
        formula: str,
        *,
        robust: bool | None = None,
        cluster: str | None = None,
        arm: str | None = None,
        control: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Linear model by least squares: ANCOVA, t and F tests, robust variances, least-squares means.

        Parameters
        ----------
        formula
            ``"CHG ~ TRTP + country + BASE"``.
        robust
            HC0, HC1 and HC3 too.
        cluster
            Rows that belong together, for cluster-robust variances. ``cluster(SITE)`` in the formula says the same.
        arm
            The factor of the terms whose least-squares means are given; None: none.
        control
            The level that the others are compared with; None: the reference.
        **common
            As in `Common`.
        """
        roles = {} if cluster is None else {"cluster": cluster}
        options = {"robust": robust, "arm": arm, "control": control}
        return self.ask("linear_model", formula, roles=roles, options=options, **common)

    def t_test(
        self,
        formula: str,
        *,
        treated: str | None = None,
        control: str | None = None,
        ranks: bool | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Two arms compared: Welch's and Student's t test, variance ratio, Wilcoxon's rank sum test.

        Parameters
        ----------
        formula
            ``"CHG ~ TRTP"``.
        treated, control
            The two levels, the one whose mean comes first as `treated`; None where the arm has two: the second
            against the first.
        ranks
            False: without Wilcoxon's test, for which a distribution has to leave.
        **common
            As in `Common`.
        """
        options = {"treated": treated, "control": control, "ranks": ranks}
        return self.ask("t_test", formula, options=options, **common)

    def paired_t_test(self, first: str, second: str, **common: Unpack[Common]) -> Plan:
        """Two numbers of the same row compared: `first` - `second`."""
        return self.ask("paired_t_test", roles={"first": first, "second": second}, **common)

    def anova(self, formula: str, *, ranks: bool | None = None, **common: Unpack[Common]) -> Plan:
        """Groups compared: F, Welch, Kruskal-Wallis, Bartlett.

        Parameters
        ----------
        formula
            ``"CHG ~ TRTP"``.
        ranks
            False: without the Kruskal-Wallis test, for which a distribution has to leave.
        **common
            As in `Common`.
        """
        return self.ask("anova", formula, options={"ranks": ranks}, **common)
