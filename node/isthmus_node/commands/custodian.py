"""Commands for the custodian: what is asked, what leaves, yes or no, and what has left."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import say
from isthmus.errors import IsthmusError, UsageError
from isthmus_node.commands.common import (
    HomeOption,
    JsonOption,
    QuietOption,
    config_of,
    decisions_of,
    joined_config_of,
    moment,
    show,
    show_table,
)

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig
    from isthmus_node.egress.journal_read import Entry
    from isthmus_node.shelf import Shelved
    from isthmus_node.waiting_room import Asked

study_app = typer.Typer(help="A study in plain words.", no_args_is_help=True)
journal_app = typer.Typer(help="What left this site, and what was decided.", no_args_is_help=True)

_REASON = typer.Option("--reason", help="Why; it goes into the journal and to the coordinator.")


# --------------------------------------------------------------------------- studies and decisions


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a decision is about: a study, an analysis outside a plan, or a run."""

    title: str
    digest: bytes
    context: str


def studies(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the studies that arrived, what was decided, and analyses outside a plan that wait."""
    from isthmus_node.shelf import Shelf
    from isthmus_trust.identity import fingerprint

    config = joined_config_of(home)
    found = [
        {
            "study": shelved.study.name,
            "version": shelved.study.version,
            "title": shelved.study.title,
            "digest": shelved.digest.hex(),
            "decision": _decision(config, shelved),
            "author": fingerprint(shelved.author),
        }
        for shelved in Shelf(config.home.studies).everything()
    ]
    requests = [
        {
            "request": asked.digest.hex(),
            "study": asked.task.study_digest.hex(),
            "method": asked.task.spec.method,
            "title": asked.title,
        }
        for asked in _requests(config)
    ]

    def render() -> None:
        rows = [
            [str(s["study"]), str(s["version"]), str(s["decision"]), str(s["digest"])[:12], str(s["title"])]
            for s in found
        ]
        empty = "no study has arrived: they arrive while the node runs"
        show_table("", ["study", "version", "decision", "digest", "title"], rows, empty)
        for request in requests:
            say(f"waits: {request['title']}  (isthmus-node study show {str(request['request'])[:12]})")

    show(json, {"studies": found, "requests": requests}, render)


@study_app.command("show")
def study_show(
    study: Annotated[str, typer.Argument(help="Name, name@version, or the beginning of a digest.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show a study, or an analysis outside a plan, in plain words, and how the site's data fit it.

    STUDY is a name, name@version, or the beginning of a digest (8 digits or more).
    """
    from isthmus_node.custodian.reading import purpose_words, spec_words, study_words
    from isthmus_node.shelf import Shelf
    from isthmus_trust.identity import fingerprint

    config = joined_config_of(home)
    waiting = [a for a in _requests(config) if len(study) >= 8 and a.digest.hex().startswith(study.lower())]
    if waiting:
        name, task = waiting[0].digest.hex(), waiting[0].task
        lines = [f"{waiting[0].title}, for {purpose_words(task.purpose)}", *spec_words(task.spec)]
        show(json, {"request": name, "words": lines}, lambda: say(*lines, f"digest {name}"))
        return
    shelved = Shelf(config.home.studies).find(study)
    words = list(study_words(shelved.study))
    findings = _findings(config, shelved)
    payload = {
        "study": shelved.study.name,
        "version": shelved.study.version,
        "digest": shelved.digest.hex(),
        "author": fingerprint(shelved.author),
        "decision": _decision(config, shelved),
        "words": words,
        "findings": findings,
    }

    def render() -> None:
        say(*words, "", f"digest {shelved.digest.hex()}", f"signed by {fingerprint(shelved.author)}")
        say(f"decision here: {_decision(config, shelved)}", "")
        say(*[f"data {finding}" for finding in findings])

    show(json, payload, render)


def approve(
    study: Annotated[str, typer.Argument(help="Name, name@version, or the beginning of a digest.")],
    reason: Annotated[str, _REASON] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a study (or one analysis outside its plan) run over this site's data. Signed with the custodian's key.

    STUDY is a name, name@version, or the beginning of a digest (8 digits or more).
    """
    _decide(study, True, reason, home, json, quiet)


def refuse(
    study: Annotated[str, typer.Argument(help="Name, name@version, or the beginning of a digest.")],
    reason: Annotated[str, _REASON] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Do not let a study run, or no longer. Signed with the custodian's key.

    STUDY is a name, name@version, or the beginning of a digest (8 digits or more).
    """
    _decide(study, False, reason, home, json, quiet)


def _decide(study: str, approved: bool, reason: str, home: HomeOption, json: bool, quiet: bool) -> None:
    from isthmus_node.homes import is_running
    from isthmus_trust.identity import IdentityKey

    config = joined_config_of(home)
    asked = _asked(config, study, approved)
    key = IdentityKey.load(config.custodian_key)
    decision = decisions_of(config).make(key, asked.digest, approved=approved, reason=reason, context=asked.context)
    running = is_running(config.home)
    payload = {
        "about": asked.title,
        "digest": asked.digest.hex(),
        "approved": approved,
        "reason": reason,
        "decided_at": moment(decision.decided_at),
        "node_running": running,
    }

    def render() -> None:
        say(f"{'approved' if approved else 'refused'}: {asked.title}  {asked.digest.hex()[:12]}")
        say("the node tells the coordinator now" if running else "the coordinator learns of it when the node runs")

    show(json, payload, render, quiet)


def _asked(config: NodeConfig, text: str, approved: bool) -> _Decided:
    from isthmus_node.public_keys import read_public
    from isthmus_node.shelf import Shelf, participant_of
    from isthmus_trust.documents import DECISION
    from isthmus_trust.identity import IdentityKey

    matching = [a for a in _requests(config) if len(text) >= 8 and a.digest.hex().startswith(text.lower())]
    if len(matching) > 1:
        raise UsageError("AMBIGUOUS", f"several requests have a digest that begins with {text}", "give more of it")
    if matching:
        return _Decided(matching[0].title, matching[0].digest, matching[0].context)
    shelved = Shelf(config.home.studies).find(text)
    if approved:
        identity = IdentityKey.load(config.home.identity_key).public
        participant_of(shelved.study, config.name, identity, read_public(config.home.custodian_public))
    return _Decided(shelved.title, shelved.digest, DECISION)


def _requests(config: NodeConfig) -> list[Asked]:
    """What waits for the custodian beside studies: analyses outside a plan, and runs where each is asked about."""
    from isthmus_node.waiting_room import WaitingRoom

    return list(WaitingRoom(config.home.waiting).everything())


def _decision(config: NodeConfig, shelved: Shelved) -> str:
    made = decisions_of(config).about(shelved.digest)
    if made is None:
        return "waiting"
    return "approved" if made.decision.approved else "refused"


def _findings(config: NodeConfig, shelved: Shelved) -> list[str]:
    from isthmus_node.catalogue import Datasets

    datasets = Datasets(config.home.state, config.country)
    lines = []
    for dictionary in shelved.study.datasets:
        try:
            found = datasets.check(dictionary.name, dictionary)
        except IsthmusError as error:
            lines.append(f"{dictionary.name}: {error.message} [{error.code}]")
            continue
        lines += [f"{dictionary.name}: {finding}" for finding in found] or [f"{dictionary.name}: fits"]
    return lines


# --------------------------------------------------------------------------- journal


@journal_app.command("show")
def journal_show(
    run: Annotated[str, typer.Option("--run", help="Only this run: the beginning of its number.")] = "",
    last: Annotated[int, typer.Option("--last", help="Only so many of the newest records.", min=0)] = 0,
    numbers: Annotated[bool, typer.Option("--numbers", help="The numbers that left, as tables.")] = False,
    every: Annotated[bool, typer.Option("--all", help="With --numbers: long tables to their end.")] = False,
    as_bytes: Annotated[bool, typer.Option("--bytes", help="The exact bytes that left, in hexadecimal.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show what left this site in plain words, and with --numbers or --bytes exactly."""
    from isthmus_node.egress.journal_read import read
    from isthmus_node.egress.words import MOST_ROWS, tables_of_payload
    from isthmus_node.sealing.kept import read_kept

    sealed = config_of(home).home.sealed
    most_rows = sys.maxsize if every else MOST_ROWS
    entries = [e for e in read(config_of(home).home.journal) if not run or e.record.run.hex().startswith(run.lower())]
    entries = entries[-last:] if last else entries

    def render() -> None:
        for entry in entries:
            say(_headline(entry), *(f"    {line}" for line in entry.record.words.splitlines()))
            if numbers and entry.payload:
                clear = read_kept(sealed, entry.record) if entry.record.clear_digest else entry.payload
                lines = tables_of_payload(clear, most_rows).splitlines() if clear else [_NOT_KEPT]
                say(*(f"    {line}" for line in lines))
            if as_bytes and entry.payload:
                digits = entry.payload.hex()
                say(*(f"    {digits[k : k + 96]}" for k in range(0, len(digits), 96)))
        say(totals_words(totals_of(entries)))

    payload = {"records": [_record(entry, as_bytes) for entry in entries], "totals": totals_of(entries)}
    show(json, payload, render)


_NOT_KEPT = "the numbers of this share are not kept here any more: sealed/ in the state folder does not have them"


def _headline(entry: Entry) -> str:
    record = entry.record
    parts = [f"{record.sequence:>6}", moment(record.recorded_at), record.event, f"by {record.actor}"]
    if record.study:
        parts.append(f"study {record.study}")
    if record.run:
        parts.append(f"{record.analysis or 'outside the plan'} run {record.run.hex()[:12]} round {record.round}")
    if record.payload_bytes:
        parts.append(f"{record.payload_bytes} bytes")
    if record.purpose:
        parts.append(f"({record.purpose})")
    return "  ".join(parts)


def _record(entry: Entry, as_bytes: bool) -> dict[str, object]:
    record = entry.record
    line: dict[str, object] = {
        "sequence": record.sequence,
        "recorded_at": moment(record.recorded_at),
        "actor": record.actor,
        "event": record.event,
        "study": record.study,
        "analysis": record.analysis,
        "run": record.run.hex(),
        "round": record.round,
        "task": record.task.hex(),
        "policy_digest": record.policy_digest.hex(),
        "dataset_digest": record.dataset_digest.hex(),
        "payload_digest": record.payload_digest.hex(),
        "payload_bytes": record.payload_bytes,
        "purpose": record.purpose,
        "words": record.words,
    }
    if as_bytes:
        line["payload"] = entry.payload.hex()
    return line


def totals_of(entries: list[Entry]) -> dict[str, int]:
    out = [entry.record for entry in entries if entry.payload]
    return {
        "releases": sum(record.event == "RELEASED" for record in out),
        "refusals": sum(record.event == "REFUSED" for record in out),
        "bytes": sum(record.payload_bytes for record in out),
    }


def totals_words(totals: dict[str, int]) -> str:
    return f"left this site: {totals['releases']} releases, {totals['refusals']} refusals, {totals['bytes']} bytes"
