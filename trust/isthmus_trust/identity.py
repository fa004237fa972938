"""Identity keys: what a node, a custodian or a statistician signs with. They are not the keys of TLS."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from isthmus.delimited import Part, before, length_of
from isthmus.errors import AuthenticationError, ConfigError
from isthmus.v1 import study_pb2
from isthmus_trust.key_files import read_secret, write_new

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
# Of key and signature behind a signed body, with what stands before each.
TAIL_BYTES = 2 + PUBLIC_BYTES + 2 + SIGNATURE_BYTES

# Encodings of the curve's points of order 1, 2, 4 and 8, the sign bit left out. OpenSSL takes them as public keys, and
# everybody can write "signatures" of such a key: nothing it signs proves anything.
_WEAK_KEYS = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


class IdentityKey:
    """An Ed25519 key pair. Its public half stands in the roster; its private half never leaves its file."""

    __slots__ = ("_private",)

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    def __repr__(self) -> str:
        return f"IdentityKey({fingerprint(self.public)})"

    @classmethod
    def generate(cls) -> IdentityKey:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> IdentityKey:
        """Read a key that `save` wrote.

        Raises
        ------
        ConfigError
            ``KEY_MISSING``, ``KEY_UNREADABLE``, ``KEY_OPEN_TO_OTHERS`` (mode is not 0600) or ``KEY_DAMAGED``.
        """
        try:
            private = serialization.load_pem_private_key(read_secret(path), password=None)
        except (ValueError, TypeError) as error:
            raise _damaged(path) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise _damaged(path)
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the key as PKCS #8 PEM with mode 0600; `ConfigError` ``KEY_EXISTS`` where a file is already there."""
        write_new(
            path,
            self._private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, context: str, body: bytes) -> study_pb2.Signed:
        """Sign bytes as a document of one kind.

        Parameters
        ----------
        context
            Kind of document, one of the constants in `isthmus_trust.documents`.
        body
            Canonical bytes of the document.
        """
        return study_pb2.Signed(
            context=context,
            body=body,
            public_key=self.public,
            signature=self._private.sign(signed_bytes(context, body)),
        )

    def sign_parts(self, context: str, parts: Iterable[Part]) -> bytes:
        """Canonical bytes of what `sign` gives for a body in parts: a large one is copied once."""
        given = list(parts)
        front, head = signed_bytes(context, b""), _head_of(context, length_of(given))
        start, end = len(head), len(head) + length_of(given)
        whole = io.BytesIO(b"".join([head, *given, bytes(TAIL_BYTES)]))
        with whole.getbuffer() as place:
            # what is signed stands in one piece: for a moment the front, which is shorter, is where the head goes
            place[start - len(front) : start] = front
            signature = self._private.sign(place[start - len(front) : end])
            place[:start] = head
            place[end:] = _tail_of(self.public, signature)
        return whole.getvalue()


def signed_bytes(context: str, body: bytes) -> bytes:
    """What is really signed: context, a zero byte, body. No context has a zero byte, so no two pairs look alike."""
    if not context or "\0" in context:
        raise AuthenticationError(
            "WRONG_CONTEXT",
            "a signature needs the kind of its document, a text without zero bytes",
            "use one of the kinds of isthmus_trust.documents",
        )
    return context.encode("utf-8") + b"\0" + body


def check_public_key(public: bytes) -> bytes:
    """The key itself; `AuthenticationError` ``BAD_PUBLIC_KEY`` unless it can be somebody's Ed25519 public key.

    Refuses what is not 32 bytes long and the few keys for which anybody can write signatures.
    """
    if len(public) != PUBLIC_BYTES or public[:-1] + bytes([public[-1] & 0x7F]) in _WEAK_KEYS:
        raise AuthenticationError(
            "BAD_PUBLIC_KEY",
            "an identity key is not acceptable; rule: 32 bytes, an Ed25519 key that only its owner signs for",
            "make the key with the isthmus command and enrol again",
        )
    return public


def verify(public: bytes, context: str, body: bytes, signature: bytes) -> None:
    """Raise `AuthenticationError` unless `signature` is the key's, over these bytes as this kind of document.

    Codes: ``BAD_SIGNATURE``, ``BAD_PUBLIC_KEY``, ``WRONG_CONTEXT``.
    """
    _verify(public, signed_bytes(context, body), signature)


def verify_in_place(signed: bytearray, context: str) -> tuple[memoryview, bytes]:
    """Body and public key of a signed document, its signature checked; nothing is copied.

    Parameters
    ----------
    signed
        Canonical bytes of the document. What stands before the body is written over.
    context
        The kind of document that is expected.

    Raises
    ------
    AuthenticationError
        As `verify`, and ``NOT_CANONICAL`` where the bytes are those of no signed document of that kind.
    """
    head = _head_of(context, _body_bytes(context, len(signed)))
    start, end = len(head), len(signed) - TAIL_BYTES
    tail = _tail_of(bytes(signed[end + 2 : end + 2 + PUBLIC_BYTES]), bytes(signed[-SIGNATURE_BYTES:]))
    if start > end or signed[:start] != head or signed[end:] != tail:
        raise AuthenticationError(
            "NOT_CANONICAL",
            f"the bytes are no document that is signed as {context!r}",
            "run the same release of isthmus on both sides; if it is the same, report what sent them",
        )
    front = signed_bytes(context, b"")
    signed[start - len(front) : start] = front
    whole = memoryview(signed)
    public = tail[2 : 2 + PUBLIC_BYTES]
    _verify(public, whole[start - len(front) : end], tail[-SIGNATURE_BYTES:])
    return whole[start:end], public


def _verify(public: bytes, whole: bytes | memoryview, signature: bytes) -> None:
    check_public_key(public)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, whole)
    except (InvalidSignature, ValueError) as error:
        raise AuthenticationError(
            "BAD_SIGNATURE",
            "a signature does not fit the document it is on; rule: what is signed is never changed afterwards",
            "ask for the document again; if it happens again, somebody between the two sides changes it",
        ) from error


def _head_of(context: str, body_bytes: int) -> bytes:
    """What stands before the body in the canonical bytes of a signed document."""
    head: bytes = study_pb2.Signed(context=context).SerializeToString()
    return head + before(study_pb2.Signed.BODY_FIELD_NUMBER, body_bytes)


def _tail_of(public: bytes, signature: bytes) -> bytes:
    """What stands behind it."""
    tail: bytes = study_pb2.Signed(public_key=public, signature=signature).SerializeToString()
    return tail


def _body_bytes(context: str, signed_bytes: int) -> int:
    """Bytes of the body in a signed document of so many; 0 where it has room for none."""
    room = signed_bytes - TAIL_BYTES
    # the length is written before the body, in as many bytes as it needs
    lengths = (room - len(_head_of(context, 0)) - k for k in range(5))
    return next((n for n in lengths if n > 0 and len(_head_of(context, n)) + n == room), 0)


def fingerprint(public: bytes) -> str:
    """SHA-256 of a public key or a certificate, for people to compare: 16 groups of 4 hexadecimal digits."""
    digits = hashlib.sha256(public).hexdigest()
    return " ".join(digits[k : k + 4] for k in range(0, len(digits), 4))


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        "KEY_DAMAGED",
        f"{path} holds no Ed25519 key",
        "restore it from the backup; a new key has to be enrolled again",
    )
