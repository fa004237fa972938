"""The verifier's own mathematics: Ed25519 held against the library's, on good signatures and on every bad kind."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from isthmus.errors import AuthenticationError
from isthmus_trust import verifier
from isthmus_trust.identity import _WEAK_KEYS, IdentityKey, signed_bytes, verify
from isthmus_trust.merkle import Tree
from isthmus_trust.verifier import L, P, ed25519

# RFC 8032, section 7.1, tests 1 to 3: public key, message, signature.
PUBLISHED = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]


def library(public: bytes, body: bytes, signature: bytes) -> bool:
    """What everything else of isthmus says."""
    try:
        verify(public, "isthmus/test/1", body, signature)
    except AuthenticationError:
        return False
    return True


def ours(public: bytes, body: bytes, signature: bytes) -> bool:
    return ed25519(public, signed_bytes("isthmus/test/1", body), signature)


@pytest.mark.parametrize(("public", "message", "signature"), PUBLISHED)
def test_published_signatures_hold(public: str, message: str, signature: str) -> None:
    assert ed25519(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not ed25519(bytes.fromhex(public), bytes.fromhex(message) + b"x", bytes.fromhex(signature))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.data())
@settings(max_examples=60, deadline=None)
def test_any_key_is_judged_as_the_library_judges_it(seed: bytes, body: bytes, data: st.DataObject) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = IdentityKey(Ed25519PrivateKey.from_private_bytes(seed))
    signature = key.sign("isthmus/test/1", body).signature
    assert ours(key.public, body, signature)
    at = data.draw(st.integers(0, 511), label="bit")
    changed = bytearray(signature)
    changed[at // 8] ^= 1 << at % 8
    assert not ours(key.public, body, bytes(changed))
    assert ours(key.public, body, bytes(changed)) == library(key.public, body, bytes(changed))
    other = bytearray(key.public)
    other[at // 16] ^= 1 << at % 8
    assert ours(bytes(other), body, signature) == library(bytes(other), body, signature) is False


def test_same_signature_with_a_larger_number_does_not_hold() -> None:
    """S + L signs the same, if one lets it (RFC 8032, 5.1.7): two signatures of one document."""
    key = IdentityKey.generate()
    signature = key.sign("isthmus/test/1", b"body").signature
    number = int.from_bytes(signature[32:], "little")
    for more in (1, 2, 7):
        large = signature[:32] + (number + more * L).to_bytes(32, "little")
        assert not ours(key.public, b"body", large)
        assert not library(key.public, b"body", large)
    assert not ours(key.public, b"body", signature[:32] + b"\xff" * 32)


def test_key_of_small_order_signs_nothing() -> None:
    """With such a key R = S B is a "signature" of every second or eighth document, found by trying."""
    signatures = [bytes(64), b"\1" + bytes(63), bytes(verifier._encoded(verifier._BASE)) + b"\1" + bytes(31)]
    for weak in _WEAK_KEYS:
        for public in (weak, weak[:-1] + bytes([weak[-1] | 0x80])):
            for signature in signatures:
                for k in range(8):
                    assert not ours(public, bytes([k]), signature), public.hex()
                    assert not library(public, bytes([k]), signature)


def test_point_has_one_encoding() -> None:
    """The encodings beyond P are others' points under another name: OpenSSL takes them as keys, RFC 8032 does not."""
    key = IdentityKey.generate()
    signature = key.sign("isthmus/test/1", b"body").signature
    for y in range(P, 2**255):
        for sign in (0, 1 << 255):
            assert verifier._point((y | sign).to_bytes(32, "little")) is None
            assert not ours((y | sign).to_bytes(32, "little"), b"body", signature)
    # x = 0 has no other sign
    assert verifier._point((1 | 1 << 255).to_bytes(32, "little")) is None
    assert verifier._point((1).to_bytes(32, "little")) == (0, 1, 1, 0)


@pytest.mark.parametrize(("public", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_key_and_signature_have_their_lengths(public: int, signature: int) -> None:
    assert not ed25519(bytes(public), b"", bytes(signature))


@given(st.lists(st.binary(max_size=3), max_size=40))
@settings(max_examples=40, deadline=None)
def test_roots_are_those_of_the_tree(entries: list[bytes]) -> None:
    roots, tree = verifier.Roots(), Tree()
    for entry in entries:
        roots.add(entry)
        tree.append(entry)
        assert roots.root() == tree.root()
    assert verifier.Roots().root() == Tree().root()


def test_verifier_imports_the_standard_library_only() -> None:
    """It is run by people who have nothing else."""
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in found} <= set(sys.stdlib_module_names)
    assert found
