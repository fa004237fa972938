"""What every result has: its answer, where it comes from, what is not exact about it, and ways to keep it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from isthmus.errors import ConfigError, UsageError
from isthmus.untrusted import json_text, shown
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_client.results.frames import csv_text, frames
from isthmus_client.results.provenance import Contribution, Provenance
from isthmus_client.results.tree import Tree, tree
from isthmus_methods.codec import answer_from_message, spec_from_message
from isthmus_methods.contract import Answer, Spec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from isthmus_client.study import Study

# Version of the shape of `to_json`, not of what is in it.
JSON_VERSION = 1
# Rows of one table that are printed; all of them stand in its data frame.
MOST_ROWS = 60
# Names of an answer's table that people look at first.
MAIN_TABLES = ("coef", "coefficients", "fixed")
# Footnote marks in their customary order; the asterisk is R's for significance.
_MARKS = "†‡§¶#"


class Footnotes:
    """Sentences with a mark each; the same sentence keeps its mark."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}

    def mark(self, sentences: Sequence[str]) -> str:
        """The marks of sentences, to stand after a number."""
        for sentence in sentences:
            k = len(self._sentences)
            self._sentences.setdefault(sentence, _MARKS[k % len(_MARKS)] * (k // len(_MARKS) + 1))
        return "".join(self._sentences[s] for s in sentences)

    def lines(self) -> list[str]:
        return [f"{mark} {sentence}" for sentence, mark in self._sentences.items()]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Mark and sentence."""
        return iter([(mark, sentence) for sentence, mark in self._sentences.items()])


class Fit:
    """A result. ``summary()`` prints it as R does, ``table()`` gives a data frame, ``report(path)`` a page."""

    method: ClassVar[str] = ""

    def __init__(self, result: analyst_pb2.Result, study: study_pb2.Study, formula: str = "") -> None:
        self.result = result
        self.study = study
        self.formula = formula
        self.spec: Spec = spec_from_message(result.spec, study)
        self.answer: Tree = tree(answer_from_message(result.answer))
        self.footnotes = Footnotes()

    # ------------------------------------------------------------------ what is said about it

    @property
    def exact(self) -> bool:
        """It equals the analysis of the pooled rows of the countries that contributed, and all contributed."""
        return self.result.exact and not self.missing_countries

    @property
    def missing_countries(self) -> tuple[str, ...]:
        """Countries that are not in the result."""
        return tuple(c.country for c in self.result.contributions if c.state != "contributed")

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences that say how the result is not the pooled one, and the method's notes; missing countries first."""
        said = [s for s in dict.fromkeys(self.result.caveats) if not self._said_better(s)]
        for c in self.result.contributions:
            if c.state == "contributed" or any(c.country in sentence for sentence in said):
                continue
            reason = f": {c.failure.message}" if c.failure.message else ""
            said.insert(0, f"{c.country} is not in this result ({c.state}{reason})")
        return tuple(said)

    def _said_better(self, sentence: str) -> bool:
        """A list of withheld fields, each of which the method has a sentence of its own about."""
        country, _, items = sentence.rstrip(".").partition(" withheld: ")
        labels = [_label(item) for item in items.split("; ")] if items else []
        return bool(labels) and all(
            label and any(s.startswith(f"{label}:") and country in s for s in self.result.caveats) for label in labels
        )

    def caveats_of(self, label: str) -> tuple[str, ...]:
        """The caveats about one variable, group or curve: those that begin with its name, or withhold its field."""
        return tuple(s for s in self.caveats if s.startswith(f"{label}:") or (" withheld: " in s and f"[{label}]" in s))

    def general_caveats(self, labels: Sequence[str] = ()) -> tuple[str, ...]:
        """The caveats about the result as a whole."""
        own = {s for label in labels for s in self.caveats_of(label)}
        return tuple(s for s in self.caveats if s not in own)

    @property
    def title(self) -> str:
        """The analysis in words."""
        planned = next((a.title for a in self.study.plan if a.name == self.result.analysis and a.title), "")
        return planned or self._title()

    def _title(self) -> str:
        from isthmus_methods.registry import find_procedure

        try:
            return find_procedure(self.spec.method).title
        except UsageError:  # a result of a later release
            return self.spec.method

    def provenance(self) -> Provenance:
        r = self.result
        return Provenance(
            study=r.study,
            study_version=r.study_version,
            study_digest=r.study_digest.hex(),
            analysis=r.analysis,
            purpose=_purpose(r.purpose),
            run=r.run.hex(),
            method=f"{r.spec.method}/{r.spec.method_version}",
            rounds=r.rounds,
            software=r.software,
            started_at=_moment(r.started_at),
            ended_at=_moment(r.ended_at),
            sealed=tuple((one.transcript.hex(), one.list.hex()) for one in r.sealed),
            contributions=tuple(
                Contribution(
                    country=c.country,
                    node=c.node,
                    state=c.state,
                    releases=c.releases,
                    bytes=c.bytes,
                    withheld=tuple(c.withheld),
                    reason=c.failure.message,
                    policy_digest=_hex(c.policy_digest),
                    dataset_digest=_hex(c.dataset_digest),
                    software=c.software,
                    reference=c.reference,
                )
                for c in r.contributions
            ),
        )

    @property
    def beside(self) -> tuple[Fit, ...]:
        """Results that were asked for together with this one."""
        return ()

    # ------------------------------------------------------------------ ways to show it

    def call(self) -> str:
        """How it was asked for, under ``Call:`` in the summary."""
        from isthmus_client.r_code import r_formula

        return f"{self.spec.method}({self.formula or r_formula(self.spec)})"

    def text(self) -> str:
        """What `summary` prints: every table beneath its caption, and the footnotes."""
        lines = [self.title, "", "Call:", self.call()]
        for caption, table in self.tables().items():
            lines += ["", *([f"{caption}:"] if caption else [])]
            lines.append(table.to_string(na_rep="NA", float_format="{:.6g}".format, max_rows=MOST_ROWS))
        self.footnotes.mark(self.caveats)
        notes = [*self.remarks(), *self.footnotes.lines()]
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table of the result by its caption; those of the answer as it stands where a method has no own."""
        return frames(self.answer)

    def remarks(self) -> Sequence[str]:
        """Sentences that belong beneath the tables: how their numbers were reckoned."""
        return ()

    def table(self) -> pd.DataFrame:
        """The result as a data frame: its coefficients where it has some, its first table otherwise."""
        import pandas as pd

        tables = self.tables()
        first = next((name for name in tables if name.split(", ")[-1] in MAIN_TABLES), next(iter(tables), ""))
        return tables.get(first, pd.DataFrame())

    def figures(self) -> Sequence[tuple[Figure, str]]:
        """Figures of the result, each with what it shows in words."""
        return ()

    def paragraph(self) -> str:
        """What a paper says of the method; empty where the registry has none of that name."""
        from isthmus_methods.contract import Missingness
        from isthmus_methods.registry import METHODS

        method = METHODS.get(self.spec.method)
        if method is None:
            return ""
        whole = method.missingness is Missingness.COMPLETE
        rows = "rows complete in all variables named" if whole else "each variable's own non-missing values"
        return f"{method.title}: over {rows}; limits are two-sided 95 %."

    def summary(self) -> None:
        """Print the result as R prints it, with footnotes."""
        print(self)  # noqa: T201 - that is what it is for

    def __str__(self) -> str:
        return shown(self.text(), "\n")

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(line)}</li>" for line in self.caveats)
        table = self.table().to_html(escape=True, na_rep="–", float_format="%.4g")
        return shown(f"<h4>{escape(self.title)}</h4>{table}" + (f"<ul>{notes}</ul>" if notes else ""), "\n")

    # ------------------------------------------------------------------ ways to keep it

    def as_dict(self) -> dict[str, object]:
        """The whole result as plain values: numbers, texts, lists and tables by name. Infinities are text."""
        p = self.provenance()
        return {
            "schema_version": JSON_VERSION,
            "method": self.spec.method,
            "title": self.title,
            "formula": self.formula or None,
            "study": {"name": p.study, "version": p.study_version, "digest": p.study_digest},
            "analysis": p.analysis or None,
            "purpose": p.purpose,
            "run": p.run,
            "exact": self.exact,
            "caveats": list(self.caveats),
            "missing_countries": list(self.missing_countries),
            "answer": plain(self.answer),
            "rounds": p.rounds,
            **({"sealed": [{"transcript": keys, "list": shares} for keys, shares in p.sealed]} if p.sealed else {}),
            "software": p.software,
            "started_at": p.started_at.isoformat() if p.started_at else None,
            "ended_at": p.ended_at.isoformat() if p.ended_at else None,
            "contributions": [
                {
                    "country": c.country,
                    "node": c.node,
                    "state": c.state,
                    "releases": c.releases,
                    "bytes": c.bytes,
                    "withheld": list(c.withheld),
                    "reason": c.reason or None,
                    "policy_digest": c.policy_digest,
                    "dataset_digest": c.dataset_digest,
                    "software": c.software,
                    **({"reference": c.reference} if c.reference else {}),
                }
                for c in p.contributions
            ],
        }

    def to_json(self, path: str | Path) -> Path:
        """Write the whole result as JSON."""
        text = json_text(self.as_dict(), indent=1)
        return write_text(Path(path), text + "\n")

    def to_csv(self, path: str | Path) -> Path:
        """Write `table` as CSV, all digits kept; a text that a spreadsheet would compute begins with an apostrophe."""
        return write_text(Path(path), csv_text(self.table()))

    def report(self, path: str | Path) -> Path:
        """Write one HTML page with table, figure, caveats and provenance; needs no network to be read."""
        from isthmus_client.report import write_report

        return write_report([self], Path(path))


def write_text(path: Path, text: str) -> Path:
    """Write a file; `ConfigError` ``FILE_NOT_WRITTEN`` where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "FILE_NOT_WRITTEN",
            f"{path} could not be written: {error.strerror or 'input/output error'}",
            "check that the folder can be written to and that the disk is not full",
        ) from error
    return path


def plain(answer: Answer) -> object:
    if isinstance(answer, Mapping):
        return {name: plain(value) for name, value in answer.items()}
    if isinstance(answer, float) and math.isinf(answer):
        return "Inf" if answer > 0 else "-Inf"
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        return [plain(value) for value in answer]
    return answer


def _label(withheld: str) -> str:
    """``size`` of ``count[size]: SMALL_CELL``."""
    return withheld.partition("[")[2].partition("]:")[0]


def _hex(digest: object) -> str:
    # the contract's types lose sight of `bytes` in a message that has a field of that name
    return digest.hex() if isinstance(digest, bytes) else ""


def _moment(nanoseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None
    except (ValueError, OverflowError, OSError):
        # no time of this calendar: whoever sent it does not know when it was
        return None


def _purpose(number: int) -> str:
    known = study_pb2.Purpose.DESCRIPTOR.values_by_number
    return str(known[number].name).lower().replace("_", " ") if number in known else f"unknown ({number})"


def fit_of(result: analyst_pb2.Result, study: Study | study_pb2.Study, formula: str = "") -> Fit:
    """The result as its method's own class, or as a plain `Fit` where the method has none here."""
    from isthmus_client.results import CLASSES

    kind = CLASSES.get(result.spec.method, Fit)
    return kind(result, study if isinstance(study, study_pb2.Study) else study.message, formula)


def beside(main: Fit, others: Sequence[Fit]) -> Fit:
    """The main result with those that were ordered together with it."""
    from isthmus_client.results.cox import CoxFit
    from isthmus_client.results.meta_analysis import MetaFit

    if isinstance(main, CoxFit):
        for other in others:
            if isinstance(other, MetaFit):
                main.by_country = other
    return main
