"""Results with competing causes, printed as R's ``cuminc`` and ``crr``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from isthmus.errors import UsageError
from isthmus_client.r_code import r_formula
from isthmus_client.results.coefficients import coefficient_table, significance_lines
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, hazard_ratio, one, p_values
from isthmus_client.results.tree import count, has, number, numbers, texts, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from isthmus_client.plots.cif import IncidenceCurve

OVERALL = "overall"
TESTS = {"gray_test": "Gray's test", "gray_test_stratified": "Gray's test, stratified"}
MOST_CURVES = 8


class CumulativeIncidenceFit(Fit):
    """Cumulative incidence by cause, overall and by group; Gray's test between arms."""

    method: ClassVar[str] = "cumulative_incidence"

    @property
    def causes(self) -> list[str]:
        return texts(self.answer, "causes")

    @property
    def groups(self) -> list[str]:
        """Names of the groups: ``overall``, then ``ARM=level``."""
        return list(tree(self.answer, "aalen_johansen"))

    @property
    def time_unit(self) -> str:
        """Unit of the time variable, e.g. ``days``."""
        variable = self.spec.variables.get(column_name(self.spec.role("time")[0])) if self.spec.role("time") else None
        return variable.unit if variable is not None else ""

    @property
    def plot(self) -> CifPlots:
        """``plot.cif()``."""
        return CifPlots(self)

    def table(self) -> pd.DataFrame:
        """One row a group, cause and time: incidence, se and 95 % limits."""
        import pandas as pd

        rows = []
        for group in self.groups:
            for cause in self.causes:
                at = tree(self.answer, "aalen_johansen", group, cause).get("at_times")
                columns = {k: numbers(at, k) for k in ("time", "cif", "se", "loglog_lower", "loglog_upper")}
                for k in range(len(columns["time"])):
                    rows.append({"group": group, "cause": cause, **{name: x[k] for name, x in columns.items()}})
        return pd.DataFrame(rows)

    def tests(self) -> pd.DataFrame:
        """One row a cause: Gray's test, and the stratified one where it was asked for."""
        import pandas as pd

        rows = {
            (words, cause): {k: number(self.answer, key, cause, k) for k in ("statistic", "df", "p")}
            for key, words in TESTS.items()
            if has(self.answer, key)
            for cause in self.causes
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Cumulative incidence": self.table()} if len(self.table()) else {}
        return {**found, **({"Gray's test": self.tests()} if has(self.answer, "gray_test") else {})}

    def figures(self) -> Sequence[tuple[Figure, str]]:
        names = [column_name(c) for role in ("arm", "by") for c in self.spec.role(role)][:1]
        drawn = [(self.plot.cif(), "cumulative incidence by cause")]
        return [
            *drawn,
            *((self.plot.cif(cause, by=names[0]), f"{cause} by {names[0]}") for cause in self.causes if names),
        ]

    def curve(self, group: str, cause: str, name: str) -> IncidenceCurve:
        """One curve, ready to be drawn under a name."""
        from isthmus_client.plots.cif import IncidenceCurve

        own = tree(self.answer, "aalen_johansen", group)
        steps, at = (tree(own, cause).get(key) for key in ("curve_event_times", "at_times"))
        return IncidenceCurve(
            name=name,
            n=count(own, "n") or 0,
            events=count(own, "events", cause) or 0,
            time=tuple(t or 0.0 for t in numbers(steps, "time")),
            incidence=tuple(x or 0.0 for x in numbers(steps, "cif")),
            at=tuple(t or 0.0 for t in numbers(at, "time")),
            lower=tuple(numbers(at, "loglog_lower")),
            upper=tuple(numbers(at, "loglog_upper")),
        )

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats(self.groups))
        lines = ["Call:", self.call()]
        for group in self.groups:
            own = tree(self.answer, "aalen_johansen", group)
            events = ", ".join(f"{count(own, 'events', cause)} {cause}" for cause in self.causes)
            named = group + marks.mark(self.caveats_of(group)) + general
            lines += ["", f"{named}: n= {count(own, 'n')}, {events}"]
            at = {cause: tree(own, cause).get("at_times") for cause in self.causes}
            times = numbers(next(iter(at.values()), None), "time")
            if times:
                columns = [format_numbers(numbers(at[cause], key), 4) for cause in self.causes for key in ("cif", "se")]
                headings = [heading for cause in self.causes for heading in (cause, "se")]
                lines += aligned([f"  time {one(t)}" for t in times], headings, columns)
        for key, words in TESTS.items():
            if has(self.answer, key):
                rows = [tree(self.answer, key, cause) for cause in self.causes]
                columns = [
                    format_numbers([number(row, "statistic") for row in rows], 5),
                    format_numbers([number(row, "df") for row in rows]),
                    p_values([number(row, "p") for row in rows], 4),
                ]
                lines += ["", f"{words}:", *aligned(self.causes, ["stat", "df", "pv"], columns)]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])


class CifPlots:
    """Figures of cumulative incidence."""

    def __init__(self, fit: CumulativeIncidenceFit) -> None:
        self._fit = fit

    def cif(self, cause: str | None = None, *, by: str | None = None, title: str = "", until: float = 0.0) -> Figure:
        """All causes of everybody, or one cause by the levels of a factor.

        Parameters
        ----------
        cause
            None: every cause, over all rows.
        by
            The factor whose levels are compared; its curves must have been asked for.
        title
            One line above.
        until
            Last time drawn; 0: that of the last event.

        Raises
        ------
        UsageError
            ``UNKNOWN_GROUPING`` where there are no such curves, ``TOO_MANY_CURVES`` above eight.
        """
        from isthmus_client.plots.cif import cif_figure

        fit = self._fit
        test = ""
        if cause is None:
            curves = [fit.curve(OVERALL, name, name) for name in fit.causes]
        else:
            groups = [g for g in fit.groups if by is not None and g.startswith(f"{by}=")]
            if cause not in fit.causes or (by is not None and not groups):
                raise UsageError(
                    "UNKNOWN_GROUPING",
                    f"the result has no curves of {cause!r} by {by!r}",
                    f"its causes are {', '.join(fit.causes)}; its groups {', '.join(fit.groups)}",
                )
            curves = [fit.curve(g, cause, g) for g in groups or [OVERALL]]
            arm = fit.spec.role("arm")
            if arm and by == column_name(arm[0]) and number(fit.answer, "gray_test", cause, "p") is not None:
                p = p_values([number(fit.answer, "gray_test", cause, "p")], 2)[0]
                test = f"Gray's test: p {p if p.startswith('<') else f'= {p}'}"
        if len(curves) > MOST_CURVES:
            raise UsageError("TOO_MANY_CURVES", f"{len(curves)} curves in one figure", "draw another factor")
        return cif_figure(
            [c for c in curves if c.n],
            unit=fit.time_unit,
            endpoint=f"cumulative incidence of {cause}" if cause else "cumulative incidence",
            title=title,
            test=test,
            last=until,
            notes=fit.caveats,
        )


class FineGrayFit(Fit):
    """Subdistribution hazard ratios of one cause."""

    method: ClassVar[str] = "fine_gray"

    def call(self) -> str:
        cause = self.answer.get("cause")
        return f"crr({self.formula or r_formula(self.spec)}, failcode = {cause})"

    def table(self) -> pd.DataFrame:
        """One row a coefficient: estimate (log subdistribution hazard ratio), se, z, p, hazard ratio, 95 % limits."""
        return coefficient_table(tree(self.answer, "coef"))

    def tables(self) -> dict[str, pd.DataFrame]:
        return {f"Fine-Gray model of {self.answer.get('cause')}": self.table()}

    def text(self) -> str:
        marks = self.footnotes
        block = tree(self.answer, "coef")
        rows = [tree(block, name) for name in block]
        general = marks.mark(self.general_caveats(list(block)))
        lines = ["Call:", self.call(), ""]
        lines += [f"  n= {count(self.answer, 'n')}{general}, number of events= {count(self.answer, 'n_event')}", ""]
        lines += significance_lines(
            [name + marks.mark(self.caveats_of(name)) for name in block],
            [
                [number(row, "estimate") for row in rows],
                [hazard_ratio(number(row, "estimate")) for row in rows],
                [number(row, "se") for row in rows],
            ],
            ["coef", "exp(coef)", "se(coef)"],
            [number(row, "z") for row in rows],
            [number(row, "p") for row in rows],
        )
        lines += ["", f"Pseudo Log-likelihood = {one(number(self.answer, 'loglik'), 7)}"]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])
