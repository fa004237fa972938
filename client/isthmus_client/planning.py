"""Planning a trial without data: `from isthmus_client import planning`."""

from __future__ import annotations

from isthmus_methods.planning import *  # noqa: F403  (the same names, in one place for a statistician)
from isthmus_methods.planning import __all__ as __all__
