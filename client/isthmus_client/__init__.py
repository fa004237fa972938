"""What a statistician imports: connect to a coordinator, ask a study for analyses, read the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.version import __version__

if TYPE_CHECKING:
    from isthmus_client.connection import Connection, connect, login
    from isthmus_client.proposal import study_from_toml
    from isthmus_client.study import Study

__all__ = ["Connection", "Study", "__version__", "connect", "login", "study_from_toml"]

_HOMES = {
    "Connection": "isthmus_client.connection",
    "connect": "isthmus_client.connection",
    "login": "isthmus_client.connection",
    "study_from_toml": "isthmus_client.proposal",
    "Study": "isthmus_client.study",
}


def __getattr__(name: str) -> object:
    # what is heavy is loaded when it is first used
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
