"""Who is in the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Descriptive(Asks):
    """Calls that describe."""

    def table_one(
        self,
        variables: Sequence[str],
        *,
        arm: str | None = None,
        by: Literal["country"] | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Table 1: counts and percentages of factors, mean and standard deviation of numbers, and missing values.

        Parameters
        ----------
        variables
            Names, in the order of the table.
        arm
            The factor that makes the columns.
        by
            ``"country"``: the table of each country too.
        **common
            As in `Common`.
        """
        roles: dict[str, str | Sequence[str]] = {"variables": list(variables)}
        if arm is not None:
            roles["arm"] = arm
        return self.ask("table_one", roles=roles, by=by, **common)

    def describe(
        self,
        variables: Sequence[str],
        *,
        arm: str | None = None,
        by: Literal["country"] | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Table 1 with everything it has: quantiles, least and greatest value, standard error, t limits too.

        Quantiles come from how many rows have each value of the dictionary's grid, where a country's gate lets that
        leave; where it does not, they are missing and the rest is there.

        Parameters
        ----------
        variables
            Names, in the order of the table.
        arm
            The factor that makes subgroups; ask once for each where there are several.
        by
            ``"country"``: the description of each country too.
        **common
            As in `Common`.
        """
        roles: dict[str, str | Sequence[str]] = {"variables": list(variables)}
        if arm is not None:
            roles["arm"] = arm
        return self.ask("table_one", roles=roles, by=by, options={"quantiles": True}, **common)
