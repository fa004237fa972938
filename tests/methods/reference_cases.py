"""Reference cases as blocks of rows by country, read here without any code of the node."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus_methods import contract as c

REFERENCE = Path(__file__).parents[1] / "reference"
TYPES = {
    "numeric": c.VariableType.NUMERIC,
    "integer": c.VariableType.INTEGER,
    "factor": c.VariableType.FACTOR,
    "string": c.VariableType.TEXT,
}
# Method of a reference plan -> ours.
METHODS = {
    "linear_model": "linear_model",
    "t_test": "t_test",
    "paired_t_test": "paired_t_test",
    "anova": "anova",
    "glm": "glm",
    "negative_binomial": "negative_binomial",
    "iptw": "iptw",
    "kaplan_meier": "kaplan_meier",
    "logrank": "log_rank",
    "descriptive": "table_one",
    "frequency": "table_one",
    "cox": "cox",
    "crosstab_2x2": "crosstab",
    "crosstab_rxc": "crosstab",
    "cmh": "cmh",
    "cmh_general": "cmh",
    "safety": "safety",
    "meta_analysis": "meta_analysis",
    "interaction": "interaction",
    "regional_consistency": "regional_consistency",
    "ordinal": "ordinal",
    "gee": "gee",
    "mmrm": "mmrm",
    "lmm_random_intercept": "lmm",
    "lmm_nested": "lmm",
}

# Our roles of tables -> the arguments of a plan.
TABLE_ROLES = {
    "crosstab_2x2": {"row": "row", "column": "column"},
    "crosstab_rxc": {"row": "row", "column": "column"},
    "cmh": {"arm": "arm", "outcome": "outcome", "strata": "strata"},
    "cmh_general": {"arm": "row", "outcome": "column", "strata": "strata"},
}


# --------------------------------------------------------------------------- rows


@dataclass
class Rows:
    """Text columns of one country; an empty field is missing."""

    columns: dict[str, list[str]]
    number: int

    def pick(self, kept: Sequence[int]) -> Rows:
        return Rows({name: [values[i] for i in kept] for name, values in self.columns.items()}, len(kept))


def read_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        names = next(reader)
        lines = list(reader)
    return Rows({name: [line[k] for line in lines] for k, name in enumerate(names)}, len(lines))


def holds(predicate: Mapping[str, Any], cell: str, factor: bool) -> bool:
    """One predicate of a plan's grammar over one cell."""
    op, value = predicate["op"], predicate.get("value")
    if op in ("is_missing", "not_missing"):
        return (cell == "") == (op == "is_missing")
    if cell == "":
        return False
    values = value if isinstance(value, list) else [value]
    mine: Any = cell if factor else float(cell)
    theirs = [str(v) if factor else float(v) for v in values]
    return {
        "==": lambda: mine == theirs[0],
        "!=": lambda: mine != theirs[0],
        "<": lambda: mine < theirs[0],
        "<=": lambda: mine <= theirs[0],
        ">": lambda: mine > theirs[0],
        ">=": lambda: mine >= theirs[0],
        "in": lambda: mine in theirs,
        "not_in": lambda: mine not in theirs,
    }[op]()


# --------------------------------------------------------------------------- a case


@dataclass
class Case:
    """A reference case: its plan, the dictionary a study would have for it, and its rows by country."""

    folder: Path
    document: Mapping[str, Any]
    expected: Mapping[str, Any]
    variables: dict[str, c.Variable] = field(default_factory=dict)
    tables: dict[str, dict[str, Rows]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Case:
        document = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        case = cls(folder, document, expected)
        for entry in document["countries"]:
            case.tables.setdefault(entry["table"], {})[entry["country"]] = read_rows(folder / entry["file"])
        grids = document.get("grid") or {}
        for name, entry in document["variables"].items():
            kind = TYPES[entry["type"]]
            numbers = [
                float(cell)
                for table in case.tables.values()
                for rows in table.values()
                for cell in rows.columns.get(name, [])
                if cell and kind in (c.VariableType.NUMERIC, c.VariableType.INTEGER)
            ]
            case.variables[name] = c.Variable(
                name,
                kind,
                unit=entry.get("unit", ""),
                levels=tuple(entry.get("levels", ())),
                minimum=min(0.0, math.floor(min(numbers))) if numbers else None,
                maximum=math.ceil(max(numbers)) if numbers else None,
                roles=frozenset({"COUNTRY"}) if name == "country" else frozenset(),
                grid=grids.get(name, 1.0 if numbers and all(x == round(x) for x in numbers) else None),
                may_be_missing=name in (document.get("missing_cells_pooled") or {}).get("main", {}),
            )
        return case

    @property
    def plan(self) -> Sequence[Mapping[str, Any]]:
        plan: Sequence[Mapping[str, Any]] = self.document["plan"]
        return plan

    def answer_to(self, step: Mapping[str, Any]) -> Any:
        """What R gave for a step."""
        answer: Any = self.expected
        for key in step["at"]:
            answer = answer[key]
        return answer if not step.get("keep") else {key: answer[key] for key in step["keep"]}

    def tolerance(self, path: str) -> float | None:
        """Relative tolerance of a key path; None where it only informs."""
        for rule in self.document.get("tolerances") or []:
            if re.search(rule["pattern"], path):
                return None if rule.get("informational") else float(rule.get("rtol", 1e-8))
        return 1e-8

    def is_factor(self, name: str) -> bool:
        return name in self.variables and self.variables[name].type in (c.VariableType.FACTOR, c.VariableType.TEXT)

    def rows(self, step: Mapping[str, Any]) -> dict[str, Rows]:
        """The step's rows by country, after `derive` and `where`."""
        prepared = {}
        for country, rows in self.tables[step["table"]].items():
            columns = dict(rows.columns)
            for new in step.get("derive") or []:
                columns[new["name"]] = [self.indicator(new["where"], columns, i) for i in range(rows.number)]
                self.variables[new["name"]] = c.Variable(
                    new["name"], c.VariableType.INTEGER, minimum=0, maximum=1, may_be_missing=True
                )
            kept = [i for i in range(rows.number) if self.all_hold(step.get("where") or [], columns, i)]
            prepared[country] = Rows(columns, rows.number).pick(kept)
        return prepared

    def all_hold(self, predicates: Sequence[Mapping[str, Any]], columns: Mapping[str, list[str]], i: int) -> bool:
        return all(holds(p, columns[p["var"]][i], self.is_factor(p["var"])) for p in predicates)

    def indicator(self, predicates: Sequence[Mapping[str, Any]], columns: Mapping[str, list[str]], i: int) -> str:
        if any(columns[p["var"]][i] == "" for p in predicates):
            return ""
        return str(int(self.all_hold(predicates, columns, i)))

    def spec(self, step: Mapping[str, Any], **options: c.Setting) -> c.Spec:
        """The step as a request to our method."""

        def names(*keys: str) -> tuple[c.Column, ...]:
            given = [step[key] for key in keys if step.get(key)]
            return tuple(c.Ref(name) for value in given for name in ([value] if isinstance(value, str) else value))

        spec = c.Spec(METHODS[step["method"]], "main", self.variables, countries=tuple(self.tables["main"]))
        if step["method"] == "kaplan_meier":
            return replace(
                spec,
                roles={"time": names("time"), "event": names("event"), "by": names("by")},
                options={
                    "times": tuple(float(t) for t in step["times"]),
                    "tau": float(step["tau"] or 0),
                    "curves": bool(step["curves"]),
                    **options,
                },
            )
        if step["method"] == "logrank":
            roles = {"time": names("time"), "event": names("event"), "arm": names("arm"), "strata": names("strata")}
            own = {"unstratified": True, "stratify_by_country": step["strata"] == "country"}
            return replace(spec, roles=roles, options={**own, **options})
        if step["method"] == "cox":
            return self.model_spec(
                spec,
                step,
                {
                    "concordance": bool(step["concordance"]),
                    "baseline": bool(step["baseline"]),
                    "baseline_times": tuple(float(t) for t in step["baseline_times"] or ()),
                    "zph": "both" if step["zph"] else "",
                    **options,
                },
            )
        if step["method"] == "safety":
            return self.safety_spec(spec, step)
        if step["method"] in TABLE_ROLES:
            roles = {role: names(key) for role, key in TABLE_ROLES[step["method"]].items()}
            own = {key: str(step[key]) for key in ("treated", "control", "event") if key in step}
            own |= {"fisher": step["fisher"]} if "fisher" in step else {}
            return replace(spec, roles=roles, options={**own, **options})
        if step["method"] == "interaction":
            country, arm = step["country"], step["arm"]
            whole = {**step, "terms": [*step["covariates"], country, arm, f"{country}:{arm}"]}
            return self.model_spec(spec, whole, {"model": step["model"], **options})
        if step["method"] == "meta_analysis":
            return self.meta_spec(spec, step["estimate"], options)
        if step["method"] == "gee":
            roles = {"outcome": names("outcome"), "cluster": names("subject")}
            own = {"family": step["family"], "link": step["link"], **options}
            return replace(self.model_spec(spec, step, own), roles=roles)
        if step["method"] == "regional_consistency":
            own = {name: tuple(v) if isinstance(v, list) else v for name, v in step["options"].items()}
            return self.meta_spec(spec, step["estimate"], {**own, **options})
        if step["method"] == "mmrm":
            roles = {role: names(role) for role in ("outcome", "subject", "visit", "arm")}
            return replace(self.model_spec(spec, step, {"control": step["control"], **options}), roles=roles)
        if step["method"] in ("lmm_random_intercept", "lmm_nested"):
            roles = {role: names(role) for role in ("outcome", "group", "subject") if step.get(role)}
            return replace(self.model_spec(spec, step, options), roles=roles)
        if step["method"] == "ordinal":
            return self.model_spec(spec, step, options)
        if step["method"] in ("t_test", "paired_t_test", "anova"):
            roles = {key: names(key) for key in ("outcome", "arm", "group", "first", "second") if step.get(key)}
            own = {key: step[key] for key in ("treated", "control") if step.get(key)}
            return replace(spec, roles=roles, options={**own, **options})
        if step["method"] == "linear_model":
            own = {key: step[key] for key in ("arm", "control") if step.get(key)}
            return self.model_spec(spec, step, {"robust": True, **own, **options})
        if step["method"] == "iptw":
            own = {"treated": str(step["treated"]), "tau": float(step["tau"] or 0), "stratify_by_country": False}
            own["times"] = tuple(float(t) for t in step["times"])
            spec = self.model_spec(spec, {**step, "terms": step["propensity_terms"]}, {**own, **options})
            return replace(spec, roles={**spec.roles, "treatment": names("treatment")})
        if step["method"] in ("glm", "negative_binomial"):
            own = {key: step[key] for key in ("family", "link") if step["method"] == "glm"}
            own |= {"robust": True} if step["method"] == "glm" else {}
            model = self.model_spec(spec, step, {"drop1": True, **own, **options})
            return replace(model, roles={**model.roles, **offset_of(step)})
        return replace(spec, roles={"variables": names("variables"), "arm": names("arm")}, options=options)

    def safety_spec(self, spec: c.Spec, step: Mapping[str, Any]) -> c.Spec:
        """The request over the subjects, and its part about their events."""
        roles = {role: (c.Ref(step[role]),) for role in ("group_term", "term", "day")}
        subsets = tuple(c.Indicator(condition(one)) for [one] in step["subsets"].values())
        return replace(
            spec,
            roles={role: (c.Ref(step[role]),) for role in ("arm", "exposure")},
            options={
                "control": step["control"],
                "rate_per": float(step["rate_per"]),
                "subsets": tuple(step["subsets"]),
            },
            events=c.Spec("safety", step["events_table"], self.variables, roles={**roles, "subsets": subsets}),
        )

    def meta_spec(self, spec: c.Spec, own: Mapping[str, Any], options: Mapping[str, c.Setting]) -> c.Spec:
        """What a meta-analysis estimates in each country."""
        if own["method"] == "log_odds_ratio":
            roles = {role: (c.Ref(own[role]),) for role in ("row", "column")}
            named = {
                "treated": str(own["treated"]),
                "control": str(own["control"]),
                "event_value": str(own["event"]),
            }
            return replace(spec, roles=roles, options={"estimate": own["method"], **named, **options})
        named = {name: own[name] for name in ("coefficient", "ties", "family", "link") if own.get(name)}
        return self.model_spec(spec, own, {"estimate": own["method"], **named, **options})

    def model_spec(self, spec: c.Spec, step: Mapping[str, Any], options: Mapping[str, c.Setting]) -> c.Spec:
        """A model's terms over its outcome, or its time and event."""
        roles = {
            role: (c.Ref(step[role]),) for role in ("start", "time", "event", "outcome", "cluster") if step.get(role)
        }
        terms = tuple(c.Term(tuple(c.Ref(name) for name in term.split(":"))) for term in step["terms"])
        references = dict(step["reference"])
        return replace(spec, roles=roles, terms=terms, references=references, options=options)

    def blocks(self, step: Mapping[str, Any], spec: c.Spec, method: c.Method) -> dict[str, list[c.Block]]:
        """One block a country."""
        events: dict[str, Rows] = {}
        if spec.events is not None:
            events = self.rows({"table": step["events_table"], "where": step["events_where"]})
        return {
            country: [block_of(country, rows, spec, method, events.get(country), step.get("id") or "USUBJID")]
            for country, rows in self.rows(step).items()
        }


def condition(predicate: Mapping[str, Any]) -> c.Comparison:
    """A predicate of a plan that compares with one value."""
    return c.Comparison(predicate["var"], c.Operator(predicate["op"]), predicate["value"])


def offset_of(step: Mapping[str, Any]) -> dict[str, tuple[c.Column, ...]]:
    """The offset of a step as a role."""
    offset = step.get("offset")
    if not offset:
        return {}
    column = c.Ref(offset["var"])
    return {"offset": (c.Transform(c.Function.LOG, column) if offset["transform"] == "log" else column,)}


def column_of(rows: Rows, column: c.Column, spec: c.Spec) -> tuple[np.ndarray, tuple[str, ...]]:
    """A variable as numbers, or as codes with its levels; a condition as 0 and 1."""
    if isinstance(column, c.Indicator):
        assert isinstance(column.predicate, c.Comparison)
        told = {"op": column.predicate.operator.value, "value": column.predicate.value}
        factor = isinstance(column.predicate.value, str)
        cells = rows.columns[column.predicate.variable]
        return np.array([float(holds(told, cell, factor)) if cell else np.nan for cell in cells]), ()
    if isinstance(column, c.Transform) and column.function is c.Function.LOG:
        return np.log(column_of(rows, column.argument, spec)[0]), ()
    cells, own = rows.columns[c.column_name(column)], spec.levels(column)
    if (
        (column,) in (spec.role("cluster"), spec.role("subject"))
        and not own
        and spec.variables[c.column_name(column)].type is c.VariableType.TEXT
    ):
        # a name of rows that belong together: numbered as it comes, as a node does
        number = {cell: k for k, cell in enumerate(dict.fromkeys(cells)) if cell}
        return np.array([number.get(cell, -1) for cell in cells], dtype=np.int64), tuple(number) or ("none",)
    if own:
        return np.array([own.index(cell) if cell in own else -1 for cell in cells], dtype=np.int64), own
    return np.array([float(cell) if cell else np.nan for cell in cells], dtype=np.float64), own


def design_of(rows: Rows, spec: c.Spec) -> tuple[c.Design, np.ndarray]:
    """The model's columns, treatment coding, and which rows have them all."""
    whole = np.ones(rows.number, dtype=bool)
    names, columns, codes_of = [], [], {}
    for term in spec.terms:
        parts = [(c.column_name(column), *column_of(rows, column, spec)) for column in term.columns]
        for name, values, own in parts:
            whole &= values >= 0 if own else ~np.isnan(values)
            if own:
                codes_of[name] = values
        for name, picked in c.term_columns(spec, term):
            product = np.ones(rows.number)
            for (_, values, own), level in zip(parts, picked, strict=True):
                product = product * (values == own.index(level) if level is not None else values)
            names.append(name)
            columns.append(product)
    return c.Design(np.column_stack(columns), tuple(names), codes_of), whole


def event_rows(events: Rows, spec: c.Spec, persons: Sequence[str], key: str) -> c.EventRows:
    """The events of these persons, who are numbered in their order."""
    number = {name: k for k, name in enumerate(dict.fromkeys(persons))}
    who = np.array([number.get(name, -1) for name in events.columns[key]], dtype=np.int64)
    own = who >= 0
    read = {role: [column_of(events, column, spec) for column in asked] for role, asked in spec.roles.items()}
    strangers = {name for name in events.columns[key] if name not in number}
    return c.EventRows(
        int(own.sum()),
        {role: tuple(values[own] for values, _ in given) for role, given in read.items()},
        {role: tuple(levels for _, levels in given) for role, given in read.items()},
        who[own],
        int((~own).sum()),
        len(strangers),
    )


def block_of(
    country: str, rows: Rows, spec: c.Spec, method: c.Method, events: Rows | None = None, key: str = "USUBJID"
) -> c.Block:
    """The rows of a country as the method gets them: complete cases, or all of them with their gaps.

    `events` : rows of the second dataset, joined by column `key`.
    """
    columns: dict[str, list[np.ndarray]] = {}
    levels: dict[str, list[tuple[str, ...]]] = {}
    complete = np.ones(rows.number, dtype=bool)
    for role, asked in spec.roles.items():
        for column in asked:
            values, own = column_of(rows, column, spec)
            complete &= values >= 0 if own else ~np.isnan(values)
            columns.setdefault(role, []).append(values)
            levels.setdefault(role, []).append(own)
    kept = complete if method.missingness is c.Missingness.COMPLETE else np.ones(rows.number, dtype=bool)
    subject = np.arange(rows.number)
    if "USUBJID" in rows.columns:
        numbering: dict[str, int] = {}
        subject = np.array([numbering.setdefault(s, len(numbering)) for s in rows.columns["USUBJID"]], dtype=np.int64)
    design = None
    if spec.terms:
        design, whole = design_of(rows, spec)
        kept = kept & whole
        design = c.Design(
            np.ascontiguousarray(design.matrix[kept]),
            design.names,
            {name: codes[kept] for name, codes in design.level_codes.items()},
        )
    return c.Block(
        country,
        int(kept.sum()),
        {role: tuple(values[kept] for values in arrays) for role, arrays in columns.items()},
        {role: tuple(own) for role, own in levels.items()},
        subject[kept],
        design,
        rows_selected=rows.number,
        persons_selected=len(set(subject.tolist())),
        events=event_rows(events, spec.events, rows.columns[key], key)
        if events is not None and spec.events is not None
        else None,
    )
