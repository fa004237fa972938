"""What a refusal says of an error: a fixed code, the rule and the remedy, and one answer for what must look alike.

A request can be built so that an error happens only where a certain row is there. What is said of errors about data is
therefore one thing, whichever error it was. And a name that the study does not have, one that it has and nobody may
use, and a level that no row or every row has, are answered with the same bytes.
"""

from __future__ import annotations

import re

from isthmus.errors import DataError, IsthmusError, Refused, UsageError, WaitingForApproval
from isthmus_node.egress.form import Violation

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_ASK = "ask the site: isthmus-node check names what is wrong there, and its log has this request's reason"
BUG = Violation("BUG", "the site cannot answer", _ASK)
DATA = Violation("DATA_DO_NOT_ALLOW", "the data of this site do not allow this analysis", _ASK)
NOT_IN_DICTIONARY = Violation(
    "NOT_IN_DICTIONARY",
    "a request names only what the study's dictionary has and lets an analysis use: datasets, variables, levels",
    "see the dictionary: isthmus study show; explain says what is wrong in the request",
)
# Codes of what is unknown and of what is forbidden, which are not told apart.
ALIKE = frozenset(
    {
        "UNKNOWN_DATASET",
        "UNKNOWN_VARIABLE",
        "FORBIDDEN_VARIABLE",
        "IDENTIFIER_USED",
        "FORBIDDEN_TYPE",
        "UNKNOWN_LEVEL",
        "NO_LEVELS",
        "NOT_A_FACTOR",
        "NOT_A_NUMBER",
        "WRONG_COMPARISON",
        "WRONG_COLUMN",
        "TRANSFORM_OF_FACTOR",
        "FACTOR_OF_VARIABLE",
    }
)


def violation_of(error: BaseException, open_data: bool = False) -> Violation:
    """What is said of an error.

    Parameters
    ----------
    error
        Whatever stood in the way of an answer.
    open_data
        The custodian marked the data as public or synthetic: then an error about them has its own code.
    """
    code = error.code if isinstance(error, IsthmusError) and _CODE.fullmatch(error.code) else ""
    if code in ALIKE and isinstance(error, Refused | UsageError):
        return NOT_IN_DICTIONARY
    if isinstance(error, Refused | UsageError | WaitingForApproval) and code:
        return Violation(code, error.message, error.remedy)
    if isinstance(error, DataError):
        return Violation(code or DATA.code, DATA.rule, DATA.remedy) if open_data else DATA
    return Violation(code or BUG.code, BUG.rule, BUG.remedy)


def is_about_data(error: BaseException) -> bool:
    """Whether the error may depend on rows: everything but a decision about the request, the settings or the link."""
    return isinstance(error, DataError) or not isinstance(error, IsthmusError) or type(error) is IsthmusError
