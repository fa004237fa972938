"""The page a regulator reads first says what the folder does, and nothing that is not so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from isthmus_node.egress import (
    cohort_rules,
    combined_rules,
    form,
    gate,
    request_rules,
    rules,
    time_rules,
    unplanned,
    update_rules,
)
from isthmus_node.egress.form import Violation
from isthmus_node.egress.thresholds import KEYS

FOLDER = Path(gate.__file__).parent
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
TESTS = Path(__file__).parent


def named(text: str) -> set[str]:
    return set(re.findall(r"`([a-zA-Z_]+)`", text))


def test_every_module_is_on_the_page() -> None:
    modules = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", PAGE)) >= modules


@pytest.mark.parametrize("module", [rules, time_rules, unplanned, update_rules, form, cohort_rules, combined_rules])
def test_every_rule_is_on_the_page(module: object) -> None:
    written = {
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == module.__name__  # type: ignore[attr-defined]
    }
    assert written <= named(PAGE)


def test_every_threshold_is_on_the_page() -> None:
    assert all(re.search(rf"\b{key}\b", PAGE) for key in KEYS)


def test_every_code_is_on_the_page() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*rules.py"))
    source += (FOLDER / "form.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', source))
    codes |= {
        value.code
        for module in (gate, form, request_rules, update_rules)
        for value in vars(module).values()
        if isinstance(value, Violation)
    }
    assert len(codes) > 15
    assert {code for code in codes if code not in PAGE} == set()


def test_every_test_named_on_the_page_exists() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    tests = set(re.findall(r"`(test_\w+)`", PAGE))
    assert tests
    assert {name for name in tests if f"def {name}(" not in source} == set()
    assert {name for name in re.findall(r"tests/egress/(\w+\.py)", PAGE) if not (TESTS / name).exists()} == set()
