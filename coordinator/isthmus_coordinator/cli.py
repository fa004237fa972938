"""The command of the team that runs the coordinator."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

# One thread of linear algebra: threads split sums, and an answer's last bits must not depend on how many there are.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from isthmus.command import console, emit, main as run_command, say, version_line
from isthmus.confined import forbid_core_dumps, only_the_log_speaks, refuse_traces
from isthmus.errors import UsageError
from isthmus.memory import few_heaps
from isthmus_coordinator.clock import moment, words
from isthmus_coordinator.config import Home, default_home
from isthmus_coordinator.roster.members import Member, state_words
from isthmus_coordinator.service import Coordinator, create, is_running, open_office
from isthmus_trust.certificates import Role

app = typer.Typer(
    name="isthmus-coordinator",
    help="Run an isthmus coordinator: it pools sums from countries and holds no rows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the coordinator.", envvar="ISTHMUS_COORDINATOR_HOME", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def main() -> int:
    """Entry point of the command."""
    return run_command(app)


@app.callback(invoke_without_command=True)
def _shared(
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        say(version_line("isthmus-coordinator"))
        raise typer.Exit


@app.command()
def init(
    host: Annotated[list[str], typer.Option(help="Name or address by which it is reached; may be given again.")],
    port: Annotated[int, typer.Option(help="Port it listens on.", min=1, max=65535)] = 8443,
    name: Annotated[str, typer.Option(help="Short name, in every certificate.")] = "coordinator",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Make a new coordinator: authority, keys, settings, database. Never overwrites one."""
    folder = _home(home)
    create(folder, name, tuple(host), port)
    office = open_office(folder)
    try:
        payload = {
            "home": str(folder.path),
            "address": office.settings.address,
            "authority_fingerprint": office.authority.fingerprint,
            "root_key": str(folder.authority / "root/key.pem"),
        }
    finally:
        office.close()

    def render() -> None:
        say(f"coordinator {name} made in {folder.path}")
        say(f"  address      {payload['address']}")
        say(f"  authority    {payload['authority_fingerprint']}")
        say(f"  next         isthmus-coordinator run --home {folder.path}")
        say(f"  keep apart   {payload['root_key']} is needed only every five years: take it offline")

    emit(json, payload, render)


@app.command()
def run(
    home: HomeOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings only.")] = False,
    json: JsonOption = False,
) -> None:
    """Run until SIGTERM or Ctrl-C. One line on stdout says when it is ready."""
    from isthmus_coordinator import logs

    refuse_traces()
    forbid_core_dumps()
    # what gRPC's core prints is not for people; set before it is loaded
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    few_heaps()
    with only_the_log_speaks() as stream, logs.events_written(quiet, stream):
        coordinator = Coordinator(open_office(_home(home)))
        try:
            coordinator.start()
            address = coordinator.office.settings.address
            emit(json, {"address": address}, lambda: say(f"ready {address}"))
            stopping.wait()
        finally:
            coordinator.stop()


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help="Name the new member will have, e.g. nl.")],
    country: Annotated[str, typer.Option(help="Its country, e.g. NL; an analyst may have none.")] = "",
    role: Annotated[str, typer.Option(help="node or analyst.")] = "node",
    output: Annotated[
        str, typer.Option("--output", "-o", help="File for the token (mode 0600), - for stdout; default NAME.token.")
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="For a member that kept its keys and whose certificate expired.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Make a join token: valid once, for 24 hours. Pass it on as a file, never on a command line."""
    from isthmus_trust.key_files import write_new
    from isthmus_trust.tokens import write_token

    if role not in (Role.NODE, Role.ANALYST):
        raise UsageError("BAD_ROLE", f"nobody joins as {role!r}", "give --role node or --role analyst")
    path = None if output == "-" else Path(output or f"{name}.token")
    if path is not None and path.exists():
        raise UsageError("FILE_EXISTS", f"{path} is there already", "choose another file with -o, or remove it first")
    office = open_office(_home(home))
    try:
        token = office.enrolment.invite(office.settings.address, Role(role), name, country, again=again)
    finally:
        office.close()
    text = write_token(token)
    payload = {"name": name, "role": role, "country": country, "expires_at": _iso(token.expires_at)}
    if path is not None:
        write_new(path, f"{text}\n".encode("ascii"))
        payload["file"] = str(path)
    else:
        payload["token"] = text

    def render() -> None:
        if path is None:
            say(text)
        else:
            say(f"token for {role} {name} in {path}, valid once until {words(token.expires_at)}")

    emit(json, payload, render)


@app.command()
def roster(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show who takes part, with the fingerprints of their keys."""
    office = open_office(_home(home))
    try:
        members = office.roster.all()
    finally:
        office.close()

    def render() -> None:
        from rich.table import Table

        table = Table("name", "role", "country", "state", "certificate until", "last contact", "identity key", box=None)
        for member in members:
            entry = member.entry
            table.add_row(
                entry.node,
                entry.role.value,
                entry.country,
                state_words(member),
                words(member.certificate_expires),
                words(member.last_contact),
                entry.identity_fingerprint[:19],
            )
        console().print(table if members else "nobody yet: isthmus-coordinator invite NAME --country CC")

    emit(json, {"members": [_member(member) for member in members]}, render)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Member to take off the roster.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Take a member off the roster: its next message is refused."""
    office = open_office(_home(home))
    try:
        member = office.roster.revoke(name)
    finally:
        office.close()
    emit(json, _member(member), lambda: say(f"{name}: {state_words(member)}"))


@app.command()
def status(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show the coordinator at a glance: address, members, runs."""
    from isthmus_coordinator.analyses.records import count_runs
    from isthmus_coordinator.witnesses.report import standings

    office = open_office(_home(home))
    try:
        members = office.roster.all()
        with office.database.read() as connection:
            runs = count_runs(connection)
        running = is_running(office.home)
        journals = standings(office.database)
    finally:
        office.close()
    active = [m for m in members if state_words(m) == "active"]
    payload = {
        "name": office.settings.name,
        "address": office.settings.address,
        "running": running,
        "authority_fingerprint": office.authority.fingerprint,
        "authority_expires_at": office.authority.issuing_expires_at.isoformat(),
        "nodes": sum(m.entry.role is Role.NODE for m in active),
        "analysts": sum(m.entry.role is Role.ANALYST for m in active),
        "runs": runs,
        "journals": [standing.as_json() for standing in journals],
    }

    def render() -> None:
        say(f"{payload['name']} at {payload['address']}: {'running' if running else 'not running'}")
        say(f"  authority    {payload['authority_fingerprint']}")
        say(f"               issues until {office.authority.issuing_expires_at:%Y-%m-%d}")
        say(f"  members      {payload['nodes']} nodes, {payload['analysts']} analysts")
        say(f"  runs         {', '.join(f'{n} {state}' for state, n in runs.items()) or 'none'}")
        say(*(f"  journal      {standing.words()}" for standing in journals))

    emit(json, payload, render)


@app.command()
def checkpoints(
    node: Annotated[str, typer.Argument(help="Only this node.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write that node's checkpoint to a file, for inspectors.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was seen of the nodes' journals, by whom, and what was refused. NODE is a node's name."""
    from isthmus_coordinator.witnesses.report import line_of, standings
    from isthmus_trust.key_files import write_new

    office = open_office(_home(home))
    try:
        found = [standing for standing in standings(office.database) if node in ("", standing.node)]
        if output is not None:
            if len(found) != 1:
                raise UsageError(
                    "UNKNOWN_NODE" if not found else "AMBIGUOUS",
                    f"{len(found)} journals were seen here under that name; rule: a file holds one checkpoint",
                    "name one of the nodes that isthmus-coordinator checkpoints lists",
                )
            write_new(output, (line_of(office.database, found[0]) + "\n").encode())
    finally:
        office.close()

    def render() -> None:
        say(*(standing.words() for standing in found) if found else ("no journal has been seen here yet",))

    emit(json, {"journals": [standing.as_json() for standing in found], "file": str(output or "")}, render)


@app.command()
def studies(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show studies and who has still to decide."""
    from isthmus_coordinator.studies.catalogue import decision_words

    office = open_office(_home(home))
    try:
        lines = []
        for stored in office.studies.all():
            standing = office.studies.standing(stored.digest)
            lines.append(
                {
                    "name": stored.study.name,
                    "version": stored.study.version,
                    "title": stored.study.title,
                    "author": stored.author,
                    "digest": stored.digest.hex(),
                    "decisions": {p.country: decision_words(standing, p.node) for p in stored.study.participants},
                }
            )
    finally:
        office.close()

    def render() -> None:
        from rich.table import Table

        table = Table("study", "version", "author", "decisions", "digest", box=None)
        for line in lines:
            decisions = line["decisions"]
            said = ", ".join(f"{c} {d}" for c, d in decisions.items()) if isinstance(decisions, dict) else ""
            table.add_row(str(line["name"]), str(line["version"]), str(line["author"]), said, str(line["digest"])[:16])
        console().print(table if lines else "no study yet: isthmus study propose FILE")

    emit(json, {"studies": lines}, render)


def _home(path: Path | None) -> Home:
    return Home((path or default_home()).absolute())


def _iso(nanoseconds: int) -> str:
    return moment(nanoseconds).isoformat() if nanoseconds else ""


def _member(member: Member) -> dict[str, object]:
    entry = member.entry
    return {
        "name": entry.node,
        "role": entry.role.value,
        "country": entry.country,
        "state": entry.state.value,
        "identity_fingerprint": entry.identity_fingerprint,
        "custodian_fingerprint": entry.custodian_fingerprint,
        "certificate_expires_at": _iso(member.certificate_expires),
        "enrolled_at": _iso(member.enrolled_at),
        "last_contact": _iso(member.last_contact),
        "software": member.software,
        "datasets": list(member.datasets),
    }
