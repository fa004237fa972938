"""Counts by arm: cross-tables, association within strata, adverse events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common
from isthmus_client.requests import Events

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan
    from isthmus_client.requests import Written


class Tables(Asks):
    """Calls that count."""

    def crosstab(
        self,
        row: str,
        column: str,
        *,
        treated: str | None = None,
        control: str | None = None,
        event: str | None = None,
        fisher: bool | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Two factors against each other; of two arms and an event risks, their difference and ratios, exact tests.

        Parameters
        ----------
        row, column
            Variables with levels, or conditions such as ``"AVAL >= 140"``.
        treated, control
            Two levels of `row`: the table is of these two arms.
        event
            The level of `column` that is the event; None: 1, or the condition holding.
        fisher
            Fisher's exact test of a table that is not of two arms.
        **common
            As in `Common`.
        """
        options = {"treated": treated, "control": control, "event": event, "fisher": fisher}
        return self.ask("crosstab", roles={"row": row, "column": column}, options=options, **common)

    def cmh(
        self,
        arm: str,
        outcome: str,
        *,
        strata: str | Sequence[str] = (),
        treated: str | None = None,
        control: str | None = None,
        event: str | None = None,
        stratify_by_country: bool | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Association within strata: Cochran-Mantel-Haenszel, common effects, homogeneity over strata.

        Parameters
        ----------
        arm, outcome
            Variables with levels, or conditions.
        strata
            Factors; none: the countries.
        treated, control
            Two levels of `arm`; without them the general test of two factors.
        event
            The level of `outcome` that is the event; None: 1, or the condition holding.
        stratify_by_country
            True: the country too, beside the strata named.
        **common
            As in `Common`.
        """
        roles: dict[str, Written] = {"arm": arm, "outcome": outcome, "strata": strata}
        options = {"treated": treated, "control": control, "event": event, "stratify_by_country": stratify_by_country}
        return self.ask("cmh", roles=roles, options=options, **common)

    def safety(
        self,
        arm: str,
        *,
        exposure: str,
        events: str,
        group_term: str,
        term: str | None = None,
        day: str | None = None,
        subsets: Mapping[str, str] | None = None,
        events_where: str | None = None,
        control: str | None = None,
        rate_per: float | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Adverse events by arm: incidence, event rates, exposure-adjusted rates; all, by class and by term.

        Parameters
        ----------
        arm, exposure
            Of the subjects: `dataset`, one row each; exposure in days.
        events
            Name of the dataset with one row an event, joined to the subjects by person inside each country.
        group_term, term
            Class and term of an event; without `term` no table of terms.
        day
            Day of onset; without it time at risk is the whole exposure.
        subsets
            Conditions on events by name, e.g. ``{"serious": "AESER == 'Y'"}``.
        events_where
            Which events, e.g. ``"TRTEMFL == 'Y'"``.
        control
            The arm that the others are compared with; None: the first level.
        rate_per
            Rates are per so many days; None: 36525, which is 100 years.
        **common
            As in `Common`; `where` chooses subjects.
        """
        of_events: dict[str, Written] = {"group_term": group_term, "subsets": list((subsets or {}).values())}
        of_events |= {role: name for role, name in (("term", term), ("day", day)) if name is not None}
        return self.ask(
            "safety",
            roles={"arm": arm, "exposure": exposure},
            options={"control": control, "rate_per": rate_per, "subsets": list(subsets or {}) or None},
            events=Events(events, of_events, events_where),
            **common,
        )
