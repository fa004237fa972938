"""The client apps that are installed beside isthmus: how one is found, the digest of its source, what it offers.

An app is a module that a distribution names as an entry point of the group `isthmus.client_apps`:

- ``app``, a Flower ``ClientApp``;
- ``version``, a text, written as it is (``version = "1"``): it is read from the source, without running it;
- ``settings``: name -> default, a bool, whole number, number or text each;
- ``batch_setting``: name of the setting that says how many persons a step is taken on at least, 0 meaning all of
  them; None: there is none, and a step may be taken on one person, unless ``full_batch = True`` says that each is taken
  on all;
- ``metrics``: name -> (low, high), all measures that it may return and the range each lies in;
- ``start(columns, outcome_levels, settings, seed)``: the model's starting values by name, from these four alone, with
  numpy alone.

What is found here is found without importing an app; `load` imports it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from isthmus.errors import ConfigError, UsageError
from isthmus_methods.contract import Array, Setting
from isthmus_methods.validate import nearest

GROUP = "isthmus.client_apps"
_NOT_SOURCE = "__pycache__"
_AUTHOR = "tell the app's author: docs/bring-your-own-app.md says what an app offers"

Start = Callable[[Sequence[str], Sequence[str], Mapping[str, Setting], int], Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class Installed:
    """An app as it lies on this machine."""

    name: str
    version: str
    digest: bytes  # SHA-256, 32 bytes, as `digest_of`
    module: str
    package: str  # the top-level package, which the digest is of

    @property
    def policy_lines(self) -> str:
        """What a custodian writes into policy.toml to allow it."""
        table = f'[training.apps."{self.name}"]'
        return f'{table}\nversion = "{self.version}"\ndigest = "{self.digest.hex()}"'


@dataclass(frozen=True, slots=True)
class Offered:
    """What an app says of itself."""

    settings: Mapping[str, Setting]  # with their defaults
    batch_setting: str | None
    full_batch: bool
    metrics: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An app in this process."""

    app: Any  # flwr.clientapp.ClientApp; this module needs no Flower
    offered: Offered
    start: Start


# --------------------------------------------------------------------------- on the machine


def names() -> tuple[str, ...]:
    """Names of the installed apps, sorted; whether each is as it must be is not asked."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def find(name: str) -> Installed:
    """The installed app of a name, without importing it.

    Raises
    ------
    UsageError
        ``UNKNOWN_APP``: no distribution brings it.
    ConfigError
        ``APP_TWICE``: two bring it; ``APP_UNREADABLE``: its source or its version cannot be read.
    """
    entries = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not entries:
        raise UsageError(
            "UNKNOWN_APP",
            f"no client app {name[:64]!r} is installed{nearest(name, names())}",
            "isthmus-node apps list says which are; site IT installs others from a package",
        )
    if len(entries) > 1:
        raise ConfigError("APP_TWICE", f"two packages bring an app {name!r}", "uninstall one of them")
    return _read(next(iter(entries.values())))


def _read(entry: EntryPoint) -> Installed:
    if entry.attr or not all(part.isidentifier() for part in entry.module.split(".")):
        raise _unreadable(entry.name, "its entry point does not name a module")
    package, *inner = entry.module.split(".")
    root = _root(entry.name, package)
    try:
        return Installed(entry.name, _version(entry.name, root, inner), digest_of(root), entry.module, package)
    except OSError as error:
        raise _unreadable(entry.name, "its source cannot be read") from error


def _root(name: str, package: str) -> Path:
    """Folder of a package, or file of a module; found without running it, for its name has no dot."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError) as error:
        raise _unreadable(name, f"package {package} cannot be found") from error
    if spec is None or spec.origin is None or not spec.has_location:
        raise _unreadable(name, f"package {package} is not there as source in one folder")
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        return origin
    if [Path(place) for place in spec.submodule_search_locations] != [origin.parent]:
        raise _unreadable(name, f"package {package} lies in more than one folder")
    return origin.parent


def digest_of(root: Path) -> bytes:
    """SHA-256 of a source: of each file its path below `root` and its bytes, in the order of paths.

    Compiled files are left out, and never run (`SourceOnly`). A file is any that is not a folder, links followed.
    """
    if root.is_file():
        files = [(root.name, root)]
    else:
        found = (path for path in root.rglob("*") if _NOT_SOURCE not in path.parts and path.is_file())
        files = sorted((path.relative_to(root).as_posix(), path) for path in found if path.suffix != ".pyc")
    whole = hashlib.sha256(b"isthmus/app/1\0")
    for name, path in files:
        with path.open("rb") as opened:
            inner = hashlib.file_digest(opened, "sha256").digest()
        # of fixed length, so that no two lists of files are the same bytes
        whole.update(hashlib.sha256(name.encode()).digest() + inner)
    return whole.digest()


def _version(name: str, root: Path, inner: Sequence[str]) -> str:
    place = root.joinpath(*inner) if inner else root
    if place.is_dir():
        place = place / "__init__.py"
    elif not place.is_file():
        place = place.with_suffix(".py")
    try:
        tree = ast.parse(place.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise _unreadable(name, "its source is no Python") from error
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if any(isinstance(t, ast.Name) and t.id == "version" for t in targets):
            written = value.value if isinstance(value, ast.Constant) else None
            if isinstance(written, str) and written.isprintable() and 0 < len(written) <= 64:
                return written
    raise _unreadable(name, 'its module has no line version = "..."')


def _unreadable(name: str, why: str) -> ConfigError:
    return ConfigError("APP_UNREADABLE", f"client app {name[:64]!r} cannot be used: {why}", _AUTHOR)


# --------------------------------------------------------------------------- in this process


def load(module: str) -> Loaded:
    """Import an app's module: this runs its code. Raises `ConfigError` ``APP_UNREADABLE`` where it is not an app's.

    Whatever its own code raises comes through.
    """
    found = importlib.import_module(module)
    app, start = getattr(found, "app", None), getattr(found, "start", None)
    if not callable(app) or not callable(start):
        raise _unreadable(module, "its module has no `app` and `start`")
    return Loaded(app, _offered(module, found), start)


def _offered(name: str, module: ModuleType) -> Offered:
    settings, metrics = getattr(module, "settings", None), getattr(module, "metrics", None)
    batch = getattr(module, "batch_setting", None)
    if not isinstance(settings, Mapping) or not isinstance(metrics, Mapping):
        raise _unreadable(name, "`settings` and `metrics` are mappings")
    if not all(isinstance(key, str) and isinstance(value, bool | int | float | str) for key, value in settings.items()):
        raise _unreadable(name, "a setting's default is a bool, a number or a text")
    ranges: dict[str, tuple[float, float]] = {}
    for key, given in metrics.items():
        low, high = (float(end) for end in given)
        if not isinstance(key, str) or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise _unreadable(name, "a measure has a finite range (low, high)")
        ranges[key] = low, high
    if batch is not None and (type(settings.get(batch)) is not int):
        raise _unreadable(name, "`batch_setting` names a setting that is a whole number")
    return Offered(dict(settings), batch, getattr(module, "full_batch", False) is True, ranges)


def settings_of(offered: Offered, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """All settings of an app: those given, and the defaults of the others.

    Raises
    ------
    UsageError
        ``UNKNOWN_SETTING``, ``WRONG_SETTING``: one that the app does not have, or of another type than its default.
    """
    chosen = dict(offered.settings)
    for name, value in given.items():
        if name not in chosen:
            raise UsageError(
                "UNKNOWN_SETTING",
                f"the app has no setting {name[:64]!r}{nearest(name, chosen)}",
                f"its settings are: {', '.join(sorted(chosen)) or 'none'}",
            )
        sort = type(chosen[name])
        if sort is float and type(value) is int:
            value = float(value)
        if type(value) is not sort or (isinstance(value, float) and not math.isfinite(value)):
            raise UsageError(
                "WRONG_SETTING",
                f"setting {name!r} is of type {sort.__name__}, and something else was given",
                f"the default is {chosen[name]!r}",
            )
        chosen[name] = value
    batch = chosen.get(offered.batch_setting) if offered.batch_setting is not None else 0
    if not isinstance(batch, int) or batch < 0:
        raise UsageError("WRONG_SETTING", "a batch has 0 or more persons", "0 takes all of them in each step")
    return chosen


def starting_values(
    loaded: Loaded, columns: Sequence[str], outcome_levels: Sequence[str], settings: Mapping[str, Setting], seed: int
) -> dict[str, Array]:
    """The model before the first round, by name: float64 or float32.

    Parameters
    ----------
    columns : (p,), names of the predictors' columns.
    outcome_levels : of the outcome, the reference first; empty where it is a number.
    settings : all of the app's, as `settings_of`.

    Raises `ConfigError` ``APP_UNREADABLE`` where what the app gives are no weights.
    """
    given = loaded.start(tuple(columns), tuple(outcome_levels), dict(settings), seed)
    arrays: dict[str, Array] = {}
    for name, values in given.items():
        array = np.asarray(values)
        if not isinstance(name, str) or array.dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
            raise _unreadable("", "starting values are arrays of floats by name")
        arrays[name] = np.ascontiguousarray(array)
    return arrays


def batch_of(offered: Offered, settings: Mapping[str, Setting], persons: int) -> int:
    """Persons in the smallest batch that a step is taken on, by what the app declares; `persons` are trained on."""
    if offered.batch_setting is None:
        return persons if offered.full_batch else min(1, persons)
    size = settings[offered.batch_setting]
    return min(size, persons) if isinstance(size, int) and size > 0 else persons
