"""The coordinator's half of a Table 1: means after the first round, and at the end every cell of the table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from isthmus_methods.contract import Answer, Array, Contributions, Done, Next, Spec, State, merged_cells
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.gathered import Gathered
from isthmus_methods.parts.moments import describe_numeric
from isthmus_methods.parts.tables.standardised import of_factor, of_number
from isthmus_methods.parts.tables.table_plan import OVERALL, Plan, Row
from isthmus_methods.parts.value_grid import ROUNDED, Distribution

# The quantiles of a description, by the names that they have in it.
QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def pool(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round of the table: the pooled means, or the table."""
    got = Gathered.of(contributions)
    if plan.numeric and not state:
        rounded = {f"rounded/{c}/": np.zeros(0) for c in contributions.notes().get(ROUNDED, ())}
        return Next(means(plan, got, contributions.countries), {**got.remember(), **rounded})
    said = list(caveats.of_notes(contributions, {k: v for k, v in notes.items() if k != ROUNDED}))
    rounded_in = tuple(key.split("/")[1] for key in memory if key.startswith("rounded/"))
    if rounded_in:
        said.append(notes[ROUNDED].replace("{countries}", caveats.joined(rounded_in)))
    got = got.after(Gathered.recall({key: value for key, value in memory.items() if not key.startswith("rounded/")}))
    countries = got.countries(spec.countries)
    # all that a row needs, so that its n, mean and sd are of the same persons
    covered = {row.name: got.giving(countries, row.needs, row.name) for row in plan.rows}
    for row in plan.rows:
        missing = {c: got.withheld.get((c, row.name), "NOT_GIVEN") for c in countries if c not in covered[row.name]}
        if missing:
            said.append(caveats.of_withheld(row.name, missing, covered[row.name]))
    said += _without_quantiles(plan, got, covered)
    arms = got.total(countries, "arms", plan.arm) if countries else np.zeros(len(plan.arms))
    rows: dict[str, Mapping[str, Answer]] = {
        row.name: described(row, plan, got, covered[row.name], state) for row in plan.rows
    }
    answer: dict[str, Answer] = {
        "arms": list(plan.arms) if plan.arm else [],
        "n": {OVERALL: int(arms.sum()), **{a: int(x) for a, x in zip(plan.arms, arms, strict=True)}},
        "rows": rows,
    }
    if plan.arm and len(plan.arms) > 1:
        answer["smd"] = {row.name: differences(row, plan, rows[row.name]) for row in plan.rows}
    if plan.by_country:
        answer["countries"] = {
            c: {row.name: described(row, plan, got, [c] if c in covered[row.name] else [], state) for row in plan.rows}
            for c in countries
        }
    return Done(answer, tuple(said))


def means(plan: Plan, got: Gathered, countries: Sequence[str]) -> dict[str, Array]:
    """The pooled mean of every numeric variable, about which the second round takes squares."""
    state = {}
    for row in plan.numeric:
        giving = got.giving(countries, ("count", "sum"), row.name)
        n = sum(float(got.values[c, "count", row.name][:, 0].sum()) for c in giving)
        total = sum(float(got.values[c, "sum", row.name].sum()) for c in giving)
        state[row.name] = np.array([row.zero + total / n if n else row.zero])
    return state


def described(row: Row, plan: Plan, got: Gathered, countries: Collection[str], about: State) -> dict[str, Answer]:
    """One row of the table over some countries."""
    entry: dict[str, Answer] = {"type": row.type, "unit": row.unit, "label": row.label, OVERALL: None}
    if not countries:
        return {**entry, **dict.fromkeys(plan.arms)}
    cells = len(row.cells)
    counts = np.sum([persons.widened(got.values[c, "count", row.name], cells) for c in countries], axis=0)
    if row.levels:
        columns = describe_factor(counts, row.levels)
    else:
        away, squares = (got.total(countries, name, row.name) for name in ("deviations", "squares"))
        columns = describe_numeric(counts[:, 0], counts[:, 1], away, squares, float(about[row.name][0]))
        if plan.quantiles:
            shapes = distributions(row, plan, got, countries)
            columns = [{**column, **order_statistics(shape)} for column, shape in zip(columns, shapes, strict=True)]
    entry[OVERALL] = columns[0]
    if plan.arm:
        entry.update(zip(plan.arms, columns[1:], strict=True))
    return entry


def describe_factor(counts: Array, levels: tuple[str, ...]) -> list[dict[str, Answer]]:
    """Counts and percentages of those not missing, overall and by arm; `counts` (A, levels and missing)."""

    def one(cells: Array) -> dict[str, Answer]:
        n = int(cells[:-1].sum())
        percent = {level: 100.0 * float(x) / n if n else None for level, x in zip(levels, cells[:-1], strict=True)}
        count = {level: int(x) for level, x in zip(levels, cells[:-1], strict=True)}
        return {"n": n, "missing": int(cells[-1]), "count": count, "percent": percent}

    return [one(counts.sum(axis=0)), *(one(cells) for cells in counts)]


def differences(row: Row, plan: Plan, entry: Mapping[str, Answer]) -> dict[str, Answer]:
    """Standardised difference of each arm from the first."""
    first = entry[plan.arms[0]]
    compare = of_factor if row.levels else of_number
    return {arm: compare(entry[arm], first) for arm in plan.arms[1:]}


# --------------------------------------------------------------------------- quantiles


def distributions(row: Row, plan: Plan, got: Gathered, countries: Collection[str]) -> list[Distribution | None]:
    """Of a numeric variable overall and in each arm; None where any of these countries withheld it."""
    labels = [plan.values_label(row, arm) for arm in plan.arms]
    grid = row.grid
    if grid is None:
        return [None] * (1 + len(labels))
    by_arm = []
    for label in labels:
        given = [got.values.get((c, "values", label)) for c in countries]
        whole = [cells.astype(np.int64) for cells in given if cells is not None]
        by_arm.append(merged_cells(whole) if len(whole) == len(given) else None)
    there = [cells for cells in by_arm if cells is not None]
    overall = merged_cells(there) if len(there) == len(labels) else None
    return [None if cells is None else Distribution.of(grid, cells) for cells in (overall, *by_arm)]


def order_statistics(shape: Distribution | None) -> dict[str, Answer]:
    """Extremes and quantiles by R's default and by SAS's; None where they are withheld or nobody is there."""
    if shape is None:
        return {"min": None, "max": None, "quantile_type7": None, "quantile_type2": None}
    there = shape.n > 0
    return {
        "min": shape.ordered(1) if there else None,
        "max": shape.ordered(shape.n) if there else None,
        "quantile_type7": {name: shape.quantile_type7(p) if there else None for name, p in QUANTILES.items()},
        "quantile_type2": {name: shape.quantile_type2(p) if there else None for name, p in QUANTILES.items()},
    }


def _without_quantiles(plan: Plan, got: Gathered, covered: Mapping[str, Collection[str]]) -> list[str]:
    """What is said where quantiles were asked for and cannot be given."""
    said = []
    for row in plan.numeric if plan.quantiles else ():
        if row.grid is None:
            said.append(f"quantiles of {row.name}: not given, as the dictionary has no grid of its values")
            continue
        for arm in plan.arms:
            label = plan.values_label(row, arm)
            missing = {
                c: got.withheld.get((c, label), "NOT_GIVEN")
                for c in covered[row.name]
                if (c, "values", label) not in got.values
            }
            if missing:
                said.append(caveats.of_withheld(label, missing, ()))
    return said
