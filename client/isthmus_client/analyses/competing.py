"""Times to the first of several events that exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Competing(Asks):
    """Calls about competing causes. A cause-specific hazard is `cox` with ``Surv(TIME, CAUSE == 'death')``."""

    def cumulative_incidence(
        self,
        time: str,
        cause: str,
        *,
        by: Sequence[str] = (),
        arm: str | None = None,
        strata: str | None = None,
        censored: str | None = None,
        times: Sequence[float] | None = None,
        curves: bool | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Aalen-Johansen curves by cause, overall and by group, and Gray's test between arms.

        Parameters
        ----------
        time
            Time to the first event or to censoring.
        cause
            What ended it: a factor with a level for each cause and one for censored.
        by
            Factors whose levels get curves of their own.
        arm
            The groups that Gray's test compares.
        strata
            A factor within whose levels they are compared too; the country may be one.
        censored
            The level of `cause` that means censored; None: its first.
        times
            Times at which incidence is given, in the unit of time.
        curves
            False: without the whole curves.
        **common
            As in `Common`.
        """
        roles: dict[str, str | Sequence[str]] = {"time": time, "cause": cause, "by": list(by)}
        roles |= {role: name for role, name in (("arm", arm), ("strata", strata)) if name is not None}
        options = {"censored": censored, "times": times, "curves": curves}
        return self.ask("cumulative_incidence", roles=roles, options=options, **common)

    def fine_gray(
        self,
        formula: str,
        *,
        time: str,
        cause: str,
        of: str | None = None,
        censored: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Fine and Gray's model of the cumulative incidence of one cause.

        Parameters
        ----------
        formula
            The terms: ``"~ TRTP + AGE"``.
        time, cause
            As in `cumulative_incidence`.
        of
            The level of `cause` that is modelled; None: the first that does not mean censored.
        censored
            The level of `cause` that means censored; None: its first.
        **common
            As in `Common`.
        """
        roles = {"time": time, "cause": cause}
        return self.ask("fine_gray", formula, roles=roles, options={"of": of, "censored": censored}, **common)
