"""How many distinct persons are behind what left, by study and by where it went: a running total for the custodian.

Persons are kept by a pseudonym under a key of the node's own, with the day on which something that they are in left
last. It never leaves the site. Open data are not counted.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError
from isthmus.recent import Recent
from isthmus_methods.contract import Integers
from isthmus_trust.key_files import read_secret, replace, write_new

KEY_FILE = "person.key"
_SUFFIX, _COUNTRY = ".persons", ".country"
_PSEUDONYM = 16
_PERSON = np.dtype((np.void, _PSEUDONYM))
Pseudonyms = NDArray[np.void]
_NONE: Mapping[str, int] = {}
# Cohorts of a day that are not counted again.
_COUNTED_KEPT = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Behind:
    """The persons behind an answer.

    `snapshot`: digest of the dataset's rows and persons; `names`: of all its persons, by number; `persons`: (m,),
    ascending numbers of those behind the answer; `countries`: in which the study's recipients are, as it says.
    """

    snapshot: bytes
    names: Callable[[], Sequence[str]] = field(repr=False)
    persons: Integers = field(repr=False)
    countries: tuple[str, ...] = ()


class Contributors:
    """The folder of the count, one file a study and one a country of recipients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted: Recent[bytes] = Recent(_COUNTED_KEPT)
        self._known: tuple[bytes, Pseudonyms] | None = None

    def count(self, study: str, behind: Behind, day: date) -> None:
        """Note that these persons are behind something that left on a day; the same again costs nothing.

        Raises
        ------
        ConfigError
            ``COUNT_UNREADABLE``, ``FILE_NOT_WRITTEN``.
        """
        countries = behind.countries or ("",)
        asked = hashlib.sha256("\0".join((study, str(day), *countries, "")).encode() + behind.snapshot)
        asked.update(behind.persons.astype("<i8").tobytes())
        if asked.digest() in self._counted and self._path(study).exists():
            return
        own = self._pseudonyms(behind)[behind.persons]
        for country in countries:
            self._note(self._path(country, _COUNTRY), country, own, day)
        # last: where it is there the others are
        self._note(self._path(study), study, own, day)
        self._counted.add(asked.digest())

    def _note(self, path: Path, name: str, own: Pseudonyms, day: date) -> None:
        kept, last = self._read(path)[1:]
        every, place = np.unique(np.concatenate([kept, own]), return_inverse=True)
        newest = np.zeros(len(every), dtype=np.int64)
        np.maximum.at(newest, place, np.concatenate([last, np.full(len(own), day.toordinal())]))
        file = io.BytesIO()
        np.savez(
            file,
            study=np.frombuffer(name.encode(), dtype=np.uint8),
            persons=every.view(np.uint8).reshape(len(every), _PSEUDONYM),
            last=newest,
        )
        replace(path, file.getvalue())

    def _pseudonyms(self, behind: Behind) -> Pseudonyms:
        """Of all persons of a snapshot, by number; made once for the snapshot that was counted last."""
        if self._known is None or self._known[0] != behind.snapshot:
            path = self._folder / KEY_FILE
            if not path.exists():
                write_new(path, secrets.token_bytes(32))
            key = read_secret(path)
            made = (blake2b(name.encode(), key=key, digest_size=_PSEUDONYM).digest() for name in behind.names())
            self._known = behind.snapshot, np.frombuffer(b"".join(made), dtype=_PERSON)
        return self._known[1]

    def totals(self, since: str = "") -> Mapping[str, int]:
        """Distinct persons by study, and of all studies together under the empty name.

        Parameters
        ----------
        since
            ISO date: only those behind something that left on that day or later. Empty: ever.
        """
        least = date.fromisoformat(since).toordinal() if since else 0
        found: dict[str, int] = {}
        every: set[bytes] = set()
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            study, persons, last = self._read(path)
            counted = persons[last >= least]
            found[study] = len(counted)
            every.update(counted.tolist())
        return {**found, "": len(every)}

    def by_country(self, since: str = "") -> Mapping[str, int]:
        """Distinct persons by country of recipients, under the empty name where a study does not say; `since` as above.

        A person counts in each country that something went to.
        """
        least = date.fromisoformat(since).toordinal() if since else 0
        found = {}
        for path in sorted(self._folder.glob(f"*{_COUNTRY}")):
            country, _, last = self._read(path)
            found[country] = int(np.count_nonzero(last >= least))
        return dict(sorted(found.items()))

    def _read(self, path: Path) -> tuple[str, Pseudonyms, Integers]:
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
                persons = np.frombuffer(kept["persons"].tobytes(), dtype=_PERSON)
                last = kept["last"].astype(np.int64)
                if len(persons) != len(last):
                    raise ValueError("not a day for each person")
                return kept["study"].tobytes().decode(), persons, last
        except FileNotFoundError:
            return "", np.zeros(0, dtype=_PERSON), np.zeros(0, dtype=np.int64)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(
                "COUNT_UNREADABLE",
                f"{path}, in which persons behind what left are counted, cannot be read",
                "restore the state folder from the backup; moved away, the count begins anew",
            ) from error

    def _path(self, name: str, suffix: str = _SUFFIX) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}{suffix}"


def words_of(
    totals: Mapping[str, int], since: str, named: Sequence[int], preset: str, countries: Mapping[str, int] = _NONE
) -> list[str]:
    """The running total in sentences, beside the numbers of persons that a preset names; by country where named."""
    period = f"since {since}" if since else "so far"
    lines = [f"persons behind what left {period}, study {study}: {n}" for study, n in totals.items() if study]
    if any(countries):
        lines += [
            f"persons behind what left {period}, recipients in {country or 'countries that no study names'}: {n}"
            for country, n in countries.items()
        ]
    every = totals.get("", 0)
    if lines or named:
        beside = f"; preset {preset} names {' and '.join(f'{n:,}' for n in named)}" if named else ""
        lines.append(f"persons behind what left {period}, all studies, each once: {every}{beside}")
    reached = [n for n in named if every >= n]
    if reached:
        lines.append(
            f"WARNING: {reached[-1]:,} persons are reached, of which a rule named in preset {preset} speaks: "
            "whether it applies is for local legal review"
        )
    return lines
