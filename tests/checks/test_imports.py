"""Who may import whom: the walls of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = (
    "isthmus",
    "isthmus_trust",
    "isthmus_methods",
    "isthmus_training",
    "isthmus_node",
    "isthmus_coordinator",
    "isthmus_client",
)
FOLDERS = {
    "isthmus": ROOT / "proto/isthmus",
    "isthmus_trust": ROOT / "trust/isthmus_trust",
    "isthmus_methods": ROOT / "methods/isthmus_methods",
    "isthmus_training": ROOT / "training/isthmus_training",
    "isthmus_node": ROOT / "node/isthmus_node",
    "isthmus_coordinator": ROOT / "coordinator/isthmus_coordinator",
    "isthmus_client": ROOT / "client/isthmus_client",
}
# package -> packages of ours it may import besides itself
MAY = {
    "isthmus": set(),
    "isthmus_trust": {"isthmus"},
    "isthmus_methods": {"isthmus"},
    "isthmus_training": {"isthmus", "isthmus_methods"},
    "isthmus_node": {"isthmus", "isthmus_trust", "isthmus_methods", "isthmus_training"},
    "isthmus_coordinator": {"isthmus", "isthmus_trust", "isthmus_methods", "isthmus_training"},
    "isthmus_client": {"isthmus", "isthmus_trust", "isthmus_methods", "isthmus_training"},
}


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if not p.stem.endswith(("_pb2", "_pb2_grpc")))


def offences(folder: Path, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in imports_of(path)
        if any(name == f or name.startswith(f + ".") for f in forbidden)
    ]


@pytest.mark.parametrize("package", OURS)
def test_package_imports_only_what_it_may(package: str) -> None:
    forbidden = set(OURS) - MAY[package] - {package}
    if package == "isthmus":
        forbidden.discard("isthmus")
    assert offences(FOLDERS[package], forbidden) == []


@pytest.mark.parametrize(
    ("part", "forbidden"),
    [
        ("egress", {"isthmus_node.sources", "isthmus_node.compute", "isthmus_node.catalogue", "isthmus_node.link"}),
        ("egress", {"pandas", "pyarrow", "grpc", "socket", "http", "urllib"}),
        ("link", {"isthmus_node.sources", "isthmus_node.compute", "isthmus_node.catalogue"}),
        ("sources", {"isthmus_node.link", "isthmus_node.egress", "grpc"}),
        ("compute", {"isthmus_node.link", "isthmus_node.egress", "grpc"}),
    ],
)
def test_part_of_the_node_keeps_its_wall(part: str, forbidden: set[str]) -> None:
    folder = FOLDERS["isthmus_node"] / part
    assert modules(folder), f"{part} has no modules: the rule would hold by absence"
    assert offences(folder, forbidden) == []


def test_only_the_codecs_of_the_methods_know_protobuf() -> None:
    found = offences(FOLDERS["isthmus_methods"], {"isthmus.v1", "google"})
    assert [line for line in found if "codec.py" not in line] == []


# Of the methods: their types, the pooling of summaries, and what is computed from numbers a person gives, or from an
# answer: no rows in it.
TYPES = (
    "contract",
    "request",
    "codec",
    "summary_codec",
    "sealed_codec",
    "pooling",
    "registry",
    "validate",
    "training",
    "__init__",
)
WITHOUT_ROWS = ("planning", "parts/survival/restricted_means.py")


def test_client_reads_only_the_types_of_the_methods_and_what_needs_no_rows() -> None:
    folder = FOLDERS["isthmus_methods"]
    forbidden = {
        ".".join(p.relative_to(folder.parent).with_suffix("").parts)
        for p in modules(folder)
        if p.stem not in TYPES and not p.relative_to(folder).as_posix().startswith(WITHOUT_ROWS)
    }
    assert offences(FOLDERS["isthmus_client"], forbidden) == []


def test_what_needs_no_rows_has_none() -> None:
    folder = FOLDERS["isthmus_methods"]
    for part in WITHOUT_ROWS:
        paths = modules(folder / part) if (folder / part).is_dir() else [folder / part]
        assert [p for p in paths if p.exists() and "isthmus_methods.contract.Block" in imports_of(p)] == []


def test_nothing_imports_a_command_line() -> None:
    for package in OURS:
        found = offences(FOLDERS[package], {f"{p}.cli" for p in OURS})
        assert [line for line in found if "/__main__.py" not in line] == []


def test_only_tests_assert() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in OURS
        for path in modules(FOLDERS[package])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_rule_finds_an_offender(tmp_path: Path) -> None:
    offender = tmp_path / "offender.py"
    offender.write_text("def f():\n    from isthmus_coordinator import store\n", encoding="utf-8")
    assert any(name.startswith("isthmus_coordinator") for name in imports_of(offender))
