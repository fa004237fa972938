"""Inspection replay: every pooled number computed again from the nodes' exported journals, without nodes or rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isthmus.errors import CountriesMissing, DataError, IsthmusError, UsageError, VersionError
from isthmus_client.replay.bundle import Bundle, read_bundles
from isthmus_client.replay.compare import read_results
from isthmus_client.replay.driver import replay_run, runs_of
from isthmus_client.replay.held import hold, not_in_journals
from isthmus_client.replay.replayed import Outcome, Replayed
from isthmus_client.replay.show import Judged, document_of, words

__all__ = [
    "Bundle",
    "Judged",
    "Outcome",
    "Replayed",
    "document_of",
    "exit_code_of",
    "read_bundles",
    "replay",
    "words",
]

# The worst comes first.
_EXITS: tuple[tuple[Outcome, type[IsthmusError]], ...] = (
    (Outcome.FAILED, DataError),
    (Outcome.OTHER_RELEASE, VersionError),
    (Outcome.INCOMPLETE, CountriesMissing),
)


def replay(bundles: Sequence[Bundle], results: Path | None = None, run: str = "", exact: bool = False) -> list[Judged]:
    """Pool every run of the bundles again.

    Parameters
    ----------
    bundles
        As `read_bundles` gave them.
    results
        A ``result.json``: only its runs are pooled, and each of its results is held against the journals.
    run
        Only runs whose number begins so, in hexadecimal.
    exact
        Numbers that are equal to 1e-12 and not to the bit are a difference.

    Raises
    ------
    UsageError
        ``NO_RUN`` where nothing is left to pool.
    ConfigError
        ``NO_RESULTS`` where the file holds none.
    """
    found = runs_of(bundles)
    if results is None:
        judged = [Judged(replay_run(n, found[n], bundles)) for n in found if n.hex().startswith(run.lower())]
    else:
        judged = []
        for result in read_results(results):
            number = str(result["run"])
            if not number.startswith(run.lower()):
                continue
            entries = next((found[n] for n in found if n.hex() == number), None)
            if entries is None:
                judged.append(Judged(not_in_journals(result, results.name)))
                continue
            replayed = replay_run(bytes.fromhex(number), entries, bundles)
            judged.append(Judged(*hold(result, replayed, results.name, exact)))
    if not judged:
        raise UsageError("NO_RUN", "no run of that number is in the bundles", "see isthmus-node journal show for runs")
    return judged


def exit_code_of(judged: Sequence[Judged]) -> int:
    """0 where every run that was looked for holds, else the code of the worst that was met."""
    outcomes = {one.replayed.outcome for one in judged}
    return next((error.exit_code for outcome, error in _EXITS if outcome in outcomes), 0)
