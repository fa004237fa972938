"""Rows for the bench, generated from a seed, and the study that they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLLOW_UP = 900  # days
VISITS = ("W04", "W08", "W12", "W16", "W24")
SITES = 8  # in each country

Rows = dict[str, NDArray[Any]]


def subjects(rows: int, covariates: int, country: str, seed: int) -> Rows:
    """A survival trial: day (1 to 900, many ties), event (about 36 %), arm, response (about 50 %), X1 to Xp.

    Hazards are exponential with log hazard ratios spread evenly over -0.3..0.3, the response is logistic with the same
    log odds ratios the other way round; censoring is uniform.
    """
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, covariates)).round(6)
    beta = np.linspace(-0.3, 0.3, covariates) * min(1.0, np.sqrt(12 / covariates))
    failure = random.exponential(size=rows) * np.exp(-x @ beta) * 1000
    censoring = random.uniform(0, FOLLOW_UP, size=rows)
    return {
        "COUNTRY": np.full(rows, country),
        "DAY": np.maximum(1, np.ceil(np.minimum(failure, censoring))).astype(np.int64),
        "EVENT": (failure <= censoring).astype(np.int64),
        "ARM": np.where(x[:, 0] > 0, "1", "0"),
        "RESP": (random.uniform(size=rows) < 1.0 / (1.0 + np.exp(x @ beta - 0.2))).astype(np.int64),
        **{f"X{k + 1}": x[:, k] for k in range(covariates)},
    }


def visits(persons: int, country: str, seed: int) -> Rows:
    """Change from baseline at five visits in two arms; from visit to visit 3 % drop out, so that rows are fewer."""
    random = np.random.default_rng(seed)
    m = len(VISITS)
    spread = np.array([[0.6 ** abs(i - j) for j in range(m)] for i in range(m)]) * np.outer(
        np.linspace(4, 7, m), np.linspace(4, 7, m)
    )
    arm, base = random.integers(0, 2, persons), random.normal(24, 5, persons).round(1)
    values = random.multivariate_normal(np.zeros(m), spread, persons)
    values += -1.5 * np.arange(m) - 0.8 * np.outer(arm, np.arange(m)) - 0.3 * (base - 24)[:, None]
    there = (1 + np.minimum(random.geometric(0.03, persons), m))[:, None] > np.arange(m) + 1
    person, visit = np.nonzero(there)
    return {
        "COUNTRY": np.full(len(person), country),
        "PERSON": np.array([f"{country}-{k:05d}" for k in range(persons)])[person],
        "ARM": np.where(arm[person] == 1, "drug", "control"),
        "VISIT": np.array(VISITS)[visit],
        "BASE": base[person],
        "CHG": values[person, visit].round(3),
    }


def sites(rows: int, country: str, seed: int) -> Rows:
    """An outcome that differs between the sites of a country beyond what two factors and four numbers explain."""
    random = np.random.default_rng(seed)
    site, x = random.integers(0, SITES, rows), random.standard_normal((rows, 4)).round(6)
    arm, sex = random.integers(0, 2, rows), random.integers(0, 2, rows)
    y = 120 + random.normal(0, 4, SITES)[site] - 3 * arm + 2 * sex + x @ np.array([1.0, -0.5, 0.2, 0.1])
    return {
        "COUNTRY": np.full(rows, country),
        "SITE": np.array(site_names(country))[site],
        "ARM": np.where(arm == 1, "drug", "control"),
        "SEX": np.where(sex == 1, "M", "F"),
        **{f"X{k + 1}": x[:, k] for k in range(4)},
        "Y": (y + random.normal(0, 10, rows)).round(3),
    }


def site_names(country: str) -> list[str]:
    return [f"{country}-{k}" for k in range(SITES)]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of each country, and how the study declares them."""

    name: str
    by_country: Mapping[str, Rows]
    variables: Mapping[str, str]  # lines of the dictionary
    subject: str = ""
    open_data: bool = False

    def write(self, folder: Path) -> dict[str, Path]:
        """One Parquet file a country."""
        paths = {country: folder / f"{self.name}-{country}.parquet" for country in self.by_country}
        for country, rows in self.by_country.items():
            pd.DataFrame(rows).to_parquet(paths[country], index=False)
        return paths

    def pooled(self) -> Rows:
        """All countries' rows, in their order."""
        first = next(iter(self.by_country.values()))
        return {name: np.concatenate([rows[name] for rows in self.by_country.values()]) for name in first}


def _levels(levels: Sequence[str], role: str = "") -> str:
    return f'type = "factor"\nlevels = {json.dumps(list(levels))}' + (f'\nroles = ["{role}"]' if role else "")


def subjects_dataset(rows: int, covariates: int, countries: Sequence[str], open_data: bool = False) -> Dataset:
    """`rows` subjects in each country."""
    return Dataset(
        "TTE",
        {country: subjects(rows, covariates, country, seed) for seed, country in enumerate(countries)},
        {
            "COUNTRY": _levels(countries, "country"),
            "DAY": f'type = "integer"\nunit = "days"\nminimum = 0\nmaximum = {FOLLOW_UP}',
            "EVENT": 'type = "integer"\nminimum = 0\nmaximum = 1',
            "ARM": _levels("01", "treatment arm"),
            "RESP": 'type = "integer"\nminimum = 0\nmaximum = 1',
            **{f"X{k + 1}": 'type = "numeric"\nminimum = -8\nmaximum = 8' for k in range(covariates)},
        },
        open_data=open_data,
    )


def visits_dataset(persons: int, countries: Sequence[str]) -> Dataset:
    """Repeated measures of `persons` in each country."""
    return Dataset(
        "VIS",
        {country: visits(persons, country, seed) for seed, country in enumerate(countries)},
        {
            "COUNTRY": _levels(countries, "country"),
            "PERSON": 'type = "text"\nroles = ["identifier"]',
            "ARM": _levels(("control", "drug"), "treatment arm"),
            "VISIT": _levels(VISITS),
            "BASE": 'type = "numeric"\nminimum = -50\nmaximum = 100',
            "CHG": 'type = "numeric"\nminimum = -200\nmaximum = 200',
        },
        subject="PERSON",
        open_data=True,
    )


def sites_dataset(rows: int, countries: Sequence[str]) -> Dataset:
    """`rows` subjects in the sites of each country."""
    return Dataset(
        "SIT",
        {country: sites(rows, country, seed) for seed, country in enumerate(countries)},
        {
            "COUNTRY": _levels(countries, "country"),
            "SITE": _levels([site for country in countries for site in site_names(country)]),
            "ARM": _levels(("control", "drug"), "treatment arm"),
            "SEX": _levels(("F", "M")),
            **{f"X{k + 1}": 'type = "numeric"\nminimum = -8\nmaximum = 8' for k in range(4)},
            "Y": 'type = "numeric"\nminimum = -200\nmaximum = 400',
        },
        open_data=True,
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """One analysis of the bench's plan."""

    name: str
    method: str
    dataset: str
    formula: str
    roles: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    def toml(self) -> str:
        lines = ["[[plan]]"]
        for key in ("name", "method", "dataset", "formula"):
            lines.append(f"{key} = {json.dumps(getattr(self, key))}")
        for key in ("roles", "options", "references"):
            given = ", ".join(f"{name} = {json.dumps(value)}" for name, value in getattr(self, key).items())
            lines += [f"{key} = {{ {given} }}"] if given else []
        return "\n".join(lines)


def study_toml(
    name: str, datasets: Sequence[Dataset], nodes: Sequence[str], plan: Sequence[Planned], mode: str = "open"
) -> str:
    """The study document for those rows, with the plan that the bench runs."""
    lines = [
        f'name = "{name}"',
        'title = "Bench"',
        'rationale = "Measure the exchange on generated rows."',
        'recipients = ["the bench"]',
        f"by_country = {str(mode == 'open').lower()}",
        f'mode = "{mode}"',
        f"participants = {json.dumps(list(nodes))}",
    ]
    for dataset in datasets:
        lines.append(f'[[dataset]]\nname = "{dataset.name}"')
        lines.append(f'subject = "{dataset.subject}"' if dataset.subject else "one_row_a_subject = true")
        lines += [f"[dataset.variables.{name}]\n{declared}" for name, declared in dataset.variables.items()]
    return "\n".join([*lines, *(planned.toml() for planned in plan)]) + "\n"
