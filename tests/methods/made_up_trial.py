"""A made-up trial, and for every method requests on which its properties are tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from reference_cases import Rows, block_of

from isthmus_methods import contract as c

TRIAL = {
    v.name: v
    for v in (
        c.Variable("time", c.VariableType.NUMERIC, unit="days", minimum=0, maximum=120, grid=1.0),
        c.Variable("event", c.VariableType.INTEGER, minimum=0, maximum=1),
        c.Variable("arm", c.VariableType.FACTOR, levels=("placebo", "low", "high")),
        c.Variable("sex", c.VariableType.FACTOR, levels=("F", "M"), may_be_missing=True),
        c.Variable("age", c.VariableType.NUMERIC, unit="years", minimum=18, maximum=99),
        c.Variable("grade", c.VariableType.FACTOR, levels=("1", "2", "3", "4")),
        c.Variable("site", c.VariableType.INTEGER, minimum=0, maximum=40),
        c.Variable("cause", c.VariableType.FACTOR, levels=("censored", "relapse", "death")),
        c.Variable("person", c.VariableType.INTEGER, minimum=0, maximum=1000),
        c.Variable("patient", c.VariableType.INTEGER, minimum=0, maximum=1000),
        c.Variable("visit", c.VariableType.FACTOR, levels=("week 4", "week 8", "week 12")),
        c.Variable("marker", c.VariableType.NUMERIC, may_be_missing=True),
        c.Variable("change", c.VariableType.INTEGER),
        c.Variable("country", c.VariableType.FACTOR, levels=("CN", "JP", "KR", "TW"), roles=frozenset({"COUNTRY"})),
    )
}


EVENTS = {
    v.name: v
    for v in (
        c.Variable("class", c.VariableType.FACTOR, levels=("SKIN", "HEART", "EYE"), may_be_missing=True),
        c.Variable("term", c.VariableType.FACTOR, levels=("ITCH", "RASH", "ANGINA", "BLUR")),
        c.Variable("severity", c.VariableType.FACTOR, levels=("MILD", "SEVERE")),
        c.Variable("day", c.VariableType.INTEGER, minimum=-5, maximum=200, may_be_missing=True),
    )
}


def refs(*names: str) -> tuple[c.Column, ...]:
    return tuple(c.Ref(name) for name in names)


TERMS = tuple(c.Term(refs(name)) for name in ("arm", "age", "sex"))
BY_COUNTRY = (c.Term(refs("country")), TERMS[0], c.Term(refs("country", "arm")))
SURVIVAL = {"time": refs("time"), "event": refs("event")}


@dataclass(frozen=True)
class Example:
    """A request that the properties are tested on, and what is true of its method."""

    roles: Mapping[str, tuple[c.Column, ...]]
    options: Mapping[str, c.Setting] = field(default_factory=dict)
    terms: tuple[c.Term, ...] = ()
    events: Mapping[str, tuple[c.Column, ...]] = field(default_factory=dict)  # roles of the events of the patients
    over_countries: bool = False  # the answer does not depend on which rows are in which country
    rtol: float = 1e-12


# Every method of the registry stands here, or `test_every_method` fails.
EXAMPLES: Mapping[str, Mapping[str, Example]] = {
    "table_one": {
        "by arm": Example({"variables": refs("age", "marker", "sex"), "arm": refs("arm")}, over_countries=True),
        "by country": Example({"variables": refs("sex", "age")}, {"by_country": True}),
        "quantiles": Example(
            {"variables": refs("time", "sex"), "arm": refs("arm")}, {"quantiles": True}, over_countries=True
        ),
    },
    "crosstab": {
        "two arms": Example(
            {"row": refs("arm"), "column": refs("sex")},
            {"treated": "high", "control": "placebo", "event": "F"},
            over_countries=True,
        ),
        "exact": Example({"row": refs("arm"), "column": refs("event")}, {"fisher": True}, over_countries=True),
    },
    "cmh": {
        "within countries": Example(
            {"arm": refs("arm"), "outcome": refs("event"), "strata": refs("country")},
            {"treated": "high", "control": "placebo"},
        ),
        "within levels": Example(
            {"arm": refs("arm"), "outcome": refs("event"), "strata": refs("sex")},
            {"treated": "high", "control": "placebo"},
            over_countries=True,
        ),
        "general": Example({"arm": refs("arm"), "outcome": refs("sex"), "strata": refs("event")}, over_countries=True),
    },
    "safety": {
        "by class and term": Example(
            {"arm": refs("arm"), "exposure": refs("time")},
            {"control": "placebo", "subsets": ("severe",)},
            events={
                "group_term": refs("class"),
                "term": refs("term"),
                "day": refs("day"),
                "subsets": (c.Indicator(c.Comparison("severity", c.Operator.EQUAL, "SEVERE")),),
            },
            over_countries=True,
        ),
        "by class": Example(
            {"arm": refs("arm"), "exposure": refs("marker")}, events={"group_term": refs("class")}, over_countries=True
        ),
    },
    "kaplan_meier": {
        "by arm": Example(
            {**SURVIVAL, "by": refs("arm", "sex")},
            {"times": (10.0, 30.0, 60.0), "tau": 60.0, "compare": ("high", "placebo")},
            over_countries=True,
        ),
        "landmark": Example({**SURVIVAL, "by": refs("arm")}, {"landmark": 5.0}, over_countries=True),
    },
    "log_rank": {
        "within countries": Example({**SURVIVAL, "arm": refs("arm"), "strata": refs("sex")}),
        "over countries": Example(
            {**SURVIVAL, "arm": refs("arm"), "strata": refs("sex")},
            {"stratify_by_country": False},
            over_countries=True,
        ),
        "both": Example({**SURVIVAL, "arm": refs("arm")}, {"unstratified": True}),
    },
    # a fit ends within its convergence criterion of the maximum, not on it
    "cox": {
        "efron": Example(SURVIVAL, {}, TERMS, rtol=1e-9),
        "breslow, strata, all extras": Example(
            {**SURVIVAL, "strata": refs("sex")},
            {
                "ties": "breslow",
                "robust": True,
                "baseline": True,
                "baseline_times": (10.0, 30.0),
                "concordance": True,
                "zph": "both",
            },
            TERMS[:2],
            rtol=1e-9,
        ),
        "one baseline hazard, all extras": Example(
            {**SURVIVAL, "strata": refs("sex")},
            {
                "stratify_by_country": False,
                "robust": True,
                "robust_each_row": True,
                "baseline": True,
                "concordance": True,
                "zph": "both",
            },
            TERMS[:2],
            over_countries=True,
            rtol=1e-9,
        ),
        "one baseline hazard, weights, the country as a term": Example(
            {**SURVIVAL, "weights": refs("age")},
            {"stratify_by_country": False, "ties": "breslow", "robust_country": True, "baseline": True},
            tuple(c.Term(refs(name)) for name in ("arm", "sex", "country")),
            rtol=1e-9,
        ),
    },
    "ordinal": {
        "with a product": Example(
            {"outcome": refs("grade")},
            {},
            (*TERMS, c.Term(refs("arm", "age")[::-1]), c.Term(refs("country"))),
            over_countries=False,
            rtol=1e-8,
        ),
        "without tests of terms": Example(
            {"outcome": refs("grade")}, {"drop1": False}, TERMS[:2], over_countries=True, rtol=1e-8
        ),
    },
    "gee": {
        "binomial": Example(
            {"outcome": refs("event"), "cluster": refs("site")},
            {"family": "binomial"},
            (*TERMS, c.Term(refs("country"))),
            rtol=1e-7,
        ),
        "gaussian": Example({"outcome": refs("age"), "cluster": refs("site")}, {}, TERMS[:1], rtol=1e-7),
    },
    "t_test": {
        "by sex": Example({"outcome": refs("time"), "arm": refs("sex")}, over_countries=True, rtol=1e-9),
        "ranks of numbers below zero": Example(
            {"outcome": refs("change"), "arm": refs("sex")}, over_countries=True, rtol=1e-9
        ),
        "two arms of three": Example(
            {"outcome": refs("marker"), "arm": refs("arm")},
            {"treated": "high", "control": "placebo", "ranks": False},
            over_countries=True,
            rtol=1e-9,
        ),
    },
    "paired_t_test": {
        "age and marker": Example({"first": refs("age"), "second": refs("marker")}, over_countries=True, rtol=1e-9)
    },
    "anova": {
        "by arm": Example({"outcome": refs("time"), "group": refs("arm")}, over_countries=True, rtol=1e-9),
    },
    "linear_model": {
        "ancova": Example(
            {"outcome": refs("marker")},
            {"robust": True, "arm": "arm", "control": "placebo"},
            (*TERMS, c.Term(refs("arm", "age"))),
            over_countries=True,
            rtol=1e-9,
        ),
        "clusters over countries": Example(
            {"outcome": refs("marker"), "cluster": refs("sex")}, {}, TERMS[:2], over_countries=True, rtol=1e-9
        ),
        "without terms": Example({"outcome": refs("age")}, {"robust": True}, over_countries=True, rtol=1e-9),
    },
    "regional_consistency": {
        "by country": Example(SURVIVAL, {"coefficient": "arm=high"}, TERMS, rtol=1e-7),
        "by region, of a linear model": Example(
            {"outcome": refs("marker")},
            {
                "estimate": "linear_model",
                "coefficient": "arm=high",
                "benefit": "higher",
                "regions": ("EastAsia=CN+JP", "Other=KR+TW"),
                "tau_scale": 2.0,
            },
            TERMS,
            rtol=1e-7,
        ),
    },
    "glm": {
        "logistic": Example(
            {"outcome": refs("event"), "cluster": refs("sex")},
            {"drop1": True, "robust": True},
            (*TERMS, c.Term(refs("arm", "age"))),
            over_countries=True,
            rtol=1e-8,
        ),
        "poisson": Example(
            {"outcome": refs("site"), "offset": refs("event"), "cluster": refs("age")},
            {"family": "poisson"},
            (*TERMS, c.Term(refs("country"))),
            rtol=1e-8,
        ),
        "gamma": Example(
            {"outcome": refs("marker")}, {"family": "gamma", "robust": True}, TERMS, over_countries=True, rtol=1e-8
        ),
        "gaussian": Example({"outcome": refs("marker")}, {"family": "gaussian", "drop1": True}, TERMS, rtol=1e-8),
        "without terms": Example({"outcome": refs("event")}, {}, over_countries=True, rtol=1e-8),
    },
    "iptw": {
        "everybody": Example(
            {**SURVIVAL, "treatment": refs("arm")},
            {"treated": "high", "times": (10.0, 30.0), "tau": 60.0},
            TERMS[1:],
            rtol=1e-7,
        ),
        "the treated, trimmed": Example(
            {**SURVIVAL, "treatment": refs("arm")},
            {"treated": "high", "estimand": "att", "trim": (0.2, 0.8), "truncate": 3.0},
            TERMS[1:],
            rtol=1e-7,
        ),
    },
    "negative_binomial": {
        "of counts": Example({"outcome": refs("site")}, {"drop1": True}, TERMS, over_countries=True, rtol=1e-7),
    },
    "cumulative_incidence": {
        "curves and tests": Example(
            {
                "time": refs("time"),
                "cause": refs("cause"),
                "by": refs("arm"),
                "arm": refs("arm"),
                "strata": refs("sex"),
            },
            {"times": (10.0, 60.0)},
            over_countries=True,
        ),
        "by country": Example(
            {
                "time": refs("time"),
                "cause": refs("cause"),
                "by": refs("country"),
                "arm": refs("arm"),
                "strata": refs("country"),
            },
        ),
    },
    "fine_gray": {
        "relapse": Example(
            {"time": refs("time"), "cause": refs("cause")}, {}, TERMS[:2], over_countries=True, rtol=1e-8
        ),
        "death": Example({"time": refs("time"), "cause": refs("cause")}, {"of": "death"}, TERMS, rtol=1e-8),
    },
    # a search ends within its criterion of the maximum, not on it
    "mmrm": {
        "with least-squares means": Example(
            {"outcome": refs("age"), "subject": refs("patient"), "visit": refs("visit"), "arm": refs("arm")},
            {"control": "placebo"},
            tuple(c.Term(refs(*names)) for names in (("arm",), ("visit",), ("arm", "visit"))),
            rtol=1e-7,
        ),
        "with countries": Example(
            {"outcome": refs("age"), "subject": refs("patient"), "visit": refs("visit")},
            {},
            tuple(c.Term(refs(*names)) for names in (("visit",), ("time",), ("country",), ("visit", "time"))),
            rtol=1e-7,
        ),
    },
    "lmm": {
        "of countries": Example({"outcome": refs("age"), "group": refs("country")}, {}, TERMS[:1], rtol=1e-6),
        "of a factor": Example(
            {"outcome": refs("age"), "group": refs("grade")},
            {},
            (*TERMS[:1], c.Term(refs("time")), c.Term(refs("sex"))),
            over_countries=True,
            rtol=1e-6,
        ),
        "nested": Example(
            {"outcome": refs("age"), "group": refs("country"), "subject": refs("patient")}, {}, TERMS[:1], rtol=1e-6
        ),
    },
    "interaction": {
        "logistic, with country": Example(
            {"outcome": refs("event")}, {"model": "logistic"}, (*TERMS[1:2], *BY_COUNTRY), rtol=1e-6
        ),
        "linear, with country": Example(
            {"outcome": refs("age")}, {"model": "linear"}, (*TERMS[2:], *BY_COUNTRY), rtol=1e-8
        ),
        "cox, with country": Example(SURVIVAL, {"model": "cox"}, (*TERMS[1:2], *BY_COUNTRY), rtol=1e-6),
        "linear, of two factors": Example(
            {"outcome": refs("age")},
            {"model": "linear"},
            (TERMS[0], TERMS[2], c.Term(refs("arm", "sex"))),
            over_countries=True,
            rtol=1e-9,
        ),
    },
    "meta_analysis": {
        "of one coefficient": Example(SURVIVAL, {"coefficient": "arm=high"}, TERMS, rtol=1e-9),
        "of a logistic model": Example(
            {"outcome": refs("event")}, {"estimate": "glm", "coefficient": "arm=high"}, TERMS, rtol=1e-7
        ),
        "of a linear model": Example(
            {"outcome": refs("marker")}, {"estimate": "linear_model", "coefficient": "arm=high"}, TERMS, rtol=1e-10
        ),
        "of log odds ratios": Example(
            {"row": refs("arm"), "column": refs("event")},
            {"estimate": "log_odds_ratio", "treated": "high", "control": "placebo"},
        ),
    },
}


def trial_rows(seed: int, number: int) -> Rows:
    """Made-up patients of all countries together; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(["placebo", "low", "high"], number)
    hazard = 0.03 * np.where(arm == "high", 0.6, 1.0)
    time = np.minimum(np.floor(rng.exponential(1 / hazard)), 110).astype(int)
    sex = rng.choice(["F", "M", ""], number, p=[0.45, 0.5, 0.05])
    age = np.round(rng.uniform(18, 90, number), 1)
    marker = np.where(rng.random(number) < 0.1, "", np.char.mod("%.4f", rng.lognormal(2, 1, number)))
    event = (rng.random(number) < 0.7).astype(int)
    grade = np.clip(np.round(rng.normal(2.5, 1, number) + 0.01 * (age - 54)), 1, 4).astype(int)
    site = rng.integers(0, 40, number)
    columns = {
        "grade": grade,
        "site": site,
        # three rows a patient, one at each visit
        "patient": np.arange(number) // 3,
        "person": np.arange(number),
        "visit": np.array(["week 4", "week 8", "week 12"])[np.arange(number) % 3],
        "time": time,
        "event": event,
        "arm": arm,
        "sex": sex,
        "age": age,
        "marker": marker,
        "change": np.round(rng.normal(-3, 20, number)).astype(int),
        "cause": np.where(event == 0, "censored", np.where(rng.random(number) < 0.6, "relapse", "death")),
    }
    return Rows({name: [str(x) for x in values] for name, values in columns.items()}, number)


def example_spec(name: str, example: Example) -> c.Spec:
    return c.Spec(
        name,
        "trial",
        TRIAL,
        roles=example.roles,
        terms=example.terms,
        options=example.options,
        countries=TRIAL["country"].levels,
        events=c.Spec(name, "events", EVENTS, roles=example.events) if example.events else None,
    )


def trial_events(persons: Sequence[str]) -> Rows:
    """Made-up events of patients: those of a patient are the same wherever he is."""
    columns: dict[str, list[str]] = {name: [] for name in ("person", *EVENTS)}
    for person in persons:
        rng = np.random.default_rng(int(person))
        for _ in range(rng.poisson(1.5)):
            columns["person"].append(person)
            columns["class"].append(str(rng.choice(["SKIN", "HEART", ""], p=[0.6, 0.35, 0.05])))
            columns["term"].append(str(rng.choice(["ITCH", "RASH", "ANGINA"])))
            columns["severity"].append(str(rng.choice(["MILD", "SEVERE"])))
            columns["day"].append(str(rng.integers(-5, 130)) if rng.random() < 0.9 else "")
    return Rows(columns, len(columns["person"]))


def by_country(
    rows: Rows, spec: c.Spec, method: c.Method, seed: int = 0, sizes: Sequence[float] = (0.4, 0.3, 0.2, 0.1)
) -> dict[str, list[c.Block]]:
    """The rows dealt to the countries at random, one block each."""
    names = TRIAL["country"].levels[: len(sizes)]
    dealt = np.random.default_rng(seed).choice(len(names), rows.number, p=sizes)
    countries = {}
    for k, country in enumerate(names):
        mine = rows.pick(np.flatnonzero(dealt == k).tolist())
        mine.columns["country"] = [country] * mine.number
        events = trial_events(mine.columns["person"]) if spec.events is not None else None
        countries[country] = [block_of(country, mine, spec, method, events, "person")]
    return countries


def events_of_part(block: c.Block, parts: Sequence[np.ndarray], k: int) -> c.EventRows | None:
    """The events of the persons whom part k is the first to have."""
    if block.events is None:
        return None
    earlier = np.concatenate([np.zeros(0, dtype=np.int64), *(block.subject[part] for part in parts[:k])])
    mine = np.setdiff1d(block.subject[parts[k]], earlier)
    kept = np.isin(block.events.subject, mine)
    return replace(
        block.events,
        rows=int(kept.sum()),
        columns={role: tuple(values[kept] for values in arrays) for role, arrays in block.events.columns.items()},
        subject=block.events.subject[kept],
        left_out=block.events.left_out * (k == 0),
        persons_left_out=block.events.persons_left_out * (k == 0),
    )


def split(block: c.Block, parts: Sequence[np.ndarray]) -> list[c.Block]:
    """The block's rows in several blocks; `parts` are index arrays."""
    return [
        c.Block(
            block.country,
            len(part),
            {role: tuple(values[part] for values in arrays) for role, arrays in block.columns.items()},
            block.levels,
            block.subject[part],
            c.Design(
                np.ascontiguousarray(block.design.matrix[part]),
                block.design.names,
                {name: codes[part] for name, codes in block.design.level_codes.items()},
            )
            if block.design is not None
            else None,
            # the rows left out are told of once, with the first block
            rows_selected=len(part) + (block.rows_selected - block.rows) * (k == 0),
            persons_selected=len(np.unique(block.subject[part]))
            + (block.persons_selected - len(np.unique(block.subject))) * (k == 0),
            events=events_of_part(block, parts, k),
        )
        for k, part in enumerate(parts)
    ]
