"""The statistician's command."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

# As at the coordinator: an inspection that pools again with other threads would get other last bits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from isthmus.command import console, emit, main as run_command, say, version_line
from isthmus_client.delivery import deliver

if TYPE_CHECKING:
    from isthmus_client.plan import Plan, PlanExplanation
    from isthmus_client.plan_file import PlanFile
    from isthmus_client.study import Study

app = typer.Typer(
    name="isthmus",
    help="Pooled analyses over countries that keep their rows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
study_app = typer.Typer(help="Propose a study, or show one.", no_args_is_help=True)
app.add_typer(study_app, name="study")

ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Name or folder of the profile to use.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder for result.json, tables as CSV, and report.html.", show_default=False),
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for people who have to approve first.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def main() -> int:
    """Entry point of the command."""
    return run_command(app)


@app.callback(invoke_without_command=True)
def _shared(
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        say(version_line("isthmus"))
        raise typer.Exit


@app.command()
def login(
    token_file: Annotated[str, typer.Argument(help="File with the join token, or - for standard input.")],
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Enrol with the token you were given; keys are made here and stay here."""
    from isthmus_client.connection import login as enrol
    from isthmus_trust.identity import fingerprint

    made = enrol(token_file, profile)
    mark = fingerprint(made.identity.public)
    payload = {"analyst": made.analyst, "address": made.address, "profile": str(made.folder), "identity": mark}

    def render() -> None:
        say(f"logged in to {made.address} as {made.analyst}")
        say(f"  profile    {made.folder}")
        say(f"  identity   {mark}")

    emit(json, payload, render)


@app.command()
def studies(profile: ProfileOption = None, json: JsonOption = False) -> None:
    """The studies the coordinator knows."""
    from isthmus_client.connection import connect

    with connect(profile=profile) as connection:
        lines = connection.study_lines()
    rows = [(s.name, str(s.version), s.title, f"{s.approved} of {s.participants}", s.digest.hex()[:16]) for s in lines]
    payload = {
        "studies": [
            {
                "name": s.name,
                "version": s.version,
                "title": s.title,
                "digest": s.digest.hex(),
                "approved": s.approved,
                "participants": s.participants,
            }
            for s in lines
        ]
    }
    emit(json, payload, lambda: _table(("study", "version", "title", "approved", "digest"), rows))


@study_app.command("propose")
def study_propose(
    file: Annotated[Path, typer.Argument(help="The study as TOML.")],
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a study and hand it to the coordinator; each country's custodian then decides."""
    from isthmus_client.connection import connect
    from isthmus_client.proposal import study_from_toml

    with connect(profile=profile) as connection:
        study = study_from_toml(file, connection.participants())
        digest = connection.propose(study).hex()
    countries = [p.country for p in study.participants]
    payload = {"study": study.name, "version": study.version, "digest": digest, "countries": countries}

    def render() -> None:
        say(f"study {study.name} version {study.version} proposed to {', '.join(countries)}")
        say(f"  digest   {digest}")
        say(f"  next     at each site: isthmus-node approve {study.name}")

    emit(json, payload, render)


@study_app.command("show")
def study_show(
    name: Annotated[str, typer.Argument(help="Name of the study.")],
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """What a study is: its question, dictionary and plan."""
    from google.protobuf.json_format import MessageToDict

    from isthmus_client.connection import connect

    with connect(profile=profile) as connection:
        study = connection.study(name)
    message = study.message
    payload = {"digest": study.digest.hex(), "study": MessageToDict(message, preserving_proto_field_name=True)}

    def render() -> None:
        say(f"{message.name} version {message.version}: {message.title}")
        say(f"  question    {message.rationale}")
        say(f"  recipients  {'; '.join(message.recipients)}")
        say(f"  countries   {', '.join(p.country for p in message.participants)}")
        say(f"  digest      {study.digest.hex()}")
        _table(("analysis", "method", "title"), [(a.name, a.spec.method, a.title) for a in message.plan])
        variables = [(d.name, v) for d in message.datasets for v in d.variables]
        described = study.dictionary().itertuples()
        _table(
            ("dataset", "variable", "type", "unit", "levels", "label"),
            [
                (dataset, v.name, str(row.type), v.unit, ", ".join(v.levels), v.label)
                for (dataset, v), row in zip(variables, described, strict=True)
            ],
        )

    emit(json, payload, render)


@app.command()
def sites(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Where each site of a study stands now."""
    from isthmus_client.connection import connect

    with connect(profile=profile) as connection:
        frame = connection.study(study).sites()
    records = [
        {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in record.items()}
        for record in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]
    rows = [
        (
            r["country"],
            r["node"],
            r["decision"],
            "yes" if r["attached"] else "no",
            str(r["last_contact"] or "never")[:19],
            r["software"] or "–",
            r["datasets"] or "–",
        )
        for r in records
    ]
    headings = ("country", "node", "decision", "attached", "last contact", "software", "datasets")
    emit(json, {"sites": records}, lambda: _table(headings, rows))


@app.command()
def explain(
    plan: Annotated[Path, typer.Argument(help="The plan as TOML.")],
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """What a plan would make leave each country, and who must approve. Asks no node."""
    from isthmus_client.connection import connect
    from isthmus_client.plan_file import read_plan

    file = read_plan(plan)
    with connect(profile=profile) as connection:
        study = connection.study(file.written.study, file.written.version)
        explanations = [p.explain() for p in file.plans(study)]
    payload = {"study": study.name, "analyses": [_explained(e) for e in explanations]}
    emit(json, payload, lambda: say(*"\n\n".join(str(e) for e in explanations).split("\n")))


def _run(
    file: PlanFile,
    chosen: Callable[[PlanFile, Study], list[Plan]],
    profile: str | None,
    wait: bool,
    quiet: bool,
    out: Path | None,
    json: bool,
) -> None:
    """Run what is chosen of a plan over its study, and deliver the results."""
    from isthmus_client.connection import connect

    with connect(profile=profile) as connection:
        study = connection.study(file.written.study, file.written.version)
        fits = [p.run(progress=not quiet, wait=wait) for p in chosen(file, study)]
    deliver(fits, out, json)


def _explained(explanation: PlanExplanation) -> list[dict[str, object]]:
    return [
        {
            "title": step.title,
            "reads": step.reads,
            "rounds_least": step.answer.rounds_least,
            "rounds_most": step.answer.rounds_most,
            "fields": [
                {"field": f.field, "kind": f.kind, "unit": f.unit, "about": f.about, "size": f.size}
                for f in step.answer.fields
            ],
            "in_plan": step.answer.in_plan,
            "outstanding": list(step.answer.outstanding),
            "by_country": step.answer.by_country,
        }
        for step in explanation.steps
    ]


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="The plan as TOML.")],
    out: OutOption = None,
    wait: WaitOption = True,
    quiet: QuietOption = False,
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Run the analyses of a plan. Ctrl-C detaches: what was ordered goes on."""
    from isthmus_client.plan_file import PlanFile, read_plan

    _run(read_plan(plan), PlanFile.plans, profile, wait, quiet, out, json)


@app.command()
def train(
    plan: Annotated[Path, typer.Argument(help="The plan as TOML.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the models with their cards, and for results and report.")
    ] = Path("out/training"),
    wait: WaitOption = True,
    quiet: QuietOption = False,
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Train the models of a plan and save them, each with a card that says what it is."""
    from isthmus_client.plan_file import PlanFile, read_plan

    _run(read_plan(plan), PlanFile.trainings, profile, wait, quiet, out, json)


@app.command()
def attach(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    runs: Annotated[list[str], typer.Argument(help="Names of runs, as they were printed.")],
    out: OutOption = None,
    wait: WaitOption = True,
    quiet: QuietOption = False,
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Wait for runs that were ordered before, and show their result."""
    from isthmus_client.connection import connect

    with connect(profile=profile) as connection:
        fit = connection.study(study).attach(runs[0], *runs[1:], progress=not quiet, wait=wait)
    deliver([fit], out, json)


@app.command()
def cancel(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    runs: Annotated[list[str], typer.Argument(help="Names of runs, as they were printed.")],
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """End runs; nodes are told that they are no longer wanted."""
    from isthmus_client.connection import connect

    with connect(profile=profile) as connection:
        connection.study(study).cancel(*runs)
    emit(json, {"cancelled": runs}, lambda: say(f"cancelled: {', '.join(runs)}"))


@app.command()
def replay(
    bundles: Annotated[
        list[Path], typer.Argument(help="Folders or .zip files that isthmus-node journal export wrote, one a country.")
    ],
    result: Annotated[
        Path | None,
        typer.Option(
            "--result", help="A result.json: hold each of its numbers against the journals.", show_default=False
        ),
    ] = None,
    run: Annotated[str, typer.Option("--run", help="Only this run: the beginning of its number.")] = "",
    number: Annotated[
        str | None,
        typer.Option("--number", help="Show the numbers whose place has this text in it.", show_default=False),
    ] = None,
    roster: Annotated[
        str,
        typer.Option(
            "--roster-fingerprint", help="As the coordinating team gave it: each bundle must have this roster."
        ),
    ] = "",
    exact: Annotated[bool, typer.Option("--exact", help="Equal to 1e-12 is not enough: to the bit.")] = False,
    json: JsonOption = False,
) -> None:
    """Pool every run again from the countries' exported journals, and show where each number comes from.

    Needs no node, no coordinator and no rows. Ends with 0 where everything holds, 11 where something does not, 16
    where another release is needed, 17 where a country's bundle is missing.
    """
    from isthmus_client.replay import document_of, exit_code_of, read_bundles, replay as pool_again, words

    read = read_bundles(bundles, roster)
    judged = pool_again(read, result, run, exact)
    name = result.name if result is not None else ""
    code = exit_code_of(judged)

    status = "ok" if code == 0 else "does_not_hold"
    emit(json, document_of(read, judged, name), lambda: say(*words(read, judged, name, number)), status)
    if code:
        raise typer.Exit(code)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the report and the network's homes.")] = Path(
        "out/demo"
    ),
) -> None:
    """The main job, end to end, on this machine: four countries, one pooled survival analysis."""
    from isthmus_client.demo import run_demo

    run_demo(out)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; names and texts of others in it are shown as they stand."""
    from rich import box
    from rich.table import Table

    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    console().print(table)
