"""The variables a formula may name: looks them up in the study's dictionary and says clearly which it may not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.v1 import study_pb2
from isthmus_client.formula.reader import Place, complaint
from isthmus_methods.codec import variable_from_message
from isthmus_methods.contract import Variable, VariableType

NUMBERS = (VariableType.NUMERIC, VariableType.INTEGER)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The variables of one dataset of a study."""

    dataset: str
    variables: Mapping[str, Variable]
    subject: str = ""

    @classmethod
    def of(cls, dataset: study_pb2.Dataset) -> Dictionary:
        return cls(dataset.name, {v.name: variable_from_message(v) for v in dataset.variables}, dataset.subject)

    def find(self, name: str, place: Place) -> Variable:
        """The variable of that name; `UsageError` with the nearest names where there is none."""
        variable = self.variables.get(name)
        if variable is not None:
            return variable
        folded = {known.casefold(): known for known in self.variables}
        near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
        known = ", ".join(self.variables)
        raise complaint(
            "UNKNOWN_VARIABLE",
            f"dataset {self.dataset} has no variable {name!r}",
            place,
            f"did you mean {' or '.join(folded[n] for n in near)}?" if near else f"its variables are: {known}",
        )

    def usable(self, name: str, place: Place) -> Variable:
        """The variable of that name, if an analysis may use its values.

        Raises
        ------
        UsageError
            ``UNKNOWN_VARIABLE``, or ``FORBIDDEN_VARIABLE`` for an identifier, free text or a date.
        """
        variable = self.find(name, place)
        if variable.type in (VariableType.TEXT, VariableType.DATE):
            what = "free text" if variable.type is VariableType.TEXT else "a calendar date"
            raise complaint(
                "FORBIDDEN_VARIABLE",
                f"{name} is {what}; rule: free text and dates are never used in an analysis",
                place,
                "use a coded variable, or a number of days from a reference date",
            )
        if "IDENTIFIER" in variable.roles or name == self.subject:
            raise complaint(
                "FORBIDDEN_VARIABLE",
                f"{name} identifies persons; rule: an identifier is used in cluster() only",
                place,
                f"write cluster({name}), or leave it out",
            )
        return variable

    def level(self, variable: Variable, value: float | str, place: Place) -> str:
        """The declared level that a literal names; a number is taken as R writes it, so 1 names level "1"."""
        text = value if isinstance(value, str) else f"{value:g}"
        if text not in variable.levels:
            near = difflib.get_close_matches(text, variable.levels, n=1, cutoff=0.5)
            levels = ", ".join(repr(level) for level in variable.levels)
            raise complaint(
                "UNKNOWN_LEVEL",
                f"{variable.name} has no level {text!r}",
                place,
                (f"did you mean {near[0]!r}? " if near else "") + f"its levels are: {levels}",
            )
        return text
