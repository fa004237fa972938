"""The coordinator's own small certificate authority: a root whose key may be taken offline, and one that issues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from isthmus.errors import AuthenticationError, ConfigError, UsageError
from isthmus_trust.certificates import (
    Role,
    check_name,
    general_name,
    new_tls_key,
    peer_uri,
    read_chain,
    read_tls_key,
    tls_key_pem,
)
from isthmus_trust.identity import fingerprint
from isthmus_trust.key_files import read_secret, replace, write_new

ROOT_LIFE = timedelta(days=3653)
ISSUING_LIFE = timedelta(days=1826)
COORDINATOR_LIFE = timedelta(days=90)
NODE_LIFE = timedelta(days=30)
ANALYST_LIFE = timedelta(days=30)
INVITE_LIFE = timedelta(hours=24)
# Certificates start a little in the past: clocks differ.
CLOCK_SKEW = timedelta(minutes=10)

Clock = Callable[[], datetime]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """Issues certificates with P-256 keys. `root/` and `issuing/` hold a certificate and a key each.

    Daily work needs ``root/certificate.pem`` and ``issuing/``; ``root/key.pem`` is needed only to make a new
    issuing certificate after five years, and may be kept elsewhere until then.
    """

    def __init__(
        self, root: x509.Certificate, issuing: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self._root, self._issuing, self._key, self._clock = root, issuing, key, clock

    @classmethod
    def create(cls, directory: Path, name: str, clock: Clock = _utc_now) -> Authority:
        """Make a new authority in a directory that has none.

        Parameters
        ----------
        directory
            Gets ``root/`` and ``issuing/``.
        name
            Short name of the coordinator, in every certificate as the organisation.

        Raises
        ------
        ConfigError
            ``KEY_EXISTS`` where there is an authority already: it is left as it is.
        UsageError
            ``BAD_NAME``.
        """
        root_key = new_tls_key()
        root = _ca_certificate(_name(name, "root"), None, root_key, root_key, ROOT_LIFE, 1, clock())
        # the root's key first: a second call stops here, before anything is replaced
        write_new(directory / "root/key.pem", tls_key_pem(root_key))
        write_new(directory / "root/certificate.pem", _pem(root))
        _new_issuing(directory, root, root_key, clock())
        return cls.open(directory, clock)

    @classmethod
    def open(cls, directory: Path, clock: Clock = _utc_now) -> Authority:
        """Open an authority for issuing; the root's key is not read and need not be there.

        Raises
        ------
        ConfigError
            ``AUTHORITY_MISSING``, ``AUTHORITY_DAMAGED`` (the parts do not belong together), or an error of the key
            file.
        """
        try:
            root, issuing = (
                read_chain((directory / part / "certificate.pem").read_bytes())[0] for part in ("root", "issuing")
            )
            key = read_tls_key(read_secret(directory / "issuing/key.pem"))
            issuing.verify_directly_issued_by(root)
        except OSError as error:
            raise ConfigError(
                "AUTHORITY_MISSING",
                f"there is no readable certificate authority in {directory}",
                "make one with: isthmus-coordinator init",
            ) from error
        except (AuthenticationError, InvalidSignature, ValueError, TypeError) as error:
            raise _damaged(directory) from error
        if issuing.public_key() != key.public_key():
            raise _damaged(directory)
        return cls(root, issuing, key, clock)

    @classmethod
    def renew_issuing(cls, directory: Path, clock: Clock = _utc_now) -> Authority:
        """Make a new issuing key and certificate; for this the root's key has to be back in ``root/key.pem``."""
        key_file = directory / "root/key.pem"
        if not key_file.exists():
            raise ConfigError(
                "ROOT_KEY_OFFLINE",
                f"{key_file} is not there; rule: only the root's key makes a new issuing certificate",
                "bring the root's key back for this one step, then take it away again",
            )
        root = read_chain((directory / "root/certificate.pem").read_bytes())[0]
        root_key = read_tls_key(read_secret(key_file))
        if root.public_key() != root_key.public_key():
            raise _damaged(directory)
        _new_issuing(directory, root, root_key, clock())
        return cls.open(directory, clock)

    @property
    def name(self) -> str:
        """Name of the coordinator it belongs to."""
        return str(self._root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)

    @property
    def root_pem(self) -> bytes:
        """The one certificate that everybody trusts, PEM."""
        return _pem(self._root)

    @property
    def root_der(self) -> bytes:
        """The same as DER, for tokens."""
        return self._root.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root's certificate, for people to compare."""
        return fingerprint(self.root_der)

    @property
    def issuing_expires_at(self) -> datetime:
        """When the issuing certificate ends (UTC)."""
        return self._issuing.not_valid_after_utc

    def issue_node(self, csr_pem: bytes, name: str, country: str) -> bytes:
        """A node's certificate and its issuer's, PEM; 30 days.

        Raises
        ------
        AuthenticationError
            ``BAD_REQUEST`` where the request is damaged, does not prove its key, or has no P-256 key.
        UsageError
            ``BAD_NAME``.
        """
        return self._for_peer(Role.NODE, name, _key_of(csr_pem), NODE_LIFE, country)

    def issue_analyst(self, csr_pem: bytes, name: str, country: str = "") -> bytes:
        """An analyst's certificate and its issuer's, PEM; 30 days. Errors as `issue_node`."""
        return self._for_peer(Role.ANALYST, name, _key_of(csr_pem), ANALYST_LIFE, country)

    def issue_invite(self, invite_id: str, key: ec.EllipticCurvePrivateKey) -> bytes:
        """A certificate that may only enrol, and its issuer's, PEM; 24 hours."""
        return self._for_peer(Role.INVITE, invite_id, key.public_key(), INVITE_LIFE)

    def issue_coordinator(
        self, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], name: str | None = None
    ) -> bytes:
        """The coordinator's own certificate and its issuer's, PEM; 90 days.

        Parameters
        ----------
        key
            Its TLS key.
        hosts
            DNS names and IP addresses by which it is reached; exactly these, nothing is added.
        name
            Its name in the certificate; the authority's where None.

        Raises
        ------
        UsageError
            ``BAD_HOST``, ``NO_HOST`` or ``BAD_NAME``.
        """
        if not hosts:
            raise UsageError(
                "NO_HOST",
                "a coordinator's certificate needs at least one host; rule: nodes check the name they dial",
                "give the DNS name or IP address by which the nodes reach it",
            )
        names = [general_name(host) for host in dict.fromkeys(hosts)]
        return self._for_peer(Role.COORDINATOR, name or self.name, key.public_key(), COORDINATOR_LIFE, hosts=names)

    def _for_peer(
        self,
        role: Role,
        name: str,
        key: ec.EllipticCurvePublicKey,
        life: timedelta,
        country: str = "",
        hosts: Sequence[x509.GeneralName] = (),
    ) -> bytes:
        now = self._clock()
        if not self._issuing.not_valid_before_utc <= now < self._issuing.not_valid_after_utc:
            raise ConfigError(
                "AUTHORITY_EXPIRED",
                f"the issuing certificate is valid until {self._issuing.not_valid_after_utc:%Y-%m-%d}, "
                f"it is {now:%Y-%m-%d} here; rule: nothing is issued outside that time",
                "bring the root's key back and renew the issuing certificate; if the date is wrong, set the clock",
            )
        usage = ExtendedKeyUsageOID.SERVER_AUTH if role is Role.COORDINATOR else ExtendedKeyUsageOID.CLIENT_AUTH
        alternative = [x509.UniformResourceIdentifier(peer_uri(role, check_name(name))), *hosts]
        certificate = (
            _builder(_name(self.name, name, country), self._issuing.subject, key, self._key, now)
            # nothing outlives its issuer
            .not_valid_after(min(now + life, self._issuing.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(certificate) + _pem(self._issuing)


def _key_of(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise _bad_request("it cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _bad_request("its key is not P-256")
    if not proven:
        raise _bad_request("it is not signed by its own key")
    return key


def _new_issuing(directory: Path, root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, now: datetime) -> None:
    key = new_tls_key()
    name = str(root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)
    issuing = _ca_certificate(_name(name, "issuing"), root, key, root_key, ISSUING_LIFE, 0, now)
    replace(directory / "issuing/key.pem", tls_key_pem(key))
    replace(directory / "issuing/certificate.pem", _pem(issuing))


def _ca_certificate(
    subject: x509.Name,
    issuer: x509.Certificate | None,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    life: timedelta,
    path_length: int,
    now: datetime,
) -> x509.Certificate:
    end = now + life if issuer is None else min(now + life, issuer.not_valid_after_utc)
    return (
        _builder(subject, subject if issuer is None else issuer.subject, key.public_key(), issuer_key, now)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(organisation: str, name: str, country: str = "") -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, check_name(organisation)),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    # the certificate's field takes two letters only; the study's own country codes stand in the roster
    if len(country) == 2 and country.isascii() and country.isalpha():
        parts.insert(0, x509.NameAttribute(NameOID.COUNTRY_NAME, country.upper()))
    return x509.Name(parts)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _bad_request(reason: str) -> AuthenticationError:
    return AuthenticationError(
        "BAD_REQUEST",
        f"the certificate request is not accepted: {reason}",
        "run the enrolment again with the isthmus command; requests are made by it",
    )


def _damaged(directory: Path) -> ConfigError:
    return ConfigError(
        "AUTHORITY_DAMAGED",
        f"the parts of the certificate authority in {directory} cannot be read or do not belong together",
        "restore the whole directory from one backup",
    )
