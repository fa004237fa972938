"""Numbers in groups: how many, their sums about pooled means, and where wanted their distribution for ranks.

Two rounds, the same for t tests and analyses of variance. The first counts and sums, from a value that everybody
knows; the second sums what is left of each number beyond its group's pooled mean, and its square: means and
variances keep their digits whatever the offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Answer,
    Array,
    Booleans,
    CellSupport,
    Column,
    Contributions,
    Field,
    Integers,
    Item,
    Kind,
    Next,
    Spec,
    State,
    Summary,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.first_round import NO_ROWS, check_same_countries, remember_notes, taking_part, told_notes
from isthmus_methods.parts.model_support import excluded_item
from isthmus_methods.parts.moments import Sums
from isthmus_methods.parts.persons import widened
from isthmus_methods.parts.value_grid import ROUNDED, ROUNDED_SAYS, Cells, Distribution, ValueGrid
from isthmus_methods.plausible import Bound, squares_cover, sums_within_range

NOTES: Mapping[str, str] = {
    NO_ROWS: "{countries}: no complete rows, so nothing of it is in the answer",
    ROUNDED: ROUNDED_SAYS,
    persons.REPEATED: persons.REPEATED_SAYS,
}
FIELDS: Mapping[str, Field] = {
    "rows": Field(Kind.COUNT, "rows in each group", "rows", "groups", divides=True),
    "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
    "sums": Field(Kind.SUM, "sum in each group, from the value of the range nearest to zero", "", "groups"),
    "deviations": Field(Kind.SUM, "sum in each group beyond its pooled mean, second round", "", "groups"),
    "squares": Field(Kind.SUM, "squared deviations from the pooled mean, second round", "squared", "groups"),
}
VALUES = Field(Kind.HISTOGRAM, "rows at each value that anybody has, by group", "rows", "2 x values", required=False)


def bounds_of(role: str = "") -> tuple[Bound, ...]:
    """What no country's sums can break; `role` holds the numbers, and there is none where they are differences."""

    def column(spec: Spec, _: str) -> Column | None:
        return spec.roles[role][0] if role else None

    return (
        sums_within_range("sums", "rows", column),
        squares_cover("deviations", "squares", "rows", column),
    )


@dataclass(frozen=True, slots=True)
class Groups:
    """What the numbers are and which groups they are in."""

    axis: str  # name of what makes the groups
    names: tuple[str, ...]
    zero: float  # numbers are summed from this public value on
    grid: ValueGrid | None  # None: no ranks are wanted, or the dictionary has no grid

    @property
    def number(self) -> int:
        return len(self.names)

    def centre(self, state: State) -> Array:
        """The groups' means, (groups,). Raises `MethodError` where the state has none."""
        centre = state.get("centre")
        if centre is None or centre.shape != (self.number,) or not np.isfinite(centre).all():
            raise MethodError("WRONG_STATE", "the coordinator sent means that are not these groups'", "start it anew")
        return centre


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class Partial:
    """Of some rows. Adds."""

    rows: Integers  # (groups,)
    seen: Booleans  # (groups, persons)
    sums: tuple[Sums, ...]  # of the numbers; or of deviations and of squares
    cells: tuple[Cells, ...]  # by group; empty where not wanted
    excluded: tuple[int, int, int]  # rows selected, rows complete, persons selected
    everyone: Booleans  # (persons,), with a complete row

    def __add__(self, other: Partial, /) -> Partial:
        width = max(self.seen.shape[1], other.seen.shape[1])
        return Partial(
            self.rows + other.rows,
            widened(self.seen, width) | widened(other.seen, width),
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)),
            (
                self.excluded[0] + other.excluded[0],
                self.excluded[1] + other.excluded[1],
                self.excluded[2] + other.excluded[2],
            ),
            widened(self.everyone, width) | widened(other.everyone, width),
        )


def fold(
    numbers: Array,
    codes: Integers,
    subject: Integers,
    selected: tuple[int, int],
    groups: Groups,
    state: State,
) -> Partial:
    """Of one block.

    Parameters
    ----------
    numbers, codes, subject : (n,), complete rows; a code below 0 is in no group.
    selected : rows and persons that the filter kept.
    """
    width = int(subject.max(initial=-1)) + 1
    everyone = np.zeros(width, dtype=np.bool_)
    everyone[subject] = True
    complete = len(numbers)
    inside = codes >= 0
    numbers, codes, who = numbers[inside], codes[inside], subject[inside]
    seen = np.zeros((groups.number, width), dtype=np.bool_)
    seen[codes, who] = True
    cells: tuple[Cells, ...] = ()
    wanted: tuple[Array, ...]
    if state:
        away = numbers - groups.centre(state)[codes]
        wanted = (away, away**2)
    else:
        wanted = (numbers - groups.zero,)
        if groups.grid is not None:
            cells = tuple(Cells.of(groups.grid, numbers[codes == g], who[codes == g]) for g in range(groups.number))
    return Partial(
        np.bincount(codes, minlength=groups.number).astype(np.int64),
        seen,
        tuple(Sums.of(each, codes, groups.number, who, width) for each in wanted),
        cells,
        (selected[0], complete, selected[1]),
        everyone,
    )


def nobody(groups: Groups, state: State) -> Partial:
    """What no row gives."""
    none = np.zeros(0, dtype=np.int64)
    return fold(np.zeros(0), none, none, (0, 0), groups, state)


def release(partial: Partial | None, groups: Groups, state: State) -> Summary:
    """What leaves in this round."""
    total = nobody(groups, state) if partial is None else partial
    axes = ((groups.axis, groups.names),)
    if state:
        items = [
            Item(name, sums.value, sums.support(), axes=axes)
            for name, sums in zip(("deviations", "squares"), total.sums, strict=True)
        ]
        return Summary(tuple(items))
    people = np.count_nonzero(total.seen, axis=1).astype(np.int64)
    items = [
        Item("rows", total.rows, CellSupport(people, axis=0 if groups.number > 1 else None), axes=axes),
        Item("sums", total.sums[0].value, total.sums[0].support(), axes=axes),
    ]
    if partial is not None:  # how many rows are incomplete is not known without a complete one
        rows, complete, selected = total.excluded
        items.append(excluded_item(rows, complete, selected, int(np.count_nonzero(total.everyone))))
    items += [cells.item("values", name) for name, cells in zip(groups.names, total.cells, strict=False)]
    raised = {
        NO_ROWS: not total.rows.any(),
        ROUNDED: any(cells.off for cells in total.cells),
        persons.REPEATED: int(total.rows.sum()) > int(np.count_nonzero(total.seen.any(axis=0))),
    }
    return Summary(tuple(items), frozenset(code for code, on in raised.items() if on))


# --------------------------------------------------------------------------- at the coordinator


@dataclass(frozen=True, slots=True)
class Moments:
    """n, mean and squared deviations of each group over all countries, (groups,)."""

    n: Integers
    about: Array  # a mean to a few digits less than all
    beyond: Array  # what the mean has beyond it; NaN where there is nobody
    squares: Array  # from the mean

    @property
    def mean(self) -> Array:
        return np.asarray(self.about + self.beyond)

    @property
    def variance(self) -> Array:
        """With n - 1; NaN where that is none."""
        return np.where(self.n > 1, self.squares / np.maximum(self.n - 1, 1), np.nan)

    def difference(self, one: int, other: int) -> float:
        """Of two means, with the digits that both have beyond a common offset."""
        return float((self.about[one] - self.about[other]) + (self.beyond[one] - self.beyond[other]))

    def present(self) -> Moments:
        """Without the groups that nobody is in."""
        there = self.n > 0
        return Moments(self.n[there], self.about[there], self.beyond[there], self.squares[there])


def after_first(contributions: Contributions, spec: Spec, groups: Groups) -> Next:
    """The groups' pooled means, about which the second round sums. Raises `MethodError` where nobody is anywhere."""
    rows, sums = contributions.total("rows"), contributions.total("sums")
    if rows is None or sums is None:
        raise MethodError("NO_COUNTRY", "no country gave its share", "ask why in each country's refusal")
    if not rows.any():
        raise MethodError("NO_ROWS", "no country has a complete row for this", "check the filter and the variables")
    centre = groups.zero + np.divide(sums, rows, out=np.zeros(groups.number), where=rows > 0)
    memory = {"rows": rows, "countries": taking_part(contributions, spec), **remember_notes(contributions)}
    memory |= {f"excluded {country}": number for country, number in contributions.by_country("excluded").items()}
    for g, name in enumerate(groups.names if groups.grid is not None else ()):
        withheld = caveats.of_field(contributions, "values", name, f"ranks of {name}")
        cells = contributions.cells("values", name)
        memory |= {f"withheld {sentence}": np.zeros(0) for sentence in withheld}
        if not withheld and cells is not None:
            memory[f"cells {g}"] = cells.astype(np.float64)
    return Next({"centre": centre}, memory)


def moments(contributions: Contributions, spec: Spec, state: State, memory: State) -> Moments:
    """From the second round."""
    check_same_countries(contributions, spec, memory["countries"])
    away, squares = contributions.total("deviations"), contributions.total("squares")
    if away is None or squares is None:
        raise MethodError("NO_COUNTRY", "no country gave its share", "ask why in each country's refusal")
    n = np.rint(memory["rows"]).astype(np.int64)
    beyond = np.divide(away, n, out=np.full(len(n), np.nan), where=n > 0)
    spread = np.maximum(squares - np.where(n > 0, away, 0.0) * np.where(n > 0, beyond, 0.0), 0.0)
    return Moments(n, state["centre"], beyond, spread)


def distributions(groups: Groups, memory: State) -> list[Distribution] | None:
    """Of each group; None where ranks cannot be had."""
    if groups.grid is None or any(f"cells {g}" not in memory for g in range(groups.number)):
        return None
    return [
        Distribution.of(groups.grid, np.asarray(memory[f"cells {g}"], dtype=np.int64).reshape(-1, 2))
        for g in range(groups.number)
    ]


def told(spec: Spec, memory: State, what_ranks: str, grid: ValueGrid | None) -> tuple[dict[str, Answer], list[str]]:
    """Rows left out and notes for the answer; and the caveats. `what_ranks` : what is lost without ranks, or ""."""
    answer: dict[str, Answer] = {
        "excluded": {
            key.removeprefix("excluded "): round(float(memory[key][0])) for key in memory if key.startswith("excluded ")
        },
        "notes": told_notes(memory, spec, NOTES, (NO_ROWS,)),
    }
    said = told_notes(memory, spec, NOTES, (ROUNDED, persons.REPEATED))
    said += [key.removeprefix("withheld ") for key in memory if key.startswith("withheld ")]
    if what_ranks and grid is None:
        said.append(f"{what_ranks}: not given, as the dictionary has no grid of values for ranks")
    return answer, said
