"""Adverse events by arm: overall, subsets, classes, terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from isthmus.errors import UsageError
from isthmus_client.results.fit import Fit
from isthmus_client.results.tree import Tree, count, number, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from isthmus_client.plots.safety import SafetyPlots

ANY = "any event"


class SafetyFit(Fit):
    """Incidence, rates and comparisons of sets of events."""

    method: ClassVar[str] = "safety"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, in the order of the dictionary."""
        return tuple(tree(self.answer, "arms"))

    @property
    def control(self) -> str:
        """The arm that the others are compared with."""
        return str(self.answer.get("control", ""))

    @property
    def plot(self) -> SafetyPlots:
        """``plot.risk_differences()``."""
        from isthmus_client.plots.safety import SafetyPlots

        return SafetyPlots(self)

    def figures(self) -> Sequence[tuple[Figure, str]]:
        return [(self.plot.risk_differences(), "Incidence by arm and risk differences of classes of events")]

    def blocks(self, *, classes: bool = True) -> dict[str, Tree]:
        """Sets of events by name: any, subsets, and the classes that anybody has."""
        found = {ANY: tree(self.answer, "any_ae"), **{n: tree(b) for n, b in tree(self.answer, "subsets").items()}}
        own = {name: tree(block) for name, block in tree(self.answer, "by_soc").items()} if classes else {}
        return {**found, **{name: block for name, block in own.items() if _any(tree(block, "by_arm"))}}

    def table(self) -> pd.DataFrame:
        """One row a set of events: n (%) by arm as numbers, and of each arm against control the risk difference."""
        import pandas as pd

        rows = {name: list(self._row(block)) for name, block in self.blocks().items()}
        columns = [f"{arm}: {key}" for arm in self.arms for key in ("n", "percent", "events")]
        for arm in self._others():
            columns += [f"{arm}: {key}" for key in ("risk difference", "lower", "upper", "p")]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float).rename_axis("events")

    def rates(self) -> pd.DataFrame:
        """One row a set and arm: time at risk, exposure-adjusted incidence rate and event rate with limits."""
        import pandas as pd

        keys = [("time_at_risk",), ("eair",), ("eair_ci95", "lower"), ("eair_ci95", "upper")]
        keys += [("event_rate",), ("event_rate_ci95", "lower"), ("event_rate_ci95", "upper")]
        rows = {
            (name, arm): [number(block, "by_arm", arm, *key) for key in keys]
            for name, block in self.blocks().items()
            for arm in self.arms
        }
        names = [" ".join(key).replace("_ci95", "") for key in keys]
        index = pd.MultiIndex.from_tuples(list(rows), names=["events", "arm"])
        return pd.DataFrame(list(rows.values()), index=index, columns=names, dtype=float)

    def terms(self) -> pd.DataFrame:
        """One row a class and term: n, percent and events by arm; the most frequent first in each class."""
        import pandas as pd

        if "by_soc_pt" not in self.answer:
            raise UsageError("NO_TERMS", "the terms were not asked for", "ask again with term = ...")
        rows: dict[tuple[str, str], list[float | None]] = {}
        for group, terms in tree(self.answer, "by_soc_pt").items():
            own = {term: tree(arms) for term, arms in tree(terms).items()}
            for term in sorted(own, key=lambda t: -sum(number(own[t], a, "n_subjects") or 0 for a in self.arms)):
                rows[group, term] = [number(own[term], a, key) for a in self.arms for key in _COUNTS]
        columns = [f"{arm}: {key}" for arm in self.arms for key in ("n", "percent", "events")]
        index = pd.MultiIndex.from_tuples(list(rows), names=["class", "term"])
        return pd.DataFrame(list(rows.values()), index=index, columns=columns, dtype=float)

    def subjects(self) -> pd.DataFrame:
        """One row an arm: N, days of exposure, person-years, mean exposure."""
        import pandas as pd

        keys = ("N", "exposure_days", "person_years", "exposure_mean")
        rows = {arm: [number(self.answer, "arms", arm, key) for key in keys] for arm in self.arms}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(keys), dtype=float).rename_axis("arm")

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Subjects": self.subjects(), "Events": self.table(), "Rates": self.rates()}
        return {**found, "Terms": self.terms()} if "by_soc_pt" in self.answer else found

    def call(self) -> str:
        second = self.spec.events
        arm, exposure = (column_name(self.spec.role(role)[0]) for role in ("arm", "exposure"))
        return f"safety({arm}, exposure = {exposure}, events = {second.dataset if second is not None else ''})"

    def text(self) -> str:
        import pandas as pd

        headings = {arm: f"{arm} (N={count(self.answer, 'arms', arm, 'N'):,})" for arm in self.arms}
        blocks = self.blocks()
        shown = pd.DataFrame(
            {
                **{headings[arm]: [_incidence(block, arm) for block in blocks.values()] for arm in self.arms},
                **{f"RD {arm}": [_difference(block, arm) for block in blocks.values()] for arm in self._others()},
            },
            index=list(blocks),
        )
        self.footnotes.mark(self.caveats)
        notes = self.footnotes.lines()
        lines = ["Call:", self.call(), "", shown.to_string(), ""]
        lines.append(
            f"Subjects with an event n (%), events; RD: risk difference against {self.control}, Newcombe 95 %."
        )
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def _others(self) -> Iterator[str]:
        return (arm for arm in self.arms if arm != self.control)

    def _row(self, block: Tree) -> Iterator[float | None]:
        for arm in self.arms:
            yield from (number(block, "by_arm", arm, key) for key in _COUNTS)
        for arm in self._others():
            difference = tree(block, "vs_control", arm, "risk_difference")
            yield number(difference, "estimate")
            yield from (number(difference, "newcombe95", end) for end in ("lower", "upper"))
            yield number(block, "vs_control", arm, "fisher_p")


_COUNTS = ("n_subjects", "percent", "n_events")


def _any(by_arm: Tree) -> bool:
    return any(number(by_arm, arm, "n_events") for arm in by_arm)


def _incidence(block: Tree, arm: str) -> str:
    n, percent, events = (number(block, "by_arm", arm, key) for key in _COUNTS)
    share = "" if percent is None else f" ({percent:.1f})"
    return f"{n or 0:.0f}{share}, {events or 0:.0f}"


def _difference(block: Tree, arm: str) -> str:
    difference = tree(block, "vs_control", arm, "risk_difference")
    values = [number(difference, "estimate"), *(number(difference, "newcombe95", e) for e in ("lower", "upper"))]
    if any(value is None for value in values):
        return "–"
    estimate, lower, upper = (100 * (value or 0.0) for value in values)
    return f"{estimate:.1f} ({lower:.1f}, {upper:.1f})"
