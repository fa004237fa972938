"""The numbers of the policy: what each one means, where it comes from, its default and its floor for every purpose.

All of them are conventions for local legal review; none of them makes a release lawful.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from isthmus.v1 import study_pb2
from isthmus_node.egress.auditor_thresholds import OVER_RELEASES, Number as Number, Pair as Pair
from isthmus_node.egress.time_thresholds import ALONG_TIME
from isthmus_node.egress.training_thresholds import OF_TRAINING

# As a purpose is written in policy.toml and in the journal.
PURPOSES: Mapping[str, int] = MappingProxyType(
    {
        "feasibility": study_pb2.FEASIBILITY,
        "publication": study_pb2.PUBLICATION,
        "trial_analysis": study_pb2.TRIAL_ANALYSIS,
        "closed_committee": study_pb2.CLOSED_COMMITTEE,
    }
)

# As the part that recipients play is written in policy.toml.
RECIPIENTS: Mapping[str, int] = MappingProxyType(
    {
        "statistician": study_pb2.STATISTICIAN,
        "sponsor": study_pb2.SPONSOR,
        "committee": study_pb2.COMMITTEE,
        "authority": study_pb2.AUTHORITY,
        "public": study_pb2.PUBLIC,
    }
)

# Roles of variables that a policy may keep out of every analysis, as they are written in it.
VARIABLE_ROLES: Mapping[str, int] = MappingProxyType(
    {
        "genomic": study_pb2.Variable.GENOMIC,
        "quasi_identifier": study_pb2.Variable.QUASI_IDENTIFIER,
        "unblinding": study_pb2.Variable.UNBLINDING,
    }
)


@dataclass(frozen=True, slots=True)
class Key:
    """One threshold. The type of its default is the type it has in policy.toml."""

    rule: str  # in words; {} is the number
    tighter: str  # "larger", "smaller"; for a switch "false"
    public: Pair  # feasibility and publication
    trial: Pair  # trial_analysis
    committee: Pair  # closed_committee
    source: str
    rule_off: str = ""  # the rule in words where it is off
    off: Number = False  # and the number at which it is

    def is_looser(self, value: Number, floor: Number) -> bool:
        """Whether a value lets more out than the floor does."""
        return value > floor if self.tighter in ("smaller", "false") else value < floor

    def tightest(self, values: Iterable[Number]) -> Number:
        """Of several values the one that lets least out."""
        return min(values) if self.tighter in ("smaller", "false") else max(values)


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "cell_persons": Key(
            "each count, and the rest of its total, is of {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (1, 1),
            "11: EMA Policy 0070, Health Canada (risk 0.09), CMS (no 1 to 10); 5: vantage6 crosstab; 3: DataSHIELD",
        ),
        "zeros_shown": Key(
            "a count of nobody may be shown",
            "false",
            (False, True),
            (True, True),
            (True, True),
            "false: a zero tells something of everybody in the class; true: NDB Japan, and trial tables need it",
            "a count of nobody is withheld as a small one is",
        ),
        "count_rounding": Key(
            "counts leave as multiples of {}, so that totals are of rounded parts; what a sum is over stays exact",
            "larger",
            (5, 5),
            (1, 1),
            (1, 1),
            "5: OpenSAFELY; who knows all others of a published count learns the last from an exact one",
            "counts leave as they are",
            1,
        ),
        "sum_persons": Key(
            "each sum, and each model and its events, is of {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (3, 3),
            "as cell_persons",
        ),
        "two_largest_share": Key(
            "two persons make up no more than {} of a sum",
            "smaller",
            (0.9, 0.9),
            (0.9, 0.9),
            (0.9, 0.9),
            "(n, k) rule with n = 2, k = 90 %: ACRO",
        ),
        "remainder_share": Key(
            "what lies beyond the two largest contributions is {} of the largest or more, and persons differ",
            "larger",
            (0.1, 0.1),
            (0.1, 0.1),
            (0.1, 0.1),
            "p-ratio 10 %: ACRO",
        ),
        "residual_df": Key(
            "a model leaves {} or more residual degrees of freedom", "larger", (10, 5), (0, 0), (0, 0), "10: ACRO"
        ),
        "parameters_per_person": Key(
            "a model has no more than {} parameters a person",
            "smaller",
            (0.1, 0.33),
            (0.33, 0.33),
            (0.33, 0.33),
            "0.33: DataSHIELD; 0.1: the rule of ten",
        ),
        "parameters_per_event": Key(
            "a survival model has no more than {} parameters an event",
            "smaller",
            (0.33, 0.33),
            (0.33, 0.33),
            (0.33, 0.33),
            "0.33: DataSHIELD's share, taken of the events",
        ),
        "level_persons": Key(
            "each level of each term, and the rest of its total, has {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (5, 3),
            "as cell_persons",
        ),
        "effective_persons": Key(
            "the weights of a model leave {} or more effective persons",
            "larger",
            (11.0, 5.0),
            (5.0, 3.0),
            (5.0, 3.0),
            "as cell_persons; (sum w)^2 / sum w^2: Kish 1965",
        ),
        "leverage": Key(
            "no row of a model has a leverage above {}",
            "smaller",
            (0.5, 0.5),
            (0.5, 0.5),
            (0.5, 0.5),
            "0.5: Huber 1981, section 7.2",
        ),
        "predictor": Key(
            "no person's centred linear predictor is beyond {}",
            "smaller",
            (30.0, 30.0),
            (30.0, 30.0),
            (30.0, 30.0),
            "30: at exp(30) one person outweighs every other",
        ),
        **{name: Key(*row) for name, row in ALONG_TIME.items()},
        "histogram_persons": Key(
            "a histogram is of {} or more persons",
            "larger",
            (50, 20),
            (20, 10),
            (20, 10),
            "quantiles of fewer persons come close to single values: 50 published, 20 in a trial",
        ),
        "bin_persons": Key(
            "each cell of a histogram is of {} or more persons",
            "larger",
            (11, 5),
            (5, 3),
            (5, 3),
            "as cell_persons",
        ),
        "age_top": Key(
            "ages above {0} years are read as {0}",
            "smaller",
            (90, 90),
            (90, 150),
            (90, 150),
            "90: ages of 90 and more are one in 45 CFR 164.514(b)(2)(i)(C); 150: nobody is older",
            "ages are read as they are",
            150,
        ),
        "contributors": Key(
            "a run is over {} or more countries",
            "larger",
            (1, 1),
            (1, 1),
            (1, 1),
            "vantage6 and sealed sums ask for 3; 1: a country's own result shows no more than its summary does",
        ),
        **{name: Key(*row) for name, row in OVER_RELEASES.items()},
        **{name: Key(*row) for name, row in OF_TRAINING.items()},
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds of one purpose: the fields are `KEYS`, in their order."""

    cell_persons: int
    zeros_shown: bool
    count_rounding: int
    sum_persons: int
    two_largest_share: float
    remainder_share: float
    residual_df: int
    parameters_per_person: float
    parameters_per_event: float
    level_persons: int
    effective_persons: float
    leverage: float
    predictor: float
    table_persons: int
    leavers_per_step: int
    at_risk: int
    hazard_at_risk: int
    risk_set_persons: int
    risk_set_leavers: int
    histogram_persons: int
    bin_persons: int
    age_top: int
    contributors: int
    difference_persons: int
    plan_covers_missing: bool
    persons_per_cohort: int
    cut_points: int
    filter_depth: int
    quasi_identifiers: int
    update_persons: int
    batch_persons: int
    update_contributors: int
    update_parameters_per_person: float
    update_norm: float
    update_noise: float
    privacy_budget: float
    metric_persons: int
    metric_digits: int
    examples_rounding: int

    def rule(self, *names: str) -> str:
        """Some of the thresholds in words, with this purpose's own numbers."""
        return "; ".join(
            KEYS[name].rule_off if KEYS[name].rule_off and value == KEYS[name].off else KEYS[name].rule.format(value)
            for name in names
            for value in [getattr(self, name)]
        )


def strictest(several: Sequence[Limits]) -> Limits:
    """Each threshold from the limits that have it tightest; `several` has one or more."""
    chosen: dict[str, Any] = {
        name: key.tightest(getattr(limits, name) for limits in several) for name, key in KEYS.items()
    }
    return Limits(**chosen)


def compiled_in(purpose: int) -> tuple[Limits, Limits]:
    """Defaults and floors of a purpose. Raises `KeyError` where there is none such."""
    columns: dict[int, str] = {
        study_pb2.FEASIBILITY: "public",
        study_pb2.PUBLICATION: "public",
        study_pb2.TRIAL_ANALYSIS: "trial",
        study_pb2.CLOSED_COMMITTEE: "committee",
    }
    column = columns[purpose]
    pairs: dict[str, Any] = {name: getattr(key, column) for name, key in KEYS.items()}
    return Limits(**{n: p[0] for n, p in pairs.items()}), Limits(**{n: p[1] for n, p in pairs.items()})
