"""Runs a coordinator with some of its guards left out, as `unguarded.py` runs a node.

python -m attacks.unguarded_coordinator GUARDS isthmus-coordinator's arguments ...
"""

from __future__ import annotations

import sys

from attacks.guards import left_out


def main() -> int:
    guards, *command = sys.argv[1:]
    left_out([] if guards == "-" else guards.split(","))
    from isthmus_coordinator.cli import main as run_coordinator

    sys.argv = ["isthmus-coordinator", *command]
    run_coordinator()
    return 0


if __name__ == "__main__":
    sys.exit(main())
