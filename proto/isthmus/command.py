"""What the three commands have in common: one envelope, one way from error to exit code, words on stderr."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isthmus.errors import INTERRUPTED, IsthmusError, UsageError
from isthmus.untrusted import json_text, shown
from isthmus.version import __version__

if TYPE_CHECKING:
    import typer
    from rich.console import Console

# Version of the envelope's shape, not of what is in `data`.
SCHEMA_VERSION = 1
# Set to anything, the trace of a bug is printed. Off by default: the text of an exception may quote values.
TRACE = "ISTHMUS_TRACE"

_BUG = ("BUG", "an unforeseen fault in isthmus", f"report it; with {TRACE}=1 in the environment the trace is printed")
_INTERRUPT = ("INTERRUPTED", "interrupted", "run the command again: what was done is kept")


def emit(json: bool, payload: Mapping[str, object], render: Callable[[], None], status: str = "ok") -> None:
    """Show what a command found: with `json` the envelope on stdout, otherwise what `render` prints.

    Call it once, at the end. Where the exit code is not 0 although there is something to show (countries missing),
    emit first and then ``raise typer.Exit(17)``.
    """
    if json:
        _print_envelope({"schema_version": SCHEMA_VERSION, "status": status, "data": payload})
    else:
        render()


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A terminal to print tables on; honours ``NO_COLOR``, has no colour and no bars where it is not a terminal.

    Every text is taken as it stands: none is markup, and what a terminal would obey is printed as a code. Styles are
    given as `rich.text.Text`.
    """
    stream = sys.stderr if stderr else sys.stdout
    # in a pipe or a file there is no width to keep to: tables must not be cut
    return _console_class()(
        stderr=stderr,
        quiet=quiet,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if stream.isatty() else 160,
    )


def say(*lines: str, err: bool = False) -> None:
    """Print each as one line, as it is: no markup, nothing that a terminal would obey, no end of line within."""
    for line in lines:
        print(shown(line, "\t"), file=sys.stderr if err else sys.stdout, flush=True)


@functools.cache
def _console_class() -> type[Console]:
    """Rich's console with one filter behind everything that it prints. Made here: commands that fail need no rich."""
    from rich.console import Console
    from rich.segment import Segment

    class PlainTextConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                # control segments are rich's own: they move the cursor and hold no text of anybody
                yield segment if segment.control else Segment(shown(segment.text, "\n"), segment.style)

    return PlainTextConsole


def version_line(command: str) -> str:
    """What ``--version`` prints."""
    return f"{command} {__version__}"


def exit_code_of(error: BaseException) -> int:
    """The one way from an exception to an exit code; anything unforeseen is a bug: 1."""
    if isinstance(error, IsthmusError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return 1


def main(app: typer.Typer, argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; nothing escapes.

    Parameters
    ----------
    app
        The command's typer application.
    argv
        Arguments without the program's name; None: those of this process.
    """
    import click
    from typer.main import get_command

    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = _wants_json(arguments)
    try:
        turn: Any = get_command(app).main(args=arguments, prog_name=_program(app), standalone_mode=False)
        return turn if isinstance(turn, int) and not isinstance(turn, bool) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help() if error.ctx else "", file=sys.stderr)  # noqa: T201 - a command speaks
        return UsageError.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"see {context.command_path} --help" if context else "see --help"
        return _tell(UsageError("USAGE", error.format_message(), hint), as_json)
    except (click.Abort, KeyboardInterrupt):
        _tell_text(*_INTERRUPT, as_json)
        return INTERRUPTED
    except IsthmusError as error:
        return _tell(error, as_json)
    except BrokenPipeError:
        # whoever read our output has what they wanted; a second error at exit would only confuse
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        if os.environ.get(TRACE):
            traceback.print_exception(error)
        code, message, remedy = _BUG
        _tell_text(code, f"{message} ({type(error).__name__})", remedy, as_json)
        return exit_code_of(error)


def _tell(error: IsthmusError, as_json: bool) -> int:
    _tell_text(error.code, error.message, error.remedy, as_json)
    return exit_code_of(error)


def _tell_text(code: str, message: str, remedy: str, as_json: bool) -> None:
    if as_json:
        _print_envelope(
            {
                "schema_version": SCHEMA_VERSION,
                "status": "error",
                "error": {"code": code, "message": message, "remedy": remedy},
            }
        )
    # a message of several lines shows a formula and the place in it; indented, none of them looks like ours
    lines = f"error: {message} [{code}]\n-> {remedy}".split("\n")
    say(lines[0], *(line if line.startswith("  ") else f"  {line}" for line in lines[1:]), err=True)


def _print_envelope(envelope: Mapping[str, object]) -> None:
    print(json_text(envelope))  # noqa: T201 - a command speaks


def _wants_json(arguments: Sequence[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own


def _program(app: typer.Typer) -> str | None:
    name = app.info.name
    return name if isinstance(name, str) else None
