"""What stands in a sealed round: countries enough, words of the study's nodes, keys of one use, derived states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attacks.patching import everywhere, put


def _of_any_number() -> None:
    """A sealed round is over whichever countries the coordinator names."""
    from isthmus_node.sealing import admitted

    put(admitted, "check_countries", lambda task, study: None)


def _words_of_anybody() -> None:
    """A word is a participant's, whoever signed it."""
    from isthmus_trust import sealed

    original = sealed.open_word

    def open_word(signed: Any, context: str, kind: Any, participant: Any, task: bytes) -> Any:
        anybody = type(participant)()
        anybody.CopyFrom(participant)
        anybody.identity_key = signed.public_key
        return original(signed, context, kind, anybody, task)

    put(sealed, "open_word", open_word)


def _one_key_for_all_rounds() -> None:
    """A node has one key, and masks follow from the keys alone."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from isthmus_node.sealing import round as sealing
    from isthmus_trust import sealed

    original = sealed.masks_of

    def masks_of(own: Any, place: int, keys: Any, names: Any, transcript: bytes, numbers: int) -> Any:
        return original(own, place, keys, names, bytes(32), numbers)

    put(sealing, "new_key", lambda: X25519PrivateKey.from_private_bytes(bytes(range(32))))
    put(sealed, "masks_of", masks_of)


def _any_state() -> None:
    """A round is asked with whatever the coordinator likes."""
    from isthmus_node.sealing import derived

    everywhere("check_derived", derived.check_derived, lambda expected, task: None)


SEALING: Mapping[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "three countries": (("isthmus_node.sealing.admitted:check_countries",), _of_any_number),
    "words of the study's nodes": (("isthmus_trust.sealed:open_word",), _words_of_anybody),
    "keys of one use": (
        ("isthmus_node.sealing.round:new_key", "isthmus_trust.sealed:masks_of"),
        _one_key_for_all_rounds,
    ),
    "derived state": (("isthmus_node.sealing.derived:check_derived",), _any_state),
}
