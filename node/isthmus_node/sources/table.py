"""A dataset as methods see it: numbers and level codes by the study's dictionary, numpy arrays and nothing else."""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Array, Variable

Codes = NDArray[np.int32]
MISSING = -1


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The rows of one dataset in one country.

    Text and calendar dates are not in it: no analysis may use them. Identifiers are numbered.
    """

    dataset: str
    country: str
    rows: int
    variables: Mapping[str, Variable]  # the dictionary
    numbers: Mapping[str, Array]  # NUMERIC, INTEGER: (n,), NaN where missing
    # FACTOR: (n,), index into the dictionary's levels; -1 where missing; len(levels): OTHER, not in the dictionary
    codes: Mapping[str, Codes]
    identifiers: Mapping[str, Codes]  # role IDENTIFIER: (n,), numbered from 0 in order of appearance; -1 where missing
    subject: Codes  # (n,), distinct persons numbered from 0
    persons: int
    digest: bytes  # of the snapshot: equal tables under equal dictionaries have equal digests
    names: Callable[[], Sequence[str]] = tuple  # of the persons, by number: to join two datasets and for nothing else
    # Of the snapshot and the names: `digest` has persons by number only, and a join depends on who they are.
    named_digest: Callable[[], bytes] = bytes

    def persons_by_name(self) -> Sequence[str]:
        """What persons are known again by, by number: their names, or their rows' places where nothing names them."""
        return self.names() or tuple(f"row {number}" for number in range(self.persons))


def named_digest(digest: bytes, names: Callable[[], Sequence[str]], key: bytes) -> Callable[[], bytes]:
    """Gives the digest of a snapshot together with the names of its persons, computed when first asked for.

    Keyed as `snapshot_digest` is, and for the same reason.
    """

    @functools.cache
    def digest_of_both() -> bytes:
        both = hmac.new(key, digest, hashlib.sha256)
        for name in names():
            both.update(f"{len(name)}\0{name}".encode())
        return both.digest()

    return digest_of_both


def snapshot_digest(
    dictionary: bytes,
    country: str,
    numbers: Mapping[str, Array],
    codes: Mapping[str, Codes],
    identifiers: Mapping[str, Codes],
    subject: Codes,
    key: bytes,
) -> bytes:
    """SHA-256 over the dictionary and every column's bytes, keyed: HMAC.

    The digest leaves the country. Without a key of the node's own, somebody who knows all rows but one value could
    try values until the digest fits.

    Parameters
    ----------
    dictionary : canonical bytes of the dataset's dictionary.
    key : secret of the node; empty only where rows are made up.

    Source: RFC 2104 (HMAC).
    """
    digest = hmac.new(key, digestmod=hashlib.sha256)

    def part(kind: str, name: str, body: bytes | memoryview) -> None:
        digest.update(f"{kind}\0{name}\0{len(body)}\0".encode())
        digest.update(body)

    part("dictionary", "", dictionary)
    part("country", "", country.encode())
    for kind, columns, width in (
        ("number", numbers, "<f8"),
        ("code", codes, "<i4"),
        ("identifier", identifiers, "<i4"),
    ):
        for name in sorted(columns):
            part(kind, name, np.ascontiguousarray(columns[name], dtype=width).data.cast("B"))
    part("subject", "", np.ascontiguousarray(subject, dtype="<i4").data.cast("B"))
    return digest.digest()
