"""Each country's own estimates side by side, and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Meta(Asks):
    """Calls that compare countries."""

    def meta_analysis(
        self,
        formula: str,
        *,
        coefficient: str | None = None,
        ties: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """A Cox model in each country on its own, and the meta-analysis of one coefficient.

        Parameters
        ----------
        coefficient
            E.g. ``"TRT01P=High"``; None: the treatment arm's, or the first.
        ties
            ``"efron"`` (as R) or ``"breslow"``.
        **common
            As in `Common`.

        Raises
        ------
        UsageError
            ``BY_COUNTRY`` where the study does not say that results by country may be shown.
        """
        return self.ask("meta_analysis", formula, options={"coefficient": coefficient, "ties": ties}, **common)
