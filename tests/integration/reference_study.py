"""The vendored reference cases as studies that a statistician would write: dictionary, plan, and what R gave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparing import differences
from reference_cases import METHODS, REFERENCE, Case, in_reference_shape

from isthmus_methods.contract import Variable
from isthmus_methods.parts.restricted_means import rmst_difference

# Cases over the same rows with the same dictionary make one study.
STUDIES: Mapping[str, Sequence[str]] = {
    "LUNG": ("p11_km_lung", "p12_cox_lung"),
    "LUNG-TABLE": ("t01_table_one_lung",),
    "ROTTERDAM": ("p13_cox_rotterdam_gbsg", "t03_meta_rotterdam"),
    "CGD": ("p14_cox_ag_cgd",),
    "EDGES": ("t02_km_edges",),
}
# Name under which a study's rows are registered at the sites.
DATASETS: Mapping[str, str] = {"LUNG": "LUNG", "LUNG-TABLE": "LUNG", "ROTTERDAM": "RFS", "CGD": "CGD", "EDGES": "EDGES"}
# The person where rows are not persons.
SUBJECTS = {"p14_cox_ag_cgd": "id"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One analysis of a plan, and where in the case's step R's answer to it is."""

    name: str
    title: str
    method: str
    given: Mapping[str, object]


def load(name: str) -> Case:
    return Case.load(REFERENCE / name)


def every_step() -> Iterator[tuple[str, str, int]]:
    """Study, case and position of each step that isthmus has a method for."""
    for study, cases in STUDIES.items():
        for name in cases:
            for k, step in enumerate(load(name).plan):
                if step["method"] in (*METHODS, "rmst_difference"):
                    yield study, name, k


def countries(cases: Sequence[str]) -> list[str]:
    return [entry["country"] for entry in load(cases[0]).document["countries"]]


def analyses(case: Case, k: int) -> list[Asked]:
    """What is asked of the countries for a step: one analysis, or one for each handling of ties."""
    step = case.plan[k]
    name = f"{case.folder.name.split('_')[0]}-{k}"
    method = step["method"]
    if method == "rmst_difference":
        return []
    model = step["estimate"] if method == "meta_analysis" else step
    left = [model[role] for role in ("start", "time", "event") if model.get(role)]
    survival = f"Surv({', '.join(left)})"
    title = f"{case.document['title']}, step {k}"
    if method == "kaplan_meier":
        options = {"times": step["times"], "curves": step["curves"], "tau": step["tau"] or 0}
        return [Asked(name, title, method, {"formula": f"{survival} ~ {' + '.join(step['by'])}", "options": options})]
    if method == "logrank":
        strata = "" if step["strata"] == "country" else f" + strata({step['strata']})"
        options = {"unstratified": True, "stratify_by_country": step["strata"] == "country"}
        return [Asked(name, title, "log_rank", {"formula": f"{survival} ~ {step['arm']}{strata}", "options": options})]
    if method in ("descriptive", "frequency"):
        arms = [b for b in step["by"] if b != "country"]
        given = {"variables": step["variables"], "arm": arms[0] if arms else "", "by": "country"}
        return [Asked(name, title, "table_one", given)]
    references = {variable: level for variable, level in model["reference"].items() if variable != "country"}
    formula = {"formula": f"{survival} ~ {' + '.join(model['terms'])}", "references": references}
    if method == "meta_analysis":
        options = {"coefficient": model["coefficient"], "ties": model["ties"]}
        return [Asked(name, title, method, {**formula, "options": options})]
    options = {
        "concordance": step["concordance"],
        "baseline": step["baseline"],
        "baseline_times": step["baseline_times"] or [],
        "zph": "both" if step["zph"] else "",
    }
    return [
        Asked(f"{name}-{ties}", title, method, {**formula, "options": {**options, "ties": ties}})
        for ties in step["ties"]
    ]


def study_toml(study: str, cases: Sequence[str], forms: Sequence[str] = ("",)) -> str:
    """The study as its author writes it; `forms` are endings of dataset names, each with the whole plan."""
    nodes = [country.lower() for country in countries(cases)]
    lines = [
        f"name = {json.dumps(study)}",
        'title = "Reference cases"',
        'rationale = "Does the pooled answer over nodes equal the one R gives on the pooled file?"',
        'recipients = ["the people who test isthmus"]',
        "by_country = true",
        f"participants = {json.dumps(nodes)}",
    ]
    for form in forms:
        lines += _dataset(load(cases[0]), DATASETS[study] + form)
        for case in map(load, cases):
            for k in range(len(case.plan)):
                lines += [line for asked in analyses(case, k) for line in _analysis(asked, DATASETS[study], form)]
    return "\n".join(lines) + "\n"


def _dataset(case: Case, name: str) -> list[str]:
    subject = SUBJECTS.get(case.folder.name, "")
    lines = ["", "[[dataset]]", f"name = {json.dumps(name)}"]
    lines += [f"subject = {json.dumps(subject)}"] if subject else ["one_row_a_subject = true"]
    for variable in case.variables.values():
        lines += ["", f"[dataset.variables.{json.dumps(variable.name)}]", *_variable(variable, subject)]
    return lines


def _variable(variable: Variable, subject: str) -> Iterator[str]:
    yield f"type = {json.dumps(variable.type.value.lower())}"
    if variable.unit:
        yield f"unit = {json.dumps(variable.unit)}"
    if variable.levels:
        yield f"levels = {json.dumps(variable.levels)}"
    for bound in ("minimum", "maximum"):
        if getattr(variable, bound) is not None:
            yield f"{bound} = {getattr(variable, bound)}"
    if variable.grid is not None:
        yield f"grid = {variable.grid}"
    if variable.may_be_missing:
        yield "may_be_missing = true"
    if variable.name == subject:
        yield 'roles = ["identifier"]'
    elif "COUNTRY" in variable.roles:
        yield 'roles = ["country"]'


def _analysis(asked: Asked, dataset: str, form: str) -> Iterator[str]:
    yield ""
    yield "[[plan]]"
    yield f"name = {json.dumps(asked.name + form)}"
    yield f"title = {json.dumps(asked.title)}"
    yield f"method = {json.dumps(asked.method)}"
    yield f"dataset = {json.dumps(dataset + form)}"
    for key, value in asked.given.items():
        yield f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def as_r_gives_it(case: Case, k: int, answers: Mapping[str, Any]) -> Any:
    """The answers of a step's analyses, by their names, in the shape of R's answer to the step."""
    step = case.plan[k]
    if step["method"] == "rmst_difference":
        curves = next(j for j, s in enumerate(case.plan) if s["at"] == step["from"])
        km = answers[analyses(case, curves)[0].name]
        return rmst_difference(km, step["group"], step["treated"], step["control"])
    own = [answers[asked.name] for asked in analyses(case, k)]
    if step["method"] == "cox":
        return {ties: {"stratified_by_country": own[j]} for j, ties in enumerate(step["ties"])}
    if step["method"] in ("descriptive", "frequency"):
        return in_reference_shape(own[0], step)
    return own[0]


def r_answer(case: Case, k: int) -> Any:
    """What R gave; of Cox models the one stratified by country, which is the one isthmus has."""
    step = case.plan[k]
    answer = case.answer_to(step)
    if step["method"] == "cox":
        return {ties: {"stratified_by_country": answer[ties]["stratified_by_country"]} for ties in step["ties"]}
    return answer


def differences_from_r(case: Case, k: int, answers: Mapping[str, Any]) -> list[str]:
    return differences(as_r_gives_it(case, k, answers), r_answer(case, k), case.tolerance)


def file_of(case: Case, country: str) -> Path:
    entry = next(e for e in case.document["countries"] if e["country"] == country)
    return (case.folder / entry["file"]).resolve()
