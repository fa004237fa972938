"""Any answer as tables: what stands side by side becomes a row, what has the same keys a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isthmus.untrusted import csv_cell
from isthmus_methods.contract import Answer

if TYPE_CHECKING:
    import pandas as pd

VALUE = "value"


def frames(answer: Answer) -> dict[str, pd.DataFrame]:
    """The tables of an answer by their place in it, e.g. ``robust, HC0``.

    A matrix ``{rows, cols, values}`` is a table; so are lists of one length side by side, tables of single values
    with keys in common, and the single values that stand alone.
    """
    found: dict[str, pd.DataFrame] = {}
    if isinstance(answer, Mapping):
        _collect(answer, (), found)
    return found


def cell_text(value: object) -> str:
    """One value of a table as people read it."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def csv_text(frame: pd.DataFrame) -> str:
    """A table as CSV, all digits kept. Labels and texts that a spreadsheet would take for a formula are disarmed."""
    disarmed = frame.map(_csv)
    disarmed.columns, disarmed.index = frame.columns.map(_csv), frame.index.map(_csv)
    disarmed.index.names = [_csv(name) for name in frame.index.names]
    disarmed.columns.names = [_csv(name) for name in frame.columns.names]
    return str(disarmed.to_csv(lineterminator="\n"))


def _csv(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_csv, value))
    return csv_cell(value) if isinstance(value, str) else value


def _collect(answer: Mapping[str, Answer], path: tuple[str, ...], found: dict[str, pd.DataFrame]) -> None:
    import pandas as pd

    name = ", ".join(path)
    if set(answer) == {"rows", "cols", "values"}:
        index, columns = _labels(answer["rows"]), _labels(answer["cols"])
        found[name] = pd.DataFrame(answer["values"], index=index, columns=columns)
        return
    single: dict[str, Answer] = {}
    lists: dict[int, dict[str, list[Answer]]] = {}
    rows: dict[tuple[str, ...], dict[str, Mapping[str, Answer]]] = {}
    deeper: dict[str, Mapping[str, Answer]] = {}
    for key, value in answer.items():
        if isinstance(value, Mapping):
            if value and all(_is_single(item) for item in value.values()):
                rows.setdefault(tuple(value), {})[key] = value
            else:
                deeper[key] = value
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if all(_is_single(item) for item in value):
                lists.setdefault(len(value), {})[key] = list(value)
        else:
            single[key] = value
    if single:
        found[name] = pd.DataFrame({VALUE: list(single.values())}, index=pd.Index(list(single)), dtype=object)
    for alike in lists.values():
        found[_free(name, found)] = pd.DataFrame(alike)
    for keys, table in rows.items():
        if len(table) > 1 or len(table) == len(answer):
            found[_free(name, found)] = pd.DataFrame.from_dict(table, orient="index", columns=list(keys))
        else:
            deeper.update(table)
    for key in answer:
        if key in deeper:
            _collect(deeper[key], (*path, key), found)


def _free(name: str, taken: Mapping[str, object]) -> str:
    k, free = 2, name
    while free in taken:
        free, k = f"{name} ({k})", k + 1
    return free


def _labels(value: Answer) -> list[str]:
    return [str(label) for label in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _is_single(value: Answer) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
