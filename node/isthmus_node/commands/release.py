"""Commands for what is computed and held: the exact numbers, and the custodian's yes or no to their leaving."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import say
from isthmus.errors import UsageError
from isthmus_node.commands.common import (
    HomeOption,
    JsonOption,
    QuietOption,
    decisions_of,
    joined_config_of,
    moment,
    show,
    show_table,
)

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig
    from isthmus_node.custodian.held import Held

app = typer.Typer(help="Numbers that are computed and held until you have seen them.", no_args_is_help=True)

_ANSWER = typer.Argument(help="The beginning of its digest, as `release list` shows it (8 digits or more).")
_REASON = typer.Option("--reason", help="Why; it goes into the journal.")


def held_of(config: NodeConfig) -> list[Held]:
    """What is held at this node, oldest first."""
    from isthmus_node.custodian.held import HeldAnswers

    return list(HeldAnswers(config.home.held, decisions_of(config)).everything())


@app.command("list")
def release_list(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the answers that are computed and held: nothing of them has left."""
    held = held_of(joined_config_of(home))

    def render() -> None:
        rows = [[one.digest.hex()[:12], one.title, moment(one.task.deadline)] for one in held]
        show_table("", ["digest", "what", "wanted until (UTC)"], rows, "nothing is held")

    show(json, {"held": [_said(one) for one in held]}, render)


@app.command("show")
def release_show(
    answer: Annotated[str, _ANSWER],
    every: Annotated[bool, typer.Option("--all", help="Long tables to their end.")] = False,
    as_bytes: Annotated[bool, typer.Option("--bytes", help="The exact bytes too, in hexadecimal.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show a held answer as it would leave: in words, its numbers as tables, and with --bytes the bytes themselves."""
    from isthmus_node.custodian.reading import purpose_words
    from isthmus_node.egress.words import MOST_ROWS, tables_of_payload

    held = _held(joined_config_of(home), answer)
    tables = tables_of_payload(held.payload, sys.maxsize if every else MOST_ROWS)
    payload = {**_said(held), "words": held.words.splitlines(), "numbers": tables.splitlines()}
    if as_bytes:
        payload["bytes"] = held.payload.hex()

    def render() -> None:
        say(f"{held.title}, for {purpose_words(held.task.purpose)}", f"countries: {', '.join(held.task.participants)}")
        say(*(f"  {line}" for line in held.words.splitlines()), "", *tables.splitlines(), "")
        if as_bytes:
            digits = held.payload.hex()
            say(*(digits[k : k + 96] for k in range(0, len(digits), 96)), "")
        say(f"digest {held.digest.hex()}: what you decide on", f"wanted until {moment(held.task.deadline)} UTC")

    show(json, payload, render)


@app.command("approve")
def release_approve(
    answer: Annotated[str, _ANSWER],
    run: Annotated[
        bool,
        typer.Option("--run", help="And the later rounds of this run with the same fields, shapes, rows and policy."),
    ] = False,
    reason: Annotated[str, _REASON] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a held answer leave: these bytes and no others, or with --run those alike too. Signed with your key."""
    _decide(answer, True, run, reason, home, json, quiet)


@app.command("refuse")
def release_refuse(
    answer: Annotated[str, _ANSWER],
    reason: Annotated[str, _REASON] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Do not let a held answer leave: the country's part in the run ends with that. Signed with your key."""
    _decide(answer, False, False, reason, home, json, quiet)


def _decide(answer: str, approved: bool, run: bool, reason: str, home: HomeOption, json: bool, quiet: bool) -> None:
    from isthmus_node.custodian.decisions import RELEASE, SERIES
    from isthmus_node.homes import is_running
    from isthmus_trust.identity import IdentityKey

    config = joined_config_of(home)
    held = _held(config, answer)
    key, decisions = IdentityKey.load(config.custodian_key), decisions_of(config)
    decision = decisions.make(key, held.digest, approved=approved, reason=reason, context=RELEASE)
    if run:
        decisions.make(key, held.series, approved=approved, reason=reason, context=SERIES)
    payload = {
        **_said(held),
        "approved": approved,
        "run_too": run,
        "reason": reason,
        "decided_at": moment(decision.decided_at),
        "node_running": is_running(config.home),
    }

    def render() -> None:
        say(f"{'released' if approved else 'refused'}: {held.title}  {held.digest.hex()[:12]}")
        if run:
            say("later rounds of this run that are alike leave without waiting; journal show --numbers has them")
        if not payload["node_running"]:
            say("the node does not run: it acts on this when it does")

    show(json, payload, render, quiet)


def _held(config: NodeConfig, text: str) -> Held:
    held = held_of(config)
    matching = [one for one in held if len(text) >= 8 and one.digest.hex().startswith(text.lower())]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError("AMBIGUOUS", f"several held answers have a digest that begins with {text}", "give more of it")
    known = ", ".join(f"{one.digest.hex()[:12]} ({one.title})" for one in held) or "nothing is held"
    raise UsageError(
        "NOT_HELD",
        f"no answer whose digest begins with {text[:64]!r} is held; held: {known}",
        "see isthmus-node release list; what is no longer wanted is not held any more",
    )


def _said(held: Held) -> dict[str, object]:
    task = held.task
    return {
        "digest": held.digest.hex(),
        "title": held.title,
        "study": task.study_digest.hex(),
        "analysis": task.analysis,
        "method": task.spec.method,
        "run": task.run.hex(),
        "round": task.round,
        "requester": task.requester,
        "deadline": moment(task.deadline),
    }
