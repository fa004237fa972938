"""The datasets of a site: added, listed, held against a study's dictionary, and loaded once for many rounds."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from isthmus.errors import ConfigError, DataError
from isthmus.recent import RecentMap
from isthmus.v1 import study_pb2
from isthmus_node.catalogue.findings import Finding, Severity, check_conversion
from isthmus_node.catalogue.registration import (
    Mapped,
    Registration,
    check_dataset_name,
    read_registrations,
    written,
)
from isthmus_node.sources import Source, Table, convert, needed_columns, read, table_of
from isthmus_trust.key_files import read_secret, replace, write_new

_TABLES_KEPT = 3
_KEY_LENGTH = 32

# What tells that a file is still the one that was read: time of change, size, number on the disk.
_Fingerprint = tuple[int, int, int] | None


class Datasets:
    """`datasets.toml` of one node, and the tables loaded from it. Safe to share between threads.

    Parameters
    ----------
    folder : the node's state folder; holds `datasets.toml` and `snapshot.key`.
    country : of the node.
    now : the time, UTC.
    """

    def __init__(self, folder: Path, country: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder = folder
        self._country = country
        self._now = now
        self._loaded: RecentMap[tuple[str, bytes], tuple[_Fingerprint, Registration, Table]] = RecentMap(_TABLES_KEPT)
        self._parsed: tuple[_Fingerprint, Mapping[str, Registration]] | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        return self._folder / "datasets.toml"

    # ----------------------------------------------------------------- the register

    def files(self) -> tuple[Path, ...]:
        """The files that hold registered datasets; a database is none."""
        sources = [registration.source for registration in self._registrations().values()]
        return tuple(source.path for source in sources if not source.is_database)

    def list(self) -> tuple[Registration, ...]:
        """All registrations, in the order they were added."""
        return tuple(read_registrations(self.path).values())

    def get(self, name: str) -> Registration:
        """The registration of that name. Raises `DataError` where there is none."""
        registrations = self._registrations()
        if name not in registrations:
            near = difflib.get_close_matches(name, registrations, n=1)
            raise DataError(
                "DATASET_NOT_REGISTERED",
                f"this site has no dataset {name!r}" + (f"; the nearest one is {near[0]!r}" if near else ""),
                "at the site: `isthmus-node data add FILE --name NAME` with the name that the study uses",
            )
        return registrations[name]

    def are_open(self, names: Collection[str]) -> bool:
        """Whether the custodian marked each of these as open data; False where one is not here."""
        registrations = self._registrations()
        return all(name in registrations and registrations[name].open_data for name in names)

    def _registrations(self) -> Mapping[str, Registration]:
        """All registrations, parsed again only when the file has changed: a fit asks in every round."""
        before = _stamp(self.path)
        with self._lock:
            if self._parsed is None or before is None or self._parsed[0] != before:
                self._parsed = (before, read_registrations(self.path))
            return self._parsed[1]

    def add(
        self,
        name: str,
        source: Source,
        *,
        constants: Mapping[str, str] | None = None,
        mapping: Mapping[str, Mapped] | None = None,
        open_data: bool = False,
        replacing: bool = False,
    ) -> Registration:
        """Register a dataset once its source can be read; a file is remembered by its full path.

        Raises `DataError` where the source cannot be read, `ConfigError` where the name is taken and not `replacing`.
        """
        check_dataset_name(name)
        if not source.is_database:
            source = dataclasses.replace(source, location=str(source.path.expanduser().absolute()))
        registration = Registration(name, source, self._now(), constants or {}, mapping or {}, open_data)
        registrations = read_registrations(self.path)
        if name in registrations and not replacing:
            raise ConfigError(
                "DATASET_EXISTS",
                f"there is a dataset {name!r} already",
                "remove it first, or say that it is to be replaced",
            )
        # the whole file is read: a damaged end shows now, not in the middle of an analysis
        registration.completed(read(source))
        registrations[name] = registration
        self._write(registrations)
        return registration

    def remove(self, name: str) -> None:
        """Forget a dataset; its source is not touched. Raises `DataError` where there is none of that name."""
        self.get(name)
        registrations = read_registrations(self.path)
        del registrations[name]
        self._write(registrations)
        with self._lock:
            for key in [key for key in self._loaded if key[0] == name]:
                self._loaded.pop(key)

    def _write(self, registrations: Mapping[str, Registration]) -> None:
        replace(self.path, written(registrations).encode())

    # ----------------------------------------------------------------- the rows

    def check(self, name: str, dictionary: study_pb2.Dataset) -> tuple[Finding, ...]:
        """What in the dataset does not fit a study's dictionary. For eyes at the site only."""
        registration = self.get(name)
        # every column: a finding names the nearest one to what is absent
        rows = registration.completed(read(registration.source))
        return check_conversion(convert(rows, dictionary, self._country))

    def load(self, name: str, dictionary: study_pb2.Dataset, *, refresh: bool = False) -> Table:
        """The dataset as a study's dictionary has it, from memory while file, registration and dictionary stay.

        A database has no time of change: it is read again only on `refresh`, which the first round of a run asks for.

        Raises `DataError` where the dataset does not fit; variables and rules are named, counts and values are not,
        because the message goes to the coordinator. `check` says more, at the site.
        """
        registration = self.get(name)
        key = (name, hashlib.sha256(dictionary.SerializeToString(deterministic=True)).digest())
        before = _fingerprint(registration.source)
        with self._lock:
            kept = self._loaded.get(key)
            is_stale = refresh and registration.source.is_database
            if kept is not None and kept[:2] == (before, registration) and not is_stale:
                return kept[2]
        rows = registration.completed(read(registration.source, needed_columns(dictionary) | registration.origins()))
        conversion = convert(rows, dictionary, self._country)
        if _fingerprint(registration.source) != before:
            raise DataError(
                "CHANGED_WHILE_READ",
                f"dataset {name} was being written while it was read",
                "ask again when the site has finished replacing the file",
            )
        _raise_failures(name, check_conversion(conversion))
        table = table_of(conversion, self._snapshot_key())
        with self._lock:
            self._loaded.put(key, (before, registration, table))
        return table

    def _snapshot_key(self) -> bytes:
        """The node's own key of snapshot digests, made when first needed."""
        path = self._folder / "snapshot.key"
        with self._lock:
            if not path.exists():
                write_new(path, secrets.token_bytes(_KEY_LENGTH))
            return read_secret(path)


def _fingerprint(source: Source) -> _Fingerprint:
    return None if source.is_database else _stamp(source.path)


def _stamp(path: Path) -> _Fingerprint:
    try:
        status = path.stat()
    except OSError:
        # reading it says what is wrong
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _raise_failures(name: str, findings: tuple[Finding, ...]) -> None:
    failures = [finding for finding in findings if finding.severity is Severity.FAIL]
    if failures:
        named = ", ".join(dict.fromkeys(f"{f.variable} ({f.code})" for f in failures))
        raise DataError(
            "DICTIONARY_MISMATCH",
            f"dataset {name} does not fit the study's dictionary: {named}",
            "at the site: `isthmus-node check` says what does not fit; correct the source, or register it again",
        )
