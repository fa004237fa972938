"""Analyses over five nodes and the same on the pooled rows by R, lifelines and statsmodels, in one run."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.network import STUDY, ask, network, spread
from bench.others import by_python, by_r, hand_over, hand_over_extra
from bench.rows import Dataset, Planned, sites_dataset, subjects_dataset, visits_dataset
from isthmus_client.results.fit import Fit
from isthmus_client.study import Study

COUNTRIES = {f"n{k}": f"C{k}" for k in range(1, 6)}
COVARIATES = 12
PERSONS, RECORDS = 1760, 82_000  # of the repeated measures and the random intercept
# Relative difference up to which two answers are the same, so that their seconds may be compared.
AGREES = 1e-9
Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Part:
    """One analysis of the bench. Each of `asked` is the same work, so that a first time can be had several times."""

    name: str
    dataset: str
    asked: Sequence[Sequence[Planned]]
    values: Callable[[Sequence[Fit]], Values]
    targets: Mapping[str, float]  # times as fast as a tool whose name begins so
    handed: Callable[[Sequence[Fit]], Mapping[str, object]] = lambda _: {}


# --------------------------------------------------------------------------- what is asked


def _turned(k: int) -> str:
    """The covariates from the k-th on: another request, the same work."""
    names = [f"X{j + 1}" for j in range(COVARIATES)]
    return " + ".join([*names[k:], *names[:k]])


def _estimates(coefficients: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([c["estimate"] for c in coefficients.values()])


def _cox(fits: Sequence[Fit]) -> Values:
    answer: Any = fits[0].answer
    return {"coef": _estimates(answer["coef"]), "loglik": np.array([answer["loglik"]])}


def _glm(fits: Sequence[Fit]) -> Values:
    answer: Any = fits[0].answer
    return {"coef": _estimates(answer["coef"]), "deviance": np.array([answer["deviance"]])}


def _km(fits: Sequence[Fit]) -> Values:
    curves: Any = fits[0].answer
    tests: Any = fits[1].answer
    return {
        "survival": np.concatenate([curves[f"ARM={arm}"]["curve_event_times"]["surv"] for arm in "01"]),
        "chisq": np.array([tests["logrank_stratified"]["chisq"]]),
        "chisq_unstratified": np.array([tests["logrank"]["chisq"]]),
    }


def _mmrm(fits: Sequence[Fit]) -> Values:
    answer: Any = fits[0].answer
    return {"coef": _estimates(answer["fixed"]), "loglik": np.array([answer["loglik_reml"]])}


def _sigma(fits: Sequence[Fit]) -> Mapping[str, object]:
    answer: Any = fits[0].answer
    return {"sigma": answer["sigma_matrix"]["values"]}


def _lmm(fits: Sequence[Fit]) -> Values:
    answer: Any = fits[0].answer["REML"]
    return {"coef": _estimates(answer["fixed"]), "loglik": np.array([answer["loglik"]])}


def _theta(fits: Sequence[Fit]) -> Mapping[str, object]:
    answer: Any = fits[0].answer["REML"]
    return {"theta": [math.sqrt(answer["tau2_country"] / answer["sigma2"])]}


PARTS = (
    Part(
        "cox",
        "TTE",
        [[Planned(f"cox-{k}", "cox", "TTE", f"Surv(DAY, EVENT) ~ {_turned(k)}")] for k in range(3)],
        _cox,
        {"R": 5, "lifelines": 2},
    ),
    Part(
        "glm",
        "TTE",
        [[Planned(f"glm-{k}", "glm", "TTE", f"RESP ~ {_turned(k)}")] for k in range(3)],
        _glm,
        {"R": 4},
    ),
    Part(
        "km",
        "TTE",
        [
            [
                Planned(f"{method}-{arm}", method, "TTE", "Surv(DAY, EVENT) ~ ARM", options=more, references=first)
                for method, more in (("kaplan_meier", {}), ("log_rank", {"unstratified": True}))
            ]
            for arm, first in (("0", {}), ("1", {"ARM": "1"}))
        ],
        _km,
        {"R": 5},
    ),
    Part(
        "mmrm",
        "VIS",
        [
            [
                Planned(
                    "mmrm",
                    "mmrm",
                    "VIS",
                    "CHG ~ ARM * VISIT + BASE * VISIT + COUNTRY",
                    {"visit": "VISIT", "subject": "PERSON"},
                )
            ]
        ],
        _mmrm,
        {"R gls": 10},
        _sigma,
    ),
    Part(
        "lmm",
        "SIT",
        [[Planned("lmm", "lmm", "SIT", "Y ~ ARM + SEX + X1 + X2 + X3 + X4", {"group": "SITE"})]],
        _lmm,
        {},
        _theta,
    ),
)


def _dataset(name: str, rows: int) -> Dataset:
    countries = list(COUNTRIES.values())
    if name == "TTE":
        return subjects_dataset(rows // len(countries), COVARIATES, countries)
    if name == "VIS":
        return visits_dataset(PERSONS // len(countries), countries)
    return sites_dataset(RECORDS // len(countries), countries)


# --------------------------------------------------------------------------- what is measured


def measure_compared(folder: Path, rows: int, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Of each part: seconds from request to result over five nodes, and times as fast as what is used instead.

    `rows`: of cox, glm and km.
    """
    parts = [part for part in PARTS if part.name in names]
    datasets = {part.dataset: _dataset(part.dataset, rows) for part in parts}
    warm = [_warm(name) for name in datasets]
    plan = [*warm, *(planned for part in parts for same in part.asked for planned in same)]
    for name, dataset in datasets.items():
        hand_over(dataset.pooled(), folder / name)
    found: dict[str, dict[str, object]] = {}
    with network(folder, COUNTRIES, list(datasets.values()), plan) as box, box.connect() as connection:
        study = connection.study(STUDY)
        ask(study, *(planned.name for planned in warm))  # rows are read and programs loaded, as they are in R
        for part in parts:
            # one right after the other: whatever else the machine does, it does to both; the nodes wait meanwhile
            load = os.getloadavg()[0]
            said, seconds, fits = _ours(part, study, [process.pid for process in box.processes.values()])
            said |= {"against": _others(part, seconds, fits, folder / part.dataset)}
            found[part.name] = {
                **_size(datasets[part.dataset]),
                "load_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)],
                **said,
            }
    return found


def _size(dataset: Dataset) -> dict[str, object]:
    first = next(iter(dataset.by_country.values()))
    rows = sum(len(own["COUNTRY"]) for own in dataset.by_country.values())
    return {"rows": rows, "columns": len(first), "nodes": len(dataset.by_country)}


def _warm(dataset: str) -> Planned:
    if dataset == "TTE":
        return Planned("warm-TTE", "kaplan_meier", "TTE", "Surv(DAY, EVENT) ~ 1")
    outcome, where = ("CHG", "BASE") if dataset == "VIS" else ("Y", "X1")
    return Planned(f"warm-{dataset}", "linear_model", dataset, f"{outcome} ~ {where}")


def _ours(part: Part, study: Study, pids: Sequence[int]) -> tuple[dict[str, object], float, list[Fit]]:
    first: list[float] = []
    fits: list[Fit] = []
    used = _processor_seconds(pids)
    for same in part.asked:
        names = [planned.name for planned in same]
        seconds, found = ask(study, *names)
        first.append(seconds)
        fits = fits or found
    used = (_processor_seconds(pids) - used) / len(part.asked)
    names = [planned.name for planned in part.asked[0]]
    again = [ask(study, *names)[0] for _ in range(3)]
    said: dict[str, object] = {
        "seconds": spread(first),
        "processor_seconds": round(used, 3),
        "seconds_rows_prepared": spread(again),
        "rounds": sum(fit.result.rounds for fit in fits),
    }
    return said, statistics.median(first), fits


def _processor_seconds(pids: Sequence[int]) -> float:
    """Of processes since they began, added up: what a crowded machine changes least."""
    ticks = 0
    for pid in pids:
        # after the name, which may hold anything and ends with the last bracket
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _others(part: Part, seconds: float, fits: Sequence[Fit], handed: Path) -> dict[str, object]:
    """Each tool by its name; a language whose tools said nothing, with the reason."""
    values = part.values(fits)
    hand_over_extra(handed, part.handed(fits))
    against: dict[str, object] = {}
    for language, run in (("R", by_r), ("Python", by_python)):
        answer = run(part.name, handed)
        if isinstance(answer, str):
            against[language] = answer
            continue
        for name, other in answer.items():
            target = next((t for begin, t in part.targets.items() if name.startswith(begin)), None)
            against[name] = _against(values, other, seconds, target)
    return against


def _against(values: Values, other: Mapping[str, Any], seconds: float, target: float | None) -> dict[str, Any]:
    """One tool: seconds, ratio, agreement of what both say, and whether the ratio counts."""
    theirs = statistics.median(np.atleast_1d(other["seconds"]).tolist())
    shared = {name: np.atleast_1d(other[name]) for name in values if name in other}
    agreement = {name: _difference(values[name], them) for name, them in shared.items()}
    own = {
        f"its own {name}": _difference(values[name], np.atleast_1d(other[f"own_{name}"]))
        for name in values
        if f"own_{name}" in other
    }
    return {
        "version": other["version"],
        "seconds": round(theirs, 3),
        "processor_seconds": round(statistics.median(np.atleast_1d(other["processor_seconds"]).tolist()), 3),
        "ratio": round(theirs / seconds, 2),
        "target": target,
        "largest_relative_difference": {**agreement, **own},
        # where a tool evaluates what it maximises at our answer, that decides: its own search may end early
        "counts": all(d <= AGREES for d in (agreement or own).values()),
    }


def _difference(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Largest relative difference; infinite where the numbers are not as many."""
    if ours.shape != theirs.shape:
        return math.inf
    scale = np.maximum(np.abs(theirs), np.finfo(float).tiny)
    return float(np.max(np.abs(ours - theirs) / scale, initial=0.0))
