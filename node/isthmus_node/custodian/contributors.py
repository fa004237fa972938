"""How many distinct persons are behind what left, by study: a running total for the custodian, who may report it.

Persons are kept by a pseudonym under a key of the node's own, with the day on which something that they are in left
last. It never leaves the site. Open data are not counted.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from isthmus.errors import ConfigError
from isthmus_trust.key_files import read_secret, replace, write_new

KEY_FILE = "person.key"
_SUFFIX = ".persons"
_PSEUDONYM = 16


class Contributors:
    """The folder of the count, one file a study."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self, study: str, names: Sequence[str], day: date) -> None:
        """Note that these persons are behind something that leaves on a day.

        Raises
        ------
        ConfigError
            ``COUNT_UNREADABLE``, ``FILE_NOT_WRITTEN``.
        """
        path = self._folder / KEY_FILE
        if not path.exists():
            write_new(path, secrets.token_bytes(32))
        key = read_secret(path)
        last = self._read(self._path(study))[1]
        today = day.toordinal()
        for name in names:
            last[hmac.digest(key, name.encode(), "sha256")[:_PSEUDONYM]] = today
        file = io.BytesIO()
        np.savez(
            file,
            study=np.frombuffer(study.encode(), dtype=np.uint8),
            persons=np.frombuffer(b"".join(last), dtype=np.uint8).reshape(len(last), _PSEUDONYM),
            last=np.fromiter(last.values(), dtype=np.int64, count=len(last)),
        )
        replace(self._path(study), file.getvalue())

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
            study, last = self._read(path)
            counted = {person for person, day in last.items() if day >= least}
            found[study] = len(counted)
            every |= counted
        return {**found, "": len(every)}

    def _read(self, path: Path) -> tuple[str, dict[bytes, int]]:
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
                persons = [row.tobytes() for row in kept["persons"]]
                return kept["study"].tobytes().decode(), dict(zip(persons, kept["last"].tolist(), strict=True))
        except FileNotFoundError:
            return "", {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(
                "COUNT_UNREADABLE",
                f"{path}, in which persons behind what left are counted, cannot be read",
                "restore the state folder from the backup; moved away, the count begins anew",
            ) from error

    def _path(self, study: str) -> Path:
        return self._folder / f"{hashlib.sha256(study.encode()).hexdigest()[:32]}{_SUFFIX}"


def words_of(totals: Mapping[str, int], since: str, named: Sequence[int], preset: str) -> list[str]:
    """The running total in sentences, beside the numbers of persons that a preset names."""
    period = f"since {since}" if since else "so far"
    lines = [f"persons behind what left {period}, study {study}: {n}" for study, n in totals.items() if study]
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
