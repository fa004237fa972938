"""gRPC ignores an option whose name it does not know, without a word: each name we set is one that it knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from grpc._cython import cygrpc

ROOT = Path(__file__).parents[2]


def options_set() -> dict[str, str]:
    """Every text of the product that looks like an option, and a file that has it."""
    found: dict[str, str] = {}
    for package in ("proto", "trust", "node", "coordinator", "client"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.match("*_pb2*.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
                    name = node.elts[0].value
                    if isinstance(name, str) and name.startswith("grpc."):
                        found[name] = path.name
    return found


@pytest.fixture(scope="module")
def library() -> bytes:
    return Path(cygrpc.__file__).read_bytes()


def test_options_are_found_on_both_sides() -> None:
    assert {"port.py", "channel.py", "link.py"} <= set(options_set().values())


@pytest.mark.parametrize("name", sorted(options_set()))
def test_option_is_known_to_the_installed_grpc(name: str, library: bytes) -> None:
    assert name.encode() in library, f"{name} in {options_set()[name]} does nothing"


def test_misspelt_option_would_be_found(library: bytes) -> None:
    assert b"grpc.http2.min_recv_ping_interval_without_data_ms" not in library
