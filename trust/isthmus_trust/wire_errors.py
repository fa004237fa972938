"""How an error crosses the link: trailing metadata on one side, the same error again on the other. Needs no grpc."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from isthmus.errors import (
    AuthenticationError,
    IsthmusError,
    LinkError,
    UsageError,
    VersionError,
    from_exit_code,
)
from isthmus.untrusted import shown

CODE = "isthmus-code"
MESSAGE = "isthmus-message"
REMEDY = "isthmus-remedy"
EXIT = "isthmus-exit"

# A peer may refuse more than 8 KiB of metadata altogether, and with it the whole call.
MAX_TEXT_BYTES = 2400
# Longest status text of the connection that is repeated, in characters.
MAX_DETAILS = 400
_IS_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# How gRPC begins the status text of an exception in the other side's own process.
_RAISED = "Exception "

BUG = IsthmusError(
    "BUG",
    "an unforeseen fault at the other side; rule: its text stays there",
    "tell the people who run the other side the time of this call; their log has the details",
)


def metadata_of(error: IsthmusError) -> tuple[tuple[str, str], ...]:
    """The error as trailing metadata: printable ASCII, texts percent-encoded UTF-8 and cut to a safe length."""
    return (
        (CODE, _encoded(error.code)),
        (MESSAGE, _encoded(error.message)),
        (REMEDY, _encoded(error.remedy)),
        (EXIT, str(error.exit_code)),
    )


def error_of(status: str, details: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> IsthmusError:
    """The error that the other side meant.

    Parameters
    ----------
    status
        Name of the call's status code, e.g. ``"UNAVAILABLE"``.
    details
        The status text. Used only where the call never reached the other side's own code.
    metadata
        Trailing metadata of the call, as pairs; None where there is none.
    """
    texts = {
        str(key).lower(): value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        for key, value in metadata or ()
    }
    if CODE in texts:
        exit_text = texts.get(EXIT, "")
        code = unquote(texts[CODE])
        return from_exit_code(
            int(exit_text) if exit_text.isdecimal() and len(exit_text) <= 3 else 1,
            code if _IS_CODE.fullmatch(code) else "UNREADABLE",
            shown(unquote(texts.get(MESSAGE, "")), "\n", MAX_TEXT_BYTES),
            shown(unquote(texts.get(REMEDY, "")), "\n", MAX_TEXT_BYTES),
        )
    return _from_transport(status, shown(details, most=MAX_DETAILS))


def _from_transport(status: str, details: str) -> IsthmusError:
    said = f" ({details})" if details else ""
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED"):
        return LinkError(
            "UNREACHABLE",
            f"the coordinator cannot be reached or did not accept the connection{said}",
            "see whether it runs, and whether address, proxy and certificate are right",
        )
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return AuthenticationError(
            "NOT_ACCEPTED",
            f"the other side did not accept us{said}",
            "see whether the certificate is valid and on the coordinator's roster",
        )
    if status == "UNIMPLEMENTED":
        return VersionError(
            "UNKNOWN_CALL",
            "the other side does not know this call; rule: at most one minor version apart",
            "upgrade the older of the two sides",
        )
    if status in ("RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "INVALID_ARGUMENT"):
        return UsageError(
            "NOT_TAKEN",
            f"the other side did not take the message{said}",
            "send it in smaller parts, with a program of this release",
        )
    if not details.startswith(_RAISED):
        # whatever isthmus itself answers carries our metadata: this came from the connection
        return LinkError(
            "CONNECTION_BROKEN",
            f"the connection to the other side broke{said}",
            "try again; if it stays so, see whether a box on the way changes or cuts connections",
        )
    return IsthmusError(BUG.code, BUG.message, BUG.remedy)


def _encoded(text: str) -> str:
    encoded = quote(text, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~\"")
    while len(encoded) > MAX_TEXT_BYTES:
        text = text[: int(len(text) * 0.9)]
        encoded = quote(f"{text}…", safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~\"")
    return encoded
