"""Progress of a run in a terminal: one line an analysis, one row a country."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus.v1 import analyst_pb2

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive

_STYLES = {
    "answered": "green",
    "asked": "yellow",
    "refused": "red",
    "away": "red",
    "left out": "dim",
    "waiting for approval": "magenta",
    "waiting for a decision": "magenta",
    "held for inspection": "magenta",
}
_STATES = {"waiting": "waiting", "running": "running", "done": "done", "failed": "failed", "cancelled": "cancelled"}


class Silent:
    """Shows nothing."""

    def begin(self, titles: Sequence[str]) -> None:
        pass

    def update(self, position: int, progress: analyst_pb2.Progress) -> None:
        pass

    def end(self) -> None:
        pass


class Live:
    """A live display on stderr: what runs, in which round, and what each country has answered."""

    def __init__(self, console: Console | None = None) -> None:
        from isthmus.command import console as stderr_console

        self._console = console or stderr_console(stderr=True)
        self._titles: list[str] = []
        self._latest: dict[int, analyst_pb2.Progress] = {}
        self._live: RichLive | None = None

    def begin(self, titles: Sequence[str]) -> None:
        from rich.live import Live as RichLive

        self._titles = list(titles)
        self._latest = {}
        if not self._console.is_terminal:
            return  # a line at the end is all that a file needs
        self._live = RichLive(self._view(), console=self._console, refresh_per_second=8, transient=False)
        self._live.start()

    def update(self, position: int, progress: analyst_pb2.Progress) -> None:
        self._latest[position] = progress
        if self._live is not None:
            self._live.update(self._view(), refresh=True)

    def end(self) -> None:
        if self._live is not None:
            self._live.update(self._view(), refresh=True)
            self._live.stop()
            self._live = None
        elif not self._console.is_terminal:
            self._console.print(self._view())

    def _view(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = []
        for position, title in enumerate(self._titles):
            progress = self._latest.get(position)
            line = Text()
            line.append(title, style="bold")
            line.append(f"  {self._state(progress)}")
            parts.append(line)
            running = progress is not None and progress.state in ("running", "waiting", "failed")
            if progress is None or not running:
                continue
            table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
            for country in progress.countries:
                table.add_row(
                    Text(country.country),
                    Text(country.state, style=_STYLES.get(country.state, "")),
                    Text(f"{country.bytes:,} bytes", style="dim"),
                )
            parts.append(table)
        return Group(*parts)

    @staticmethod
    def _state(progress: analyst_pb2.Progress | None) -> str:
        if progress is None:
            return "…"
        said = _STATES.get(progress.state, progress.state)
        if progress.round:
            said += f", round {progress.round}"
        if progress.measure and progress.state == "running":
            said += f", {progress.measure} {progress.measured:.2g}"
        return said
