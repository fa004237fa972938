"""Models of correlated records: repeated measures, random intercepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common
from isthmus_client.formula.random import correlated

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan


class Mixed(Asks):
    """Calls for records that belong together."""

    def mmrm(
        self,
        formula: str,
        *,
        visit: str | None = None,
        subject: str | None = None,
        arm: str | None = None,
        control: str | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Mixed model for repeated measures: unstructured covariance over visits, REML, Satterthwaite's df.

        Parameters
        ----------
        formula
            ``"CHG ~ TRTP * AVISIT + BASE * AVISIT + country"``; ``+ us(AVISIT | USUBJID)`` says visit and subject.
        visit
            Factor that says which record of a person it is, where the formula does not.
        subject
            Whose records belong together; None: the study's subject.
        arm
            Factor of the formula to give least-squares means and differences of, by visit; None: none.
        control
            The arm that others are compared with; None: the reference level.
        **common
            As in `Common`.
        """
        said = correlated(formula)
        roles = {"visit": visit or said.visit, "subject": subject or said.subject, "arm": arm or ""}
        given = {role: column for role, column in roles.items() if column}
        return self.ask("mmrm", said.fixed, roles=given, options={"control": control}, **common)

    def lmm(
        self, formula: str, *, group: str | None = None, subject: str | None = None, **common: Unpack[Common]
    ) -> Plan:
        """Linear mixed model with a random intercept of groups, and of subjects inside them.

        Parameters
        ----------
        formula
            ``"SBP ~ AGE + SEX + (1 | country)"``, ``"CHG ~ TRTP + (1 | country/USUBJID)"``, or the fixed part alone.
        group
            Factor with a random intercept, where the formula does not say it.
        subject
            Subjects inside the groups with an intercept of their own, where the formula does not say them.
        **common
            As in `Common`.
        """
        said = correlated(formula)
        roles = {"group": group or said.group, "subject": subject or said.subject}
        return self.ask("lmm", said.fixed, roles={role: name for role, name in roles.items() if name}, **common)
