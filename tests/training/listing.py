"""Runs `isthmus-node` and, when it ends, writes the names of all modules that it loaded.

python listing.py FILE run --home HOME
"""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

if __name__ == "__main__":
    written, *arguments = sys.argv[1:]
    atexit.register(lambda: Path(written).write_text("\n".join(sorted(sys.modules)), encoding="utf-8"))
    sys.argv = ["isthmus-node", *arguments]
    from isthmus_node.cli import main

    main()
