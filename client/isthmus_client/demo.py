"""The main job, end to end, on one machine: four countries, one pooled survival analysis, no process left behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from isthmus.command import console
from isthmus.errors import ConfigError
from isthmus_client.proposal import study_from_toml
from isthmus_client.sandbox import Sandbox

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from isthmus_client.results.fit import Fit
    from isthmus_client.study import Study

EXAMPLE = "breast-cancer"
COUNTRIES = {"nl": "NL", "be": "BE", "de": "DE", "at": "AT"}
DATASET = "RFS"
# A folder that the demo may clear is one that it made.
MARK = ".isthmus-demo"
# Witnesses that are enough for a journal, how long they are waited for, and between two looks, in seconds.
WITNESSES, WITNESS_SECONDS, PAUSE = 3, 20.0, 0.5


def example_folder(name: str = EXAMPLE) -> Path:
    """Where an example's study and rows are: in the installed package, or in the checkout it runs from."""
    packaged = Path(__file__).parent / "examples" / name
    checkout = Path(__file__).parents[2] / "examples" / name
    for folder in (packaged, checkout):
        if (folder / "study.toml").exists():
            return folder
    raise ConfigError(
        "EXAMPLE_MISSING", f"the example {name} is not installed", "install isthmus again, from its wheel"
    )


def run_demo(out: Path) -> list[Fit]:
    """Run the demo and leave its results in `out`; every process it starts is ended, whatever happens.

    Parameters
    ----------
    out
        Folder for ``report.html``, ``result.json`` and the network's homes (keys, journals). Cleared first if an
        earlier demo made it.

    Raises
    ------
    ConfigError
        ``FOLDER_NOT_OURS`` where `out` holds something else.
    IsthmusError
        What any part of the network reported.
    """
    _clear(out)
    example = example_folder()
    screen = console(stderr=True)
    started = time.monotonic()
    with _ended_by_signals(screen), Sandbox(out / "network", name="demo") as box:
        with screen.status(_doing("a private authority and a coordinator")) as status:
            box.init_coordinator()
            box.start_coordinator()
            _done(screen, f"coordinator on {box.address}, with an authority of its own")
            status.update(_doing("four countries join, each with a one-use token"))
            box.join(COUNTRIES)
            box.login("statistician")
            _done(screen, f"{', '.join(COUNTRIES.values())} and the statistician have enrolled")
            status.update(_doing("each country registers its own file; the rows stay there"))
            box.at_each_node(
                {
                    node: ("data", "add", str(example / "data" / f"{country}.csv"), "--dataset", DATASET)
                    for node, country in COUNTRIES.items()
                }
            )
            box.start_nodes(COUNTRIES)
            _done(screen, f"four nodes attached over mutual TLS, each with dataset {DATASET}")
            status.update(_doing("the study is proposed, and decided on by each custodian's key"))
            with box.connect() as connection:
                connection.propose(study_from_toml(example / "study.toml", connection.participants()))
                study = connection.study_lines()[0].name
            box.approve(study, COUNTRIES, "demo")
            _done(screen, f"study {study} approved by four custodians")
        with box.connect() as connection:
            fits = _analyse(connection.study(study))
        _write(fits, out)
        _last_words(box, fits, out, time.monotonic() - started)
    return fits


def _doing(words: str) -> Text:
    from rich.text import Text

    return Text(words, style="bold")


def _done(screen: Console, words: str) -> None:
    from rich.text import Text

    screen.print(Text.assemble(("✓ ", "green"), words))


def _analyse(study: Study) -> list[Fit]:
    from isthmus_client.terminal import show

    fits = [study.planned(name).run(outlives=False) for name in study.plan()]
    show(console(), fits)
    return fits


def _write(fits: Sequence[Fit], out: Path) -> None:
    from isthmus_client.report import write_report, write_results

    write_results(fits, out / "result.json")
    write_report(fits, out / "report.html")


def _witnessed(box: Sandbox) -> dict[str, object]:
    """What each node says of its journal once the coordinator and two other nodes have seen it, or time is over."""
    until = time.monotonic() + WITNESS_SECONDS
    while True:
        verified = box.at_each_node(dict.fromkeys(COUNTRIES, ("journal", "verify")))
        if all(map(_is_witnessed, verified.values())) or time.monotonic() > until:
            return verified
        time.sleep(PAUSE)


def _is_witnessed(said: Any) -> bool:
    """Whether enough witnesses have seen all records of a journal: the coordinator and two other nodes."""
    return bool(sum(size == said["records"] for size in said["seen_by"].values()) >= WITNESSES)


def _last_words(box: Sandbox, fits: Sequence[Fit], out: Path, seconds: float) -> None:
    from rich.table import Table

    verified = _witnessed(box)
    table = Table("country", "releases", "bytes that left", "the journal verifies with", box=None, pad_edge=False)
    for column in (1, 2):
        table.columns[column].justify = "right"
    for node, country in COUNTRIES.items():
        totals = verified[node]["totals"]  # type: ignore[index]
        home = box.node_home(node)
        table.add_row(
            country,
            f"{totals['releases']:,}",
            f"{totals['bytes']:,}",
            f"{_as_typed('isthmus-node')} journal verify --home {home}",
        )
    screen = console()
    screen.print(f"\nreport  {out / 'report.html'}\nresult  {out / 'result.json'}\n", highlight=False)
    screen.print(table)
    screen.print(f"\n{len(fits)} analyses over {len(COUNTRIES)} countries in {seconds:.0f} s; no row left its node.")


def _as_typed(command: str) -> str:
    """A command as whoever started the demo can type it: by its path where the shell would not find it."""
    beside = Path(sys.executable).with_name(command)
    return command if shutil.which(command) or not beside.exists() else os.path.relpath(beside)


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise ConfigError(
            "FOLDER_NOT_OURS",
            f"{out} holds files that no demo wrote; rule: the demo clears only its own folder",
            "name another folder with --out",
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()


@contextmanager
def _ended_by_signals(screen: Console) -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: through every `finally`, and with a word."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        screen.print("interrupted: every process of the demo has ended; make demo starts anew")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
