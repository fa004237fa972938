"""Runs one of the commands as if it were of another version of isthmus.

python versioned.py 0.3.0 isthmus-node run --home DIR
"""

from __future__ import annotations

import importlib
import sys

import isthmus.version

PROGRAMS = {
    "isthmus": "isthmus_client.cli",
    "isthmus-node": "isthmus_node.cli",
    "isthmus-coordinator": "isthmus_coordinator.cli",
}

if __name__ == "__main__":
    version, program, *arguments = sys.argv[1:]
    # before anything else of isthmus takes the name
    isthmus.version.__version__ = version
    sys.argv = [program, *arguments]
    sys.exit(importlib.import_module(PROGRAMS[program]).main())
