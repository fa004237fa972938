"""Writes the page. Every name, label and message in it is untrusted text and is escaped by the template."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from isthmus.errors import UsageError
from isthmus.untrusted import shown
from isthmus_client.r_code import r_call
from isthmus_client.report.methods_text import methods_text
from isthmus_client.report.sections import Row, Table, sections_of
from isthmus_client.results import Fit
from isthmus_client.results.fit import write_text

FOLDER = Path(__file__).parent
# Of a clinical report: who, curves, test, model, countries.
ORDER = ("table_one", "kaplan_meier", "log_rank", "cox", "meta_analysis", "regional_consistency")


def write_report(fits: Sequence[Fit], path: Path, title: str = "") -> Path:
    """Write one HTML file about results of one study.

    Parameters
    ----------
    fits
        Results of one study, in any order.
    path
        The file.
    title
        Heading; the study's title otherwise.

    Raises
    ------
    UsageError
        ``NO_RESULTS`` where there are none, ``SEVERAL_STUDIES`` where they are of several.
    ConfigError
        ``FILE_NOT_WRITTEN``.
    """
    return write_text(path, report_html(fits, title))


def report_html(fits: Sequence[Fit], title: str = "") -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    if not fits:
        raise UsageError("NO_RESULTS", "a report needs at least one result", "run an analysis first")
    first = fits[0]
    if any(f.result.study_digest != first.result.study_digest for f in fits):
        raise UsageError("SEVERAL_STUDIES", "the results are of several studies", "write a report for each")
    everything = _with_countries(fits)
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        # an escape of HTML leaves what turns the direction of reading, and control characters, as they are
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else shown(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    study = first.study
    return environment.get_template("report.html.j2").render(
        # The only markup that is not escaped: our own style sheet, and figures drawn here as images.
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=_hash(style),
        title=title or study.title,
        study=study,
        first=first,
        purpose=first.provenance().purpose,
        sections=[(s, [(_image(text), words) for text, words in s.figures]) for s in sections_of(everything)],
        participants=_participants(everything),
        contributions=_contributions(everything),
        caveats=_caveats(everything),
        missing=sorted({c for f in everything for c in f.missing_countries}),
        methods=methods_text(everything),
        calls=[(f.title, r_call(f.spec)) for f in everything],
        runs=[f.provenance() for f in everything],
        made=max((p.ended_at for p in (f.provenance() for f in everything) if p.ended_at), default=None),
        moment=_moment,
    )


def _with_countries(fits: Sequence[Fit]) -> list[Fit]:
    """In the order of the page, with what stands beside a fit."""
    found: list[Fit] = []
    for fit in fits:
        found += [f for f in (fit, *fit.beside) if f not in found]
    return sorted(found, key=lambda f: ORDER.index(f.method) if f.method in ORDER else len(ORDER))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _image(svg_text: str) -> str:
    """A figure as an image: a browser runs nothing that is in it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg_text.encode()).decode("ascii")


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "–"


def _caveats(fits: Sequence[Fit]) -> list[tuple[str, list[str]]]:
    """Each sentence once, with the results it is about."""
    about: dict[str, list[str]] = {}
    for fit in fits:
        for sentence in fit.caveats:
            about.setdefault(sentence, []).append(fit.title)
    return list(about.items())


def _participants(fits: Sequence[Fit]) -> Table:
    """Who took part: country, node, and in how many of the results."""
    rows = []
    for participant in fits[0].study.participants:
        own = [c for f in fits for c in f.provenance().contributions if c.node == participant.node]
        given = sum(c.state == "contributed" for c in own)
        reasons = "; ".join(dict.fromkeys(c.reason for c in own if c.reason))
        withheld = sum(len(c.withheld) for c in own)
        said = reasons or (f"{withheld} field{'s' * (withheld != 1)} withheld by its gate" if withheld else "")
        rows.append(Row(participant.country, (participant.node, f"{given} of {len(fits)}", said)))
    if not any(row.cells[-1] for row in rows):
        rows = [Row(row.label, row.cells[:-1]) for row in rows]
    headings = ("country", "node", "results it is in", "remark")
    return Table(headings[: 1 + len(rows[0].cells)], tuple(rows), words=frozenset({1, 2, 3}))


def _contributions(fits: Sequence[Fit]) -> Table:
    """What left each country in all runs together, and the digests that find it in the journals."""
    rows = []
    for participant in fits[0].study.participants:
        own = [c for f in fits for c in f.provenance().contributions if c.node == participant.node]
        policies = sorted({c.policy_digest[:16] for c in own if c.policy_digest})
        datasets = sorted({c.dataset_digest[:16] for c in own if c.dataset_digest})
        versions = sorted({c.software for c in own if c.software})
        numbers = sorted({c.reference for c in own if c.reference})
        cells = (
            f"{sum(c.bytes for c in own):,}",
            f"{sum(c.releases for c in own):,}",
            ", ".join(policies) or "–",
            ", ".join(datasets) or "–",
            ", ".join(versions) or "–",
            ", ".join(numbers),
        )
        rows.append(Row(participant.country, cells))
    headings: tuple[str, ...] = (
        "country",
        "bytes that left",
        "releases",
        "policy digest",
        "dataset digest",
        "software",
        "in its words",
    )
    if not any(row.cells[-1] for row in rows):
        rows, headings = [Row(row.label, row.cells[:-1]) for row in rows], headings[:-1]
    return Table(headings, tuple(rows), words=frozenset({3, 4, 5, 6}))
