"""Public keys that the node keeps from its enrolment."""

from __future__ import annotations

from pathlib import Path

from isthmus.errors import AuthenticationError
from isthmus_trust.identity import PUBLIC_BYTES
from isthmus_trust.key_files import read_secret, replace


def read_public(path: Path) -> bytes:
    """A public key that `write_public` stored, 32 bytes; `AuthenticationError` ``KEY_DAMAGED`` otherwise."""
    try:
        key = bytes.fromhex(read_secret(path).decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != PUBLIC_BYTES:
        raise AuthenticationError(
            "KEY_DAMAGED",
            f"{path} holds no public key",
            "restore pki/ from the backup, or enrol again with a new token",
        )
    return key


def write_public(path: Path, key: bytes) -> None:
    """Store a public key as a line of hexadecimal digits."""
    replace(path, key.hex().encode("ascii") + b"\n")
