"""The lines of a check: a question, its answer, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mark(Enum):
    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Line:
    """One question and its answer. `exit_code` is that of the error behind a FAIL."""

    question: str
    mark: Mark
    found: str
    remedy: str = ""
    exit_code: int = 0
