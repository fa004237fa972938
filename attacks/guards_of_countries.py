"""What guards a country from the others, and the pool from a country; each can be left out, as in `guards.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attacks.patching import put


def _any_countries() -> None:
    """An analysis is answered again with whichever countries."""
    from isthmus_node.custodian.reruns import Reruns

    put(Reruns, "check", lambda *_: None)


def _any_sums() -> None:
    """Whatever a country sends is added."""
    from isthmus_methods import pooling

    put(pooling, "check_plausible", lambda *_: None)


COUNTRIES: Mapping[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "same countries again": (("isthmus_node.custodian.reruns:Reruns.check",), _any_countries),
    "plausible sums": (("isthmus_methods.plausible:check_plausible",), _any_sums),
}
