"""A study as its statistician sees it: sites, dictionary, and the analyses that can be asked of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from isthmus.errors import UsageError
from isthmus.v1 import study_pb2
from isthmus_client.analyses import Analyses
from isthmus_client.analyses.common import DEADLINE_SECONDS, MissingCountry
from isthmus_client.plan import Plan, Step, follow
from isthmus_client.proposal import dictionary_of, missing_country_of
from isthmus_client.requests import Events, Written, by_country, effect_of, request
from isthmus_methods.codec import spec_to_message
from isthmus_methods.contract import Scope, Spec, TrainingPlan
from isthmus_methods.registry import find_procedure

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.connection import Connection
    from isthmus_client.results.fit import Fit


class Study(Analyses):
    """One version of a study. Its analyses give a `Plan`; nothing is asked of a country before ``run()``.

    The natural calls (``table_one``, ``km``, ``cox`` and so on) stand in `isthmus_client.analyses`, a module a family.
    """

    def __init__(self, connection: Connection, message: study_pb2.Study, digest: bytes) -> None:
        self.connection = connection
        self.message = message
        self.digest = digest

    def __repr__(self) -> str:
        return f"<Study {self.name} version {self.message.version}: {self.message.title}>"

    @property
    def name(self) -> str:
        return self.message.name

    @property
    def countries(self) -> int:
        """How many take part."""
        return len(self.message.participants)

    def sites(self) -> pd.DataFrame:
        """Where each site stands now: its decision, whether it is connected, last contact, software, certificate."""
        import pandas as pd

        sites = self.connection.sites(self.name, self.message.version)
        return pd.DataFrame(
            {
                "country": [s.country for s in sites],
                "node": [s.node for s in sites],
                "decision": [s.decision for s in sites],
                "attached": [s.attached for s in sites],
                "last_contact": [_moment(s.last_contact) for s in sites],
                "software": [s.software for s in sites],
                "datasets": [", ".join(s.datasets) for s in sites],
                "certificate_expires": [_moment(s.certificate_expires) for s in sites],
            }
        )

    def dictionary(self, dataset: str | None = None) -> pd.DataFrame:
        """The variables of one dataset, or of all: label, type, unit, levels, range, roles."""
        import pandas as pd

        chosen = [d for d in self.message.datasets if dataset in (None, d.name)]
        if not chosen:
            dictionary_of(self.message, dataset)  # says which datasets there are
        return pd.DataFrame(
            [
                {
                    "dataset": d.name,
                    "variable": v.name,
                    "label": v.label,
                    "type": study_pb2.Variable.Type.Name(v.type).lower(),
                    "unit": v.unit,
                    "levels": ", ".join(v.levels),
                    "minimum": v.minimum if v.HasField("minimum") else None,
                    "maximum": v.maximum if v.HasField("maximum") else None,
                    "roles": ", ".join(study_pb2.Variable.Role.Name(r).lower().replace("_", " ") for r in v.roles),
                    "may_be_missing": v.may_be_missing,
                }
                for d in chosen
                for v in d.variables
            ]
        )

    def plan(self) -> list[str]:
        """Names of the analyses that were approved with the study, for `planned`."""
        return [analysis.name for analysis in self.message.plan]

    def planned(self, name: str) -> Plan:
        """An analysis of the study's plan.

        Raises
        ------
        UsageError
            ``UNKNOWN_ANALYSIS``.
        """
        for analysis in self.message.plan:
            if analysis.name == name:
                return Plan(self, (Step(analysis, planned=name),))
        raise UsageError(
            "UNKNOWN_ANALYSIS",
            f"the plan of study {self.name} has no analysis {name!r}",
            f"its analyses are: {', '.join(self.plan()) or 'none'}",
        )

    def ask(
        self,
        method: str,
        formula: str | None = None,
        *,
        roles: Mapping[str, Written] | None = None,
        by: str | None = None,
        options: Mapping[str, object] | None = None,
        where: str | None = None,
        references: Mapping[str, str] | None = None,
        dataset: str | None = None,
        events: Events | None = None,
        training: TrainingPlan | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        **settings: object,
    ) -> Plan:
        """Any method by its name: what the natural calls are made of.

        Parameters
        ----------
        method
            As the registry has it; the pages on methods say which there are.
        formula
            ``"Surv(AVAL, CNSR == 0) ~ TRT01P + AGE"``, ``"CHG ~ TRTP + BASE"``, or ``"~ AGE + SEX"``.
        roles
            Columns by the role they play, where no formula says it: ``{"row": "TRT01P", "column": "DERM == 'Y'"}``.
        by
            ``"country"``: each country's own results too, where the method has them.
        options
            The method's settings.
        where
            Which rows, e.g. ``"AGE >= 18 & SEX == 'F'"``.
        references
            Reference level of a factor where it is not the dictionary's first.
        dataset
            Its name, where the study has several.
        events
            The second dataset of a method that reads one: events of the same persons.
        training
            App, strategy and rounds of the training of a model; `train` writes it.
        missing_country
            What to do about a country that does not answer within `deadline` (seconds a round).
        **settings
            Further ones, as in `options`.

        Raises
        ------
        UsageError
            Whatever is wrong with the request; also ``BY_COUNTRY`` where the study does not say that results by country
            may be shown.
        """
        asks = find_procedure(method)
        chosen = by_country(asks, by, {**(options or {}), **settings})
        dictionary = dictionary_of(self.message, dataset)
        second = (dictionary_of(self.message, events.dataset), events) if events is not None else None

        def asked(options: Mapping[str, object]) -> Spec:
            return request(
                method,
                dictionary,
                formula=formula,
                roles=roles,
                where=where,
                references=references,
                options=options,
                events=second,
                training=training,
            )

        spec = asked(chosen)
        if "coefficient" in asks.options and not chosen.get("coefficient") and spec.terms:
            spec = asked({**chosen, "coefficient": effect_of(spec)})
        if not self.message.by_country and asks.scope(spec) is Scope.BY_COUNTRY:
            raise UsageError(
                "BY_COUNTRY",
                f"study {self.name} does not say that results by country may be shown",
                "use the pooled fit, or propose a new version of the study with by_country = true",
            )
        return Plan(self, (self._step(spec, missing_country, deadline, formula or ""),))

    def attach(self, run: str, *beside: str, progress: bool = True, wait: bool = True) -> Fit:
        """The result of runs that were ordered before, waiting for them where they still go on.

        Parameters
        ----------
        run
            Name of the run as `Plan.start` gave it, or as it was printed on Ctrl-C.
        beside
            Runs that were ordered together with it.
        """
        runs = [_run(name) for name in (run, *beside)]
        return follow(self, runs, [name[:8] for name in (run, *beside)], progress, wait, time.sleep)

    def cancel(self, *runs: str) -> None:
        """End runs that were ordered before."""
        for name in runs:
            self.connection.cancel(_run(name))

    def _step(self, spec: Spec, missing_country: str, deadline: int, formula: str = "") -> Step:
        """What to ask: the analysis of the plan that asks the same, otherwise an exploratory one."""
        message = spec_to_message(spec)
        for analysis in self.message.plan:
            if analysis.spec == message:
                return Step(analysis, planned=analysis.name, formula=formula)
        return Step(
            study_pb2.Analysis(
                spec=message,
                purpose=self.message.exploratory_purpose,
                missing_country=missing_country_of(missing_country),
                deadline_seconds=deadline,
            ),
            formula=formula,
        )


def _run(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError as error:
        raise UsageError("BAD_RUN", f"{name!r} is not the name of a run", "give it as it was printed") from error


def _moment(nanoseconds: int) -> datetime | None:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None
