"""All results of one session as one JSON document, for machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isthmus.untrusted import json_text
from isthmus.version import __version__
from isthmus_client.results.fit import JSON_VERSION, Fit, write_text


def results_document(fits: Sequence[Fit]) -> dict[str, object]:
    """Plain values: the results in order, each as `Fit.as_dict` gives it; none missing."""
    found: list[Fit] = []
    for fit in fits:
        found += [f for f in (fit, *fit.beside) if f not in found]
    return {
        "schema_version": JSON_VERSION,
        "software": __version__,
        "results": [fit.as_dict() for fit in found],
    }


def write_results(fits: Sequence[Fit], path: str | Path) -> Path:
    """Write the document.

    Parameters
    ----------
    fits
        Results of one study.
    path
        The file, customarily ``result.json``.

    Raises
    ------
    ConfigError
        ``FILE_NOT_WRITTEN``.
    """
    text = json_text(results_document(fits), indent=1)
    return write_text(Path(path), text + "\n")
