"""Where a run stands, country by country, for those who watch it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from isthmus.v1 import analyst_pb2
from isthmus_coordinator.analyses.run import Run
from isthmus_coordinator.analyses.states import State


def progress_of(run: Run, attached: Callable[[str], bool], standing: Mapping[str, bool]) -> analyst_pb2.Progress:
    """Progress of a run.

    Parameters
    ----------
    run
        As it stands.
    attached
        Whether a node is attached now.
    standing
        For each node that decided on the study: whether it approved. Looked at while the run waits only.
    """
    return analyst_pb2.Progress(
        state=run.state.value,
        round=run.round,
        countries=[
            analyst_pb2.CountryProgress(
                node=p.node,
                country=p.country,
                state=_state(run, p.node, attached, standing),
                bytes=run.traffic.get(p.node, (0, 0))[1],
            )
            for p in run.request.study.participants
        ],
        measure=run.measure,
        measured=run.measured,
    )


def _state(run: Run, node: str, attached: Callable[[str], bool], standing: Mapping[str, bool]) -> str:
    left = run.left_out.get(node)
    if left is not None:
        return "refused" if left.how == "refused" else "left out"
    if run.state is State.WAITING and not standing.get(node, False):
        return "waiting for approval"
    if node not in run.asked:
        return "not asked"
    if node in run.answers:
        return "answered"
    if not attached(node):
        return "away"
    waits = run.waits.get(node, "")
    return "held for inspection" if waits == "OUTPUT_HELD" else "waiting for a decision" if waits else "asked"
