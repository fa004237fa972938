"""Identity keys: their files, their signatures, and keys that prove nothing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, strategies as st

from isthmus.errors import AuthenticationError, ConfigError
from isthmus_trust import identity
from isthmus_trust.certificates import new_tls_key, tls_key_pem
from isthmus_trust.identity import IdentityKey, check_public_key, fingerprint, signed_bytes, verify
from isthmus_trust.key_files import read_secret, replace, write_new

KEY = IdentityKey.generate()


def test_key_survives_its_file(tmp_path: Path) -> None:
    KEY.save(tmp_path / "identity.pem")
    assert IdentityKey.load(tmp_path / "identity.pem").public == KEY.public


def test_key_file_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KEY.save(tmp_path / "pki/identity.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "pki/identity.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.pem"
    KEY.save(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as caught:
        IdentityKey.load(path)
    assert caught.value.code == "KEY_OPEN_TO_OTHERS"
    path.chmod(0o600)
    assert IdentityKey.load(path).public == KEY.public


def test_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    KEY.save(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        IdentityKey.generate().save(path)
    assert caught.value.code == "KEY_EXISTS"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["identity.pem"]


@pytest.mark.parametrize("write", [write_new, replace])
def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        write(tmp_path / "identity.pem", b"key")  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_replacing_a_chain_keeps_it_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    replace(path, b"old")
    replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["chain.pem"]


def test_missing_key_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        IdentityKey.load(tmp_path / "identity.pem")
    assert caught.value.code == "KEY_MISSING"
    assert "token" in caught.value.remedy


def test_folder_in_place_of_a_key_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_secret(tmp_path)
    assert caught.value.code == "KEY_UNREADABLE"


@pytest.mark.parametrize("content", [b"", b"no key", tls_key_pem(new_tls_key())], ids=["empty", "text", "p256"])
def test_file_without_an_ed25519_key_is_damaged(tmp_path: Path, content: bytes) -> None:
    write_new(tmp_path / "identity.pem", content)
    with pytest.raises(ConfigError) as caught:
        IdentityKey.load(tmp_path / "identity.pem")
    assert caught.value.code == "KEY_DAMAGED"


def test_key_shows_its_fingerprint_and_not_itself() -> None:
    assert repr(KEY) == f"IdentityKey({fingerprint(KEY.public)})"


def test_fingerprint_is_in_groups_of_four_digits() -> None:
    # SHA-256 of the empty string, FIPS 180-4 examples
    assert fingerprint(b"") == ("e3b0 c442 98fc 1c14 9afb f4c8 996f b924 27ae 41e4 649b 934c a495 991b 7852 b855")


@given(st.binary(max_size=200), st.sampled_from(["isthmus/task/1", "isthmus/summary/1"]))
def test_signature_holds_for_its_own_bytes_and_kind(body: bytes, context: str) -> None:
    signed = KEY.sign(context, body)
    verify(KEY.public, context, body, signed.signature)
    assert (signed.context, signed.body, signed.public_key) == (context, body, KEY.public)


@given(st.binary(max_size=100), st.integers(0, 63), st.integers(0, 7))
def test_signature_with_one_flipped_bit_fails(body: bytes, at: int, bit: int) -> None:
    signature = bytearray(KEY.sign("isthmus/task/1", body).signature)
    signature[at] ^= 1 << bit
    with pytest.raises(AuthenticationError, match="does not fit"):
        verify(KEY.public, "isthmus/task/1", body, bytes(signature))


@given(
    st.tuples(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), st.binary()),
    st.tuples(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), st.binary()),
)
def test_no_two_documents_sign_the_same_bytes(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    assert (signed_bytes(*one) == signed_bytes(*other)) == (one == other)


@pytest.mark.parametrize("context", ["", "isthmus/task/1\0", "\0"])
def test_kind_with_a_zero_byte_or_none_is_refused(context: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        KEY.sign(context, b"")
    assert caught.value.code == "WRONG_CONTEXT"


def _weak_keys() -> list[bytes]:
    return [key[:-1] + bytes([key[-1] | sign]) for key in sorted(identity._WEAK_KEYS) for sign in (0, 0x80)]


def _forged_for(public: bytes) -> tuple[bytes, bytes]:
    """A body and a signature of it that OpenSSL takes, made without any private key."""
    forged = (1).to_bytes(32, "little") + bytes(32)  # R: the neutral point, S: zero
    for k in range(1000):
        body = k.to_bytes(2, "big")
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(forged, signed_bytes("isthmus/task/1", body))
        except InvalidSignature:
            continue
        return body, forged
    raise AssertionError("no forgery found: the key is not weak")


@pytest.mark.parametrize("public", _weak_keys(), ids=lambda key: key.hex()[:8] + key.hex()[-2:])
def test_key_that_anybody_signs_for_is_refused(public: bytes) -> None:
    body, forged = _forged_for(public)  # with the guard off, the forgery passes
    with pytest.raises(AuthenticationError) as caught:
        verify(public, "isthmus/task/1", body, forged)
    assert caught.value.code == "BAD_PUBLIC_KEY"


@pytest.mark.parametrize("public", [b"", bytes(31), KEY.public + b"\0"], ids=["empty", "short", "long"])
def test_public_key_of_another_length_is_refused(public: bytes) -> None:
    with pytest.raises(AuthenticationError) as caught:
        check_public_key(public)
    assert caught.value.code == "BAD_PUBLIC_KEY"


def test_honest_public_key_is_accepted() -> None:
    assert check_public_key(KEY.public) == KEY.public
