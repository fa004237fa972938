"""Commands for site IT: join, run, check, status, config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import console, say
from isthmus.errors import IsthmusError
from isthmus_node.commands.common import (
    HomeOption,
    JsonOption,
    QuietOption,
    config_of,
    decisions_of,
    home_of,
    joined_config_of,
    show,
    show_table,
)
from isthmus_node.commands.release import held_of
from isthmus_node.commands.unlocking import locks_of

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig

config_app = typer.Typer(help="The node's settings.", no_args_is_help=True)

_MARKS = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}


def join(
    source: Annotated[
        str, typer.Argument(metavar="TOKEN_FILE", help="File with the join token; - reads it from standard input.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="The name you expect the node to have.")] = None,
    proxy: Annotated[str | None, typer.Option("--proxy", help="The site's way out: http://host:port.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="The node exists: a new certificate for the keys it has.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Enrol this machine as a node.

    TOKEN_FILE is the file with the join token that the coordinating team gave you; - reads it from standard input. The
    token itself is never an argument.
    """
    from isthmus_node import joining

    text = joining.read_token_text(source, sys.stdin.read() if source == "-" else None)
    joined = joining.join(home_of(home), text, name, {"proxy.url": proxy}, again)
    payload = {
        "node": joined.node,
        "country": joined.country,
        "coordinator": joined.coordinator,
        "authority": joined.authority,
        "identity": joined.identity,
        "custodian": joined.custodian,
        "home": str(joined.home.config),
        "policy": str(joined.policy),
    }

    def render() -> None:
        say(
            f"joined {joined.coordinator} as node {joined.node}, country {joined.country}",
            "",
            "compare these with the coordinating team, by telephone:",
            f"  authority  {joined.authority}",
            f"  identity   {joined.identity}",
            f"  custodian  {joined.custodian}",
            "",
            "next:",
            f"  let the custodian read {joined.policy}{' (the default was put there)' if joined.policy_is_new else ''}:"
            " it is signed; what is changed in it counts once the custodian has signed it: isthmus-node policy adopt",
            "  isthmus-node data add FILE --dataset NAME",
            "  isthmus-node check",
            "  isthmus-node run",
        )

    show(json, payload, render, quiet)


def run(
    home: HomeOption = None,
    coordinator: Annotated[
        str | None, typer.Option("--coordinator", help="host:port, instead of the settings'.")
    ] = None,
    proxy: Annotated[str | None, typer.Option("--proxy", help="http://host:port, instead of the settings'.")] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")] = None,
) -> None:
    """Run the node: attach to the coordinator, answer what may be answered, until stopped."""
    from isthmus_node.running import run_node

    run_node(config_of(home, {"coordinator": coordinator, "proxy.url": proxy, "log.level": log_level}))


def check(home: HomeOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Ask whether everything is as it must be, line by line; ends with 0 where nothing failed."""
    from isthmus_node.ops import check as checks

    lines = checks.check(home_of(home))
    code = checks.exit_code(lines)
    payload = {
        "passed": code == 0,
        "checks": [
            {"question": line.question, "mark": line.mark.value, "found": line.found, "remedy": line.remedy}
            for line in lines
        ],
    }

    def render() -> None:
        from rich.text import Text

        out = console()
        for line in lines:
            out.print(Text(line.mark.value, style=_MARKS[line.mark.value]), Text(f" {line.question}: {line.found}"))
            if line.remedy and line.mark.value in ("WARN", "FAIL"):
                out.print(Text(f"       -> {line.remedy}"))

    show(json, payload, render, quiet)
    if code:
        raise typer.Exit(code)


def status(home: HomeOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show where the node stands: running, attached, waiting for whom."""
    import json as json_module
    from datetime import UTC, datetime

    from isthmus_node.catalogue.registration import read_registrations
    from isthmus_node.commands.policy import standing_words
    from isthmus_node.homes import is_running
    from isthmus_node.shelf import Shelf
    from isthmus_node.witness.report import others_of, own_of
    from isthmus_trust.certificates import read_chain
    from isthmus_trust.key_files import read_secret

    config = joined_config_of(home)
    where = config.home
    running = is_running(where)
    standing: dict[str, object] = {}
    if running and where.standing.exists():
        standing = json_module.loads(where.standing.read_text(encoding="utf-8"))
    end = read_chain(read_secret(where.certificate))[0].not_valid_after_utc
    decisions = decisions_of(config)
    policy = standing_words(config)
    released = _released(where.auditor)
    own, others = own_of(config), others_of(config)
    locked = [lock.words for lock in locks_of(config)]
    persons = _persons(config)
    held = [f"{one.title}  {one.digest.hex()[:12]}" for one in held_of(config)]
    undecided = [s.title for s in Shelf(where.studies).everything() if decisions.about(s.digest) is None]
    payload: dict[str, object] = {
        "node": config.name,
        "country": config.country,
        "coordinator": str(config.coordinator),
        "running": running,
        "attached": bool(standing.get("attached", False)),
        "since": standing.get("since", ""),
        "waiting": standing.get("waiting", 0),
        "certificate_expires": end.isoformat(timespec="seconds"),
        "datasets": sorted(read_registrations(where.state / "datasets.toml")),
        "studies_to_decide": undecided,
        "held": held,
        "persons": persons,
        "locked": locked,
        "policy": policy,
        "released": released,
        "journal": own.as_json(),
        "witness_of": [other.as_json() for other in others],
    }

    def render() -> None:
        state = "not running" if not running else ("attached" if payload["attached"] else "running, not attached")
        if running and not standing:
            state = (
                "running; where it stands is not written down (just started, or its disk is full: isthmus-node check)"
            )
        days = (end - datetime.now(UTC)).days
        say(
            f"node {config.name} ({config.country}) -> {config.coordinator}: {state}"
            + (f" since {payload['since']}" if payload["since"] else ""),
            f"certificate: {days} days left",
            f"datasets: {', '.join(read_registrations(where.state / 'datasets.toml')) or 'none'}",
            f"policy: {policy}",
            *(f"released before, and remembered by the auditor: {line}" for line in released),
            f"tasks waiting for a person: {payload['waiting']}",
            *persons,
            own.words(),
            *(f"JOURNAL REFUSED: {words}" for words in own.refused),
            *(other.words() for other in others),
        )
        for words in locked:
            say(f"locked after a run of refusals: {words}  (isthmus-node journal show, unlock)")
        for title in held:
            say(f"held until you have seen it: {title}  (isthmus-node release show, approve, refuse)")
        for title in undecided:
            say(f"to decide: {title}  (isthmus-node study show, approve, refuse)")

    show(json, payload, render, quiet)


def _persons(config: NodeConfig) -> list[str]:
    """The running total of persons; nothing where policy.toml cannot be read, which is said of the policy."""
    from isthmus_methods.registry import METHODS
    from isthmus_node.commands.policy import persons_words
    from isthmus_node.egress.policy import Policy

    try:
        return persons_words(config, Policy.load(config.home.policy, METHODS))
    except IsthmusError:
        return []


def _released(folder: Path) -> list[str]:
    """What the auditor remembers, a sentence a dataset: for people at the site."""
    from isthmus_node.egress.auditor import read_states

    try:
        states = read_states(folder)
    except IsthmusError as error:
        return [error.message]
    return [
        f"{state.dataset}: different cohorts {len(state.cohorts)}"
        + "".join(f"; {name} cut at {len(points)}" for name, points in sorted(state.cut_points.items()))
        for state, _ in states
    ]


@config_app.command("show")
def config_show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each comes from.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show the settings in force. Precedence: flag, ISTHMUS_*, node.toml, default."""
    config = config_of(home)
    payload = {
        "home": str(config.home.config),
        "state": str(config.home.state),
        "home_origin": config.home.origin,
        "settings": {key: {"value": config.shown[key], "origin": config.origins[key]} for key in config.shown},
    }

    def render() -> None:
        rows = [["home", str(config.home.config), config.home.origin], ["state", str(config.home.state), ""]]
        rows += [[key, value, config.origins[key]] for key, value in config.shown.items()]
        columns = ["key", "value", "from"] if origin else ["key", "value"]
        show_table("", columns, [row[: len(columns)] for row in rows], "no settings")

    show(json, payload, render)
