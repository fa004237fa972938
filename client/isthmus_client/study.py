"""A study as its statistician sees it: sites, dictionary, and the analyses that can be asked of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from isthmus.errors import UsageError
from isthmus.v1 import study_pb2
from isthmus_client.plan import Plan, Step, follow
from isthmus_client.proposal import dictionary_of, missing_country_of
from isthmus_client.requests import formula_request, table_request
from isthmus_methods.codec import spec_to_message
from isthmus_methods.contract import Column, Spec, column_name, term_columns

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.connection import Connection
    from isthmus_client.results.fit import Fit

MissingCountry = Literal["wait", "fail", "go on without"]
DEADLINE_SECONDS = 600


class Study:
    """One version of a study. Its analyses give a `Plan`; nothing is asked of a country before ``run()``."""

    def __init__(self, connection: Connection, message: study_pb2.Study, digest: bytes) -> None:
        self.connection = connection
        self.message = message
        self.digest = digest

    def __repr__(self) -> str:
        return f"<Study {self.name} version {self.message.version}: {self.message.title}>"

    @property
    def name(self) -> str:
        return self.message.name

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

    def table_one(
        self,
        variables: Sequence[str],
        *,
        arm: str | None = None,
        by: Literal["country"] | None = None,
        where: str | None = None,
        dataset: str | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        **options: object,
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
        where
            Which rows, e.g. ``"AGE >= 18 & SEX == 'F'"``.
        missing_country
            What to do about a country that does not answer within `deadline` (seconds a round).
        """
        spec = table_request(
            dictionary_of(self.message, dataset), variables, arm=arm, by=by, where=where, options=options
        )
        return Plan(self, (self._step(spec, missing_country, deadline),))

    def km(
        self,
        formula: str,
        *,
        times: Sequence[float] | None = None,
        tau: float | None = None,
        where: str | None = None,
        dataset: str | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        **options: object,
    ) -> Plan:
        """Kaplan-Meier curves, overall and for each level of each factor on the right side.

        Parameters
        ----------
        formula
            ``"Surv(AVAL, CNSR == 0) ~ TRT01P"``; ``~ 1`` for the overall curve alone.
        times
            Times at which survival is given, in the unit of the time variable.
        tau
            End of the restricted mean survival time; None: none.
        """
        return self.by_formula(
            "kaplan_meier", formula, where=where, dataset=dataset, missing_country=missing_country, deadline=deadline,
            options={"times": times, "tau": tau, **options},
        )  # fmt: skip

    def log_rank(
        self,
        formula: str,
        *,
        where: str | None = None,
        dataset: str | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        **options: object,
    ) -> Plan:
        """Log-rank tests between the levels of the factor on the right side; ``strata()`` for stratified ones."""
        return self.by_formula(
            "log_rank", formula, where=where, dataset=dataset, missing_country=missing_country, deadline=deadline,
            options=options,
        )  # fmt: skip

    def cox(
        self,
        formula: str,
        *,
        ties: str | None = None,
        robust: bool | None = None,
        by: Literal["country"] | None = None,
        coefficient: str | None = None,
        references: Mapping[str, str] | None = None,
        where: str | None = None,
        dataset: str | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        **options: object,
    ) -> Plan:
        """Cox's model, stratified by country.

        Parameters
        ----------
        formula
            ``"Surv(AVAL, CNSR == 0) ~ TRT01P + AGE + strata(LINE) + cluster(USUBJID)"``.
        ties
            ``"efron"`` (as R) or ``"breslow"``.
        robust
            Sandwich standard errors; always with ``cluster()``.
        by
            ``"country"``: each country's own estimates and their meta-analysis beside the pooled fit.
        coefficient
            The one that the meta-analysis is of, e.g. ``"TRT01P=High"``; None: the treatment arm's, or the first.
        references
            Reference level of a factor where it is not the dictionary's first.
        """
        settings: dict[str, object] = {"ties": ties, "robust": robust, **options}
        if by is not None:
            settings["coefficient"] = coefficient
        return self.by_formula(
            "cox", formula, by=by, where=where, references=references, dataset=dataset,
            missing_country=missing_country, deadline=deadline, options=settings,
        )  # fmt: skip

    def meta_analysis(
        self,
        formula: str,
        *,
        coefficient: str | None = None,
        references: Mapping[str, str] | None = None,
        where: str | None = None,
        dataset: str | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        **options: object,
    ) -> Plan:
        """A Cox model in each country on its own, and the meta-analysis of one coefficient.

        Parameters
        ----------
        coefficient
            E.g. ``"TRT01P=High"``; None: the treatment arm's, or the first.

        Raises
        ------
        UsageError
            ``BY_COUNTRY`` where the study does not say that results by country may be shown.
        """
        return self.by_formula(
            "meta_analysis", formula, where=where, references=references, dataset=dataset,
            missing_country=missing_country, deadline=deadline, options={"coefficient": coefficient, **options},
        )  # fmt: skip

    def _effect(self, formula: str, references: Mapping[str, str] | None, dataset: str | None) -> str:
        """The coefficient that a model is about: the treatment arm's first, otherwise the first of all."""
        spec = formula_request("cox", dictionary_of(self.message, dataset), formula, references=references)
        of_arm = [term for term in spec.terms if len(term.columns) == 1 and _is_arm(spec, term.columns[0])]
        first = of_arm[0] if of_arm else spec.terms[0]
        return next(iter(term_columns(spec, first)))[0]

    def by_formula(
        self,
        method: str,
        formula: str,
        *,
        by: Literal["country"] | None = None,
        where: str | None = None,
        references: Mapping[str, str] | None = None,
        dataset: str | None = None,
        missing_country: MissingCountry = "wait",
        deadline: int = DEADLINE_SECONDS,
        options: Mapping[str, object] | None = None,
    ) -> Plan:
        """An analysis by the name of its method: ``cox``, ``meta_analysis``, ``kaplan_meier`` or ``log_rank``.

        Parameters are those of the method's own call; `options` are its settings.
        """
        settings = dict(options or {})
        if method == "cox" and by == "country":
            coefficient = settings.pop("coefficient", None)
            plan = self.by_formula(
                method, formula, where=where, references=references, dataset=dataset,
                missing_country=missing_country, deadline=deadline, options=settings,
            )  # fmt: skip
            beside = self.by_formula(
                "meta_analysis", formula, where=where, references=references, dataset=dataset,
                missing_country=missing_country, deadline=deadline,
                options={"coefficient": coefficient, "ties": settings.get("ties")},
            )  # fmt: skip
            return Plan(self, (*plan.steps, *beside.steps))
        if by is not None:
            raise UsageError("BAD_OPTION", f"{method} cannot be shown by {by!r}", "leave it out")
        if method == "meta_analysis":
            if not self.message.by_country:
                raise UsageError(
                    "BY_COUNTRY",
                    f"study {self.name} does not say that results by country may be shown",
                    "use the pooled fit, or propose a new version of the study with by_country = true",
                )
            if not settings.get("coefficient"):
                settings["coefficient"] = self._effect(formula, references, dataset)
        spec = formula_request(
            method,
            dictionary_of(self.message, dataset),
            formula,
            where=where,
            references=references,
            options=settings,
        )
        return Plan(self, (self._step(spec, missing_country, deadline, formula),))

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


def _is_arm(spec: Spec, column: Column) -> bool:
    variable = spec.variables.get(column_name(column))
    return variable is not None and "TREATMENT_ARM" in variable.roles


def _run(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError as error:
        raise UsageError("BAD_RUN", f"{name!r} is not the name of a run", "give it as it was printed") from error


def _moment(nanoseconds: int) -> datetime | None:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None
