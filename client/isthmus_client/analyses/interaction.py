"""Whether an effect differs between countries, or between the levels of another factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from isthmus_client.analyses.common import Asks, Common

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Interactions(Asks):
    """Calls that compare an effect between groups."""

    def interaction(
        self,
        formula: str,
        *,
        model: Literal["logistic", "linear", "cox"] | None = None,
        ties: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Tests of the interaction that stands last in the formula, and the effect in each country.

        Parameters
        ----------
        formula
            ``"DERM == 'Y' ~ AGE + country * TRTP"``: the model with the interaction. Where one of its two factors is
            the country, each country's own effect of the other is given too.
        model
            None: ``"cox"`` where the formula has ``Surv(...)``, otherwise ``"linear"``.
        ties
            Of Cox models: ``"efron"`` (as R) or ``"breslow"``.
        **common
            As in `Common`.

        Raises
        ------
        UsageError
            ``BY_COUNTRY`` where the study does not say that results by country may be shown, and the country is one of
            the two.
        """
        chosen = model or ("cox" if formula.lstrip().startswith("Surv") else "linear")
        return self.ask("interaction", formula, options={"model": chosen, "ties": ties}, **common)
