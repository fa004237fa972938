"""What has been released from one dataset, as the auditor keeps it: cohorts by person, never a value.

A value of this module is never changed: an accepted release makes a new one, which replaces the file as a whole.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Booleans, Integers

Bytes = NDArray[np.uint8]
Marks = NDArray[np.uint64]
_MAGIC = b"isthmus released 1\n"
_DIGEST = 32
_PSEUDONYM = 16
# Of a person's rows, by number: more than any has.
_MOST_ROWS = 2**31
# Earlier contents are kept for so many dictionaries, and changes for so many snapshots of each.
DICTIONARIES, SNAPSHOTS = 8, 32


class Unreadable(ValueError):
    """A file of this kind that cannot be what it was when it was written."""


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What persons' rows held when something was last released under one dictionary, and who changed since the first.

    `marks` (persons,), 0 where nothing is known; `changed` (snapshots, persons).
    """

    marks: Marks = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    changed: Booleans = field(default_factory=lambda: np.zeros((0, 0), dtype=np.bool_))

    def wide(self, persons: int) -> Contents:
        """The same for more persons, of whom nothing is known."""
        more = persons - len(self.marks)
        return Contents(np.pad(self.marks, (0, more)), np.pad(self.changed, ((0, 0), (0, more))))


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """Everything released from one dataset.

    A column is one row of one person: the k-th row of a person is the same column in every snapshot.

    Parameters
    ----------
    persons : (persons, 16), keyed pseudonyms.
    column_person, column_row : (columns,), whose row it is, and which of his.
    cohorts : (m, columns / 8) bits, distinct cohorts, in the order they came.
    independent : (m,), whether a cohort was no combination of those before it.
    left_out : (l, columns / 8) bits, what planned analyses left of their cohorts without missing values.
    labels : level of a factor -> numbers of the cohorts that were released by it.
    pairs : two factors -> numbers of the cohorts that were shown by both together.
    cut_points : variable -> numbers it was compared with.
    contents : digest of a dictionary -> contents under it.
    known_by : the variable that names persons; None where nothing was released yet.
    previous : digest of the state before this one.
    """

    dataset: str
    persons: Bytes = field(default_factory=lambda: np.zeros((0, _PSEUDONYM), dtype=np.uint8))
    column_person: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    column_row: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    cohorts: Bytes = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    independent: Booleans = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    left_out: Bytes = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    pairs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cut_points: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    contents: Mapping[str, Contents] = field(default_factory=dict)
    known_by: str | None = None
    previous: bytes = b""

    def rows(self, packed: Bytes) -> Booleans:
        """Packed cohorts as (m, columns) truths."""
        return np.unpackbits(packed, axis=1, count=len(self.column_person)).view(np.bool_)

    @property
    def one_row_each(self) -> bool:
        """Whether no person has several rows, so that rows are persons."""
        return len(self.persons) == len(self.column_person)

    def persons_in(self, columns: Booleans) -> int:
        """Distinct persons who have a row among these columns, (columns,)."""
        if self.one_row_each:
            return int(np.count_nonzero(columns))
        return int(np.count_nonzero(np.bincount(self.column_person[columns], minlength=1)))

    def placed(self, subject: Integers, names: Sequence[str], key: bytes) -> tuple[Released, Integers, Integers]:
        """The same with the persons and rows of a snapshot, the place of each of its persons, and of each row."""
        known = {row.tobytes(): place for place, row in enumerate(self.persons)}
        pseudonyms = [hmac.digest(key, name.encode(), "sha256")[:_PSEUDONYM] for name in names]
        for name in pseudonyms:
            known.setdefault(name, len(known))
        person = np.array([known[name] for name in pseudonyms], dtype=np.int64)
        of_row = person[subject]
        order = np.argsort(of_row, kind="stable")
        number = np.arange(len(order)) - np.searchsorted(of_row[order], of_row[order])
        row = np.empty(len(order), dtype=np.int64)
        row[order] = number
        own, wanted = self.column_person * _MOST_ROWS + self.column_row, of_row * _MOST_ROWS + row
        new = np.setdiff1d(wanted, own)
        every = np.concatenate([own, new])
        sorter = np.argsort(every)
        place: Integers = sorter[np.searchsorted(every, wanted, sorter=sorter)]
        wider = -(-len(every) // 8) - self.cohorts.shape[1]
        grown = replace(
            self,
            persons=np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), _PSEUDONYM),
            column_person=every // _MOST_ROWS,
            column_row=every % _MOST_ROWS,
            cohorts=np.pad(self.cohorts, ((0, 0), (0, wider))),
            left_out=np.pad(self.left_out, ((0, 0), (0, wider))),
        )
        return grown, person, place

    def is_same(self, other: Released) -> bool:
        """Whether nothing has been added: what is kept only grows, but for contents."""
        return (
            len(self.column_person) == len(other.column_person)
            and len(self.cohorts) == len(other.cohorts)
            and len(self.left_out) == len(other.left_out)
            and self.labels == other.labels
            and self.pairs == other.pairs
            and self.cut_points == other.cut_points
            and list(self.contents) == list(other.contents)
            and all(
                np.array_equal(mine.marks, theirs.marks) and len(mine.changed) == len(theirs.changed)
                for mine, theirs in zip(self.contents.values(), other.contents.values(), strict=True)
            )
        )

    def to_bytes(self) -> bytes:
        """The file: what follows its own SHA-256."""
        arrays: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("persons", "column_person", "column_row", "cohorts", "independent", "left_out")
        }
        for place, one in enumerate(self.contents.values()):
            arrays[f"marks{place}"], arrays[f"changed{place}"] = one.marks, one.changed
        words = {
            "dataset": self.dataset,
            "labels": dict(self.labels),
            "pairs": dict(self.pairs),
            "cut_points": dict(self.cut_points),
            "contents": list(self.contents),
            "known_by": self.known_by,
            "previous": self.previous.hex(),
        }
        arrays["words"] = np.frombuffer(json.dumps(words, sort_keys=True).encode(), dtype=np.uint8)
        file = io.BytesIO()
        np.savez(file, **arrays)
        body = file.getvalue()
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, file: bytes) -> Released:
        """Read back; `Unreadable` unless it is, to the byte, what was written."""
        head = len(_MAGIC) + _DIGEST
        body = file[head:]
        if file[:head] != _MAGIC + hashlib.sha256(body).digest():
            raise Unreadable("not what was written")
        # the digest holds, so these are the arrays that were saved
        with np.load(io.BytesIO(body), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        words = json.loads(arrays.pop("words").tobytes())
        contents = {
            name: Contents(arrays.pop(f"marks{place}"), arrays.pop(f"changed{place}"))
            for place, name in enumerate(words["contents"])
        }
        return cls(
            dataset=words["dataset"],
            labels={label: tuple(places) for label, places in words["labels"].items()},
            # a state of before pairs were kept has none
            pairs={pair: tuple(places) for pair, places in words.get("pairs", {}).items()},
            cut_points={name: tuple(numbers) for name, numbers in words["cut_points"].items()},
            contents=contents,
            known_by=words["known_by"],
            previous=bytes.fromhex(words["previous"]),
            **{f.name: arrays[f.name] for f in fields(cls) if f.name in arrays},
        )


def digest_of(file: bytes) -> bytes:
    """The digest by which the journal knows a state: SHA-256 of what follows the head of its file."""
    return file[len(_MAGIC) : len(_MAGIC) + _DIGEST]


def packed(columns: Booleans) -> Bytes:
    """(columns,) truths as (1, columns / 8) bits."""
    return np.packbits(columns)[None, :]


def place_of(cohort: Bytes, among: Bytes) -> int | None:
    """Which of the packed cohorts it is; None: none."""
    same = np.flatnonzero((among == cohort).all(axis=1))
    return int(same[0]) if same.size else None
