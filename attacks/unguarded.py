"""Runs a node with some of its guards left out, and writes down every byte that it hands to the network.

    python -m attacks.unguarded RECORD GUARDS GIVEN isthmus-node's arguments ...

GUARDS and GIVEN are names of `guards.py` and `circumstances.py` with commas between, or ``-``. What is left out is left
out here, from outside, in the process of the test; the product has no switch for any of it.
"""

from __future__ import annotations

import sys

from attacks.circumstances import put_in
from attacks.guards import left_out
from attacks.wiretap import Record, tap


def main() -> int:
    path, guards, given, *command = sys.argv[1:]
    tap(Record(path))
    left_out([] if guards == "-" else guards.split(","))
    put_in([] if given == "-" else given.split(","))
    from isthmus_node.cli import main as run_node

    sys.argv = ["isthmus-node", *command]
    run_node()
    return 0


if __name__ == "__main__":
    sys.exit(main())
