"""What can be left out of a node, one guard at a time, from outside.

A guard's name is that of the rule, or says what it is. `is_there` says whether this release has it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attacks.guards_of_countries import COUNTRIES
from attacks.guards_of_exchange import EXCHANGE
from attacks.guards_of_sealing import SEALING
from attacks.guards_of_training import TRAINING
from attacks.patching import everywhere, put


def is_there(name: str) -> bool:
    """Whether this release has the guard."""
    if name in _rules():
        return True
    return name in GUARDS and all(_resolves(place) for place in GUARDS[name][0])


def left_out(names: Iterable[str]) -> None:
    """Leave guards out of this process."""
    names = list(names)
    rules = [_rules()[name] for name in names if name in _rules()]
    if rules:
        _without(rules)
    for name in names:
        if name not in _rules():
            GUARDS[name][1]()


def _resolves(place: str) -> bool:
    module, _, path = place.partition(":")
    try:
        owner: Any = importlib.import_module(module)
        for part in path.split("."):
            owner = getattr(owner, part)
    except (ImportError, AttributeError):
        return False
    return True


# --------------------------------------------------------------------------- the rules of the gate


def _rules() -> dict[str, Callable[..., object]]:
    """Every rule that a kind of field is asked, by name."""
    from isthmus_node.egress.judges import JUDGES

    return {rule.__name__: rule for judge in JUDGES.values() for rule in judge.floors}


def _without(rules: list[Callable[..., object]]) -> None:
    from isthmus_node.egress import gate

    judges: Mapping[Any, Any] = vars(gate)["JUDGES"]
    kept = {
        kind: replace(judge, floors=tuple(r for r in judge.floors if r not in rules)) for kind, judge in judges.items()
    }
    put(gate, "JUDGES", kept)


def _mask_single_cells() -> None:
    """The gate masks the small cells alone and lets the rest of their block leave, as a first idea would."""
    from isthmus_methods.contract import CellSupport
    from isthmus_node.egress import gate

    judge = gate.judge

    def masked(summary: Any, *rest: Any, **more: Any) -> Any:
        items = []
        for item in summary.items:
            if isinstance(item.support, CellSupport) and np.any(item.support.persons < 5):
                small = item.support.persons < 5
                persons = np.where(small, 0, item.support.persons)
                value = np.where(small, 0, item.value)
                item = replace(item, value=value, support=CellSupport(persons, item.support.axis))
            items.append(item)
        return judge(replace(summary, items=tuple(items)), *rest, **more)

    everywhere("judge", judge, masked)


def _count_rows() -> None:
    """Rows are counted where persons should be: each is taken as somebody else."""
    # the package has a function of the same name
    answer = importlib.import_module("isthmus_node.compute.answer")
    original = answer.prepare

    def prepare(spec: Any, table: Any, *rest: Any, **more: Any) -> Any:
        own = replace(table, subject=np.arange(table.rows, dtype=np.int32), persons=table.rows)
        return original(spec, own, *rest, **more)

    put(answer, "prepare", prepare)


def _any_number() -> None:
    """Numbers need not be finite."""
    from isthmus_node.egress import form

    put(form, "number_violation", lambda item, whole: None)


def _no_auditor() -> None:
    """Each release is judged by itself."""
    from isthmus_node.egress.auditor import Auditor

    put(Auditor, "violation", lambda self, audit, limits: None)


def _no_combined_factors() -> None:
    """Factors are looked at one at a time."""
    from isthmus_node.egress import combined_rules

    put(combined_rules, "triples_are_loose", lambda question, released, limits: released)


def _no_grid_of_cut_points() -> None:
    """A variable is cut wherever somebody likes."""
    from isthmus_node.egress import unplanned

    put(unplanned, "cuts_are_on_grid", lambda cohorts, limits: None)


def _nobody_is_not_a_few() -> None:
    """Nobody leaves as zeros, and a few are refused."""
    from isthmus_node.egress import unplanned
    from isthmus_node.egress.policy import Policy

    put(unplanned, "sides_are_of_many", lambda cohorts, limits: None)
    put(Policy, "without_zeros", lambda self: self)


def _exact_counts() -> None:
    """Counts leave as they are, whatever the purpose."""
    from isthmus_node.egress import gate

    put(gate, "as_they_leave", lambda values, leaves, limits: values)
    put(gate, "step_of", lambda leaves, limits: 1)


def _ages_as_they_are() -> None:
    """Nobody is too old."""
    from isthmus_node.compute.ages import Ages

    put(Ages, "up_to", lambda self, table, years: table)


def _any_support() -> None:
    """Support need not agree with what it supports."""
    from isthmus_node.egress import gate

    judges: Mapping[Any, Any] = vars(gate)["JUDGES"]
    put(gate, "JUDGES", {kind: replace(judge, fits=lambda value, support: True) for kind, judge in judges.items()})


def _any_kind() -> None:
    """A kind of field without a line in the table leaves as it is."""
    from isthmus_node.egress import gate

    class Harmless(dict[Any, Any]):
        def get(self, kind: Any, default: Any = None) -> Any:
            return super().get(kind) or _Yes()

        def __missing__(self, kind: Any) -> Any:
            return _Yes()

    put(gate, "JUDGES", Harmless(vars(gate)["JUDGES"]))


class _Yes:
    """Says yes to everything."""

    def form(self, item: Any) -> None:
        """Of any form."""

    def floor(self, item: Any, limits: Any) -> None:
        """Of any size."""


def _errors_with_their_text() -> None:
    """What an error says is what the refusal says."""
    from isthmus.errors import IsthmusError
    from isthmus_node.egress import gate
    from isthmus_node.egress.form import Violation

    refuse = gate.refuse

    def loose(error: BaseException, purpose: int = 0, policy: Any = None, open_data: bool = False) -> Any:
        said = refuse(error, purpose, policy, open_data)
        rule = error.message if isinstance(error, IsthmusError) else str(error)
        return gate._refusal(Violation(said.code, rule, said.remedy), "", purpose, said.policy_digest)

    everywhere("refuse", refuse, loose)


# --------------------------------------------------------------------------- what a request may use


def _roles_and_types_unknown() -> None:
    """Identifiers and dates of the dictionary are taken as numbers like any other."""
    from isthmus_methods import codec
    from isthmus_methods.contract import VariableType

    original = codec.variable_from_message

    def plain(message: Any) -> Any:
        variable = original(message)
        if variable.type is VariableType.DATE or ("IDENTIFIER" in variable.roles and variable.name != "SUBJ"):
            return replace(variable, type=VariableType.NUMERIC, roles=frozenset())
        return variable

    everywhere("variable_from_message", original, plain)


def _any_transform() -> None:
    """A transform that is not on the list is computed: number 99 is 1 / (x - c)."""
    from isthmus_methods import codec
    from isthmus_methods.contract import Function
    from isthmus_node.compute import rows

    functions: dict[Any, Any] = codec._FUNCTIONS
    functions[99] = Function.CENTRE
    original = rows._transformed

    def transformed(function: Any, values: Any, constants: Any) -> Any:
        if function is Function.CENTRE:
            return 1.0 / (values - constants[0])
        return original(function, values, constants)

    put(rows, "_transformed", transformed)


def _levels_of_the_rows() -> None:
    """A level that the rows have is as good as one of the dictionary: the node says whether it is there."""
    from isthmus.errors import UsageError

    # the package has a function of the same name
    typed = importlib.import_module("isthmus_node.sources.typed")
    original = typed.table_of

    def table_of(conversion: Any, *rest: Any) -> Any:
        for variable in conversion.variables.values():
            for level in variable.unknown:
                raise UsageError("STRANGE_LEVEL", f"{variable.variable.name} has the level {level!r}", "declare it")
        return original(conversion, *rest)

    everywhere("table_of", original, table_of)


def _compares_with_the_rows() -> None:
    """A filter may name a level that the rows have, whether the dictionary has it or not."""
    from isthmus_methods import validate
    from isthmus_node.compute import request

    typed = importlib.import_module("isthmus_node.sources.typed")

    there: set[str] = set()
    original = typed._typed

    def seen(rows: Any, variable: Any) -> Any:
        made = original(rows, variable)
        there.update(made.unknown)
        return made

    put(typed, "_typed", seen)
    check_level, check_value = validate._check_level, request._check_value
    put(validate, "_check_level", lambda v, level, where: None if level in there else check_level(v, level, where))
    put(request, "_check_value", lambda spec, name, value: None if value in there else check_value(spec, name, value))


def _grid_of_the_rows() -> None:
    """Times travel as they are, on a grid of one."""
    from isthmus_methods.parts import time_table

    original = time_table.grid_of

    def fine(spec: Any, column: Any) -> Any:
        grid = original(spec, column)
        return replace(grid, step=1.0, size=int((grid.size - 1) * grid.step) + 1)

    everywhere("grid_of", original, fine)
    from isthmus_node.catalogue import findings

    check = findings.check_conversion

    def without(conversion: Any, *rest: Any) -> Any:
        return [finding for finding in check(conversion, *rest) if finding.code != "OFF_GRID"]

    everywhere("check_conversion", check, without)


# name -> where it lies, and how it is left out
GUARDS: Mapping[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "all or nothing": (("isthmus_node.egress.gate:judge",), _mask_single_cells),
    "persons are counted": (("isthmus_node.compute.answer:prepare",), _count_rows),
    "rounded counts": (("isthmus_node.egress.rounding:as_they_leave",), _exact_counts),
    "ages up to ninety": (("isthmus_node.compute.ages:Ages.up_to",), _ages_as_they_are),
    "auditor": (("isthmus_node.egress.auditor:Auditor.violation",), _no_auditor),
    "auditor of combined factors": (
        ("isthmus_node.egress.combined_rules:triples_are_loose",),
        _no_combined_factors,
    ),
    "cut points on a grid": (("isthmus_node.egress.unplanned:cuts_are_on_grid",), _no_grid_of_cut_points),
    "same answer to nobody and to a few": (
        ("isthmus_node.egress.unplanned:sides_are_of_many", "isthmus_node.egress.policy:Policy.without_zeros"),
        _nobody_is_not_a_few,
    ),
    "finite numbers": (("isthmus_node.egress.form:number_violation",), _any_number),
    "support fits": (("isthmus_node.egress.form:BAD_SUPPORT",), _any_support),
    "known kinds": (("isthmus_node.egress.gate:UNKNOWN_KIND",), _any_kind),
    "errors without text": (("isthmus_node.egress.gate:refuse",), _errors_with_their_text),
    "roles and types": (("isthmus_node.compute.request:check_request",), _roles_and_types_unknown),
    "listed transforms": (("isthmus_methods.codec:_FUNCTIONS",), _any_transform),
    "levels of the dictionary": (("isthmus_node.sources.typed:table_of",), _levels_of_the_rows),
    "same answer to unknown levels": (("isthmus_methods.validate:_check_level",), _compares_with_the_rows),
    "grid of the dictionary": (("isthmus_methods.parts.time_table:grid_of",), _grid_of_the_rows),
    **EXCHANGE,
    **SEALING,
    **COUNTRIES,
    **TRAINING,
}
