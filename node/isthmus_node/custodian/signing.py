"""What everything that a custodian signs has in common: whose key it is, and when its folder was added to."""

from __future__ import annotations

from pathlib import Path

from isthmus.errors import AuthenticationError
from isthmus_trust.identity import IdentityKey


def check_key(key: IdentityKey, custodian: bytes) -> None:
    """Raise `AuthenticationError` ``NOT_THE_CUSTODIAN`` unless it is the key that the node enrolled with."""
    if key.public != custodian:
        raise AuthenticationError(
            "NOT_THE_CUSTODIAN",
            "the key given is not the custodian's key that this node joined with",
            "use the custodian's key, named by custodian_key in node.toml",
        )


def time_of_change(folder: Path) -> int:
    """Nanoseconds since 1970; changes whenever a file is put into the folder. 0 where it cannot be asked."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
