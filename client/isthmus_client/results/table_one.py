"""Table 1: who is in the study."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isthmus.untrusted import shown
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned
from isthmus_client.results.tree import Tree, count, has, number, texts, tree
from isthmus_methods.contract import Answer, column_name

if TYPE_CHECKING:
    import pandas as pd

OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Line:
    """One printed row: a label and a cell a column. `level` rows stand indented under their variable."""

    variable: str
    label: str
    cells: tuple[str, ...]
    level: bool = False
    notes: tuple[str, ...] = ()


class TableOneFit(Fit):
    """Counts and percentages of factors, mean (sd) of numbers, missing values: overall, by arm, by country."""

    method: ClassVar[str] = "table_one"

    @property
    def arms(self) -> list[str]:
        return texts(self.answer, "arms")

    @property
    def columns(self) -> list[str]:
        """Keys of the columns: the arms, then ``overall``."""
        return [*self.arms, OVERALL]

    @property
    def arm_name(self) -> str:
        arm = self.spec.role("arm")
        return column_name(arm[0]) if arm else ""

    @property
    def variables(self) -> list[str]:
        return list(tree(self.answer, "rows"))

    @property
    def countries(self) -> list[str]:
        """Countries with a table of their own."""
        return list(tree(self.answer, "countries")) if has(self.answer, "countries") else []

    def names(self) -> list[str]:
        """Of the columns."""
        return [*(f"{self.arm_name}={arm}" for arm in self.arms), OVERALL]

    def headings(self) -> list[str]:
        """Of the columns, with their n."""
        counts = [_count(count(self.answer, "n", c)) for c in self.columns]
        return [f"{name} (n={n})" for name, n in zip(self.names(), counts, strict=True)]

    def lines(self, country: str | None = None) -> list[Line]:
        """The printed rows of the pooled table, or of one country's."""
        rows = tree(self.answer, "rows") if country is None else tree(self.answer, "countries", country)
        found = []
        for name in rows:
            row = tree(rows, name)
            said = self.caveats_of(name) if country is None else ()
            unit = str(row.get("unit") or "")
            label = str(row.get("label") or name)
            cells = [row.get(c) for c in self.columns]
            if any(has(c, "count") for c in cells) or self._levels(name):
                found += self._factor(name, label, cells, said)
            else:
                places = _places([number(c, "sd") for c in cells])
                texts = tuple(_mean(c, places) for c in cells)
                found.append(Line(name, f"{label}{f' ({unit})' if unit else ''}, mean (sd)", texts, notes=said))
                if self.quantiles:
                    found.append(Line(name, "median (q1, q3)", tuple(_median(c) for c in cells), level=True))
                    found.append(Line(name, "least, greatest", tuple(_extremes(c) for c in cells), level=True))
            if any(number(c, "missing") for c in cells):
                found.append(Line(name, "missing", tuple(_missing(c) for c in cells), level=True))
        return found

    @property
    def quantiles(self) -> bool:
        """Whether quantiles and extremes were asked for."""
        return bool(self.spec.options.get("quantiles"))

    def differences(self) -> pd.DataFrame:
        """Standardised difference of each arm from the first: one row a variable; empty without arms to compare."""
        import pandas as pd

        smd = tree(self.answer, "smd") if has(self.answer, "smd") else {}
        columns = {arm: [number(smd, name, arm) for name in smd] for arm in self.arms[1:]} if smd else {}
        return pd.DataFrame(columns, index=pd.Index(list(smd), name="variable"), dtype=float)

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Table 1": self.table()}
        return {**found, f"Standardised differences to {self.arms[0]}": self.differences()} if self._smd() else found

    def _smd(self) -> list[tuple[str, str]]:
        """Arms that have a standardised difference, and the headings of these."""
        if not has(self.answer, "smd"):
            return []
        others = self.arms[1:]
        return [(arm, "SMD" if len(others) == 1 else f"SMD {self.arm_name}={arm}") for arm in others]

    def _levels(self, name: str) -> tuple[str, ...]:
        column = next((c for c in self.spec.role("variables") if column_name(c) == name), None)
        return self.spec.levels(column) if column is not None else ()

    def _factor(self, name: str, label: str, cells: list[Answer], said: tuple[str, ...]) -> list[Line]:
        blank = tuple("" for _ in cells)
        found = [Line(name, f"{label}, n (%)", blank, notes=said)]
        for level in self._levels(name):
            found.append(Line(name, level, tuple(_share(c, level) for c in cells), level=True))
        return found

    def table(self) -> pd.DataFrame:
        """One row a variable and statistic, one column an arm: the numbers with all their digits."""
        import pandas as pd

        records: list[dict[str, object]] = []
        for scope, rows in self._scopes():
            for name in rows:
                row = tree(rows, name)
                for statistic, level in self._statistics(name):
                    record: dict[str, object] = {"scope": scope, "variable": name, "statistic": statistic}
                    record["level"] = level
                    for c in self.columns:
                        path = (c, statistic, level) if level else (c, statistic)
                        record[c] = number(row, *path)
                    records.append(record)
        return pd.DataFrame(records).set_index(["scope", "variable", "statistic", "level"])

    def _scopes(self) -> list[tuple[str, Tree]]:
        return [("pooled", tree(self.answer, "rows"))] + [
            (country, tree(self.answer, "countries", country)) for country in self.countries
        ]

    def _statistics(self, name: str) -> list[tuple[str, str]]:
        levels = self._levels(name)
        if levels:
            return [("n", ""), ("missing", "")] + [(s, level) for level in levels for s in ("count", "percent")]
        plain = [(s, "") for s in ("n", "missing", "mean", "sd", "var", "se_mean", "sum")]
        plain += [("t_ci95", end) for end in ("lower", "upper")]
        if not self.quantiles:
            return plain
        order = [(kind, p) for kind in ("quantile_type7", "quantile_type2") for p in ("p5", "p25", "p50", "p75", "p95")]
        return [*plain, ("min", ""), ("max", ""), *order]

    def paragraph(self) -> str:
        return (
            "Numbers are described by mean and standard deviation, factors by count and percentage of those not"
            " missing."
        )

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats(self.variables))
        rows, cells = [], []
        for line in self.lines():
            rows.append(("    " if line.level else "") + line.label + marks.mark(line.notes))
            cells.append(line.cells)
        columns = [[row[k] for row in cells] for k in range(len(self.columns))]
        headings = [h + general for h in self.headings()]
        for arm, heading in self._smd():
            first: dict[str, None] = {}
            texts = []
            for line in self.lines():
                new = line.variable not in first
                first.setdefault(line.variable)
                texts.append(_smd_text(number(self.answer, "smd", line.variable, arm)) if new else "")
            headings.append(heading)
            columns.append(texts)
        lines = aligned(rows, headings, columns)
        return "\n".join([*lines, *([""] if marks.lines() else []), *marks.lines()])

    def _repr_html_(self) -> str:
        from html import escape

        from isthmus_client.words import html_table

        body = [(line.label, line.cells, line.level) for line in self.lines()]
        notes = "".join(f"<li>{escape(shown(s))}</li>" for s in self.caveats)
        return html_table(self.headings(), body) + (f"<ul>{notes}</ul>" if notes else "")


WITHHELD = "withheld"


def _count(value: int | None) -> str:
    return WITHHELD if value is None else f"{value:,}"


def _places(spreads: list[float | None]) -> int:
    """Decimals that show the smallest standard deviation with two digits at least, one decimal in any case."""
    known = [s for s in spreads if s]
    return min(6, max(1, 1 - math.floor(math.log10(min(known))))) if known else 1


def _mean(cell: Answer, places: int) -> str:
    mean, sd = number(cell, "mean"), number(cell, "sd")
    if cell is None:
        return WITHHELD
    if mean is None:
        return "–"
    return f"{mean:.{places}f} ({sd:.{places}f})" if sd is not None else f"{mean:.{places}f} (–)"


def _median(cell: Answer) -> str:
    values = [number(cell, "quantile_type7", p) for p in ("p50", "p25", "p75")]
    if any(v is None for v in values):
        return "–"
    return "{} ({}, {})".format(*(f"{v:.6g}" for v in values))


def _extremes(cell: Answer) -> str:
    values = [number(cell, end) for end in ("min", "max")]
    return "–" if any(v is None for v in values) else ", ".join(f"{v:.6g}" for v in values)


def _smd_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(cell: Answer, level: str) -> str:
    n, percent = count(cell, "count", level), number(cell, "percent", level)
    if cell is None or n is None:
        return WITHHELD
    return f"{n:,} ({percent:.1f})" if percent is not None else f"{n:,} (–)"


def _missing(cell: Answer) -> str:
    n = count(cell, "missing")
    return WITHHELD if cell is None or n is None else f"{n:,}"
