"""No method without a reference case, properties, and a page in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_up_trial import EXAMPLES
from reference_cases import REFERENCE, Case

from isthmus_methods.registry import METHODS

PAGES = Path(__file__).parents[2] / "docs" / "methods"
# Method of a reference plan -> ours, several where its answer takes several.
OURS: dict[str, str | tuple[str, ...]] = {
    "descriptive": "table_one",
    "frequency": "table_one",
    "kaplan_meier": "kaplan_meier",
    "rmst_difference": "kaplan_meier",
    "logrank": "log_rank",
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
    "cumulative_incidence": ("cumulative_incidence", "fine_gray"),
    "linear_model": "linear_model",
    "t_test": "t_test",
    "paired_t_test": "paired_t_test",
    "anova": "anova",
    "glm": "glm",
    "negative_binomial": "negative_binomial",
    "iptw": "iptw",
    "mmrm": "mmrm",
    "lmm_random_intercept": "lmm",
    "lmm_nested": "lmm",
}
every_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def methods_with_a_case() -> set[str]:
    cases = [Case.load(path.parent) for path in REFERENCE.glob("*/case.json")]
    found = [OURS[step["method"]] for case in cases for step in case.plan if step["method"] in OURS]
    return {name for ours in found for name in ([ours] if isinstance(ours, str) else ours)}


@every_method
def test_method_has_a_reference_case(name: str, methods_with_a_case: set[str]) -> None:
    assert name in methods_with_a_case


@every_method
def test_method_has_requests_for_its_properties(name: str) -> None:
    assert EXAMPLES.get(name)


@every_method
def test_method_has_a_page_that_names_all_it_takes_and_all_that_leaves(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    method = METHODS[name]
    told = set(re.findall(r"`([^`\n]+)`", page))
    missing = [x for x in (*method.leaves, *method.roles, *method.options, *method.notes) if x not in told]
    assert missing == []


@every_method
def test_method_stands_in_the_index_of_the_docs(name: str) -> None:
    assert f"]({name}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")


def test_vendored_cases_may_be_vendored() -> None:
    cases = [Case.load(path.parent) for path in REFERENCE.glob("*/case.json")]
    assert [case.folder.name for case in cases if case.document.get("vendor") is not True] == []
