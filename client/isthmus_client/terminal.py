"""Results in a terminal: Table 1, survival, tests, hazard ratios, and the forest by country drawn in characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus_client.plots.forest import ForestRow, effect_text, ratio_text
from isthmus_client.results import CoxFit, Fit, KmFit, LogRankFit, MetaFit, TableOneFit
from isthmus_client.results.fit import MOST_ROWS, Footnotes
from isthmus_client.results.frames import cell_text
from isthmus_client.results.r_format import hazard_ratio, p_values
from isthmus_client.results.tree import has, number

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

# Characters of the forest's scale.
SCALE = 41


def show(console: Console, fits: Sequence[Fit]) -> None:
    """Print results one after the other, each with its notes beneath."""
    everything: list[Fit] = []
    for fit in fits:
        everything += [f for f in (fit, *fit.beside) if f not in everything]
    models = [f for f in everything if isinstance(f, CoxFit)]
    for fit in everything:
        _show(console, fit, models)


def _show(console: Console, fit: Fit, models: Sequence[CoxFit]) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(fit.title, style="bold"))
    marks = Footnotes()
    if isinstance(fit, TableOneFit):
        console.print(_table_one(fit, marks))
    elif isinstance(fit, KmFit):
        console.print(_survival(fit, marks))
        console.print(*_at_times(fit), sep="\n")
    elif isinstance(fit, LogRankFit):
        console.print(_tests(fit, marks))
    elif isinstance(fit, CoxFit):
        console.print(_hazard_ratios(fit, marks))
        for line in fit.test_lines():
            console.print(Text(f"  {line}", style="dim"))
    elif isinstance(fit, MetaFit):
        pooled = next((m for m in models if m.has_coefficient(fit.coefficient)), None)
        console.print(_forest(fit, pooled, marks, SCALE if console.width >= 125 else 21))
        console.print(Text(f"  {fit.heterogeneity}", style="dim"))
    else:
        for caption, frame in fit.tables().items():
            if len(frame) <= MOST_ROWS:
                console.print(Text(caption, style="dim"))
                console.print(_frame(frame))
            else:
                console.print(Text(f"{caption}: {len(frame):,} rows, in the report and in result.json", style="dim"))
        for line in fit.remarks():
            console.print(Text(f"  {line}", style="dim"))
    # what no number of the table is marked with is said all the same
    noted = [sentence for _, sentence in marks]
    for line in [*marks.lines(), *(s for s in fit.caveats if s not in noted)]:
        console.print(Text(f"  {line}", style="yellow"))


def _new(*headings: str) -> Table:
    """A table of text: the first column flush left, numbers flush right; nothing in it is markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for k, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if k == 0 else "right", overflow="fold")
    return table


def _frame(frame: pd.DataFrame) -> Table:
    table = _new("", *map(str, frame.columns))
    for label, values in zip(frame.index, frame.to_numpy(dtype=object).tolist(), strict=True):
        _add(table, str(label), *map(cell_text, values))
    return table


def _add(table: Table, *cells: str, strong: bool = False) -> None:
    from rich.text import Text

    table.add_row(*(Text(cell, style="bold" if strong else "") for cell in cells))


def _table_one(fit: TableOneFit, marks: Footnotes) -> Table:
    general = marks.mark(fit.general_caveats(fit.variables))
    table = _new("", *(h + general for h in fit.headings()))
    for line in fit.lines():
        _add(table, ("  " if line.level else "") + line.label + marks.mark(line.notes), *line.cells)
    return table


def _survival(fit: KmFit, marks: Footnotes) -> Table:
    general = marks.mark(fit.general_caveats([*fit.by, *fit.groups]))
    unit = f" ({fit.time_unit})" if fit.time_unit else ""
    headings = ["", f"n{general}", "events", f"median{unit}", "95 % CI"]
    with_mean = any(has(fit.answer, g, "rmst") for g in fit.groups)
    if with_mean:
        tau = number(fit.answer, fit.groups[0], "rmst", "tau") or 0.0
        headings.append(f"restricted mean to {tau:,.10g}")
    table = _new(*headings)
    for name in fit.groups:
        curve = fit.curve(name)
        estimate, lower, upper = (_reached(v) for v in curve.median)
        cells = [f"{curve.n:,}", f"{curve.events:,}", estimate, f"{lower} – {upper}"]
        if with_mean:
            mean, se = number(fit.answer, name, "rmst", "estimate"), number(fit.answer, name, "rmst", "se")
            cells.append("–" if mean is None or se is None else f"{mean:,.1f} (se {se:,.1f})")
        _add(table, name + marks.mark(fit.caveats_of(name)), *cells)
    return table


def _at_times(fit: KmFit) -> list[Table]:
    """Survival and numbers at risk at the times that were asked for; none where none were."""
    shown = fit.at_times().reset_index()
    if not {"n_risk", "surv"} <= set(shown.columns) or shown.empty:
        return []
    unit = f" ({fit.time_unit})" if fit.time_unit else ""
    groups = list(dict.fromkeys(shown["group"]))
    table = _new(f"survival, at risk{unit}", *map(str, groups))
    for time, rows in shown.groupby("time", sort=False):
        cells = {
            row.group: f"{100 * row.surv:.1f} %  {row.n_risk:,.0f}"
            for row in rows.dropna(subset=["n_risk", "surv"]).itertuples()
        }
        _add(table, f"{time:,.10g}", *(cells.get(group, "–") for group in groups))
    return [table]


def _reached(value: float | None) -> str:
    return "not reached" if value is None else f"{value:,.6g}"


def _tests(fit: LogRankFit, marks: Footnotes) -> Table:
    general = marks.mark(fit.general_caveats())
    table = _new("test", "χ²", "df", "p")
    for key in fit.tests:
        chisq, df, p = (number(fit.answer, key, name) for name in ("chisq", "df", "p"))
        shown = "–" if chisq is None else f"{chisq:.2f}"
        _add(table, fit.test_name(key) + general, shown, f"{df or 0:.0f}", p_values([p], 2)[0])
    return table


def _hazard_ratios(fit: CoxFit, marks: Footnotes) -> Table:
    general = marks.mark(fit.general_caveats([c.name for c in fit.coefficients]))
    se = "robust se" if fit.robust is not None else "se"
    table = _new(f"n = {fit.n:,}{general}, events = {fit.n_event:,}{general}", "hazard ratio (95 % CI)", se, "z", "p")
    for c in fit.coefficients:
        error = c.robust_se if c.robust_se is not None else c.se
        _add(
            table,
            c.name + marks.mark(fit.notes_of(c)),
            ratio_text(ForestRow(c.name, c.estimate, c.lower, c.upper)),
            "–" if error is None else f"{error:.3g}",
            "–" if c.z is None else f"{c.z:.2f}",
            "–" if c.p is None else p_values([c.p], 2)[0],
        )
    return table


def _forest(fit: MetaFit, pooled: CoxFit | None, marks: Footnotes, size: int) -> Table:
    countries, models = fit.countries(), fit.pooled()
    rows = [ForestRow(r.label, r.estimate, r.lower, r.upper) for r in (*countries, *models)]
    whole = None
    if pooled is not None and pooled.has_coefficient(fit.coefficient):
        c = pooled.coefficient(fit.coefficient)
        whole = ForestRow("pooled, stratified by country", c.estimate, c.lower, c.upper)
        rows.append(whole)
    low, high = _range(rows, fit.is_ratio)
    first, last = (f"{hazard_ratio(x) if fit.is_ratio else x:.2g}" for x in (low, high))
    scale = first.ljust(size - 6) + last.rjust(6)
    table = _new(f"{fit.coefficient} by {fit.studies_are}", "n", "events", scale, f"{fit.measure} (95 % CI)")
    for r in countries:
        row = ForestRow(r.label, r.estimate, r.lower, r.upper)
        counts = ("–" if r.n is None else f"{r.n:,}", "–" if r.events is None else f"{r.events:,}")
        label = r.label + (marks.mark([r.note]) if r.note else "")
        _add(table, label, *counts, _bar(row, low, high, size, "■"), effect_text(row, fit.is_ratio))
    if whole is not None and pooled is not None:
        _add(
            table, whole.label, f"{pooled.n:,}", f"{pooled.n_event:,}", _bar(whole, low, high, size, "◆"),
            ratio_text(whole), strong=True,
        )  # fmt: skip
    for r in models:
        row = ForestRow(r.label, r.estimate, r.lower, r.upper)
        _add(
            table, f"meta-analysis, {r.label}", "", "", _bar(row, low, high, size, "◇"), effect_text(row, fit.is_ratio)
        )
    return table


def _range(rows: Sequence[ForestRow], ratio: bool = True) -> tuple[float, float]:
    limits = [v for r in rows for v in (r.lower, r.upper) if v is not None]
    if ratio:
        reach = max([0.1, *(min(abs(v), math.log(16)) for v in limits)])
    else:
        reach = max((abs(v) for v in limits), default=0.0) or 1.0
    return -reach, reach


def _bar(row: ForestRow, low: float, high: float, size: int, point: str) -> str:
    """The interval on the scale, with 1 marked."""
    cells = [" "] * size
    middle = (size - 1) // 2
    cells[middle] = "│"
    if row.estimate is not None and row.lower is not None and row.upper is not None:
        start, end = _cell(row.lower, low, high, size), _cell(row.upper, low, high, size)
        for k in range(start, end + 1):
            cells[k] = "┼" if k == middle else "─"
        if row.lower < low:
            cells[0] = "◀"
        if row.upper > high:
            cells[-1] = "▶"
        cells[_cell(row.estimate, low, high, size)] = point
    return "".join(cells)


def _cell(value: float, low: float, high: float, size: int) -> int:
    share = (min(max(value, low), high) - low) / (high - low)
    return round(share * (size - 1))
