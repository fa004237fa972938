"""Reads R's expression grammar into a tree that knows where in the text each part stands. Evaluates nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.errors import UsageError

# Deeper than anybody writes; keeps a hostile text from exhausting the stack.
MAX_DEPTH = 60
MAX_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Part of a text: characters `start` up to `end`."""

    text: str
    start: int
    end: int

    def to(self, other: Place) -> Place:
        return Place(self.text, min(self.start, other.start), max(self.end, other.end))

    @property
    def written(self) -> str:
        return self.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    place: Place


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class Call:
    """A function's name and its arguments; an argument by name has that name before it, others an empty text."""

    function: str
    arguments: tuple[tuple[str, Node], ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Infix:
    operator: str
    left: Node
    right: Node
    place: Place


@dataclass(frozen=True, slots=True)
class Prefix:
    operator: str
    operand: Node
    place: Place


@dataclass(frozen=True, slots=True)
class Group:
    """Something in parentheses."""

    inner: Node
    place: Place


Node = Name | Number | Text | Call | Infix | Prefix | Group


def complaint(code: str, what: str, place: Place, remedy: str) -> UsageError:
    """The error for a part of a text, with the part marked by carets beneath it."""
    line = place.text.replace("\n", " ").replace("\t", " ")
    marks = " " * place.start + "^" * max(1, place.end - place.start)
    return UsageError(code, f"{what}\n    {line}\n    {marks}", remedy)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "name", "number", "text", "operator", "end"
    value: str
    place: Place


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?L?(?![\w.]))
      | (?P<name>(?:[^\W\d]|\.(?!\d))[\w.]*)
      | (?P<quoted>`(?:[^`\\]|\\.)*`)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<operator>%in%|==|!=|<=|>=|&&|\|\||[-~+*/:^<>&|!(),=])""",
    re.VERBOSE,
)

_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}

# How tightly R binds them, loosest first; comparisons do not chain.
_BINDING = {
    "~": 1,
    "|": 2, "||": 2,
    "&": 3, "&&": 3,
    "==": 5, "!=": 5, "<": 5, "<=": 5, ">": 5, ">=": 5,
    "+": 6, "-": 6,
    "*": 7, "/": 7,
    "%in%": 8,
    ":": 9,
    "^": 11,
}  # fmt: skip
_COMPARISON = 5
# Binding of what stands before its operand: "!" lies between comparison and "&", a sign between ":" and "^".
_BEFORE = {"!": 4, "-": 10, "+": 10, "~": 1}


def _tokens(text: str) -> list[_Token]:
    found = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise complaint(
                "FORMULA_SYNTAX",
                f"{text[at]!r} cannot stand here",
                Place(text, at, at + 1),
                "quote names with unusual characters in `backticks` and levels in 'quotes'",
            )
        place, kind, value = Place(text, at, match.end()), str(match.lastgroup), match.group()
        if kind in ("quoted", "text"):
            kind = "name" if kind == "quoted" else kind
            value = re.sub(r"\\(.)", lambda escape: _ESCAPED.get(escape[1], escape[1]), value[1:-1])
        if kind != "space":
            found.append(_Token(kind, value, place))
        at = match.end()
    found.append(_Token("end", "", Place(text, len(text), len(text) + 1)))
    return found


class _Reader:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.token
        self.at += 1
        return token

    def holds(self, operator: str) -> bool:
        return self.token.kind == "operator" and self.token.value == operator

    def expect(self, operator: str, remedy: str) -> _Token:
        if not self.holds(operator):
            raise complaint("FORMULA_SYNTAX", f"{operator!r} is expected here", self.token.place, remedy)
        return self.take()

    def expression(self, binding: int = 0) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise complaint("FORMULA_SYNTAX", "nested too deeply", self.token.place, "write a simpler expression")
        left = self.operand()
        while self.token.kind == "operator" and _BINDING.get(self.token.value, -1) >= max(binding, 1):
            operator = self.take()
            strength = _BINDING[operator.value]
            if strength == _COMPARISON and isinstance(left, Infix) and _BINDING[left.operator] == _COMPARISON:
                raise complaint(
                    "FORMULA_SYNTAX", "comparisons do not chain", operator.place, "write a < x & x < b instead"
                )
            right = self.expression(strength + 1)
            left = Infix(operator.value, left, right, left.place.to(right.place))
        self.depth -= 1
        return left

    def operand(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Number(float(token.value.rstrip("L")), token.place)
        if token.kind == "text":
            return Text(token.value, token.place)
        if token.kind == "name":
            return self.call(token) if self.holds("(") else Name(token.value, token.place)
        if token.kind == "operator" and token.value in _BEFORE:
            operand = self.expression(_BEFORE[token.value])
            return Prefix(token.value, operand, token.place.to(operand.place))
        if token.kind == "operator" and token.value == "(":
            inner = self.expression()
            close = self.expect(")", "close the parenthesis")
            return Group(inner, token.place.to(close.place))
        what = "the text ends too early" if token.kind == "end" else f"{token.value!r} cannot stand here"
        raise complaint("FORMULA_SYNTAX", what, token.place, "a variable, a number, 'text' or ( ... ) stands here")

    def call(self, name: _Token) -> Call:
        self.take()
        arguments: list[tuple[str, Node]] = []
        while not self.holds(")"):
            if arguments:
                self.expect(",", "separate arguments by commas and close the parenthesis")
            label = ""
            following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
            if self.token.kind == "name" and following.kind == "operator" and following.value == "=":
                label = self.take().value
                self.take()
            arguments.append((label, self.expression()))
        close = self.take()
        return Call(name.value, tuple(arguments), name.place.to(close.place))


def read(text: str) -> Node:
    """The tree of an expression in R's grammar.

    Parameters
    ----------
    text
        A formula or a filter, e.g. ``"Surv(AVAL, CNSR == 0) ~ TRT01P * AGE"``.

    Raises
    ------
    UsageError
        ``FORMULA_SYNTAX`` with the place marked, where the text is not an expression.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError("FORMULA_SYNTAX", f"longer than {MAX_LENGTH} characters", "write a shorter expression")
    reader = _Reader(_tokens(text.replace("\n", " ").replace("\t", " ")))
    tree = reader.expression()
    if reader.token.kind != "end":
        raise complaint(
            "FORMULA_SYNTAX",
            f"{reader.token.value!r} cannot stand here",
            reader.token.place,
            "join variables by +, : or *, conditions by & or |; compare with ==",
        )
    return tree


def bare(node: Node) -> Node:
    """The node without parentheses around it."""
    while isinstance(node, Group):
        node = node.inner
    return node
