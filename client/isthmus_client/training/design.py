"""The columns of a saved model over rows of a data frame: what the nodes did with theirs, for rows of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import DataError
from isthmus_methods.contract import (
    All,
    AnyOf,
    Column,
    Comparison,
    Function,
    Indicator,
    Membership,
    Missing,
    Not,
    Operator,
    Predicate,
    Ref,
    Spec,
    Transform,
    VariableType,
    term_columns,
)

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
_COMPARE: dict[Operator, Callable[[Any, Any], NDArray[np.bool_]]] = {
    Operator.EQUAL: np.equal,
    Operator.NOT_EQUAL: np.not_equal,
    Operator.LESS: np.less,
    Operator.LESS_OR_EQUAL: np.less_equal,
    Operator.GREATER: np.greater,
    Operator.GREATER_OR_EQUAL: np.greater_equal,
}
_NUMBERS = (VariableType.NUMERIC, VariableType.INTEGER)


def design(spec: Spec, frame: pd.DataFrame) -> Array:
    """The model's columns, (n, p) without intercept, as `coefficient_names` orders them.

    NaN where a variable is missing, has a level that is not in the dictionary, or a transform is not defined.

    Raises
    ------
    DataError
        ``NO_COLUMN`` where the frame lacks a variable of the model, ``NOT_NUMBERS`` where one of numbers holds text.
    """
    rows = Rows(spec, frame)
    columns = [
        np.prod([rows.part(column, level) for column, level in zip(term.columns, levels, strict=True)], axis=0)
        for term in spec.terms
        for _, levels in term_columns(spec, term)
    ]
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


class Rows:
    """A data frame read by the dictionary of a request: numbers as numbers, levels as text."""

    def __init__(self, spec: Spec, frame: pd.DataFrame) -> None:
        self._spec = spec
        self._frame = frame

    def part(self, column: Column, level: str | None) -> Array:
        """A column's values, or 0 and 1 for whether it has a level, (n,); NaN where that cannot be said."""
        return self._values(column) if level is None else self._has(column, level)

    def _values(self, column: Column) -> Array:
        match column:
            case Ref(variable):
                return self._numbers(variable)
            case Indicator(predicate):
                return self._holds(predicate)
            case Transform(function, argument, constants):
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    found = _transformed(function, self._values(argument), constants)
                found[~np.isfinite(found)] = np.nan
                return found

    def _has(self, column: Column, level: str) -> Array:
        levels = self._spec.levels(column)
        inner = column.argument if isinstance(column, Transform) else column
        if isinstance(inner, Indicator):
            return np.abs(self._holds(inner.predicate) - (0.0 if level == "1" else 1.0))
        texts = self._texts(inner.variable) if isinstance(inner, Ref) else np.empty(0, dtype=object)
        known = np.isin(texts, np.array(levels, dtype=object))
        return _where(known, texts == level)

    def _holds(self, predicate: Predicate) -> Array:
        """1 where it is true, 0 where it is false, NaN where a missing value leaves it open."""
        match predicate:
            case Not(inner):
                return 1.0 - self._holds(inner)
            case All(predicates):
                return _every([self._holds(p) for p in predicates], 0.0)
            case AnyOf(predicates):
                return _every([self._holds(p) for p in predicates], 1.0)
            case Missing(variable, negated):
                absent = self._column(variable).isna().to_numpy()
                return _where(np.ones(len(absent), dtype=np.bool_), absent != negated)
            case Membership(variable, values, negated):
                found = _every([self._compared(variable, Operator.EQUAL, v) for v in values], 1.0)
                return 1.0 - found if negated else found
            case Comparison(variable, operator, value):
                return self._compared(variable, operator, value)

    def _compared(self, variable: str, operator: Operator, value: float | str) -> Array:
        if self._spec.variables[variable].type in _NUMBERS:
            numbers = self._numbers(variable)
            return _where(~np.isnan(numbers), _COMPARE[operator](numbers, np.float64(value)))
        texts = self._texts(variable)
        return _where(texts != "", _COMPARE[operator](texts, _text(value)))

    def _numbers(self, variable: str) -> Array:
        try:
            numbers: Array = self._column(variable).to_numpy(dtype=np.float64, na_value=np.nan)
            return numbers
        except (TypeError, ValueError) as error:
            raise DataError(
                "NOT_NUMBERS", f"{variable} is a number in the study's dictionary, and holds text here", "convert it"
            ) from error

    def _texts(self, variable: str) -> NDArray[np.object_]:
        """Values as the dictionary writes levels; "" where missing."""
        column = self._column(variable)
        return np.array(["" if gone else _text(v) for v, gone in zip(column, column.isna(), strict=True)], dtype=object)

    def _column(self, variable: str) -> pd.Series:
        if variable not in self._frame.columns:
            raise DataError("NO_COLUMN", f"the rows have no column {variable}, which the model uses", "add the column")
        return self._frame[variable]


def _where(known: NDArray[np.bool_], holds: NDArray[np.bool_]) -> Array:
    """1 and 0 where it can be said, NaN elsewhere."""
    found: Array = np.where(known, holds, np.nan)
    return found


def _every(parts: list[Array], decides: float) -> Array:
    """`decides` where one part is it, otherwise NaN where one is open, otherwise the other of 0 and 1."""
    found = np.full_like(parts[0], 1.0 - decides)
    for part in parts:
        found[np.isnan(part)] = np.nan
    for part in parts:
        found[part == decides] = decides
    return found


def _text(value: object) -> str:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return f"{value:.15g}" if number else str(value)


def _transformed(function: Function, values: Array, constants: tuple[float, ...]) -> Array:
    match function:
        case Function.LOG:
            return np.log(values)
        case Function.SQUARE_ROOT:
            return np.sqrt(values)
        case Function.SQUARE:
            return np.square(values)
        case Function.CENTRE:
            return values - constants[0]
        case _:
            return values / constants[0]
