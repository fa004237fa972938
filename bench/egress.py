"""What the way out costs: gate, signature, and a journal that is on the disk before anything is sent."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from isthmus.v1 import study_pb2
from isthmus_methods.contract import Field, Item, Kind, ModelSupport, Summary
from isthmus_node.egress.gate import Refusal, judge
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.wire import Header, encode
from isthmus_trust.documents import digest
from isthmus_trust.identity import IdentityKey

PARAMETERS = 50
NUMBERS = PARAMETERS * (PARAMETERS + 1) // 2  # of 8 bytes: 10 kB
LEAVES = {"information": Field(Kind.INFORMATION, "a bench's numbers")}


def egress_milliseconds(folder: Path, releases: int = 10_000, counted: int = 200) -> dict[str, object]:
    """Milliseconds of one release of 10 kB through gate, wire and journal: the first ones, and after `releases`."""
    policy, key = Policy.load(DEFAULT_FILE), IdentityKey.generate()
    support = ModelSupport(persons=5000, parameters=PARAMETERS, events=2000, effective_persons=4000.0, leverage=0.01)
    item = Item("information", np.random.default_rng(1).standard_normal(NUMBERS), support)
    each = []
    with Journal.open(folder / "journal") as journal:
        for number in range(releases + counted):
            began = time.perf_counter()
            verdict = judge(Summary((item,)), LEAVES, (), study_pb2.TRIAL_ANALYSIS, policy, open_data=False)
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
