"""A dataset as a site registers it, and `datasets.toml`, where registrations stand: people may read and edit it."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isthmus.errors import ConfigError
from isthmus_node.sources import FORMATS, Rows, Source

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_TEXTS = ("location", "format", "encoding", "delimiter", "table", "query", "password_variable")
_KEYS = (*_TEXTS, "missing", "open_data", "added_at", "constants", "mapping")
_FROM = "from"
_HEADER = "# Datasets of this site, as `isthmus-node data add` registered them. No rows are in here.\n"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A column made from another one: each text of `origin` gives the text beside it; no texts, the same column."""

    origin: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Registration:
    """A dataset of this site under the name that studies use for it."""

    name: str
    source: Source
    added_at: datetime  # UTC
    constants: Mapping[str, str] = field(default_factory=dict)  # column -> its one text; "" means missing everywhere
    mapping: Mapping[str, Mapped] = field(default_factory=dict)  # column -> how it is made
    # Public or made-up rows: the custodian's word that no threshold is needed.
    open_data: bool = False

    def origins(self) -> frozenset[str]:
        """Columns that must be read because others are made from them."""
        return frozenset(mapped.origin for mapped in self.mapping.values())

    def completed(self, rows: Rows) -> Rows:
        """The rows with the columns that are constant or made from others.

        Raises `ConfigError` where a column to make others from is not there.
        """
        for name, mapped in self.mapping.items():
            if mapped.origin not in rows:
                raise ConfigError(
                    "MAPPING_ORIGIN",
                    f"dataset {self.name}: {name} is to be made from {mapped.origin!r}, which is no column of the "
                    "source",
                    _nearest(mapped.origin, rows.names, "correct `from` in the mapping"),
                )
            rows = rows.with_mapped(name, mapped.origin, mapped.texts)
        for name, text in self.constants.items():
            rows = rows.with_constant(name, text)
        return rows


def check_dataset_name(name: str) -> None:
    """Raises `ConfigError` for a name that no study could use."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "DATASET_NAME",
            "a dataset's name is a letter, then letters, digits, `_`, `.` or `-`, at most 64 in all",
            "use the name that the study uses for it, e.g. ADTTE",
        )


def read_registrations(path: Path) -> dict[str, Registration]:
    """All registrations of a file; none where there is no file.

    Raises `ConfigError` for anything that is not known here, with the nearest key that is.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(
            "NOT_TOML",
            f"{path} cannot be read as TOML: {problem}",
            "correct the file, or move it away and add the datasets again",
        ) from problem
    except OSError as problem:
        raise ConfigError(
            "FILE_NOT_READABLE",
            f"{path} cannot be read: {problem.strerror or 'input/output error'}",
            "give the user that runs the node read permission",
        ) from problem
    return {name: _registration(path, name, table) for name, table in content.items()}


def written(registrations: Mapping[str, Registration]) -> str:
    """The text of `datasets.toml`."""
    return "\n".join([_HEADER, *(_written(r) for r in registrations.values())])


# --------------------------------------------------------------------------- reading


def _wrong(path: Path, where: str, must: str) -> ConfigError:
    return ConfigError("WRONG_VALUE", f"{path}: {where} must be {must}", "correct the value")


def _nearest(word: str, known: tuple[str, ...], remedy: str) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"{remedy}; did you mean {near[0]!r}?" if near else f"{remedy}; there are: {', '.join(known)}"


def _registration(path: Path, name: str, table: Any) -> Registration:
    check_dataset_name(name)
    if not isinstance(table, dict):
        raise _wrong(path, name, "a table")
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            raise ConfigError(
                "UNKNOWN_KEY",
                f"{path}: [{name}] has a key {key!r} that is not known; the nearest known one is {near!r}",
                f"write {near!r}, or remove the line; known here: {', '.join(_KEYS)}",
            )
    texts = {key: table[key] for key in _TEXTS if key in table}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise _wrong(path, f"[{name}] {key}", "text")
    if not texts.get("location"):
        raise _wrong(path, f"[{name}] location", "a path, or a database's URL")
    if texts.get("format", "") not in ("", *FORMATS):
        raise _wrong(path, f"[{name}] format", f"one of {', '.join(FORMATS)}")
    if len(texts.get("delimiter", ",")) != 1:
        raise _wrong(path, f"[{name}] delimiter", "one character")
    missing = table.get("missing", [])
    if not isinstance(missing, list) or not all(isinstance(text, str) for text in missing):
        raise _wrong(path, f"[{name}] missing", "a list of texts")
    added_at = table.get("added_at")
    if not isinstance(added_at, datetime) or added_at.tzinfo is None:
        raise _wrong(path, f"[{name}] added_at", "a date and time with its offset from UTC")
    open_data = table.get("open_data", False)
    if not isinstance(open_data, bool):
        raise _wrong(path, f"[{name}] open_data", "true or false")
    return Registration(
        name=name,
        source=Source(**texts, missing=tuple(missing)),
        added_at=added_at.astimezone(UTC),
        constants=_texts(path, f"[{name}.constants]", table.get("constants", {})),
        mapping=_mapping(path, name, table.get("mapping", {})),
        open_data=open_data,
    )


def _texts(path: Path, where: str, table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise _wrong(path, where, "a table of texts")
    return dict(table)


def _mapping(path: Path, name: str, table: Any) -> dict[str, Mapped]:
    if not isinstance(table, dict):
        raise _wrong(path, f"[{name}.mapping]", "a table")
    found: dict[str, Mapped] = {}
    for column, entries in table.items():
        where = f"[{name}.mapping.{column}]"
        texts = _texts(path, where, entries)
        if _FROM not in texts:
            raise _wrong(path, where, f"a table with the key `{_FROM}`, which names the column to make it from")
        found[column] = Mapped(texts.pop(_FROM), texts)
    return found


# --------------------------------------------------------------------------- writing


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's; TOML also forbids the bare delete character
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _written(registration: Registration) -> str:
    source, standard = registration.source, Source("")
    name = _quoted(registration.name)
    lines = [f"[{name}]"]
    lines += [
        f"{key} = {_quoted(getattr(source, key))}" for key in _TEXTS if getattr(source, key) != getattr(standard, key)
    ]
    if source.missing:
        lines.append(f"missing = [{', '.join(_quoted(text) for text in source.missing)}]")
    lines.append(f"open_data = {'true' if registration.open_data else 'false'}")
    lines.append(f"added_at = {registration.added_at.astimezone(UTC).isoformat(timespec='seconds')}")
    if registration.constants:
        lines += [
            "",
            f"[{name}.constants]",
            *(f"{_quoted(c)} = {_quoted(t)}" for c, t in registration.constants.items()),
        ]
    for column, mapped in registration.mapping.items():
        lines += ["", f"[{name}.mapping.{_quoted(column)}]", f"{_FROM} = {_quoted(mapped.origin)}"]
        lines += [f"{_quoted(text)} = {_quoted(becomes)}" for text, becomes in mapped.texts.items()]
    return "\n".join([*lines, ""])
