"""Turns ``Surv(AVAL, CNSR == 0) ~ TRT01P + AGE + strata(LINE) + cluster(USUBJID)`` into the parts of a request.

Terms stand as R's ``terms()`` orders them: main effects first, then products by degree, each in order of appearance,
the variables of a product in the order in which the formula first names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from isthmus_client.formula.columns import Columns
from isthmus_client.formula.dictionary import Dictionary
from isthmus_client.formula.left import is_survival, survival
from isthmus_client.formula.reader import Infix, Place, Prefix, bare, complaint, read
from isthmus_client.formula.right import RightSide
from isthmus_methods.contract import Column, Term


class Right(Enum):
    """What the right side of a formula names."""

    TERMS = "terms of a model"
    GROUPS = "groups of rows: curves, tests; each a factor on its own"
    COLUMNS = "variables as they stand, one by one"


@dataclass(frozen=True, slots=True)
class Model:
    """A formula's parts. Of `terms` and `columns` one is empty: which, `Right` says."""

    text: str
    start: Column | None
    time: Column | None
    event: Column | None
    outcome: Column | None
    terms: tuple[Term, ...]
    columns: tuple[Column, ...]
    strata: tuple[Column, ...]
    cluster: Column | None
    offset: Column | None
    references: Mapping[str, str]


def parse_model(
    text: str,
    dictionary: Dictionary,
    references: Mapping[str, str] | None = None,
    *,
    right: Right = Right.TERMS,
    stratified: bool = True,
) -> Model:
    """The parts of a model formula in R's grammar.

    Parameters
    ----------
    text
        ``left ~ right``. Left: ``Surv(time, event)`` or ``Surv(start, stop, event)``, `event` being a variable of 0 and
        1 or a condition such as ``CNSR == 0``; or the outcome, a column (``CHG``, ``log(CHG)``, ``DERM == 'Y'``); or
        nothing. Right: terms joined by ``+``, ``:``, ``*``, ``^``, ``/`` and taken away by ``-``; ``strata()``,
        ``cluster()``, ``offset()``.
    references
        The reference level of a factor, where it is not the dictionary's first.
    right
        What the right side names.
    stratified
        Each country is a stratum of the fit, and so can be no term of it.

    Raises
    ------
    UsageError
        ``FORMULA_SYNTAX``, ``UNKNOWN_VARIABLE``, ``FORBIDDEN_VARIABLE``, ``UNKNOWN_LEVEL``, ``UNKNOWN_FUNCTION``,
        ``WRONG_TYPE``, ``MARGINAL_TERM``, ``COUNTRY_TERM``; each with the place marked.
    """
    tree = bare(read(text))
    if isinstance(tree, Prefix) and tree.operator == "~":
        left, body = None, tree.operand
    elif isinstance(tree, Infix) and tree.operator == "~":
        left, body = tree.left, tree.right
    else:
        raise complaint(
            "FORMULA_SYNTAX", "this is not a formula", tree.place, "write Surv(TIME, EVENT) ~ ARM + AGE, or CHG ~ ARM"
        )
    columns = Columns(dictionary)
    _set_references(columns, references or {}, text)
    start: Column | None = None
    time: Column | None = None
    event: Column | None = None
    outcome: Column | None = None
    if left is not None and is_survival(left):
        start, time, event = survival(left, columns)
    elif left is not None:
        outcome = columns.column_or_condition(left)
    side = RightSide(columns, stratified=stratified, intercept=outcome is not None)
    products = side.expand(body)
    terms: tuple[Term, ...] = ()
    named: tuple[Column, ...] = ()
    if right is Right.TERMS:
        terms = side.ordered(products, body)
    else:
        named = side.groups(products, body) if right is Right.GROUPS else side.columns_of(products, body)
    references_set = dict(columns.references)
    return Model(
        text, start, time, event, outcome, terms, named, tuple(side.strata), side.cluster, side.offset, references_set
    )


def _set_references(columns: Columns, references: Mapping[str, str], text: str) -> None:
    for name, level in references.items():
        # Marks the variable where the formula names it, and the formula's beginning where it does not.
        at = max(text.find(name), 0)
        place = Place(text, at, at + len(name))
        variable = columns.dictionary.usable(name, place)
        columns.references[name] = columns.dictionary.level(variable, level, place)
