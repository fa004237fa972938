"""What the commands of the node have in common: where the node is, and how a table is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import console, emit

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig
    from isthmus_node.custodian.decisions import Decisions
    from isthmus_node.homes import Home

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The node's folder.", show_default="ISTHMUS_HOME, /etc/isthmus, or the user's own"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def home_of(given: Path | None) -> Home:
    from isthmus_node.homes import find_home

    return find_home(given)


def config_of(given: Path | None, flags: Mapping[str, str | None] | None = None) -> NodeConfig:
    from isthmus_node import config

    return config.load(home_of(given), flags)


def joined_config_of(given: Path | None) -> NodeConfig:
    """The settings of a node that has joined; `ConfigError` otherwise."""
    from isthmus_node.homes import check_joined

    config = config_of(given)
    check_joined(config.home, config.name, config.coordinator is not None)
    return config


def decisions_of(config: NodeConfig) -> Decisions:
    from isthmus_node.custodian.decisions import Decisions
    from isthmus_node.public_keys import read_public

    return Decisions(config.home.decisions, config.name, read_public(config.home.custodian_public))


def moment(nanoseconds: int) -> str:
    """A time of the contract in UTC, for people."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if nanoseconds else ""


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print a table; `empty` is said where it has no row."""
    from rich.table import Table

    if not rows:
        console().print(empty)
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def show(as_json: bool, payload: Mapping[str, object], render: Callable[[], None], quiet: bool = False) -> None:
    """The envelope, or what `render` prints unless quiet."""
    emit(as_json, payload, (lambda: None) if quiet else render)
