"""Certificates that must not be accepted, and the words for each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.errors import AuthenticationError
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import (
    Role,
    certificate_request,
    check_valid,
    new_tls_key,
    peer_of,
    read_chain,
    read_tls_key,
    tls_key_pem,
)


def node_chain(authority: Authority, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    return authority.issue_node(certificate_request(key or new_tls_key(), "nl"), "nl", "NL")


def signed_by(
    issuer: bytes, key: ec.EllipticCurvePrivateKey, uris: Sequence[str], now: datetime, ca: bool = False
) -> bytes:
    """A certificate with these names, from whoever has that key; PEM."""
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nl")]))
        .issuer_name(read_chain(issuer)[0].subject)
        .public_key(new_tls_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def refusal(chain: bytes, now: datetime, **asked: object) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        check_valid(chain, now, **asked)  # type: ignore[arg-type]
    return caught.value


def test_expired_certificate_says_the_date_and_what_to_do(authority: Authority, now: datetime) -> None:
    error = refusal(node_chain(authority), now + timedelta(days=30, seconds=1), authority_pem=authority.root_pem)
    assert error.code == "CERTIFICATE_EXPIRED"
    assert "expired on 2026-12-22 12:00 UTC" in error.message
    assert "token" in error.remedy
    assert "clock" in error.remedy


def test_certificate_of_the_future_says_the_clock(authority: Authority, now: datetime) -> None:
    error = refusal(node_chain(authority), now - timedelta(minutes=11), authority_pem=authority.root_pem)
    assert error.code == "CERTIFICATE_NOT_YET_VALID"
    assert "2026-11-22 11:49 UTC" in error.message
    assert "clock" in error.remedy


@pytest.mark.parametrize("minutes", [-10, 0, 30 * 24 * 60])
def test_clocks_may_differ_by_ten_minutes(authority: Authority, now: datetime, minutes: int) -> None:
    check_valid(node_chain(authority), now + timedelta(minutes=minutes), authority_pem=authority.root_pem)


def test_certificate_of_an_authority_of_the_same_name_is_refused(
    authority: Authority, impostor: Authority, now: datetime
) -> None:
    chain = node_chain(impostor)
    check_valid(chain, now, authority_pem=impostor.root_pem)  # under its own root it holds
    error = refusal(chain, now, authority_pem=authority.root_pem)
    assert error.code == "UNKNOWN_AUTHORITY"
    assert "proxy" in error.remedy


def test_foreign_certificate_names_who_issued_it(authority: Authority, now: datetime) -> None:
    foreign = trustme.CA(organization_name="Hospital Web Filter").issue_cert("localhost")
    chain = b"".join(part.bytes() for part in foreign.cert_chain_pems)
    error = refusal(chain, now, authority_pem=authority.root_pem, host="localhost")
    assert error.code == "UNKNOWN_AUTHORITY"
    assert "Hospital Web Filter" in error.message
    with pytest.raises(AuthenticationError) as caught:
        peer_of(chain)
    assert caught.value.code == "FOREIGN_CERTIFICATE"
    assert "Hospital Web Filter" in caught.value.message


def test_strangers_name_cannot_write_to_the_terminal() -> None:
    foreign = trustme.CA(organization_name="\x1b[2J\r" + "x" * 200).issue_cert("localhost")
    with pytest.raises(AuthenticationError) as caught:
        peer_of(foreign.cert_chain_pems[0].bytes())
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_wrong_name_lists_the_right_ones(authority: Authority, now: datetime) -> None:
    chain = authority.issue_coordinator(new_tls_key(), ["coordinator.example.org", "10.0.0.7"])
    for host in ("coordinator.example.org", "10.0.0.7", "COORDINATOR.example.org"):
        check_valid(chain, now, authority_pem=authority.root_pem, host=host)
    error = refusal(chain, now, authority_pem=authority.root_pem, host="localhost")
    assert error.code == "WRONG_HOST"
    assert "localhost" in error.message
    assert "coordinator.example.org, 10.0.0.7" in error.message


def test_wrong_role_is_said(authority: Authority, now: datetime) -> None:
    error = refusal(node_chain(authority), now, authority_pem=authority.root_pem, role=Role.ANALYST)
    assert (error.code, "node nl" in error.message) == ("WRONG_ROLE", True)


def test_chain_without_its_issuer_is_refused(authority: Authority, now: datetime) -> None:
    alone = read_chain(node_chain(authority))[0].public_bytes(serialization.Encoding.PEM)
    assert refusal(alone, now, authority_pem=authority.root_pem).code == "UNKNOWN_AUTHORITY"


@pytest.mark.parametrize("ca", [False, True])
def test_nodes_certificate_cannot_issue_another(authority: Authority, now: datetime, ca: bool) -> None:
    key = new_tls_key()
    honest = node_chain(authority, key)
    forged = signed_by(honest, key, ["isthmus://node/de"], now, ca) + honest
    assert peer_of(forged).name == "de", "reading alone does not judge"
    assert refusal(forged, now, authority_pem=authority.root_pem).code == "UNKNOWN_AUTHORITY"


def test_changed_certificate_is_refused(authority: Authority, now: datetime) -> None:
    chain = read_chain(node_chain(authority))
    der = chain[0].public_bytes(serialization.Encoding.DER).replace(b"isthmus://node/nl", b"isthmus://node/de")
    changed = b"".join(
        c.public_bytes(serialization.Encoding.PEM) for c in (x509.load_der_x509_certificate(der), chain[1])
    )
    assert peer_of(changed).name == "de"
    assert refusal(changed, now, authority_pem=authority.root_pem).code == "UNKNOWN_AUTHORITY"


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["isthmus://node/nl", "isthmus://analyst/nl"],
        ["isthmus://node/nl", "isthmus://node/nl"],
        ["isthmus://owner/nl"],
        ["ISTHMUS://node/nl"],
        ["isthmus://NODE/nl"],
        ["isthmus://node/"],
        ["isthmus://node/nl/"],
        ["isthmus://node//nl"],
        ["isthmus://node/nl?role=coordinator"],
        ["isthmus://node/nl#x"],
        ["isthmus://x@node/nl"],
        ["isthmus://node:1/nl"],
        ["isthmus://node/n%6c"],
        ["https://node/nl"],
        ["isthmus://[node/nl"],
    ],
    ids=str,
)
def test_name_that_is_not_exactly_one_of_ours_is_refused(authority: Authority, now: datetime, uris: list[str]) -> None:
    with pytest.raises(AuthenticationError) as caught:
        peer_of(signed_by(authority.root_pem, new_tls_key(), uris, now))
    assert caught.value.code == "FOREIGN_CERTIFICATE"


def test_other_names_beside_ours_do_no_harm(authority: Authority, now: datetime) -> None:
    chain = signed_by(authority.root_pem, new_tls_key(), ["https://example.org/x", "isthmus://node/nl"], now)
    assert peer_of(chain).name == "nl"


@pytest.mark.parametrize("pem", [b"", b"no certificate", tls_key_pem(new_tls_key())])
def test_what_is_no_certificate_is_said(pem: bytes) -> None:
    with pytest.raises(AuthenticationError) as caught:
        peer_of(pem)
    assert caught.value.code == "NOT_A_CERTIFICATE"


def test_expiry_is_in_utc(authority: Authority, now: datetime) -> None:
    peer = peer_of(node_chain(authority))
    assert peer.expires_at == now + timedelta(days=30)
    assert peer.expires_at.tzinfo is UTC


def test_tls_key_survives_its_pem() -> None:
    key = new_tls_key()
    assert read_tls_key(tls_key_pem(key)).public_key() == key.public_key()


@pytest.mark.parametrize(
    "pem",
    [
        b"no key",
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ],
    ids=["text", "p384"],
)
def test_tls_key_of_another_kind_is_refused(pem: bytes) -> None:
    with pytest.raises(AuthenticationError) as caught:
        read_tls_key(pem)
    assert caught.value.code == "TLS_KEY_DAMAGED"
