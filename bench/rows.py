"""Rows for the bench: a survival trial over several countries, generated from a seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

FOLLOW_UP = 900  # days


def survival_rows(path: Path, *, rows: int, covariates: int, country: str, seed: int) -> None:
    """Write a CSV of `rows` subjects: country, day (1 to 900, many ties), event (about 36 %), arm, X1 to Xp.

    Hazards are exponential with log hazard ratios spread evenly over -0.3..0.3; censoring is uniform.
    """
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, covariates))
    beta = np.linspace(-0.3, 0.3, covariates) * min(1.0, np.sqrt(12 / covariates))
    failure = random.exponential(size=rows) * np.exp(-x @ beta) * 1000
    censoring = random.uniform(0, FOLLOW_UP, size=rows)
    table = pd.DataFrame(
        {
            "COUNTRY": country,
            "DAY": np.maximum(1, np.ceil(np.minimum(failure, censoring))).astype(int),
            "EVENT": (failure <= censoring).astype(int),
            "ARM": (x[:, 0] > 0).astype(int),
            **{f"X{k + 1}": x[:, k].round(6) for k in range(covariates)},
        }
    )
    table.to_csv(path, index=False)


def study_toml(name: str, covariates: int, nodes: dict[str, str]) -> str:
    """The study document for those rows, with the plan that the bench runs."""

    def words(names: object) -> str:
        return json.dumps(list(names))  # type: ignore[call-overload]

    model = "Surv(DAY, EVENT) ~ " + " + ".join(f"X{k + 1}" for k in range(covariates))
    variables = {
        "COUNTRY": f'type = "factor"\nroles = ["country"]\nlevels = {words(nodes.values())}',
        "DAY": f'type = "integer"\nunit = "days"\nminimum = 0\nmaximum = {FOLLOW_UP}',
        "EVENT": 'type = "integer"\nminimum = 0\nmaximum = 1',
        "ARM": 'type = "factor"\nlevels = ["0", "1"]\nroles = ["treatment arm"]',
        **{f"X{k + 1}": 'type = "numeric"\nminimum = -8\nmaximum = 8' for k in range(covariates)},
    }
    lines = [
        f'name = "{name}"',
        'title = "Bench"',
        'rationale = "Measure the exchange on generated rows."',
        'recipients = ["the bench"]',
        "by_country = true",
        f"participants = {words(nodes)}",
        '[[dataset]]\nname = "TTE"\none_row_a_subject = true',
    ]
    for variable, declared in variables.items():
        lines.append(f"[dataset.variables.{variable}]\n{declared}")
    for analysis, method, formula in (
        ("cox", "cox", model),
        ("km", "kaplan_meier", "Surv(DAY, EVENT) ~ ARM"),
        ("log-rank", "log_rank", "Surv(DAY, EVENT) ~ ARM"),
    ):
        lines.append(f'[[plan]]\nname = "{analysis}"\nmethod = "{method}"\nformula = "{formula}"')
    return "\n".join(lines) + "\n"
