"""What others give as files or certificates: tokens, requests for certificates, chains, signed documents, keys."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from mutating import mutated, mutated_bytes

from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, certificate_request, check_valid, new_tls_key, peer_of, read_chain
from isthmus_trust.documents import STUDY, canonical, check_proof, open_signed, read_canonical
from isthmus_trust.identity import IdentityKey, verify
from isthmus_trust.tokens import credentials_of, new_token, read_token, write_token

Tries = Callable[[int], Iterator[Random]]


def _allows(call: Callable[[], object]) -> bool:
    """Whether it was taken; anything but an error of ours fails the test."""
    try:
        call()
    except IsthmusError:
        return False
    return True


def _authority(tmp_path: Path) -> Authority:
    Authority.create(tmp_path / "authority", "test")
    return Authority.open(tmp_path / "authority")


def test_tokens_are_read_or_refused(tmp_path: Path, tries: Tries) -> None:
    token = new_token(_authority(tmp_path), "127.0.0.1:8443", Role.NODE, "nl", "NL")
    text = write_token(token)
    head, _, body = text.rpartition("_") if "_" in text else ("", "", text)
    for chance in tries(150):
        wrong = mutated_bytes(text.encode(), chance).decode("latin-1")
        _allows(lambda wrong=wrong: read_token(wrong))
        inside = base64.urlsafe_b64encode(mutated(token, chance).SerializeToString()).decode().rstrip("=")
        _allows(lambda inside=inside: credentials_of(read_token(f"{head}_{inside}")))
        changed: journal_pb2.JoinToken = mutated(token, chance)
        _allows(lambda changed=changed: credentials_of(changed))
    assert body


def test_requests_for_certificates_are_granted_or_refused(tmp_path: Path, tries: Tries) -> None:
    authority = _authority(tmp_path)
    request = certificate_request(new_tls_key(), "nl")
    der = base64.b64decode(b"".join(request.splitlines()[1:-1]))
    assert _allows(lambda: authority.issue_node(request, "nl", "NL"))
    granted = 0
    for chance in tries(120):
        whole = mutated_bytes(request, chance)
        granted += _allows(lambda whole=whole: authority.issue_node(whole, "nl", "NL"))
        inner = base64.encodebytes(mutated_bytes(der, chance))
        pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + inner + b"-----END CERTIFICATE REQUEST-----\n"
        granted += _allows(lambda pem=pem: authority.issue_node(pem, "nl", "NL"))
    assert granted < 120


def test_chains_are_read_or_refused(tmp_path: Path, tries: Tries) -> None:
    authority = _authority(tmp_path)
    chain = authority.issue_node(certificate_request(new_tls_key(), "nl"), "nl", "NL")
    der = base64.b64decode(b"".join(chain.split(b"-----END")[0].splitlines()[1:]))
    for chance in tries(150):
        wrong = mutated_bytes(chain, chance)
        inner = base64.encodebytes(mutated_bytes(der, chance))
        pem = b"-----BEGIN CERTIFICATE-----\n" + inner + b"-----END CERTIFICATE-----\n"
        for given in (wrong, pem):
            _allows(lambda given=given: read_chain(given))
            _allows(lambda given=given: peer_of(given))
            _allows(lambda given=given: check_valid(given, datetime.now(UTC), authority_pem=authority.root_pem))


def test_signed_documents_are_opened_only_unchanged(tries: Tries) -> None:
    key = IdentityKey.generate()
    study = study_pb2.Study(name="S", version=1, title="t", participants=[study_pb2.Participant(node="nl")])
    signed = key.sign(STUDY, canonical(study))
    body = canonical(signed)
    for chance in tries(300):
        wrong = mutated_bytes(body, chance)
        read = _allows(lambda wrong=wrong: read_canonical(wrong, study_pb2.Signed))
        changed = mutated(signed, chance)
        opened = _allows(lambda changed=changed: open_signed(changed, STUDY, study_pb2.Study, key.public))
        assert not opened or changed.body == signed.body
        assert not read or wrong != body or canonical(study_pb2.Signed.FromString(wrong)) == body


def test_keys_and_proofs_of_any_bytes_are_refused(tries: Tries) -> None:
    key = IdentityKey.generate()
    for chance in tries(200):
        public, signature = chance.randbytes(chance.randint(0, 40)), chance.randbytes(chance.randint(0, 70))
        assert not _allows(lambda p=public, s=signature: verify(p, STUDY, b"x", s))
        assert not _allows(lambda p=public, s=signature: check_proof(p, b"x", s))
        assert not _allows(lambda s=signature: verify(key.public, STUDY, b"x", s))
