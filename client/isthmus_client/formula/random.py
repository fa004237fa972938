"""What a formula says of correlated records: ``(1 | country)``, ``(1 | country/USUBJID)``, ``us(AVISIT | USUBJID)``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isthmus.errors import UsageError

_NAME = r"(?:`(?:[^`\\]|\\.)*`|[\w.]+)"
_INTERCEPTS = re.compile(rf"\(\s*1\s*\|\s*({_NAME})\s*(?:/\s*({_NAME})\s*)?\)")
_UNSTRUCTURED = re.compile(rf"\bus\s*\(\s*({_NAME})\s*\|\s*({_NAME})\s*\)")


@dataclass(frozen=True, slots=True)
class Correlated:
    """A formula taken apart; "" for what it does not say."""

    fixed: str  # the formula without these parts
    group: str = ""
    subject: str = ""
    visit: str = ""


def correlated(formula: str) -> Correlated:
    """What a formula says of correlated records, and the formula that is left.

    Raises
    ------
    UsageError
        ``FORMULA_SYNTAX`` where intercepts are more than groups and subjects in them.
    """
    intercepts, visits = _INTERCEPTS.findall(formula), _UNSTRUCTURED.findall(formula)
    names = [name for pair in intercepts for name in pair if name]
    if len(names) > 2 or len(visits) > 1 or (names and visits):
        raise UsageError(
            "FORMULA_SYNTAX",
            f"more is random than one formula can say here: {formula}",
            "write (1 | group), (1 | group/subject) or us(visit | subject), once",
        )
    left, tilde, right = _UNSTRUCTURED.sub("", _INTERCEPTS.sub("", formula)).partition("~")
    right = re.sub(r"(?:\+\s*)+(?=\+|$)", "", re.sub(r"^\s*(?:\+\s*)+", "", right.strip())).strip()
    fixed = f"{left.strip()} ~ {right or '1'}" if tilde else formula
    if not names and not visits:
        return Correlated(formula)
    if visits:
        return Correlated(fixed, visit=_bare(visits[0][0]), subject=_bare(visits[0][1]))
    return Correlated(fixed, group=_bare(names[0]), subject=_bare(names[1]) if len(names) > 1 else "")


def _bare(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith("`") else name
