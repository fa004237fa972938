"""The same analysis with other countries: the difference of two pooled results is one country's own: so it is counted.

What analysts see of a study that keeps countries apart are sums over them. With a country and without it, these tell
the country's own. No node sees the run that it is left out of, so each guards the others: it knows with which countries
it answered an analysis.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.errors import ConfigError, Refused, WaitingForApproval
from isthmus.recent import RecentMap
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_node.custodian.decisions import RUN, Decisions, run_digest
from isthmus_trust.key_files import replace

# Sets of countries that one analysis is answered with where a person says yes: the first, and one more.
MOST_SETS = 2
# Runs that are remembered as let through, and where what became of them is to be noted.
_RUNS_KEPT = 1024


@dataclass(slots=True)
class _Set:
    """Countries that an analysis was answered with: in runs that may still end without a result, or in one with."""

    nodes: tuple[str, ...]
    runs: list[str] = field(default_factory=list)
    given: bool = False


class Reruns:
    """With which countries each analysis was answered, one file an analysis. Of the working thread.

    Parameters
    ----------
    folder
        Its part of the node's state.
    decisions
        What the custodian said of runs.
    """

    def __init__(self, folder: Path, decisions: Decisions) -> None:
        self._folder = folder
        self._decisions = decisions
        self._passed: RecentMap[tuple[bytes, tuple[str, ...]], bytes] = RecentMap(_RUNS_KEPT)

    def check(self, analysis: bytes, task: summary_pb2.Task, study: study_pb2.Study, policy: str) -> None:
        """Note that a run asks for an analysis with its countries, before anything of it leaves.

        Parameters
        ----------
        analysis
            Equal for requests of a study that ask the same of the same persons and snapshot, 32 bytes.
        policy
            "refuse" or "ask": what the site's policy says where it was answered with other countries.

        Raises
        ------
        Refused
            ``OTHER_COUNTRIES``, ``RUN_DECLINED``.
        WaitingForApproval
            ``RUN_NOT_DECIDED``: a person decides on it.
        ConfigError
            ``RERUNS_UNREADABLE``, ``FILE_NOT_WRITTEN``: nothing leaves then.
        """
        nodes = tuple(task.participants)
        if self._passed.get((task.run, nodes)) == analysis:
            return
        sets = self._read(analysis)
        run = task.run.hex()
        # one run gives one result, whatever countries it began with
        before = [one for one in sets if one.given or any(other != run for other in one.runs)]
        if before and all(one.nodes != nodes for one in before):
            self._ask(task, study, before, policy)
        for one in sets:
            one.runs = [other for other in one.runs if other != run]
        own = next((one for one in sets if one.nodes == nodes), None)
        if own is None:
            own = _Set(nodes)
            sets.append(own)
        if not own.given:
            own.runs.append(run)
        self._write(analysis, sets)
        self._passed.put((task.run, nodes), analysis)

    def ended(self, run: bytes, given: bool) -> None:
        """A run ended, with a result that analysts can see or without: then it tells nothing."""
        for one, nodes in self._passed:
            analysis = self._passed.pop((one, nodes)) if one == run else None
            if analysis is None:
                continue
            sets = self._read(analysis)
            for found in sets:
                if run.hex() in found.runs:
                    found.given = found.given or given
                    found.runs = [] if found.given else [other for other in found.runs if other != run.hex()]
            self._write(analysis, sets)

    def _ask(self, task: summary_pb2.Task, study: study_pb2.Study, before: Sequence[_Set], policy: str) -> None:
        if policy != "ask" or len({one.nodes for one in before}) >= MOST_SETS:
            raise Refused(
                "OTHER_COUNTRIES",
                f"this analysis was answered with other countries: {_difference(task, study, before)}; "
                "rule: the difference of two results is not to be one country's own",
                "have the analysis wait for its countries (missing_country), or ask the sites' custodians to let one "
                "more run through ([runs] other_countries in the policy)",
            )
        made = self._decisions.about(run_digest(task), RUN)
        if made is None:
            raise WaitingForApproval(
                "RUN_NOT_DECIDED",
                f"this analysis was answered with other countries: {_difference(task, study, before)}",
                "wait for the custodian: isthmus-node approve or refuse",
            )
        if not made.decision.approved:
            raise Refused("RUN_DECLINED", "the site's custodian declined this run", "ask the site's custodian")

    def _read(self, analysis: bytes) -> list[_Set]:
        path = self._path(analysis)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return [
                _Set(tuple(map(str, one["nodes"])), list(map(str, one["runs"])), bool(one["given"])) for one in kept
            ]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                "RERUNS_UNREADABLE",
                f"{path}, which says with which countries an analysis was answered, cannot be read",
                "restore the state folder from the backup; rule: without it the analysis is not answered",
            ) from error

    def _write(self, analysis: bytes, sets: Sequence[_Set]) -> None:
        kept = [{"nodes": one.nodes, "runs": one.runs, "given": one.given} for one in sets if one.given or one.runs]
        replace(self._path(analysis), json.dumps(kept).encode())

    def _path(self, analysis: bytes) -> Path:
        return self._folder / f"{analysis.hex()}.json"


def _difference(task: summary_pb2.Task, study: study_pb2.Study, before: Sequence[_Set]) -> str:
    """E.g. ``without KR, which took part`` or ``now with KR``: names of countries, never a number."""
    country = {p.node: p.country for p in study.participants}
    now = set(task.participants)
    earlier = set(before[0].nodes)
    gone = sorted(country.get(node, node) for node in earlier - now)
    come = sorted(country.get(node, node) for node in now - earlier)
    said = [f"with {', '.join(gone)} then"] if gone else []
    said += [f"with {', '.join(come)} now"] if come else []
    return " and ".join(said)
