"""Commands for the site's data: add, list, remove. What they say of the rows stays at the site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import say
from isthmus.errors import ConfigError, DataError, UsageError
from isthmus_node.commands.common import (
    HomeOption,
    JsonOption,
    QuietOption,
    joined_config_of,
    show,
    show_table,
)

if TYPE_CHECKING:
    from isthmus.v1 import study_pb2
    from isthmus_node.catalogue import Datasets, Finding, Mapped, Registration
    from isthmus_node.config import NodeConfig

app = typer.Typer(help="The site's datasets.", no_args_is_help=True)


@app.command("add")
def add(
    source: Annotated[str, typer.Argument(help="File (CSV, Parquet, XPT, Dataset-JSON) or SQLAlchemy URL.")],
    dataset: Annotated[str, typer.Option("--dataset", "--name", help="Name that studies use for it, e.g. ADTTE.")],
    study: Annotated[
        str | None, typer.Option("--study", help="Hold it against this study's dictionary; what does not fit stops it.")
    ] = None,
    country_constant: Annotated[
        str | None, typer.Option("--country-constant", help="Text of the country's column, where the file has none.")
    ] = None,
    constant: Annotated[list[str] | None, typer.Option("--constant", help="VAR=TEXT: a column of one text.")] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="VAR=COLUMN: take VAR from the file's COLUMN.")
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option("--level", help="VAR:THEIRS=OURS: a text of a mapped column and what it becomes."),
    ] = None,
    open_data: Annotated[
        bool, typer.Option("--open-data", help="The rows are public or made up: the policy's floors do not apply.")
    ] = False,
    format_: Annotated[str, typer.Option("--format", help="csv, parquet, xpt, dataset-json or sql.")] = "",
    encoding: Annotated[str, typer.Option("--encoding", help="Of the text in the file.")] = "utf-8",
    delimiter: Annotated[str, typer.Option("--delimiter", help="Of a CSV file.")] = ",",
    missing: Annotated[list[str] | None, typer.Option("--missing", help="A text that means missing.")] = None,
    table: Annotated[str, typer.Option("--table", help="SQL: table or view.")] = "",
    query: Annotated[str, typer.Option("--query", help="SQL: one SELECT.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a dataset of the same name.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Register a dataset under the name that studies use for it.

    SOURCE is a file (CSV, Parquet, XPT v5 and v8, Dataset-JSON) or a SQLAlchemy URL without a password. It stays where
    it is, and is read again when it changes.
    """
    from isthmus_node.catalogue import Datasets
    from isthmus_node.sources import Source, read as read_rows

    config = joined_config_of(home)
    datasets = Datasets(config.home.state, config.country)
    dictionaries = _dictionaries(config, dataset, study)
    constants = dict(_pair(text, "--constant") for text in constant or [])
    if country_constant is not None:
        constants[_country_variable(dictionaries)] = country_constant
    before = {registration.name: registration for registration in datasets.list()}.get(dataset)
    registration = datasets.add(
        dataset,
        Source(
            source,
            format=format_,
            encoding=encoding,
            delimiter=delimiter,
            missing=tuple(missing or ()),
            table=table,
            query=query,
        ),
        constants=constants,
        mapping=_mapping(mapping or [], level or []),
        open_data=open_data,
        replacing=replace,
    )
    findings = [(title, f) for title, d in dictionaries for f in datasets.check(dataset, d)]
    if study is not None:
        _stop_where_unfit(datasets, registration, before, study, [finding for _, finding in findings])
    rows = len(read_rows(registration.source))
    payload = {
        "dataset": dataset,
        "source": registration.source.name,
        "rows": rows,
        "open_data": open_data,
        "findings": [{"study": title, **_finding(f)} for title, f in findings],
    }

    def render() -> None:
        say(f"dataset {dataset}: {rows} rows in {registration.source.name}, registered")
        if open_data:
            say("marked as open data: what leaves is not held against the policy's floors")
        for title, finding in findings:
            say(f"{title}: {finding}")
        if dictionaries and not findings:
            say(f"fits the dictionary of {', '.join(title for title, _ in dictionaries)}")

    show(json, payload, render, quiet)


@app.command("list")
def list_(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the datasets with their counts. For eyes at the site only."""
    from isthmus_node.catalogue import Datasets
    from isthmus_node.sources import read as read_rows

    config = joined_config_of(home)
    found: list[dict[str, object]] = []
    for registration in Datasets(config.home.state, config.country).list():
        line: dict[str, object] = {
            "dataset": registration.name,
            "source": registration.source.name,
            "open_data": registration.open_data,
            "added_at": registration.added_at.isoformat(timespec="seconds"),
            "rows": None,
            "problem": "",
        }
        try:
            line["rows"] = len(registration.completed(read_rows(registration.source)))
        except (DataError, ConfigError) as error:
            line["problem"] = f"{error.message} [{error.code}]"
        found.append(line)

    def render() -> None:
        rows = [
            [
                str(line["dataset"]),
                str(line["problem"] or line["rows"]),
                str(line["source"]),
                "open data" if line["open_data"] else "",
            ]
            for line in found
        ]
        show_table("", ["dataset", "rows", "source", ""], rows, "no dataset is registered: isthmus-node data add")

    show(json, {"datasets": found}, render)


@app.command("remove")
def remove(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")],
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Forget a dataset. Its file is not touched."""
    from isthmus_node.catalogue import Datasets

    config = joined_config_of(home)
    Datasets(config.home.state, config.country).remove(dataset)
    show(json, {"dataset": dataset}, lambda: say(f"dataset {dataset} is forgotten; its source was not touched"), quiet)


def _dictionaries(config: NodeConfig, dataset: str, study: str | None) -> list[tuple[str, study_pb2.Dataset]]:
    """The dictionaries that name the dataset: of one study, or of the newest version of each that has arrived."""
    from isthmus_node.shelf import Shelf

    shelf = Shelf(config.home.studies)
    chosen = [shelf.find(study)] if study is not None else list({s.study.name: s for s in shelf.everything()}.values())
    found = [(s.title, d) for s in chosen for d in s.study.datasets if d.name == dataset]
    if study is not None and not found:
        names = ", ".join(d.name for d in chosen[0].study.datasets)
        raise UsageError(
            "UNKNOWN_DATASET",
            f"{chosen[0].title} has no dataset {dataset!r}",
            f"name one of its datasets: {names}",
        )
    return found


def _country_variable(dictionaries: list[tuple[str, study_pb2.Dataset]]) -> str:
    from isthmus.v1 import study_pb2

    for _, dictionary in dictionaries:
        for variable in dictionary.variables:
            if study_pb2.Variable.COUNTRY in variable.roles:
                return variable.name
    return "COUNTRY"


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError("NOT_A_PAIR", f"{option} {text!r} is not of the form NAME=TEXT", f"write {option} NAME=TEXT")
    return name, value


def _mapping(pairs: list[str], levels: list[str]) -> dict[str, Mapped]:
    from isthmus_node.catalogue import Mapped

    origins = dict(_pair(pair, "--map") for pair in pairs)
    texts: dict[str, dict[str, str]] = {name: {} for name in origins}
    for text in levels:
        variable, colon, rest = text.partition(":")
        if not colon or variable not in origins:
            raise UsageError(
                "NOT_A_LEVEL",
                f"--level {text!r} is not of the form VAR:THEIRS=OURS for a VAR that --map names",
                "write --map VAR=COLUMN --level VAR:THEIRS=OURS",
            )
        theirs, ours = _pair(rest, "--level")
        texts[variable][theirs] = ours
    return {name: Mapped(origin, texts[name]) for name, origin in origins.items()}


def _stop_where_unfit(
    datasets: Datasets, added: Registration, before: Registration | None, study: str, findings: list[Finding]
) -> None:
    """Take the registration back where the dataset cannot be used in the study."""
    from isthmus_node.catalogue import Severity

    fails = [finding for finding in findings if finding.severity is Severity.FAIL]
    if not fails:
        return
    datasets.remove(added.name)
    if before is not None:
        datasets.add(
            before.name,
            before.source,
            constants=before.constants,
            mapping=before.mapping,
            open_data=before.open_data,
        )
    raise DataError(
        "DICTIONARY_MISMATCH",
        f"dataset {added.name} does not fit the dictionary of {study}: " + "; ".join(f.words for f in fails),
        "correct the file, or say how its columns are to be read: --map, --constant, --country-constant",
    )


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "variable": finding.variable,
        "rows": finding.count,
        "words": finding.words,
    }
