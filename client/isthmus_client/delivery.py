"""Results of a command: written to a folder, shown in the terminal, and its exit code where a country is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from isthmus.command import console, emit, say
from isthmus.errors import CountriesMissing
from isthmus.untrusted import file_part

if TYPE_CHECKING:
    from isthmus_client.results.fit import Fit


def deliver(fits: Sequence[Fit], out: Path | None, json: bool) -> None:
    """Write the files, show the results, and end with 17 where a country is not in one of them."""
    from isthmus_client.report import results_document
    from isthmus_client.terminal import show

    written = write_results_to(fits, out) if out is not None else []
    payload = {**results_document(fits), "files": [str(path) for path in written]}
    missing = sorted({country for fit in fits for country in fit.missing_countries})

    def render() -> None:
        show(console(), fits)
        for path in written:
            say(f"written {path}")
        if missing:
            say(f"not in every result: {', '.join(missing)}", err=True)

    emit(json, payload, render, status="countries_missing" if missing else "ok")
    if missing:
        raise typer.Exit(CountriesMissing.exit_code)


def write_results_to(fits: Sequence[Fit], out: Path) -> list[Path]:
    """``result.json``, ``report.html``, a CSV of each result's table and each trained model in a folder."""
    from isthmus_client.report import write_report, write_results
    from isthmus_client.results import TrainingFit

    written = [write_results(fits, out / "result.json"), write_report(fits, out / "report.html")]
    everything = [f for fit in fits for f in (fit, *fit.beside)]
    for number, fit in enumerate(everything, start=1):
        name = fit.result.analysis or fit.method
        written.append(fit.to_csv(out / f"{number:02d}-{file_part(name)}.csv"))
        if isinstance(fit, TrainingFit):
            written.append(fit.save(out / f"{number:02d}-{file_part(name)}-model"))
    return written
