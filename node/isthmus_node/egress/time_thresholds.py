"""The numbers of the policy that hold along time: for tables, hazards and sums over those at risk."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from isthmus_node.egress.auditor_thresholds import Pair

# As the fields of a `Key`: rule in words, what is tighter, public, trial, committee, source.
Row = tuple[str, str, Pair, Pair, Pair, str]

ALONG_TIME: Mapping[str, Row] = MappingProxyType(
    {
        "table_persons": (
            "a time table is over {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (1, 1),
            "as cell_persons",
        ),
        "leavers_per_step": (
            "{} or more persons leave the risk set at each step of a time table",
            "larger",
            (11, 5),
            (0, 0),
            (0, 0),
            "ACRO merges the steps of a curve until 10 leave; trials have a grid of days: 0, or 3 where asked for",
        ),
        "at_risk": (
            "{} or more persons are at risk at each step of a time table",
            "larger",
            (11, 5),
            (0, 0),
            (0, 0),
            "as leavers_per_step",
        ),
        "hazard_at_risk": (
            "{} or more persons are at risk at each step of a baseline hazard",
            "larger",
            (11, 5),
            (5, 3),
            (5, 3),
            "as cell_persons",
        ),
        "risk_set_persons": (
            "each sum over persons at risk is of {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (5, 3),
            "as cell_persons",
        ),
        "risk_set_leavers": (
            "{} or more persons leave between two listed times of sums over persons at risk, or none",
            "larger",
            (11, 5),
            (5, 3),
            (5, 3),
            "as cell_persons: two such sums differ by the covariates of those who left",
        ),
    }
)
