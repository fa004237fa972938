"""One way out: cleared by the gate, encoded by the wire, in the journal, and only then something the link can send."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import isthmus_node
from isthmus_methods.contract import CellSupport, Item, Kind
from isthmus_node.egress import gate, journal, wire
from isthmus_node.egress.gate import Cleared, Refusal, refuse
from isthmus_node.egress.journal import Journal, Journaled
from isthmus_node.egress.wire import Header, Outbound, encode
from isthmus_trust.identity import IdentityKey

NODE = Path(isthmus_node.__file__).parent
EGRESS = NODE / "egress"
# Who may make what.
MAKERS = {"Cleared": "gate.py", "Refusal": "gate.py", "Outbound": "wire.py", "Journaled": "journal.py"}


@pytest.fixture
def cleared(judge_items: Callable[..., Cleared | Refusal]) -> Cleared:
    cells = np.array([20, 30])
    verdict = judge_items(Item("count", cells, CellSupport(cells)), Kind.COUNT)
    assert isinstance(verdict, Cleared)
    return verdict


@pytest.fixture
def outbound(cleared: Cleared, header: Callable[[str], Header], key: IdentityKey) -> Outbound:
    return encode(cleared, header("task"), key)


@pytest.mark.parametrize("seal", [None, object(), True])
def test_nobody_else_can_make_what_leaves(seal: object, header: Callable[[str], Header]) -> None:
    with pytest.raises(TypeError, match="only the gate"):
        Cleared((), (), 3, b"", 1, 0, False, None, seal)
    with pytest.raises(TypeError, match="only the gate"):
        Refusal("CODE", "", "", "", 3, b"", 0, False, seal)
    with pytest.raises(TypeError, match="only the wire"):
        Outbound(b"", b"", "RELEASED", "", header("t"), 3, b"", False, b"", seal)
    with pytest.raises(TypeError, match="only the journal"):
        Journaled(b"", b"", b"", 1, seal)


def test_seal_in_hand_makes_them() -> None:
    # the guard above guards something: with the modules' own seals the same calls work
    assert Cleared((), (), 3, b"", 1, 0, False, None, gate._SEAL).items == ()
    assert Journaled(b"x", b"", b"", 1, journal._SEAL).payload == b"x"
    assert len({id(gate._SEAL), id(wire._SEAL), id(journal._SEAL)}) == 3


def test_what_was_made_cannot_be_made_over(cleared: Cleared, outbound: Outbound, home: Path) -> None:
    with Journal.open(home) as kept:
        journaled = kept.release(outbound)
    for made, change in ((cleared, {"items": ()}), (outbound, {"payload": b"x"}), (journaled, {"payload": b"x"})):
        with pytest.raises((TypeError, ValueError)):
            replace(made, **change)
        with pytest.raises(AttributeError):
            setattr(made, next(iter(change)), b"x")
    assert copy.copy(outbound).payload == outbound.payload


def test_no_number_is_in_what_a_log_would_show(cleared: Cleared, outbound: Outbound, home: Path) -> None:
    with Journal.open(home) as kept:
        shown = repr(cleared) + repr(outbound) + repr(kept.release(outbound))
    assert "array(" not in shown
    assert repr(outbound.payload) not in shown


def makers_of(name: str) -> Iterator[Path]:
    """Modules of the folder that call a class of that name of their own or of each other; messages are none."""
    for path in sorted(EGRESS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=called)) if called == name:
                    yield path
                case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=called)) if called == name:
                    if not module.endswith("_pb2"):
                        yield path


@pytest.mark.parametrize(("name", "maker"), sorted(MAKERS.items()))
def test_only_one_module_of_the_node_makes_it(name: str, maker: str) -> None:
    assert {path.name for path in makers_of(name)} == {maker}


def test_seals_are_named_in_their_own_module_only() -> None:
    for path in sorted(NODE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        reached = [
            node
            for node in ast.walk(tree)
            if (isinstance(node, ast.Attribute) and node.attr == "_SEAL")
            or (isinstance(node, ast.ImportFrom) and any(alias.name == "_SEAL" for alias in node.names))
        ]
        assert reached == [], path


def test_no_part_of_the_node_turns_rules_off() -> None:
    # the table of rules is read by the gate and by nobody else
    for path in sorted(NODE.rglob("*.py")):
        named = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert "JUDGES" not in named or path == EGRESS / "gate.py", path
    with pytest.raises(TypeError):
        gate.JUDGES[Kind.COUNT] = gate.JUDGES[Kind.SCORE]  # type: ignore[index]


def test_bytes_are_in_the_journal_before_anything_can_be_sent(outbound: Outbound, home: Path) -> None:
    assert not hasattr(outbound, "send")
    with Journal.open(home) as kept:
        journaled = kept.release(outbound)
        # read by another descriptor: what may be sent is what stands in the file
        assert journaled.payload in (home / "journal").read_bytes()
    assert journaled.payload == outbound.payload


def test_refusals_leave_by_the_same_door(header: Callable[[str], Header], key: IdentityKey, home: Path) -> None:
    out = wire.encode_refusal(refuse(ValueError("129.587")), header("task"), key)
    with Journal.open(home) as kept:
        assert kept.release(out).payload == out.payload


def test_modules_can_be_read_in_an_hour() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in EGRESS.glob("*.py")}
    # the table of numbers is the longest
    assert max(lines.values()) <= 310, lines
    assert sum(lines.values()) <= 5200
