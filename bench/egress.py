"""What the way out costs: gate, auditor, signature, and a journal that is on the disk before anything is sent."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from isthmus.v1 import journal_pb2, study_pb2
from isthmus_methods.contract import Booleans, Field, Item, Kind, ModelSupport, Summary
from isthmus_methods.rows import Cohorts
from isthmus_node.egress.auditor import Audit, Auditor
from isthmus_node.egress.gate import Refusal, judge
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.wire import Header, encode
from isthmus_trust.documents import digest
from isthmus_trust.identity import IdentityKey

PARAMETERS = 50
NUMBERS = PARAMETERS * (PARAMETERS + 1) // 2  # of 8 bytes: 10 kB
PERSONS, COHORTS = 5000, 12
LEAVES = {"information": Field(Kind.INFORMATION, "a bench's numbers")}


def egress_milliseconds(folder: Path, releases: int = 10_000, counted: int = 200) -> dict[str, object]:
    """Milliseconds of one release of 10 kB on its whole way out: the first ones, and after `releases`.

    Each is a request that the auditor has not met before, over one of a few cohorts of the country.
    """
    policy, key = Policy.load(DEFAULT_FILE), IdentityKey.generate()
    support = ModelSupport(persons=PERSONS, parameters=PARAMETERS, events=2000, effective_persons=4000.0, leverage=0.01)
    item = Item("information", np.random.default_rng(1).standard_normal(NUMBERS), support)
    each = []
    draw = np.random.default_rng(2)
    cohorts = [_cohorts(draw.random(PERSONS) < 0.5) for _ in range(COHORTS)]
    with Journal.open(folder / "journal") as journal:
        auditor = Auditor(folder / "auditor", journal)
        for number in range(releases + counted):
            began = time.perf_counter()
            one = cohorts[number % COHORTS]
            name = digest(str(number).encode())
            audit = Audit(auditor, name, lambda one=one: (one,), False, journal_pb2.Record())  # type: ignore[misc]
            summary = Summary((item,))
            verdict = judge(summary, LEAVES, (), study_pb2.TRIAL_ANALYSIS, policy, False, audit.violation)
            if isinstance(verdict, Refusal):
                raise SystemExit(f"the bench's own release was refused: {verdict.code}")
            journal.release(encode(verdict, _header(number), key))
            each.append((time.perf_counter() - began) * 1000)
    return {
        "bytes": NUMBERS * 8,
        "milliseconds_first": round(statistics.median(each[:counted]), 3),
        f"milliseconds_after_{releases}": round(statistics.median(each[-counted:]), 3),
        "target_milliseconds": 5,
    }


def _cohorts(rows: Booleans) -> Cohorts:
    names = [str(number) for number in range(PERSONS)]
    marks = np.ones(PERSONS, dtype=np.uint64)
    return Cohorts("BENCH", "", np.arange(PERSONS), lambda: names, b"", b"", lambda: marks, rows, rows)


def _header(number: int) -> Header:
    return Header(
        task=digest(str(number).encode()),
        node="nl",
        country="NL",
        study="BENCH",
        study_digest=bytes(32),
        analysis="bench",
        run=bytes(16),
        round=1,
        dataset_digest=bytes(32),
        software="bench",
    )
