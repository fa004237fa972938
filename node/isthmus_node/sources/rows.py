"""Rows as a source holds them, before the study's dictionary is held against them: columns of text or numbers.

Nothing is guessed here: text stays text, and only the dictionary decides what a column becomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A decimal number as people and programs write it; no hexadecimal, no "nan", no thousands separator.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column taken as numbers."""

    values: NDArray[np.float64]  # (n,), NaN where missing or unreadable
    unreadable: int  # cells that hold something that is not a finite number


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column taken as text."""

    codes: NDArray[np.int32]  # (n,), into `distinct`; -1 where missing
    distinct: tuple[str, ...]  # in order of first appearance


class Rows:
    """One table as read, column by column."""

    __slots__ = ("_table",)

    def __init__(self, table: Any) -> None:
        # a pyarrow.Table, which stays inside this class
        self._table = table

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Rows:
        """Rows of pyarrow arrays, or of lists that pyarrow can take as one type."""
        import pyarrow as pa

        return cls(pa.table(dict(columns)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    def only(self, names: Iterable[str]) -> Rows:
        """The columns of these names that are there."""
        wanted = set(names)
        return Rows(self._table.select([name for name in self.names if name in wanted]))

    def numbers(self, name: str) -> NumberColumn:
        """A column as numbers; the empty text is missing, any other text that is no number is unreadable."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = _plain(self._table[name])
        unreadable = 0
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column, unreadable = _parsed(column)
        elif pa.types.is_null(column.type):
            column = pc.cast(column, pa.float64())
        elif not (
            pa.types.is_integer(column.type)
            or pa.types.is_floating(column.type)
            or pa.types.is_boolean(column.type)
            or pa.types.is_decimal(column.type)
        ):
            # a date or a nested column: nothing in it is a number
            unreadable = len(column) - column.null_count
            column = pa.nulls(len(column), pa.float64())
        else:
            if pa.types.is_boolean(column.type):
                column = pc.cast(column, pa.int8())
            column = pc.cast(column, pa.float64(), safe=False)
        values = np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        infinite = np.isinf(values)
        if infinite.any():
            unreadable += int(infinite.sum())
            values[infinite] = np.nan
        # one bit pattern for missing and one for zero: equal rows give equal bytes
        values[np.isnan(values)] = np.nan
        values += 0.0
        return NumberColumn(values, unreadable)

    def text(self, name: str) -> TextColumn:
        """A column as text: whole numbers without a decimal point, dates as ISO text, the empty text is missing."""
        import pyarrow as pa

        encoded = _encoded(_plain(self._table[name]))
        distinct = encoded.dictionary.to_pylist()
        if pa.types.is_floating(encoded.dictionary.type):
            distinct = [number_text(value) for value in distinct]
        return _without_empty(_codes(encoded), distinct)

    def groups(self, name: str) -> Groups:
        """A column as groups numbered from 0 in order of appearance, -1 where missing.

        As `text` without the texts: identifiers are many, and nobody needs their spelling but to join two datasets.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        column = _plain(self._table[name])
        if pa.types.is_string(column.type) and pc.any(pc.equal(column, "")).as_py():
            column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
        encoded = _encoded(column)
        return Groups(_codes(encoded), len(encoded.dictionary), encoded.dictionary)

    def with_constant(self, name: str, value: str) -> Rows:
        """The rows and a column that holds one text everywhere; the empty text is missing."""
        import pyarrow as pa

        return self._with(name, pa.array([value or None] * len(self), pa.string()))

    def with_mapped(self, name: str, origin: str, texts: Mapping[str, str]) -> Rows:
        """The rows and a column made from the texts of column `origin`; a text without an entry gives missing.

        Without any texts the column is the same under another name.
        """
        if not texts:
            return self._with(name, self._table[origin])
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.text(origin)
        replaced = pa.array([texts.get(text) or None for text in column.distinct], pa.string())
        codes = pa.array(column.codes, mask=column.codes < 0)
        return self._with(name, pc.take(replaced, codes))

    def _with(self, name: str, column: Any) -> Rows:
        if name in self:
            return Rows(self._table.set_column(self._table.column_names.index(name), name, column))
        return Rows(self._table.append_column(name, column))


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """A column as groups of equal values. Spelling stays as it was read until somebody asks."""

    codes: NDArray[np.int32]  # (n,), -1 where missing
    number: int
    _distinct: Any

    def texts(self) -> tuple[str, ...]:
        """The value of each group as text, a whole number without a decimal point."""
        values = self._distinct.to_pylist()
        return tuple(number_text(value) if isinstance(value, float) else str(value) for value in values)


def number_text(value: float | None) -> str:
    """A number as the text of a level: 1 and not 1.0. Missing gives the empty text."""
    if value is None or value != value:
        return ""
    return str(int(value)) if value == int(value) else repr(value)


def _plain(column: Any) -> Any:
    """One array instead of chunks, and text instead of a dictionary of text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return column


def _encoded(column: Any) -> Any:
    """A column as codes into its distinct values: texts, or doubles."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
        # a NaN is missing and no group of its own
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    elif not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return pc.dictionary_encode(column)


def _codes(encoded: Any) -> NDArray[np.int32]:
    import pyarrow.compute as pc

    return np.array(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.int32)


def _parsed(column: Any) -> tuple[Any, int]:
    """Text as numbers, and how many cells are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = pc.cast(column, pa.float64())
        # "nan" and "inf" are read as numbers by the cast, but are no numbers a person meant
        if bool(pc.all(pc.is_finite(numbers)).as_py() is not False):
            return numbers, 0
    except pa.ArrowInvalid:
        pass  # at least one cell needs a closer look
    trimmed = pc.utf8_trim_whitespace(column)
    good = pc.fill_null(pc.match_substring_regex(trimmed, _NUMBER), False)
    present = pc.fill_null(pc.not_equal(trimmed, ""), False)
    bad = int(pc.sum(pc.and_(present, pc.invert(good))).as_py() or 0)
    return pc.cast(pc.if_else(good, trimmed, pa.scalar(None, pa.string())), pa.float64()), bad


def _without_empty(codes: NDArray[np.int32], distinct: Sequence[str]) -> TextColumn:
    """The empty text is missing: not one of the distinct texts. Texts that are equal become one."""
    kept: dict[str, int] = {}
    renumbered = np.full(len(distinct) + 1, -1, dtype=np.int32)
    for code, text in enumerate(distinct):
        if text:
            renumbered[code] = kept.setdefault(text, len(kept))
    # the last entry stands for code -1
    changed = len(kept) != len(distinct)
    return TextColumn(renumbered[codes] if changed else codes, tuple(kept))
