"""A node that is asked nothing has loaded none of the libraries that read files."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pandas", "pyarrow", "pyreadstat", "sqlalchemy", "scipy.stats", "matplotlib")


@pytest.mark.processes
def test_importing_the_parts_of_a_node_loads_no_heavy_library() -> None:
    program = (
        "import sys, isthmus_node.sources, isthmus_node.catalogue, isthmus_node.compute;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
