"""The fixture: sixty persons, one of whom is the victim, and two more countries; made from a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

PERSONS = 60
PLACE = 16  # the victim's row
SUBJECT = "ZZ-7731"
NUMBER = 90731
# A value of the source that the dictionary does not have.
RARE_DIAGNOSIS = "Erdheim-Chester"
STRANGE_CELL = "129.587 mg/l of ZZ-7731"
# What an attack is after, by name. `cell` is the number of persons in the victim's category: the victim alone.
TRUTH: Mapping[str, float] = MappingProxyType(
    {
        "age": 97.0,
        "lab": 129.587,
        "marker": 8412.643,
        "day": 33.0,
        "visit date": 22345.0,
        "number": float(NUMBER),
        "cell": 1.0,
        "present": 1.0,  # somebody of this description is there
        "six": 6.0,  # persons in a category of six
        "nobody": 0.0,  # persons in a category of nobody
        "own country": 7142.826,  # the sum of LAB over the victim's, where no country's own is shown
        "two sums": 4788.826,  # that less what AGE is above 18 there, summed
        "country": 7168.458,  # the sum of LAB over another country, which is shown to nobody
        "poisoned": 1.0,  # a result with a country's false sums in it was given
        "answered": 1.0,  # bytes of a summary left where none should
    }
)
# Never in a log, a metric or an error; their binary forms never in a message.
SECRET_TEXTS = (SUBJECT, "129.587", "8412.643", RARE_DIAGNOSIS, str(NUMBER))
SECRET_NUMBERS = (129.587, 8412.643)

# Persons beside the victim by the levels of three factors.
CELLS_OF_THREE: Mapping[tuple[int, int, int], int] = MappingProxyType(
    {(0, 1, 1): 14, (1, 0, 1): 9, (1, 1, 0): 12, (0, 1, 0): 12, (1, 0, 0): 12}
)

LEVELS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "ARM": ("C", "T"),
        "SEX": ("F", "M"),
        "CLASS": ("A", "B", "RARE"),
        "GRADE": ("1", "2", "3"),
        "STAGE": ("I", "II", "III"),
        "DX": ("P", "Q"),
        "SITE": ("S1", "S2"),
        "U": ("0", "1"),
        "V": ("0", "1"),
        "W": ("0", "1"),
    }
)


def persons(country: str, seed: int, victim: bool) -> pd.DataFrame:
    """A row a person. In the victim's country the victim alone has what `TRUTH` says."""
    random = np.random.default_rng(seed)
    n = PERSONS
    k = np.arange(n)
    rows = pd.DataFrame(
        {
            "SUBJ": [f"{country}-{i:04d}" for i in k],
            "NUM": 10_000 * seed + k,
            "ARM": np.where(k % 2 == 0, "T", "C"),
            "SEX": np.where(random.permutation(n) < 28, "F", "M"),
            "CLASS": np.where(k < 22, "A", np.where(k < 44, "B", "RARE")),
            "GRADE": np.where(k % 10 == 6, "1", np.where(k % 5 < 2, "2", "3")),
            "STAGE": np.where(k % 3 == 1, "II", "I"),
            "DX": np.where(random.permutation(n) < 30, "P", "Q"),
            "AGE": random.integers(40, 76, n),
            "LAB": random.normal(120, 12, n).round(3),
            "MARK": random.uniform(0.05, 0.25, n).round(3),
            "DAY": 30 * (2 + k % 5),
            "EVENT": (k % 3 != 0).astype(int),
            "ENTRY": random.integers(36, 50, n),
            "RESP": (random.permutation(n) < 31).astype(int),
            "EPISODES": random.poisson(2.0, n),
            "VISITDT": random.integers(22000, 22300, n),
            "NOTE": "no remark",
            "SITE": np.where(k < 10, "S2", "S1"),
            "OFFS": random.uniform(0, 1, n).round(3),
            "SAE": (k % 5 == 3).astype(int),
            "U": k % 2,
            "V": k // 2 % 2,
            "W": k // 4 % 2,
            **{f"X{j}": random.normal(size=n).round(3) for j in range(1, 10)},
        }
    )
    rows["M"] = random.normal(size=n).round(3)
    rows["K"] = random.normal(size=n).round(3)
    rows.loc[rows.GRADE == "1", "SEX"] = ["F", "M"] * 3
    if victim:
        own = {
            "SUBJ": SUBJECT,
            "NUM": NUMBER,
            "SEX": "F",
            "AGE": 97,
            "LAB": 129.587,
            "MARK": 8412.643,
            "DAY": 33,
            "EVENT": 1,
            "ENTRY": 20,
            "VISITDT": 22345,
            "DX": RARE_DIAGNOSIS,
            "OFFS": 12.0,
        }
        rows["SAE"] = (k == PLACE).astype(int)
        rows["CLASS"] = np.where(k % 2 == 0, "A", "B")
        rows.loc[PLACE, list(own)] = list(own.values())
        rows.loc[PLACE, "CLASS"] = "RARE"
        # the victim's pattern of missing values is nobody else's
        rows.loc[PLACE, "M"] = np.nan
        rows.loc[(rows.GRADE == "1") & (k != PLACE), "K"] = np.nan
        # every two of these three make large cells or empty ones, and all three tell the victim from everybody
        cells = [c for c, n in CELLS_OF_THREE.items() for _ in range(n)]
        rows.loc[rows.index != PLACE, ["U", "V", "W"]] = random.permutation(cells)
        rows.loc[rows.index == PLACE, ["U", "V", "W"]] = [1, 1, 1]
        # alone of this sex in this grade, and one of nine at this site
        rows.loc[(rows.GRADE == "1") & (k != PLACE), "SEX"] = "M"
        rows["SITE"] = np.where((k >= 12) & (k <= 20), "S1", "S2")
    return rows


def visits(rows: pd.DataFrame) -> pd.DataFrame:
    """Several rows a person: two each, and eight of whoever is alone in his class, as a join makes them."""
    alone = rows["CLASS"].map(rows["CLASS"].value_counts()) == 1
    repeats = np.where(alone, 8, 2)
    return rows.loc[rows.index.repeat(repeats), ["SUBJ", "ARM", "CLASS"]].reset_index(drop=True)


def write(folder: Path, country: str, seed: int, victim: bool) -> dict[str, Path]:
    """A country's files by dataset: persons, the same on a coarse grid of times, visits, a broken cell, ages."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = persons(country, seed, victim)
    broken = rows[["SUBJ", "ARM", "LAB"]].astype({"LAB": str})
    if victim:
        broken.loc[PLACE, "LAB"] = STRANGE_CELL
    ages = rows[["SUBJ", "AGE"]]
    tables = {"PERSONS": rows, "COARSE": rows, "VISITS": visits(rows), "BROKEN": broken, "AGES": ages}
    paths = {}
    for name, table in tables.items():
        paths[name] = folder / f"{name}-{country}.csv"
        table.to_csv(paths[name], index=False)
    return paths


def dictionary() -> str:
    """The datasets of every study, as its author writes them."""
    return "\n".join(
        [
            _dataset("PERSONS", _variables(1)),
            _dataset("COARSE", _variables(30)),
            _dataset("VISITS", {n: _variables(1)[n] for n in ("SUBJ", "ARM", "CLASS")}, repeated=True),
            _dataset("AGES", {"SUBJ": _variables(1)["SUBJ"], "AGE": AGE}),
            _dataset("BROKEN", {n: _variables(1)[n] for n in ("SUBJ", "ARM", "LAB")}),
        ]
    )


# The dictionary of one dataset says that it is an age.
AGE = 'type = "integer"\nunit = "years"\nminimum = 18\nmaximum = 110\nroles = ["age"]'


def _variables(grid: int) -> dict[str, str]:
    number = 'type = "numeric"\nminimum = -10\nmaximum = 10\nmay_be_missing = true'
    return {
        "SUBJ": 'type = "text"\nroles = ["identifier"]',
        "NUM": 'type = "integer"\nroles = ["identifier"]\nminimum = 0\nmaximum = 99999',
        **{name: f'type = "factor"\nlevels = {json.dumps(list(levels))}' for name, levels in LEVELS.items()},
        "AGE": 'type = "integer"\nunit = "years"\nminimum = 18\nmaximum = 110\nroles = ["quasi-identifier"]',
        "LAB": 'type = "numeric"\ngrid = 0.001\nminimum = 0\nmaximum = 300',
        "MARK": 'type = "numeric"\ngrid = 0.001\nminimum = 0\nmaximum = 10000',
        "DAY": f'type = "integer"\nunit = "days"\ngrid = {grid}\nminimum = 0\nmaximum = 420',
        "EVENT": 'type = "integer"\nminimum = 0\nmaximum = 1',
        "ENTRY": 'type = "integer"\nunit = "days"\ngrid = 1\nminimum = 0\nmaximum = 420',
        "RESP": 'type = "integer"\nminimum = 0\nmaximum = 1',
        "EPISODES": 'type = "integer"\nminimum = 0\nmaximum = 100',
        "SAE": 'type = "integer"\nminimum = 0\nmaximum = 1',
        "OFFS": 'type = "numeric"\nminimum = 0\nmaximum = 20',
        "VISITDT": 'type = "date"',
        "NOTE": 'type = "text"',
        **{f"X{j}": number for j in range(1, 10)},
        "M": number,
        "K": number,
    }


def _dataset(name: str, variables: Mapping[str, str], repeated: bool = False) -> str:
    lines = ["[[dataset]]", f'name = "{name}"', 'subject = "SUBJ"', f"one_row_a_subject = {str(not repeated).lower()}"]
    for variable, text in variables.items():
        lines += [f"\n[dataset.variables.{variable}]", text]
    return "\n".join(lines) + "\n"
