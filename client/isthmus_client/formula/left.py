"""The left side of a formula: ``Surv(...)``, or the column that is the outcome."""

from __future__ import annotations

from isthmus_client.formula.columns import Columns
from isthmus_client.formula.dictionary import NUMBERS
from isthmus_client.formula.filters import predicate
from isthmus_client.formula.reader import Call, Name, Node, bare, complaint
from isthmus_methods.contract import Column, Indicator, Ref


def is_survival(node: Node) -> bool:
    """Whether the left side is ``Surv(...)``."""
    node = bare(node)
    return isinstance(node, Call) and node.function == "Surv"


def survival(node: Node, columns: Columns) -> tuple[Column | None, Column, Column]:
    """Start, time and event of ``Surv(...)``."""
    node = bare(node)
    remedy = "write Surv(TIME, EVENT) or Surv(START, STOP, EVENT), EVENT being 0/1 or a condition such as CNSR == 0"
    if not isinstance(node, Call):
        raise complaint("FORMULA_SYNTAX", "the outcome is not Surv(...)", node.place, remedy)
    arguments = [argument for label, argument in node.arguments if label in ("", "time", "time2", "event")]
    if len(arguments) != len(node.arguments) or len(arguments) not in (2, 3):
        raise complaint("FORMULA_SYNTAX", "Surv() takes two or three arguments", node.place, remedy)
    times = [_time(argument, columns) for argument in arguments[:-1]]
    event = event_column(arguments[-1], columns)
    return (times[0] if len(times) == 2 else None), times[-1], event


def _time(node: Node, columns: Columns) -> Column:
    node = bare(node)
    if not isinstance(node, Name):
        raise complaint(
            "FORMULA_SYNTAX",
            "a time is a variable as it stands; rule: times lie on the grid of the dictionary",
            node.place,
            "name the variable; choose the unit of a figure when you draw it",
        )
    variable = columns.dictionary.usable(node.name, node.place)
    if variable.type not in NUMBERS:
        raise complaint("WRONG_TYPE", f"{variable.name} is not a number", node.place, "a time is a number")
    return Ref(variable.name)


def event_column(node: Node, columns: Columns) -> Column:
    """A variable of 0 and 1, or a condition that says which value is the event."""
    node = bare(node)
    if isinstance(node, Call) and node.function == "I":
        return columns.column(node)
    if not isinstance(node, Name):
        return Indicator(predicate(node, columns.dictionary))
    variable = columns.dictionary.usable(node.name, node.place)
    outside = (variable.minimum is not None and variable.minimum < 0) or (
        variable.maximum is not None and variable.maximum > 1
    )
    if variable.type not in NUMBERS or outside or variable.name.upper() == "CNSR":
        example = f"'{variable.levels[-1]}'" if variable.levels else "0" if variable.name.upper() == "CNSR" else "1"
        raise complaint(
            "WRONG_TYPE",
            f"{variable.name} is not an event of 0 and 1"
            + ("; rule: in ADaM, CNSR = 0 is the event" if variable.name.upper() == "CNSR" else ""),
            node.place,
            f"say which value is the event: {variable.name} == {example}",
        )
    return Ref(variable.name)
