"""Every command on the pages exists, with every option it is given there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command

from isthmus_client.cli import app as client
from isthmus_coordinator.cli import app as coordinator
from isthmus_coordinator.config import Settings, TrainingSettings
from isthmus_node.cli import app as node
from isthmus_node.config import KEYS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
TREES: dict[str, click.Command] = {
    "isthmus": get_command(client),
    "isthmus-node": get_command(node),
    "isthmus-coordinator": get_command(coordinator),
}
# A command in a remedy follows a colon, as in "see the studies with: isthmus studies".
REMEDY = re.compile(r": (isthmus(?:-node|-coordinator)?(?: [a-z-]+)+)")
CODE = sorted(
    path
    for package in ("proto", "trust", "methods", "node", "coordinator", "client")
    for path in (ROOT / package).rglob("*.py")
    if "_pb2" not in path.name
)


def commands_of(text: str) -> Iterator[list[str]]:
    """Every command of ours in the fenced blocks and in the code of the lines, as words."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        # the last on the line: before it a user or a container may have the same name
        found = re.search(r"^(?:.*[\s/])?(isthmus(?:-node|-coordinator)?)(?=\s+(?!isthmus)[a-z])(.*)$", line)
        if found:
            # redirections and what follows them are the shell's
            yield [found[1], *shlex.split(re.split(r" [<>|] ", found[2])[0])]


def faults(words: list[str]) -> list[str]:
    """What of a command does not exist."""
    command, rest = TREES[words[0]], words[1:]
    while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
        child = command.commands.get(rest[0])
        if child is None:
            return [f"{' '.join(words)}: no command {rest[0]!r}"]
        command, rest = child, rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return [f"{' '.join(words)}: no option {w!r}" for w in rest if re.match(r"--?[a-z]", w) and w not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_the_page_exist(page: Path) -> None:
    assert [fault for words in commands_of(page.read_text(encoding="utf-8")) for fault in faults(words)] == []


def remedies(source: str) -> list[list[str]]:
    """Commands that texts of a module tell people to type."""
    texts = [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [words.split() for text in texts for words in REMEDY.findall(text)]


def test_commands_that_messages_name_exist() -> None:
    named = [words for path in CODE for words in remedies(path.read_text(encoding="utf-8"))]
    assert len(named) >= 10
    assert [fault for words in named for fault in faults(words)] == []


def test_remedy_with_a_missing_command_would_be_found() -> None:
    assert [faults(words) != [] for words in remedies('x = "see them with: isthmus study list"')] == [True]


def test_pages_for_installing_have_commands() -> None:
    for name, least in (("install-node.md", 20), ("install-coordinator.md", 8)):
        assert len(list(commands_of((ROOT / "docs" / name).read_text(encoding="utf-8")))) >= least


def test_missing_command_or_option_would_be_found() -> None:
    assert faults(["isthmus-node", "fly"]) != []
    assert faults(["isthmus-node", "check", "--gently"]) != []
    assert faults(["isthmus-node", "journal", "show", "--bytes"]) == []
    assert list(commands_of("```\nsudo -u isthmus isthmus-node join - < NL.token\n```\n")) == [
        ["isthmus-node", "join", "-"]
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_commands_of_the_units_exist(unit: Path) -> None:
    started = re.findall(r"^ExecStart(?:Pre)?=/opt/isthmus/bin/(.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    assert started
    assert [fault for line in started for fault in faults(shlex.split(line))] == []


def test_commands_of_the_containers_exist() -> None:
    text = (ROOT / "deploy/docker/compose.yaml").read_text(encoding="utf-8")
    started = re.findall(r"^ +command: \[(.+)\]$", text, re.MULTILINE)
    assert len(started) == 3
    assert [fault for line in started for fault in faults([w.strip() for w in line.split(",")])] == []


COORDINATOR_KEYS = (set(Settings.model_fields) - {"training"}) | {
    f"training.{k}" for k in TrainingSettings.model_fields
}


@pytest.mark.parametrize(
    ("page", "keys"), [("install-node.md", set(KEYS)), ("install-coordinator.md", COORDINATOR_KEYS)]
)
def test_every_setting_stands_on_its_page_and_nothing_else(page: str, keys: set[str]) -> None:
    section = (ROOT / "docs" / page).read_text(encoding="utf-8").split("\n## Settings\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE)) == keys
