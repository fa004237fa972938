"""The coordinator's authority: what it issues, to whom, for how long, and what it never does."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from isthmus.errors import AuthenticationError, ConfigError, IsthmusError, UsageError
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import (
    Role,
    certificate_request,
    check_valid,
    new_tls_key,
    peer_of,
    read_chain,
    tls_key_pem,
)

At = Callable[[datetime], Authority]


def request_for(key: object, name: str = "nl", **extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def issue(authority: Authority, role: Role) -> bytes:
    key = new_tls_key()
    match role:
        case Role.NODE:
            return authority.issue_node(certificate_request(key, "nl"), "nl", "NL")
        case Role.ANALYST:
            return authority.issue_analyst(certificate_request(key, "nl"), "nl", "NL")
        case Role.INVITE:
            return authority.issue_invite("nl", key)
        case Role.COORDINATOR:
            return authority.issue_coordinator(key, ["localhost"], "nl")


def error_of(call: Callable[[], object]) -> IsthmusError:
    with pytest.raises(IsthmusError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("role", list(Role))
def test_issued_certificate_names_its_owner_and_holds(authority: Authority, now: datetime, role: Role) -> None:
    chain = issue(authority, role)
    peer = check_valid(chain, now, authority_pem=authority.root_pem, role=role)
    assert (peer.role, peer.name) == (role, "nl")
    assert peer == peer_of(chain)
    assert int(peer.serial, 16) == read_chain(chain)[0].serial_number
    assert len(read_chain(chain)) == 2, "the owner's and the issuer's, not the root's"


@pytest.mark.parametrize(
    ("role", "life"),
    [
        (Role.COORDINATOR, timedelta(days=90)),
        (Role.NODE, timedelta(days=30)),
        (Role.ANALYST, timedelta(days=30)),
        (Role.INVITE, timedelta(hours=24)),
    ],
)
def test_certificate_lives_as_long_as_its_role(
    authority: Authority, now: datetime, role: Role, life: timedelta
) -> None:
    certificate = read_chain(issue(authority, role))[0]
    assert certificate.not_valid_after_utc - now == life
    assert now - certificate.not_valid_before_utc == timedelta(minutes=10), "clocks differ"


def test_authority_lives_ten_and_five_years(authority: Authority, now: datetime) -> None:
    root = read_chain(authority.root_pem)[0].not_valid_after_utc
    assert (root.year, authority.issuing_expires_at.year) == (now.year + 10, now.year + 5)


def test_certificate_does_not_outlive_its_issuer(authority: Authority, at: At) -> None:
    late = authority.issuing_expires_at - timedelta(days=3)
    assert peer_of(issue(at(late), Role.NODE)).expires_at == authority.issuing_expires_at


@pytest.mark.parametrize("off", [timedelta(days=1827), timedelta(days=-1)])
def test_nothing_is_issued_outside_the_issuers_time(now: datetime, at: At, off: timedelta) -> None:
    error = error_of(lambda: issue(at(now + off), Role.NODE))
    assert error.code == "AUTHORITY_EXPIRED"
    assert "root" in error.remedy


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    Authority.create(tmp_path / "authority", "coordinator")
    found = {str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    folders = {"authority", *(f"authority/{part}" for part in ("root", "issuing"))}
    files = {f"authority/{part}/{name}.pem" for part in ("root", "issuing") for name in ("key", "certificate")}
    assert found == {**dict.fromkeys(folders, 0o700), **dict.fromkeys(files, 0o600)}


def test_authority_is_never_made_twice_in_one_place(tmp_path: Path) -> None:
    made = Authority.create(tmp_path, "coordinator")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.pem")}
    assert error_of(lambda: Authority.create(tmp_path, "coordinator")).code == "KEY_EXISTS"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.pem")} == before
    assert Authority.open(tmp_path).fingerprint == made.fingerprint


def test_authority_works_with_the_roots_key_offline(tmp_path: Path) -> None:
    Authority.create(tmp_path, "coordinator")
    (tmp_path / "root/key.pem").unlink()
    authority = Authority.open(tmp_path)
    assert peer_of(issue(authority, Role.NODE)).name == "nl"
    assert error_of(lambda: Authority.renew_issuing(tmp_path)).code == "ROOT_KEY_OFFLINE"


def test_new_issuing_certificate_leaves_older_certificates_valid(tmp_path: Path, now: datetime) -> None:
    first = Authority.create(tmp_path, "coordinator", lambda: now)
    older = issue(first, Role.NODE)
    second = Authority.renew_issuing(tmp_path, lambda: now + timedelta(days=1))
    assert second.root_pem == first.root_pem
    assert second.issuing_expires_at == first.issuing_expires_at + timedelta(days=1)
    newer = issue(second, Role.NODE)
    assert read_chain(newer)[1] != read_chain(older)[1]
    for chain in (older, newer):
        check_valid(chain, now + timedelta(days=1), authority_pem=first.root_pem)


def test_missing_authority_is_said(tmp_path: Path) -> None:
    error = error_of(lambda: Authority.open(tmp_path))
    assert (error.code, type(error)) == ("AUTHORITY_MISSING", ConfigError)
    assert "init" in error.remedy


@pytest.mark.parametrize("part", ["root/certificate.pem", "issuing/certificate.pem", "issuing/key.pem"])
@pytest.mark.parametrize("how", ["another authority's", "no pem"])
def test_parts_that_do_not_belong_together_are_said(tmp_path: Path, part: str, how: str) -> None:
    Authority.create(tmp_path / "ours", "coordinator")
    Authority.create(tmp_path / "theirs", "coordinator")
    content = (tmp_path / "theirs" / part).read_bytes() if how == "another authority's" else b"no pem"
    (tmp_path / "ours" / part).write_bytes(content)
    assert error_of(lambda: Authority.open(tmp_path / "ours")).code == "AUTHORITY_DAMAGED"


def test_renewal_with_another_roots_key_is_refused(tmp_path: Path) -> None:
    Authority.create(tmp_path, "coordinator")
    (tmp_path / "root/key.pem").write_bytes(tls_key_pem(new_tls_key()))
    before = (tmp_path / "issuing/certificate.pem").read_bytes()
    assert error_of(lambda: Authority.renew_issuing(tmp_path)).code == "AUTHORITY_DAMAGED"
    assert (tmp_path / "issuing/certificate.pem").read_bytes() == before


def test_nothing_but_the_key_is_taken_from_a_request(authority: Authority) -> None:
    greedy = request_for(
        new_tls_key(),
        name="coordinator",
        names=x509.SubjectAlternativeName([x509.UniformResourceIdentifier("isthmus://coordinator/coordinator")]),
        ca=x509.BasicConstraints(ca=True, path_length=9),
    )
    chain = authority.issue_node(greedy, "nl", "NL")
    certificate = read_chain(chain)[0]
    assert (peer_of(chain).role, peer_of(chain).name) == (Role.NODE, "nl")
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert "coordinator" not in certificate.subject.rfc4514_string().split(",")[0]


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p384"],
)
def test_request_with_a_key_of_another_kind_is_refused(authority: Authority, key: object) -> None:
    error = error_of(lambda: authority.issue_node(request_for(key), "nl", "NL"))
    assert (error.code, type(error)) == ("BAD_REQUEST", AuthenticationError)
    assert "P-256" in error.message


def test_request_not_signed_by_its_own_key_is_refused(authority: Authority) -> None:
    mine, yours = new_tls_key(), new_tls_key()
    request = x509.load_pem_x509_csr(request_for(mine)).public_bytes(serialization.Encoding.DER)

    def point(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    forged = x509.load_der_x509_csr(request.replace(point(mine), point(yours)))
    error = error_of(lambda: authority.issue_node(forged.public_bytes(serialization.Encoding.PEM), "nl", "NL"))
    assert (error.code, "its own key" in error.message) == ("BAD_REQUEST", True)


@pytest.mark.parametrize("request_pem", [b"", b"no request", tls_key_pem(new_tls_key())])
def test_damaged_request_is_refused(authority: Authority, request_pem: bytes) -> None:
    assert error_of(lambda: authority.issue_node(request_pem, "nl", "NL")).code == "BAD_REQUEST"


@pytest.mark.parametrize(
    "name", ["", "-nl", "nl-", "n l", "n/l", "../nl", "nl?x", "nl%2f", "nl\n", "Zürich", "n" * 64, "nl@x", "nl:1"]
)
def test_name_that_could_be_read_in_two_ways_is_refused(authority: Authority, name: str) -> None:
    request = certificate_request(new_tls_key(), "nl")
    assert error_of(lambda: authority.issue_node(request, name, "NL")).code == "BAD_NAME"


@pytest.mark.parametrize("country", ["NL", "nl", "", "Region 4", "日本", "N1"])
def test_any_country_code_of_a_study_can_be_issued_for(authority: Authority, country: str) -> None:
    chain = authority.issue_node(certificate_request(new_tls_key(), "nl"), "nl", country)
    assert peer_of(chain).name == "nl"


def test_coordinator_has_exactly_the_hosts_asked_for(authority: Authority) -> None:
    chain = authority.issue_coordinator(
        new_tls_key(), ["Coordinator.Example.org", "bücher.example", "10.0.0.7", "[::1]", "::2", "10.0.0.7"]
    )
    names = read_chain(chain)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["coordinator.example.org", "xn--bcher-kva.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "::1", "::2"]


@pytest.mark.parametrize(
    "host", ["", "host:8443", "https://host", "*.example.org", "host name", "10.0.0.256", "a..b", "-a", "10.0.0.0/8"]
)
def test_host_that_is_no_host_is_refused(authority: Authority, host: str) -> None:
    assert error_of(lambda: authority.issue_coordinator(new_tls_key(), [host])).code == "BAD_HOST"


def test_coordinator_without_host_is_refused(authority: Authority) -> None:
    error = error_of(lambda: authority.issue_coordinator(new_tls_key(), []))
    assert (error.code, type(error)) == ("NO_HOST", UsageError)


def test_serial_numbers_differ(authority: Authority) -> None:
    assert len({peer_of(issue(authority, Role.NODE)).serial for _ in range(20)}) == 20
