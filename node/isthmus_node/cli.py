"""The command `isthmus-node`: for site IT who deploy a node, and for the custodian who decides what leaves it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

# One thread of linear algebra a node: several nodes share a machine, and threads cost more than they give here.
# And no words of gRPC's own between ours. Both are read when the libraries load, so they come first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import typer

from isthmus import command
from isthmus_node.commands import apps, custodian, data, journal, policy, privacy, release, site, unlocking

app = typer.Typer(
    name="isthmus-node",
    help="A country's node: rows stay here, what leaves passes the gate and stands in the journal first.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("join")(site.join)
app.add_typer(data.app, name="data")
app.command("check")(site.check)
app.command("run")(site.run)
app.command("status")(site.status)
app.command("studies")(custodian.studies)
app.add_typer(custodian.study_app, name="study")
app.command("approve")(custodian.approve)
app.command("refuse")(custodian.refuse)
app.add_typer(release.app, name="release")
app.command("privacy")(privacy.privacy)
app.command("unlock")(unlocking.unlock)
app.add_typer(journal.journal_app, name="journal")
app.add_typer(policy.app, name="policy")
app.add_typer(apps.app, name="apps")
app.add_typer(site.config_app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(command.version_line("isthmus-node"))
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """A country's node: rows stay here, what leaves passes the gate and stands in the journal first."""


def main() -> None:
    """Entry point of the command."""
    sys.exit(command.main(app))
