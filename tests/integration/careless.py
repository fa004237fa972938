"""Runs one of the commands with the witness's rule left out: it agrees to every checkpoint that it is shown.

    python careless.py isthmus-node run --home DIR

The rule is taken out here, from outside; the product has no switch for it.
"""

from __future__ import annotations

import importlib
import sys

from isthmus_trust import checkpoints

PROGRAMS = {"isthmus-node": "isthmus_node.cli", "isthmus-coordinator": "isthmus_coordinator.cli"}

if __name__ == "__main__":
    program, *arguments = sys.argv[1:]
    # before anything that takes the name from there
    checkpoints.judge = lambda seen, new, proofs: checkpoints.Verdict.AGREED
    sys.argv = [program, *arguments]
    sys.exit(importlib.import_module(PROGRAMS[program]).main())
