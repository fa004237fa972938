"""The result of Kaplan-Meier estimation, printed as R's ``survfit``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, one
from isthmus_client.results.tree import Tree, count, has, number, numbers, tree
from isthmus_methods.contract import Answer, column_name

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.figures import KmPlots

OVERALL = "overall"
LIMITS = ("loglog", "plain", "log")


@dataclass(frozen=True, slots=True)
class Curve:
    """One survival curve: steps at its event times, with pointwise 95 % limits."""

    name: str  # "overall" or "ARM=level"
    label: str  # of the level alone
    n: int
    events: int
    last_time: float
    time: tuple[float, ...]
    survival: tuple[float, ...]
    lower: tuple[float | None, ...]
    upper: tuple[float | None, ...]
    median: tuple[float | None, float | None, float | None]  # estimate, lower, upper
    risk_times: tuple[float, ...]
    at_risk: tuple[int, ...]
    events_until: tuple[int, ...]


class KmFit(Fit):
    """Survival curves, overall and by group."""

    method: ClassVar[str] = "kaplan_meier"

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the curves: ``overall``, then ``ARM=level``."""
        return tuple(
            name for name, value in self.answer.items() if name != "rmst_difference" and has(value, "quantiles")
        )

    @property
    def by(self) -> tuple[str, ...]:
        """The factors that make groups."""
        return tuple(column_name(c) for c in self.spec.role("by"))

    @property
    def time_unit(self) -> str:
        """Unit of the time variable, e.g. ``days``."""
        variable = self.spec.variables.get(column_name(self.spec.role("time")[0])) if self.spec.role("time") else None
        return variable.unit if variable is not None else ""

    def curve(self, name: str, limits: str = "loglog") -> Curve:
        """One curve, ready to be drawn.

        Parameters
        ----------
        name
            One of `groups`.
        limits
            ``loglog``, ``plain`` or ``log``; the type of the pointwise 95 % limits.
        """
        own = tree(self.answer, name)
        steps = tree(own, "curve_event_times") if has(own, "curve_event_times") else {}
        median = tree(own, "quantiles", limits if has(own, "quantiles", limits) else "loglog", "median")
        survival = numbers(steps, "surv")
        drawn = f"{limits}_lower" if f"{limits}_lower" in steps else "loglog_lower"
        return Curve(
            name=name,
            label=name.partition("=")[2] or name,
            n=count(own, "n") or 0,
            events=count(own, "events") or 0,
            last_time=number(own, "last_time") or 0.0,
            time=tuple(t for t in numbers(steps, "time") if t is not None),
            survival=tuple(s if s is not None else 0.0 for s in survival),
            lower=tuple(numbers(steps, drawn)),
            upper=tuple(numbers(steps, drawn.replace("lower", "upper"))),
            median=(number(median, "estimate"), number(median, "lower"), number(median, "upper")),
            risk_times=tuple(t for t in numbers(own, "risk_table", "time") if t is not None),
            at_risk=tuple(int(x or 0) for x in numbers(own, "risk_table", "n_risk")),
            events_until=tuple(int(x or 0) for x in numbers(own, "risk_table", "events")),
        )

    @property
    def plot(self) -> KmPlots:
        """``plot.km()``."""
        from isthmus_client.plots.figures import KmPlots

        return KmPlots(self)

    def rmst_difference(self, group: str, treated: str, control: str) -> dict[str, Answer]:
        """Difference and ratio of the restricted means of two levels of a factor, with 95 % limits.

        Parameters
        ----------
        group
            A factor of the right side.
        treated, control
            Two of its levels.

        Raises
        ------
        UsageError
            ``NO_RESTRICTED_MEAN`` where the curves were asked for without `tau`, or a level has no rows.
        """
        from isthmus_methods.parts.survival.restricted_means import rmst_difference

        return rmst_difference(self.answer, group, treated, control)

    def call(self) -> str:
        return f'survfit({self.formula or r_formula(self.spec)}, conf.type = "log-log")'

    def table(self) -> pd.DataFrame:
        """One row a curve: n, events, median with 95 % limits (log-log), restricted mean where asked for."""
        import pandas as pd

        rows = []
        for name in self.groups:
            own = tree(self.answer, name)
            median = tree(own, "quantiles", "loglog", "median")
            row: dict[str, float | int | str | None] = {
                "group": name,
                "n": count(own, "n"),
                "events": count(own, "events"),
                "median": number(median, "estimate"),
                "median_lower": number(median, "lower"),
                "median_upper": number(median, "upper"),
            }
            if has(own, "rmst"):
                row |= {
                    "rmst": number(own, "rmst", "estimate"),
                    "rmst_se": number(own, "rmst", "se"),
                    "tau": number(own, "rmst", "tau"),
                }
            rows.append(row)
        return pd.DataFrame(rows).set_index("group")

    def at_times(self) -> pd.DataFrame:
        """Survival at the times asked for: one row a group and time, with every type of limits."""
        import pandas as pd

        frames = []
        for name in self.groups:
            if has(self.answer, name, "at_times"):
                columns = {key: numbers(self.answer, name, "at_times", key) for key in self._time_columns(name)}
                frames.append(pd.DataFrame(columns).assign(group=name))
        if not frames:
            return pd.DataFrame(columns=["group", "time", "n_risk", "surv", "se"])
        return pd.concat(frames, ignore_index=True).set_index(["group", "time"])

    def _time_columns(self, name: str) -> list[str]:
        return list(tree(self.answer, name, "at_times"))

    def curves(self) -> pd.DataFrame:
        """Every curve at its event times: one row a group and time."""
        import pandas as pd

        frames = []
        for name in self.groups:
            if has(self.answer, name, "curve_event_times"):
                own: Tree = tree(self.answer, name, "curve_event_times")
                frames.append(pd.DataFrame({key: numbers(own, key) for key in own}).assign(group=name))
        if not frames:
            return pd.DataFrame(columns=["group", "time", "n_risk", "n_event", "surv"])
        return pd.concat(frames, ignore_index=True).set_index(["group", "time"])

    def paragraph(self) -> str:
        return (
            "Survival was estimated by the Kaplan-Meier method on the study's time grid, with Greenwood's variance and"
            " log-log pointwise 95 % confidence limits; medians have limits from the same band."
            + (" Restricted mean survival time is the area under the curve." if "rmst" in self.table().columns else "")
        )

    def text(self) -> str:
        marks = self.footnotes
        labels = [*self.by, *self.groups]
        names, columns = [], []
        for name in self.groups:
            said = [*self.general_caveats(labels)] if name == OVERALL else []
            own = [*self.caveats_of(name), *self.caveats_of(name.partition("=")[0])] if name != OVERALL else []
            said += own or ([] if name == OVERALL else list(self.general_caveats(labels)))
            names.append(name + marks.mark(list(dict.fromkeys(said))))
            median = tree(self.answer, name, "quantiles", "loglog", "median")
            columns.append(
                [
                    number(self.answer, name, "n"),
                    number(self.answer, name, "events"),
                    number(median, "estimate"),
                    number(median, "lower"),
                    number(median, "upper"),
                ]
            )
        # R prints the columns of a matrix each in its own format, with three significant digits at least
        written = [format_numbers([row[k] for row in columns], 3) for k in range(5)]
        lines = ["Call: " + self.call(), ""]
        lines += aligned(names, ["n", "events", "median", "0.95LCL", "0.95UCL"], written)
        for name in self.groups:
            if has(self.answer, name, "rmst"):
                mean, se = number(self.answer, name, "rmst", "estimate"), number(self.answer, name, "rmst", "se")
                tau = number(self.answer, name, "rmst", "tau")
                lines += [""] if name == self.groups[0] else []
                lines.append(f"restricted mean to {one(tau)}, {name}: {one(mean, 4)} (se {one(se, 3)})")
        if marks.lines():
            lines += ["", *marks.lines()]
        return "\n".join(lines)
