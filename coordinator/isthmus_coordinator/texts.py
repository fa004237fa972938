"""Texts that come from elsewhere, made fit to be stored and shown."""

from __future__ import annotations


def printable(text: str, most: int) -> str:
    """The text without anything a terminal or a database would stumble over, cut to a length."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
