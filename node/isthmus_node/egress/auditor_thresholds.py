"""The numbers of the policy that hold over all releases from a dataset together; `thresholds.py` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Number = bool | int | float
# (default, floor): a site's policy may be tighter than the default, and never looser than the floor.
Pair = tuple[Number, Number]
# As the fields of a `Key`: rule in words, what is tighter, public, trial, committee, source, rule where it is off.
Row = tuple[str, str, Pair, Pair, Pair, str, str]

OVER_RELEASES: Mapping[str, Row] = MappingProxyType(
    {
        "difference_persons": (
            "whatever the releases from a dataset tell apart together is {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (1, 1),
            "as cell_persons; linear auditing: Chin and Ozsoyoglu 1982",
            "",
        ),
        "plan_covers_missing": (
            "analyses of one approved plan may differ by the few persons who lack a value or an event",
            "false",
            (False, True),
            (True, True),
            (True, True),
            "a plan is read before it runs; each of its tables leaves out other persons, for missing values or events",
            "analyses of a plan, too, are held apart by the persons they really use",
        ),
        "persons_per_cohort": (
            "no more independent cohorts than one for each {} persons, or a dozen, but for an approved plan",
            "larger",
            (10, 10),
            (10, 5),
            (10, 5),
            "rank of the released sums at most n / 10: Chin and Ozsoyoglu 1982",
            "",
        ),
        "cut_points": (
            "a variable is cut at {} different numbers or fewer, by all analyses of a dataset together, and outside an "
            "approved plan only where round numbers cut its range into no more parts than that",
            "smaller",
            (10, 20),
            (20, 50),
            (20, 50),
            "bisection of a cut point reads an order statistic",
            "",
        ),
        "filter_depth": (
            "conditions are nested no more than {} deep",
            "smaller",
            (3, 3),
            (3, 4),
            (3, 4),
            "a custodian has to read it",
            "",
        ),
        "quasi_identifiers": (
            "conditions look at no more than {} quasi-identifiers",
            "smaller",
            (3, 3),
            (3, 4),
            (3, 4),
            "three make most people unique: Sweeney 2000",
            "",
        ),
    }
)
