"""The process that an app runs in, one a run: confined first, then the app is imported, then rows come.

It speaks with the node over two pipes, in frames. What it is told and says, in this order:

- told the app's module and package, says what the app offers: before there are any rows;
- told columns and levels, says the starting values: before there are any rows;
- told the rows, says nothing;
- told messages, says an answer to each, until the pipe closes.

Anything that goes wrong is said as a fixed code, and for an exception the nearest of Python's own kinds, never its
text.
Nothing that is said here is believed: the node judges it (`update.py`).
"""

from __future__ import annotations

import builtins
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from isthmus_methods.contract import Array, Booleans, Integers
from isthmus_node.training.confinement import NotConfined, confine
from isthmus_training import apps
from isthmus_training.frames import Broken, Words, read_frame, write_frame
from isthmus_training.rows import Rows, at_hand

if TYPE_CHECKING:
    from flwr.app import Context

# Most bytes that the node sends in one frame: the limit on memory stands before it.
_MOST = 1 << 40
# Name of the array of scores among an answer's.
SCORES = "scores"


class SourceOnly(MetaPathFinder):
    """Imports a package from its source, whatever compiled files lie beside it: the digest is of the source."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self._package:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Compiled(spec.loader.name, spec.loader.path)
        return spec


class _Compiled(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def main() -> None:
    """Entry point: numbers of the two pipes, and of the process that started this one."""
    orders, answers, parent = (int(text) for text in sys.argv[1:4])
    with os.fdopen(orders, "rb", buffering=0) as told, os.fdopen(answers, "wb") as said:
        try:
            _work(told, said, parent)
        except (Broken, KeyboardInterrupt):
            return


def _work(told: BinaryIO, said: BinaryIO, parent: int) -> None:
    words, _ = read_frame(told, _MOST)
    try:
        # whatever is imported before is isthmus's own, Flower's and numpy's
        sys.meta_path.insert(0, SourceOnly(str(words["package"])))
        if words["module"]:
            import isthmus_training.flower  # noqa: F401 - read before the files are out of reach
        held = confine(parent, int(words["memory"]))
    except NotConfined as error:
        # the text is this project's own, and says what the kernel lacks
        write_frame(said, {"failed": "NOT_CONFINED", "kind": "", "why": str(error)})
        return
    except ImportError:
        write_frame(said, {"failed": "NO_FLOWER", "kind": "", "why": ""})
        return
    if not words["module"]:
        write_frame(said, {"held": list(held)})
        return
    loaded = _said(said, "APP_NOT_IMPORTED", lambda: _offer(str(words["module"]), said))
    if loaded is not None:
        _answer_all(loaded, told, said)


def _offer(module: str, said: BinaryIO) -> apps.Loaded:
    loaded = apps.load(module)
    offered = loaded.offered
    write_frame(
        said,
        {
            "settings": dict(offered.settings),
            "batch_setting": offered.batch_setting,
            "full_batch": offered.full_batch,
            "metrics": {name: list(ends) for name, ends in offered.metrics.items()},
        },
    )
    return loaded


def _answer_all(loaded: apps.Loaded, told: BinaryIO, said: BinaryIO) -> None:
    from isthmus_training import flower

    context: Context | None = None
    given: Mapping[str, Rows] = {}
    # Flower's records point at themselves: without this a model stays for each message
    gc.freeze()
    while True:
        gc.collect()
        words, arrays = read_frame(told, _MOST)
        match words["what"]:
            case "start":
                _said(said, "APP_FAILED", lambda: write_frame(said, {}, _start(loaded, words)))  # noqa: B023 - called at once
            case "rows":
                given = _rows_of(words, arrays)
                flower.identify(int(words["run"]), int(words["node"]))
                context = flower.context_of(int(words["run"]), int(words["node"]), words["settings"])
            case _:
                # a failure has been said by then
                _said(said, "APP_FAILED", lambda: _answer(loaded, words, arrays, context, given, said))  # noqa: B023


def _start(loaded: apps.Loaded, words: Words) -> dict[str, Array]:
    return apps.starting_values(loaded, words["columns"], words["levels"], words["settings"], int(words["seed"]))


def _rows_of(words: Words, arrays: Mapping[str, Array]) -> dict[str, Rows]:
    columns, levels = tuple(words["columns"]), tuple(words["levels"])
    held: Booleans = arrays["held_out"].astype(np.bool_)

    def some(chosen: Booleans) -> Rows:
        persons: Integers = np.unique(arrays["persons"][chosen], return_inverse=True)[1].astype(np.int64)
        return Rows(arrays["X"][chosen], columns, arrays["y"][chosen], levels, persons)

    return {"train": some(~held), "evaluate": some(held)}


def _answer(
    loaded: apps.Loaded,
    words: Words,
    arrays: Mapping[str, Array],
    context: Context | None,
    given: Mapping[str, Rows],
    said: BinaryIO,
) -> bool:
    from isthmus_training import flower
    from isthmus_training.exchange import Ask

    if context is None:
        raise Broken("a message before the rows")
    kind = str(words["type"])
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in words["config"].items()}
    with at_hand(context, given[kind]) as here:
        reply = flower.call_app(loaded.app, Ask(kind, arrays, config), context, keep_input=False)
    # a model's arrays may have any name, and one that is not theirs is for the scores
    out = {f"array {name}": value for name, value in reply.arrays.items()}
    if here.scores is not None:
        out[SCORES] = here.scores
    write_frame(said, {"metrics": dict(reply.metrics)}, out)
    return True


def _said(said: BinaryIO, code: str, work: Callable[[], Any]) -> Any:
    """What `work` gives; None where it failed, which has then been said."""
    try:
        return work()
    except Broken:
        raise
    except BaseException as error:  # noqa: BLE001 - an app may raise anything, and its text may be a row
        write_frame(said, {"failed": code, "kind": kind_of(error), "why": ""})
        return None


def kind_of(error: BaseException) -> str:
    """The nearest kind of exception that is Python's own: an app's class may have a row for its name."""
    kinds = type(error).__mro__
    return str(next(kind.__name__ for kind in kinds if vars(builtins).get(kind.__name__) is kind))


if __name__ == "__main__":
    main()
