"""Commands about the journal as evidence: is it whole, who has seen it, and a bundle of it for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import say
from isthmus_node.commands.common import (
    HomeOption,
    JsonOption,
    QuietOption,
    config_of,
    joined_config_of,
    moment,
    show,
)
from isthmus_node.commands.custodian import journal_app as journal_app, totals_of, totals_words

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig
    from isthmus_node.egress.journal_read import Verified


@journal_app.command("verify")
def verify(
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="A checkpoint that a witness kept, as a file; may be given again."),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Check every byte of the journal, its tree against what was signed for, and who has seen how much of it."""
    from isthmus_node.egress.journal_read import read, verify as verify_journal

    config = config_of(home)
    folder = config.home.journal
    verified = verify_journal(folder)
    totals = totals_of(list(read(folder)))
    checkpoints = _checkpoints(config, verified)
    shown = [_held_against(config, verified, path) for path in against or ()]
    payload = {
        "records": verified.records,
        "head": verified.head.hex(),
        "root": verified.tree.root().hex(),
        "unfinished": verified.unfinished,
        "totals": totals,
        "checkpoints": checkpoints,
        "seen_by": _seen_by(checkpoints),
        "against": shown,
    }

    def render() -> None:
        say(f"{verified.records} records, every byte as it was written", f"head {verified.head.hex()}")
        say(f"root {verified.tree.root().hex()}")
        if verified.unfinished:
            say("the last entry is unfinished: it is being written, or a crash cut it off")
        say(totals_words(totals), *_seen_words(verified.records, checkpoints))
        say(*(f"begins with the {one['tree_size']} records that {one['file']} shows" for one in shown))

    show(json, payload, render)


@journal_app.command("export")
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, or file that ends in .zip; not there yet.")],
    run: Annotated[str, typer.Option("--run", help="Records of this run only: the beginning of its number.")] = "",
    study: Annotated[str, typer.Option("--study", help="Records of this study only: its name.")] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a bundle of the journal for an inspector, with the verifier that needs no isthmus.

    The journal itself is always whole in it: a tree proves wholes. RUN and STUDY choose what is written out beside it.
    """
    from isthmus_node.exporting import export as write

    made = write(joined_config_of(home), output, run=run, study=study)
    payload = {
        "bundle": str(made.path),
        "records": made.records,
        "chosen": made.chosen,
        "root": made.root.hex(),
        "checkpoints": made.checkpoints,
        "roster": made.roster,
    }

    def render() -> None:
        say(
            f"{made.path}: {made.records} records, {made.chosen} of them written out, {made.checkpoints} checkpoints",
            f"root {made.root.hex()}",
            "check it without isthmus: python verifier.py " + str(made.path),
        )

    show(json, payload, render, quiet)


def _checkpoints(config: NodeConfig, verified: Verified) -> list[dict[str, object]]:
    """This node's checkpoints, each held against the journal, and who co-signed them."""
    from isthmus_node.public_keys import read_public
    from isthmus_node.shelf import Shelf
    from isthmus_node.witness.known import RosterFile, known_keys
    from isthmus_node.witness.own import Checkpoints, cosigners
    from isthmus_trust.checkpoints import read_checkpoint
    from isthmus_trust.identity import IdentityKey

    home = config.home
    if not home.joined:
        return []
    coordinator = read_public(home.coordinator_key)
    own = Checkpoints(home.checkpoints, config.name, IdentityKey.load(home.identity_key).public)
    kept = list(own.everything())
    own.check(verified.records, verified.tree)
    roster = RosterFile(home.roster, coordinator).read()
    names = known_keys(coordinator, Shelf(home.studies).everything(), roster[1] if roster else None)
    lines: list[dict[str, object]] = []
    for witnessed in kept:
        checkpoint = read_checkpoint(witnessed.checkpoint)
        lines.append(
            {
                "tree_size": checkpoint.tree_size,
                "root": checkpoint.root.hex(),
                "made_at": moment(checkpoint.made_at),
                "witnesses": cosigners(witnessed, names),
            }
        )
    return lines


def _seen_by(checkpoints: list[dict[str, object]]) -> dict[str, int]:
    """Number of records that each witness has seen."""
    seen: dict[str, int] = {}
    for checkpoint in checkpoints:
        for name in checkpoint["witnesses"] if isinstance(checkpoint["witnesses"], list) else ():
            seen[name] = int(str(checkpoint["tree_size"]))
    return seen


def _seen_words(records: int, checkpoints: list[dict[str, object]]) -> list[str]:
    if not checkpoints:
        return ["no checkpoint yet: that the journal was not replaced as a whole is not shown"]
    lines = [f"{len(checkpoints)} checkpoints of up to {checkpoints[-1]['tree_size']} records hold"]
    seen = _seen_by(checkpoints)
    lines += [f"  {name} has seen {size} of {records} records" for name, size in sorted(seen.items())]
    if not seen:
        lines.append("  no witness has co-signed: that the journal was not replaced as a whole is not shown")
    return [*lines, "  what was cut off together with its checkpoints shows against a witness's own: --against FILE"]


def _held_against(config: NodeConfig, verified: Verified, path: Path) -> dict[str, object]:
    from isthmus_node.witness.own import hold_against
    from isthmus_trust.checkpoints import read_checkpoint, read_file
    from isthmus_trust.identity import IdentityKey

    seen = read_checkpoint(read_file(path).checkpoint, IdentityKey.load(config.home.identity_key).public)
    hold_against(verified.records, verified.tree, seen, str(path))
    return {"file": str(path), "tree_size": seen.tree_size, "root": seen.root.hex()}


@journal_app.command("witnessed")
def witnessed(
    node: Annotated[str, typer.Argument(help="Only this node.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write that node's checkpoint to a file, for `--against`.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show what this node, as a witness, has seen of other nodes' journals. NODE is another node's name."""
    from isthmus.errors import UsageError
    from isthmus_node.witness.report import others_of, seen_of
    from isthmus_trust.checkpoints import to_line
    from isthmus_trust.key_files import write_new

    config = joined_config_of(home)
    others = [other for other in others_of(config) if node in ("", other.node)]
    if output is not None:
        if len(others) != 1:
            raise UsageError(
                "UNKNOWN_NODE" if not others else "AMBIGUOUS",
                f"{len(others)} journals were seen here under that name; rule: a file holds one checkpoint",
                "name one of the nodes that isthmus-node journal witnessed lists",
            )
        write_new(output, (to_line(seen_of(config, others[0])) + "\n").encode())
    payload = {"witnessed": [other.as_json() for other in others], "file": str(output or "")}

    def render() -> None:
        say(*(other.words() for other in others) if others else ("no other node's journal has been seen here yet",))

    show(json, payload, render)
