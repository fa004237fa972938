"""A network of real processes with generated rows and an approved study, and what is timed over it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.rows import Dataset, Planned, study_toml
from isthmus_client.proposal import study_from_toml
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Sandbox
from isthmus_client.study import Study

STUDY = "BENCH"


@contextmanager
def network(
    folder: Path,
    countries: Mapping[str, str],
    datasets: Sequence[Dataset],
    plan: Sequence[Planned],
    mode: str = "open",
) -> Iterator[Sandbox]:
    """A coordinator and a node a country (by the node's name), each with its rows and the study's plan approved."""
    with Sandbox(folder) as box:
        _set_up(box, folder, countries, datasets, plan, mode)
        yield box


def _set_up(
    box: Sandbox,
    folder: Path,
    countries: Mapping[str, str],
    datasets: Sequence[Dataset],
    plan: Sequence[Planned],
    mode: str,
) -> None:
    box.init_coordinator()
    box.start_coordinator()
    box.join(countries)
    box.login("bench")
    for dataset in datasets:
        files = dataset.write(folder)
        more = ("--open-data",) if dataset.open_data else ()
        box.at_each_node(
            {n: ("data", "add", str(files[c]), "--dataset", dataset.name, *more) for n, c in countries.items()}
        )
    box.start_nodes(countries)
    document = folder / "study.toml"
    document.write_text(study_toml(STUDY, datasets, list(countries), plan, mode), encoding="utf-8")
    with box.connect() as connection:
        connection.propose(study_from_toml(document, connection.participants()))
    box.approve(STUDY, countries, "bench")


def seconds_of(run: Callable[[], Fit]) -> tuple[float, Fit]:
    """Seconds from request to result, and the result."""
    began = time.perf_counter()
    fit = run()
    return time.perf_counter() - began, fit


def ask(study: Study, *names: str) -> tuple[float, list[Fit]]:
    """Analyses of the plan, one after another: seconds together, and the results."""
    total, fits = 0.0, []
    for name in names:
        seconds, fit = seconds_of(lambda name=name: study.planned(name).run(progress=False))  # type: ignore[misc]
        total += seconds
        fits.append(fit)
    return total, fits


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }
