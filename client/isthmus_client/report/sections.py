"""The sections of a report: each result as tables of text cells, figures and notes, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus_client.plots.canvas import svg
from isthmus_client.plots.forest import ForestRow, effect_text, ratio_text as _ratio
from isthmus_client.results import CoxFit, Fit, KmFit, LogRankFit, MetaFit, TableOneFit
from isthmus_client.results.fit import Footnotes
from isthmus_client.results.frames import cell_text
from isthmus_client.results.r_format import one, p_values
from isthmus_client.results.tree import has, number, numbers


@dataclass(frozen=True, slots=True)
class Row:
    """A table row: its label, its cells, and whether it stands indented under the one above."""

    label: str
    cells: tuple[str, ...]
    inner: bool = False
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; nothing in it is markup."""

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    words: frozenset[int] = frozenset()  # columns of words, flush left


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    anchor: str
    title: str
    subtitle: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()  # SVG made here, and what it shows in words
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    shown: int = 2  # tables that stand open; the others open on a click


def sections_of(fits: Sequence[Fit]) -> list[Section]:
    """A section for each result, in the order given."""
    test = next((f for f in fits if isinstance(f, LogRankFit)), None)
    return [_section(fit, f"result-{k}", test, fits) for k, fit in enumerate(fits, start=1)]


def _section(fit: Fit, anchor: str, test: LogRankFit | None, everything: Sequence[Fit]) -> Section:
    if isinstance(fit, TableOneFit):
        return _table_one(fit, anchor)
    if isinstance(fit, KmFit):
        return _curves(fit, anchor, test)
    if isinstance(fit, LogRankFit):
        return _test(fit, anchor)
    if isinstance(fit, CoxFit):
        return _cox(fit, anchor)
    if isinstance(fit, MetaFit):
        return _countries(fit, anchor, everything)
    return _plain_section(fit, anchor)


def _plain_section(fit: Fit, anchor: str) -> Section:
    """A result of a method that has no section of its own: its tables and figures as they are."""
    tables = tuple(
        Table(
            ("", *map(str, frame.columns)),
            tuple(
                Row(str(label), tuple(map(cell_text, values)))
                for label, values in zip(frame.index, frame.to_numpy(dtype=object).tolist(), strict=True)
            ),
            caption,
        )
        for caption, frame in fit.tables().items()
    )
    figures = tuple((svg(figure, fit.title), words) for figure, words in fit.figures())
    return Section(anchor, fit.title, fit.spec.method, tables, figures, fit.caveats, tuple(fit.remarks()))


def _table_one(fit: TableOneFit, anchor: str) -> Section:
    marks = Footnotes()
    general = marks.mark(fit.general_caveats(fit.variables))
    rows = tuple(Row(line.label + marks.mark(line.notes), line.cells, line.level) for line in fit.lines())
    tables = [Table(("", *(h + general for h in fit.headings())), rows, "All countries")]
    tables += [
        Table(
            ("", *fit.names()),
            tuple(Row(line.label, line.cells, line.level) for line in fit.lines(country)),
            f"Country {country}",
        )
        for country in fit.countries
    ]
    return Section(anchor, fit.title, "Table 1", tuple(tables), notes=tuple(marks.lines()), shown=1)


def _curves(fit: KmFit, anchor: str, test: LogRankFit | None) -> Section:
    marks = Footnotes()
    general = marks.mark(fit.general_caveats([*fit.by, *fit.groups]))
    same = test if test is not None and _same_time(fit, test) else None
    figures = [
        (svg(fit.plot.km(name, test=same if name == _arm(same) else None), fit.title), f"survival by {name}")
        for name in fit.by
    ] or [(svg(fit.plot.km(), fit.title), "survival")]
    unit = f" ({fit.time_unit})" if fit.time_unit else ""
    headings = ["", "n", "events", f"median{unit}", "95 % CI"]
    with_mean = any(has(fit.answer, g, "rmst") for g in fit.groups)
    if with_mean:
        tau = number(fit.answer, fit.groups[0], "rmst", "tau")
        headings += [f"restricted mean to {_plain(tau)}", "se"]
    rows = []
    for name in fit.groups:
        curve = fit.curve(name)
        estimate, lower, upper = curve.median
        cells = [f"{curve.n:,}", f"{curve.events:,}", _reached(estimate), f"{_reached(lower)} – {_reached(upper)}"]
        if with_mean:
            cells += [_fixed(number(fit.answer, name, "rmst", k), 1) for k in ("estimate", "se")]
        rows.append(Row(name + marks.mark(fit.caveats_of(name)) + general, tuple(cells)))
    tables = [Table(tuple(headings), tuple(rows)), *_at_times(fit, unit)]
    return Section(anchor, fit.title, "Kaplan-Meier curves", tuple(tables), tuple(figures), tuple(marks.lines()))


def _at_times(fit: KmFit, unit: str) -> list[Table]:
    times = numbers(fit.answer, fit.groups[0], "at_times", "time")
    if not times:
        return []
    rows = []
    for k, time in enumerate(times):
        cells = []
        for name in fit.groups:
            share, lower, upper = (
                numbers(fit.answer, name, "at_times", key)[k] for key in ("surv", "loglog_lower", "loglog_upper")
            )
            limits = f" ({_percent(lower)} – {_percent(upper)})" if lower is not None and upper is not None else ""
            cells.append(f"{_percent(share)}{limits}")
        rows.append(Row(_plain(time), tuple(cells)))
    return [Table((f"time{unit}", *fit.groups), tuple(rows), "Survival (%) with 95 % confidence limits")]


def _same_time(fit: KmFit, test: LogRankFit) -> bool:
    return all(fit.spec.role(role) == test.spec.role(role) for role in ("time", "event")) and (
        fit.spec.where == test.spec.where
    )


def _arm(test: LogRankFit | None) -> str:
    from isthmus_methods.contract import column_name

    return column_name(test.spec.role("arm")[0]) if test is not None and test.spec.role("arm") else ""


def _test(fit: LogRankFit, anchor: str) -> Section:
    marks = Footnotes()
    general = marks.mark(fit.general_caveats())
    arms = fit.arms()
    rows = tuple(
        Row(f"{arms.index.name}={name}", (f"{row['n']:,.0f}", f"{row['observed']:,.0f}", _fixed(row["expected"], 1)))
        for name, row in arms.iterrows()
    )
    tests = tuple(
        Row(
            fit.test_name(key) + general,
            (
                _fixed(number(fit.answer, key, "chisq"), 2),
                _fixed(number(fit.answer, key, "df"), 0),
                p_values([number(fit.answer, key, "p")], 2)[0],
            ),
        )
        for key in fit.tests
    )
    tables = (
        Table(("", "n", "observed events", "expected events"), rows),
        Table(("test", "χ²", "df", "p"), tests),
    )
    return Section(anchor, fit.title, "Tests between arms", tables, notes=tuple(marks.lines()))


def _cox(fit: CoxFit, anchor: str) -> Section:
    marks = Footnotes()
    names = [c.name for c in fit.coefficients]
    general = marks.mark(fit.general_caveats(names))
    rows = tuple(
        Row(
            c.name + marks.mark(fit.notes_of(c)),
            (
                _ratio(ForestRow(c.name, c.estimate, c.lower, c.upper)),
                _digits(c.estimate),
                _digits(c.robust_se if c.robust_se is not None else c.se),
                _fixed(c.z, 2),
                p_values([c.p], 2)[0] if c.p is not None else "–",
            ),
        )
        for c in fit.coefficients
    )
    se = "robust se" if fit.robust is not None else "se"
    table = Table(("", "hazard ratio (95 % CI)", "log hazard ratio", se, "z", "p"), rows)
    counts = f"n = {fit.n:,}{general}, events = {fit.n_event:,}{general}"
    lines = [f"{counts}; {fit.left_out()}." if fit.left_out() else f"{counts}."]
    if fit.concordance is not None:
        c, error = fit.concordance
        lines.append(f"Concordance {c:.3f}" + (f" (se {error:.3f})." if error is not None else "."))
    tests = Table(
        ("test", "χ²", "df", "p"),
        tuple(
            Row(name, (_fixed(statistic, 2), f"{df}", p_values([p], 2)[0])) for name, statistic, df, p in fit.tests()
        ),
    )
    figure = (svg(fit.plot.coefficients(), fit.title), "hazard ratio of each coefficient")
    return Section(anchor, fit.title, "Cox model", (table, tests), (figure,), tuple(marks.lines()), tuple(lines))


def _countries(fit: MetaFit, anchor: str, everything: Sequence[Fit]) -> Section:
    pooled = next((f for f in everything if isinstance(f, CoxFit) and f.has_coefficient(fit.coefficient)), None)
    marks = Footnotes()
    rows = []
    for r in fit.countries():
        cells = (
            "–" if r.n is None else f"{r.n:,}",
            "–" if r.events is None else f"{r.events:,}",
            effect_text(ForestRow(r.label, r.estimate, r.lower, r.upper), fit.is_ratio),
            _fixed(r.weight, 1),
        )
        rows.append(Row(r.label + (marks.mark([r.note]) if r.note else ""), cells))
    for r in fit.pooled():
        cells = ("", "", effect_text(ForestRow(r.label, r.estimate, r.lower, r.upper), fit.is_ratio), "")
        rows.append(Row(f"meta-analysis, {r.label}", cells, strong=True))
    table = Table((fit.studies_are, "n", "events", f"{fit.measure} (95 % CI)", "weight %"), tuple(rows))
    figure = (svg(fit.plot.forest(pooled), fit.title), f"{fit.coefficient} by {fit.studies_are}")
    own = {r.note for r in fit.countries()}
    notes = (*marks.lines(), *(s for s in fit.caveats if s not in own))
    return Section(
        anchor, fit.title, f"{fit.coefficient} by {fit.studies_are}", (table,), (figure,), notes, (fit.heterogeneity,)
    )


def _fixed(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def _digits(value: float | None) -> str:
    return "–" if value is None else one(value, 3)


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:,.10g}"


def _reached(value: float | None) -> str:
    return "not reached" if value is None else f"{value:,.6g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
