"""Logging in to a coordinator, and the connection a statistician works with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from isthmus.errors import AuthenticationError, ConfigError, IsthmusError, UsageError
from isthmus.v1 import analyst_pb2, analyst_pb2_grpc, exchange_pb2, exchange_pb2_grpc, study_pb2, summary_pb2
from isthmus.version import __version__, check_compatible
from isthmus_client.link import call, open_channel, stream
from isthmus_client.profiles import (
    AUTHORITY,
    CERTIFICATE,
    IDENTITY,
    KEY,
    SETTINGS,
    Profile,
    find_profile,
    profiles_folder,
    write_settings,
)
from isthmus_methods.codec import state_from_messages
from isthmus_methods.contract import Array
from isthmus_methods.training import arrays_of
from isthmus_trust.bounds import check_study
from isthmus_trust.certificates import (
    Role,
    certificate_request,
    check_name,
    new_tls_key,
    read_chain,
    read_tls_key,
    tls_key_pem,
)
from isthmus_trust.documents import ENROLMENT, STUDY, canonical, digest, open_signed
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import read_secret, replace, write_new
from isthmus_trust.tokens import credentials_of, read_token

if TYPE_CHECKING:
    import grpc
    import pandas as pd

    from isthmus_client.results.training import TrainingFit
    from isthmus_client.study import Study

R = TypeVar("R")
# Of a number of a model, and of the names of its arrays.
_MODEL_BYTES, _MODEL_NAMES = 8, 1_000_000


def connect(address: str | None = None, profile: str | None = None) -> Connection:
    """A connection to a coordinator you have logged in to.

    Parameters
    ----------
    address
        ``host`` or ``host:port``; not needed where there is one profile only.
    profile
        Name of a profile, or the path of its folder.

    Raises
    ------
    ConfigError, UsageError
        Where no profile fits, or several do.
    AuthenticationError
        Where our own certificate is no longer valid. Nothing is dialled before the first question, unless the
        certificate is due for renewal.
    """
    found = find_profile(profile, address)
    found.check_certificate()
    if address is not None and ":" in address:
        found = Profile(found.folder, address, found.analyst)
    connection = Connection(found)
    try:
        if connection.renew():
            connection.close()
            connection = Connection(found)
    except IsthmusError as error:
        # the certificate is valid still; what is asked next says what is wrong
        connection.renewal_problem = error
    return connection


def login(token_file: str, profile: str | None = None) -> Profile:
    """Enrol as an analyst with a join token and keep the profile.

    Parameters
    ----------
    token_file
        File that holds the token, or ``-`` for standard input. The token is never given as text on a command line.
    profile
        Name of the new profile, or the path of its folder; otherwise the coordinator's host.

    Raises
    ------
    UsageError
        ``TOKEN_FILE`` where there is no such file, ``TOKEN_OF_A_NODE`` where the token invites a node.
    AuthenticationError
        The token is damaged, used or expired.
    ConfigError
        ``KEY_EXISTS`` where the profile is there already.
    """
    token = read_token(_token_text(token_file))
    if token.role != Role.ANALYST:
        raise UsageError(
            "TOKEN_OF_A_NODE",
            f"the token invites {token.role} {token.name}",
            "use it with isthmus-node join, or ask for a token with the role analyst",
        )
    host = token.address.rpartition(":")[0].strip("[]")
    folder = _profile_folder(profile, host)
    if (folder / SETTINGS).exists():
        raise ConfigError(
            "KEY_EXISTS",
            f"there is a profile in {folder} already; rule: a key is never overwritten",
            "give the new profile another name with --profile, or move the old one away",
        )
    # Kept before they are used: where the reply is lost, the same keys may ask again.
    identity, tls_key = _own_identity(folder / IDENTITY), _own_tls_key(folder / KEY)
    request = certificate_request(tls_key, token.name)
    credentials = credentials_of(token)
    with open_channel(token.address, credentials.authority_pem, credentials.chain_pem, credentials.key_pem) as channel:
        reply = call(
            exchange_pb2_grpc.ExchangeStub(channel).Enrol,  # type: ignore[no-untyped-call]  # generated without types
            exchange_pb2.EnrolRequest(
                software=__version__,
                secret=token.secret,
                certificate_request=request,
                identity_key=identity.public,
                identity_proof=identity.sign(ENROLMENT, request).signature,
            ),
            address=token.address,
            authority=credentials.authority_pem,
        )
    check_compatible(__version__, reply.software, "the coordinator")
    replace(folder / CERTIFICATE, reply.certificate_chain)
    # the authority of the token stays the one to trust, whatever a reply says
    replace(folder / AUTHORITY, credentials.authority_pem)
    return write_settings(folder, token.address, token.name)


def _own_identity(path: Path) -> IdentityKey:
    if path.exists():
        return IdentityKey.load(path)
    identity = IdentityKey.generate()
    identity.save(path)
    return identity


def _own_tls_key(path: Path) -> EllipticCurvePrivateKey:
    if path.exists():
        return read_tls_key(read_secret(path))
    key = new_tls_key()
    write_new(path, tls_key_pem(key))
    return key


def _profile_folder(profile: str | None, host: str) -> Path:
    if profile is not None and "/" in profile:
        return Path(profile)
    name = profile or "".join(c if c.isalnum() or c in ".-_" else "-" for c in host).strip(".-_") or "coordinator"
    return profiles_folder() / check_name(name)


def _token_text(token_file: str) -> str:
    if token_file == "-":  # noqa: S105 - the customary name of standard input
        return sys.stdin.read()
    try:
        return Path(token_file).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise UsageError(
            "TOKEN_FILE",
            f"the token file {token_file} cannot be read: {error.strerror or 'input/output error'}",
            "give the file the token was saved in, or - to read it from standard input",
        ) from error


class Connection:
    """A coordinator, as one statistician sees it. Use it in a ``with`` block, or `close` it."""

    def __init__(self, profile: Profile, channel: grpc.Channel | None = None) -> None:
        self.profile = profile
        self.renewal_problem: IsthmusError | None = None
        self._authority = profile.authority
        self._channel = channel or open_channel(profile.address, self._authority, profile.chain, profile.key)
        self._stub = analyst_pb2_grpc.AnalystStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Connection({self.profile.address!r}, as {self.profile.analyst!r})"

    def close(self) -> None:
        self._channel.close()

    def studies(self) -> pd.DataFrame:
        """The studies this coordinator knows: name, version, title, approved, participants."""
        import pandas as pd

        lines = self.study_lines()
        return pd.DataFrame(
            {
                "study": [line.name for line in lines],
                "version": [line.version for line in lines],
                "title": [line.title for line in lines],
                "approved": [line.approved for line in lines],
                "participants": [line.participants for line in lines],
            }
        )

    def study_lines(self) -> Sequence[analyst_pb2.StudyLine]:
        """The same as messages."""
        reply: analyst_pb2.ListStudiesReply = self._call(self._stub.ListStudies, analyst_pb2.ListStudiesRequest())
        return list(reply.studies)

    def study(self, name: str, version: int = 0) -> Study:
        """A study by name, in its newest version or the one given.

        Raises
        ------
        AuthenticationError
            Where the study's signature or digest does not fit what was received.
        """
        from isthmus_client.study import Study

        reply: analyst_pb2.GetStudyReply = self._call(
            self._stub.GetStudy, analyst_pb2.GetStudyRequest(name=name, version=version)
        )
        study = open_signed(reply.study, STUDY, study_pb2.Study)
        check_study(study)
        if digest(reply.study.body) != reply.digest or study.name != name:
            raise AuthenticationError(
                "WRONG_STUDY",
                f"the coordinator sent another document than study {name}",
                "report this to the team that runs the coordinator",
            )
        return Study(self, study, reply.digest)

    def sites(self, name: str, version: int = 0) -> Sequence[analyst_pb2.Site]:
        """Where each site of a study stands now."""
        reply: analyst_pb2.GetStudyReply = self._call(
            self._stub.GetStudy, analyst_pb2.GetStudyRequest(name=name, version=version)
        )
        return list(reply.sites)

    def participants(self) -> Sequence[study_pb2.Participant]:
        """The countries on the roster, for writing a study."""
        reply: analyst_pb2.ListParticipantsReply = self._call(
            self._stub.ListParticipants, analyst_pb2.ListParticipantsRequest()
        )
        return list(reply.participants)

    def propose(self, study: study_pb2.Study) -> bytes:
        """Sign a study with our identity key and propose it; sites decide on it afterwards.

        Returns
        -------
        bytes
            Digest of the study (32 bytes): what custodians approve.
        """
        signed = self.profile.identity.sign(STUDY, canonical(study))
        reply: analyst_pb2.ProposeStudyReply = self._call(
            self._stub.ProposeStudy, analyst_pb2.ProposeStudyRequest(study=signed)
        )
        if reply.digest != digest(signed.body):
            raise AuthenticationError(
                "WRONG_STUDY",
                "the coordinator holds another document than the study that was proposed",
                "report this to the team that runs the coordinator",
            )
        return reply.digest

    def submit(self, study_digest: bytes, planned: str = "", exploratory: study_pb2.Analysis | None = None) -> bytes:
        """Order a run of an analysis; returns its 16-byte name."""
        request = analyst_pb2.SubmitRequest(study_digest=study_digest, planned=planned, exploratory=exploratory)
        reply: analyst_pb2.SubmitReply = self._call(self._stub.Submit, request)
        return reply.run

    def explain(self, study_digest: bytes, analysis: study_pb2.Analysis) -> analyst_pb2.Explanation:
        """What would leave each country, and who must approve. Asks no node."""
        reply: analyst_pb2.Explanation = self._call(
            self._stub.Explain, analyst_pb2.ExplainRequest(study_digest=study_digest, analysis=analysis)
        )
        return reply

    def watch(self, run: bytes) -> Iterator[analyst_pb2.Progress]:
        """Progress of a run until it ends."""
        return stream(
            self._stub.Watch,
            analyst_pb2.WatchRequest(run=run),
            address=self.profile.address,
            authority=self._authority,
        )

    def result(self, run: bytes) -> analyst_pb2.Result:
        """The result of a run as it stands."""
        reply: analyst_pb2.Result = self._call(self._stub.GetResult, analyst_pb2.GetResultRequest(run=run))
        return reply

    def model(self, run: bytes, fit: TrainingFit) -> dict[str, Array]:
        """The weights that a training gave, by name, as its result says they are.

        Raises
        ------
        AuthenticationError
            ``WRONG_MODEL`` where what is sent has another digest than the result names, or is longer than its model.
        """
        most = _MODEL_BYTES * fit.parameters + _MODEL_NAMES
        whole = bytearray()
        parts = stream(
            self._stub.GetModel,
            analyst_pb2.GetModelRequest(run=run),
            address=self.profile.address,
            authority=self._authority,
        )
        for part in parts:
            whole += part.part
            if len(whole) > most:
                break
        if len(whole) > most or digest(bytes(whole)).hex() != fit.weights_digest:
            raise AuthenticationError(
                "WRONG_MODEL",
                "the coordinator sent other weights than those its result names by their digest",
                "report this to the team that runs the coordinator",
            )
        return arrays_of(state_from_messages(summary_pb2.State.FromString(bytes(whole)).arrays))

    def cancel(self, run: bytes) -> None:
        """End a run; nodes are told that it is no longer wanted."""
        self._call(self._stub.Cancel, analyst_pb2.CancelRequest(run=run))

    def renew(self, now: datetime | None = None) -> bool:
        """Get a fresh certificate once two thirds of the old one's life are over; True where one was got."""
        own = read_chain(self.profile.chain)[0]
        life = own.not_valid_after_utc - own.not_valid_before_utc
        if (now or datetime.now(UTC)) < own.not_valid_after_utc - life / 3:
            return False
        request = certificate_request(read_tls_key(self.profile.key), self.profile.analyst)
        reply: exchange_pb2.EnrolReply = call(
            exchange_pb2_grpc.ExchangeStub(self._channel).Renew,  # type: ignore[no-untyped-call]
            exchange_pb2.RenewRequest(
                certificate_request=request,
                identity_proof=self.profile.identity.sign(ENROLMENT, request).signature,
            ),
            address=self.profile.address,
            authority=self._authority,
        )
        replace(self.profile.folder / CERTIFICATE, reply.certificate_chain)
        return True

    def _call(self, rpc: Callable[..., R], request: object) -> R:
        return call(rpc, request, address=self.profile.address, authority=self._authority)
