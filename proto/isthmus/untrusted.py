"""Text that others wrote, made fit for the place where it is shown: terminal, page, table of a spreadsheet, file name.

Names, labels, levels, formulas, titles and the messages of the other side come from people and machines that this one
has no reason to trust. Whatever shows such a text passes it through one of these functions, and nothing else does it.
"""

from __future__ import annotations

import json
import unicodedata

# A cell that begins so is a formula to a spreadsheet. The full-width signs are turned into these by some.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# Device names of Windows: a file of that name cannot be made or opened there, whatever its ending.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{k}" for k in range(10)), *(f"lpt{k}" for k in range(10))},
)
# Blanks are harmless wherever they are shown; every other character that is not printable is not.
_BLANK = "Zs"


def shown(text: str, keep: str = "", most: int | None = None) -> str:
    """The text with all that a reader cannot see, or that a terminal obeys, as its code: ``\\u001b``, ``\\u202e``.

    Parameters
    ----------
    text
        Anything: control characters, escapes, marks that turn the direction of reading, lone surrogates.
    keep
        Characters that stay although they would be shown as codes, such as the end of a line.
    most
        Longest result in characters; what is beyond is cut off, and an ellipsis says so.
    """
    # cut before anything is made of it: what comes from elsewhere may be long
    part = text if most is None else text[: most + 1]
    if not part.isprintable():
        part = "".join(c if _is_harmless(c) or c in keep else _code(c) for c in part)
    return part if most is None or len(part) <= most else part[: most - 1] + "…"


def json_text(value: object, indent: int | None = None) -> str:
    """JSON that can be looked at in a terminal: what `shown` turns into codes stands as JSON's own escapes.

    Reading it gives the same texts again. Raises `ValueError` for a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    if text.isprintable():
        return text
    # outside of strings JSON has line ends and nothing else that is not printable
    return "".join(c if _is_harmless(c) or c == "\n" else json.dumps(c)[1:-1] for c in text)


def csv_cell(text: str) -> str:
    """The text as a spreadsheet takes it for text: an apostrophe before what would be a formula; numbers stay."""
    # a bare carriage return begins a new row, and with it a new cell, for some readers: it is shown as its code
    text = shown(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def file_part(text: str, most: int = 60) -> str:
    """The text as a part of a file's name: ASCII letters, digits, ``-`` and ``_``, never empty, never a device's name.

    No separator, no ``..``, no NUL can be in it, so that a path made of it stays in its folder.
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text[:most])
    return f"_{name}" if not name or name.lower() in _DEVICES else name


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == _BLANK


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
