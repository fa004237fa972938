"""What does not hold: always named by bundle and record, or by analysis and round, so that somebody can look there."""

from __future__ import annotations

from isthmus.errors import DataError, IsthmusError

# What to do, by code. A fault says where; this says what comes next.
_REMEDIES = {
    "BUNDLE_DAMAGED": "keep this bundle as it is for the inquiry, and ask the site for a new export",
    "RECORD_FORGED": "keep the bundle for the inquiry, and ask the site which key signed its releases",
    "NOT_AS_RECORDED": "compare the record with the site's own journal: isthmus-node journal show --bytes",
    "NOT_APPROVED": "ask the site's custodian how this could leave without a decision",
    "TASK_NOT_POOLED": "ask the coordinating team: the round was not asked with what the countries' sums give",
    "ROUND_MISSING": "export the journals again; if the record is in none of them, it was taken out",
    "TWO_TASKS": "ask the coordinating team why two tasks of one round were answered",
    "RESULT_DIFFERS": "do not use the result; ask who wrote it and from what",
}


class Fault(DataError):
    """Something does not hold: the numbers are not those that these journals give."""


def fault(code: str, where: str, what: str) -> Fault:
    """The error for something that does not hold at a place."""
    return Fault(code, f"{where}: {what}", _REMEDIES[code])


def at(bundle: str, sequence: int) -> str:
    """A record, named."""
    return f"record {sequence} of {bundle}"


def forged(where: str, error: IsthmusError) -> Fault:
    """What a check of a signature or of canonical bytes said, with the place at which it said it."""
    return fault("RECORD_FORGED", where, f"{error.message} [{error.code}]")
