"""A Table 1 as it is asked for: its rows, its columns, and what of each row's distribution is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.errors import UsageError
from isthmus_methods.contract import Indicator, Method, Ref, Spec, column_name, option
from isthmus_methods.parts.moments import nearest_to_zero
from isthmus_methods.parts.value_grid import ValueGrid

OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Row:
    """One variable of the table."""

    k: int  # its place in the role `variables`
    name: str
    label: str
    unit: str
    type: str
    levels: tuple[str, ...]  # empty: numeric
    zero: float  # numbers are summed from this public value on
    complete: bool  # the dictionary says that no value may be missing
    grid: ValueGrid | None  # where its values are counted; None where they are not

    @property
    def needs(self) -> tuple[str, ...]:
        return ("count",) if self.levels else ("count", "sum", "deviations", "squares")

    @property
    def cells(self) -> tuple[str, ...]:
        return (*(self.levels or ("present",)), "missing")


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    rows: tuple[Row, ...]
    arm: str
    arms: tuple[str, ...]  # (OVERALL,) without an arm
    by_country: bool
    quantiles: bool

    def values_label(self, row: Row, arm: str) -> str:
        """What the distribution of a variable in an arm is called."""
        return f"quantiles of {row.name}" + (f", {arm}" if self.arm else "")

    @property
    def numeric(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.levels)


def plan_of(spec: Spec, method: Method) -> Plan:
    """Raises `UsageError` where a variable is named twice."""
    rows: list[Row] = []
    quantiles = bool(option(spec, method, "quantiles"))
    for k, column in enumerate(spec.role("variables")):
        name, levels = column_name(column), spec.levels(column)
        plain = spec.variables.get(name) if isinstance(column, Ref) or levels else None
        if any(row.name == name for row in rows):
            raise UsageError("VARIABLE_TWICE", f"{name!r} is named twice", "name each variable once")
        low = plain.minimum if plain is not None else None
        high = plain.maximum if plain is not None else None
        rows.append(
            Row(
                k,
                name,
                plain.label if plain is not None else "",
                plain.unit if plain is not None else "",
                "indicator" if isinstance(column, Indicator) else plain.type.value if plain is not None else "numeric",
                levels,
                nearest_to_zero(low, high),
                isinstance(column, Ref) and plain is not None and not plain.may_be_missing,
                ValueGrid.of(column, spec) if quantiles and not levels else None,
            )
        )
    by_country = bool(option(spec, method, "by_country"))
    if not spec.role("arm"):
        return Plan(tuple(rows), "", (OVERALL,), by_country, quantiles)
    arm = spec.role("arm")[0]
    return Plan(tuple(rows), column_name(arm), spec.levels(arm), by_country, quantiles)
