"""Who may say what: each node for itself, with the one certificate that the roster has, in a version that fits."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from network_kit import answer_bytes, run_program, run_script, set_up, wait_until
from test_missing_country import propose

from isthmus.errors import AuthenticationError, IsthmusError, UsageError, VersionError
from isthmus.v1 import analyst_pb2, analyst_pb2_grpc, exchange_pb2, study_pb2, summary_pb2
from isthmus.version import __version__
from isthmus_client.demo import COUNTRIES
from isthmus_client.sandbox import Process, Sandbox
from isthmus_node.config import load
from isthmus_node.egress.journal_read import read
from isthmus_node.homes import find_home
from isthmus_node.link.channel import Dial, Session, Timing, dial_of, error_from, open_channel
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import certificate_request, new_tls_key, read_chain, read_tls_key, tls_key_pem
from isthmus_trust.documents import SUMMARY, canonical, digest
from isthmus_trust.identity import IdentityKey

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("trust"), pytest.mark.timeout(300)]

STUDY = "BREAST-TRUST"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A network of its own: members are revoked here, and versions changed."""
    folder = tmp_path_factory.mktemp("trust")
    with Sandbox(folder / "network") as made:
        set_up(made)
        propose(made, STUDY, folder)
        made.approve(STUDY, COUNTRIES)
        yield made


def dial(box: Sandbox, node: str) -> Dial:
    return dial_of(load(find_home(box.node_home(node)), env={}))


@contextmanager
def speaking(dialled: Dial) -> Iterator[Session]:
    channel = open_channel(dialled, Timing(call=20.0))
    try:
        yield Session(channel, Timing(call=20.0))
    finally:
        channel.close()


def refused(call: Callable[[], object]) -> IsthmusError:
    """What the coordinator said to a call that it must turn down."""
    try:
        call()
    except grpc.RpcError as error:
        return error_from(error)
    raise AssertionError("the call was answered")


def attach(session: Session, software: str = __version__) -> IsthmusError:
    """What the coordinator said to a stream that it must turn down."""
    hello = exchange_pb2.NodeMessage(hello=exchange_pb2.Hello(software=software))
    return refused(lambda: list(session.stub.Attach(iter([hello]), timeout=20)))


def submit(session: Session, task: bytes, payload: bytes) -> IsthmusError:
    """What the coordinator said to an answer that it must turn down."""
    chunk = exchange_pb2.SubmissionChunk(task=task, total_bytes=len(payload), part=payload)
    return refused(lambda: session.stub.Submit(iter([chunk]), timeout=20))


# --------------------------------------------------------------------------- one node for another


@pytest.fixture
def open_round(box: Sandbox) -> Iterator[bytes]:
    """A round that be has still to answer; afterwards it does, and the answer is the one it always was."""
    with box.connect() as connection:
        undisturbed = answer_bytes(connection.study(STUDY).planned("waits").run(progress=False))
        box.processes["be"].stop()
        plan = connection.study(STUDY).planned("waits")
        plan.start()
        for progress in connection.watch(plan.runs[0]):
            if [c.state for c in progress.countries].count("answered") == 3:
                break
        entries = [e for e in read(box.node_home("nl") / "state/journal") if e.record.run == plan.runs[0]]
        yield entries[-1].record.task
        box.start_nodes(["be"])
        assert answer_bytes(plan.run(progress=False)) == undisturbed


FORGED = {
    # whose connection, whose key, in whose name -> the coordinator's reason
    "nl in the name of be": ("nl", "nl", "be", "FOREIGN_ANSWER"),
    "nl for be with its own key and name": ("nl", "nl", "nl", "other task"),
    "nl with be's key": ("nl", "be", "nl", "WRONG_SIGNER"),
    "nl hands in what be signed": ("nl", "be", "be", "WRONG_SIGNER"),
    "be's connection with nl's key": ("be", "nl", "be", "WRONG_SIGNER"),
    "be in the name of nl": ("be", "be", "nl", "FOREIGN_ANSWER"),
    "be for another task": ("be", "be", "be", "WRONG_TASK"),
}


def submission(box: Sandbox, task: bytes, key: str, name: str) -> bytes:
    summary = summary_pb2.Summary(
        task=task,
        node=name,
        country=COUNTRIES[name],
        policy_digest=bytes(32),
        dataset_digest=bytes(32),
        software=__version__,
    )
    identity = IdentityKey.load(box.node_home(key) / "pki/identity.key")
    return canonical(identity.sign(SUMMARY, canonical(summary)))


def test_node_cannot_submit_for_another(box: Sandbox, open_round: bytes) -> None:
    said = {}
    for what, (connection, key, name, expected) in FORGED.items():
        about = digest(b"another") if expected in ("WRONG_TASK", "other task") else open_round
        payload = submission(box, about, key, name)
        with speaking(dial(box, connection)) as session:
            error = submit(session, open_round, payload)
        assert isinstance(error, AuthenticationError), f"{what}: {error}"
        said[what] = error.code
    wanted = {what: ("WRONG_TASK" if e == "other task" else e) for what, (_, _, _, e) in FORGED.items()}
    assert said == wanted


def test_decision_of_another_custodian_is_not_taken(box: Sandbox) -> None:
    with box.connect() as connection:
        study = connection.study(STUDY)
    key = IdentityKey.load(box.node_home("nl") / "pki/custodian.key")
    for name in ("be", "nl"):
        decision = study_pb2.Decision(study_digest=study.digest, node=name, approved=False, decided_at=1)
        signed = key.sign("isthmus/decision/1", canonical(decision))
        with speaking(dial(box, "be")) as session:
            request = exchange_pb2.DecideRequest(decision=signed)
            error = refused(lambda: session.stub.Decide(request, timeout=20))  # noqa: B023 - called at once
        assert isinstance(error, AuthenticationError), error
    with box.connect() as connection:
        assert {site.decision for site in connection.sites(STUDY)} == {"approved"}


# --------------------------------------------------------------------------- certificates


def test_analyst_cannot_attach_and_a_node_cannot_ask(box: Sandbox) -> None:
    ours = dial(box, "nl")
    with box.connect() as connection:
        analyst = Dial(ours.address, ours.authority, connection.profile.chain, connection.profile.key)
    with speaking(analyst) as session:
        error = attach(session)
    assert (error.code, error.exit_code) == ("WRONG_ROLE", 15)
    assert "only node may" in error.message
    with speaking(ours) as session:
        stub = analyst_pb2_grpc.AnalystStub(session.channel)
        error = refused(lambda: stub.ListStudies(analyst_pb2.ListStudiesRequest(), timeout=20))
    assert (error.code, error.exit_code) == ("WRONG_ROLE", 15)


@pytest.mark.parametrize(
    ("version", "code"), [(ssl.TLSVersion.TLSv1_2, "OLD_TLS"), (ssl.TLSVersion.TLSv1_3, "VERSIONS_APART")]
)
def test_older_tls_is_not_spoken(box: Sandbox, tmp_path: Path, version: ssl.TLSVersion, code: str) -> None:
    """In the newer TLS the same call comes as far as the node's version, which is made up here."""
    with box.connect() as connection, relay(dial(box, "nl"), version, tmp_path) as address:
        assert connection.study_lines()
        channel = grpc.insecure_channel(address)
        assert attach(Session(channel, Timing()), "9.0.0").code == code
        channel.close()


@contextmanager
def relay(dialled: Dial, version: ssl.TLSVersion, folder: Path) -> Iterator[str]:
    """An address that passes plain bytes on under TLS of one version, with the node's own certificate."""
    context = ssl.create_default_context(cadata=dialled.authority.decode("ascii"))
    (folder / "chain.pem").write_bytes(dialled.chain + dialled.key)
    context.load_cert_chain(folder / "chain.pem")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    host = dialled.address.host
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pass_on() -> None:
            with contextlib.suppress(OSError):
                inside, _ = listener.accept()
                plain = socket.create_connection((host, dialled.address.port), timeout=20)
                with inside, context.wrap_socket(plain, server_hostname=host) as outside:
                    carry(inside, outside)

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    thread.join(20)


def carry(inside: socket.socket, outside: ssl.SSLSocket) -> None:
    """Bytes both ways until one side ends; on one thread, because a TLS connection is not for two."""
    ends = {inside: outside, outside: inside}
    while True:
        ready = [outside] if outside.pending() else select.select([inside, outside], [], [])[0]
        for end in ready:
            body = end.recv(65536)
            if not body:
                return
            ends[end].sendall(body)


def certified(box: Sandbox, authority: Authority, name: str) -> Dial:
    """The way nl dials, with another certificate."""
    ours, key = dial(box, "nl"), new_tls_key()
    chain = authority.issue_node(certificate_request(key, name), name, "NL")
    return Dial(ours.address, ours.authority, chain, tls_key_pem(key))


def test_certificate_that_the_roster_has_not_is_refused(box: Sandbox) -> None:
    """Issued by the right authority: a name nobody enrolled, and a second certificate for one who did."""
    authority = Authority.open(box.coordinator_home / "authority")
    for name, code in (("xx", "NOT_ON_ROSTER"), ("nl", "CERTIFICATE_REPLACED")):
        with speaking(certified(box, authority, name)) as session:
            error = attach(session)
        assert isinstance(error, AuthenticationError)
        assert error.code == code, error


@pytest.fixture
def copied(box: Sandbox, tmp_path: Path) -> Path:
    """A copy of nl's folder, to spoil."""
    return Path(shutil.copytree(box.node_home("nl"), tmp_path / "copied"))


def test_certificate_of_an_unknown_authority_is_said_to_be_refused_at_the_node(
    box: Sandbox, copied: Path, tmp_path: Path
) -> None:
    foreign = Authority.create(tmp_path / "foreign", "elsewhere")
    key = read_tls_key((copied / "pki/tls.key").read_bytes())
    (copied / "pki/certificate.pem").write_bytes(foreign.issue_node(certificate_request(key, "nl"), "nl", "NL"))
    ended = run_program("isthmus-node", "run", "--home", str(copied))
    assert ended.code == AuthenticationError.exit_code, ended.stderr
    assert "CERTIFICATE" in ended.stderr.splitlines()[-2]
    assert "enrol again" in ended.stderr


def expired(chain: bytes, issuing_key: Path) -> bytes:
    """The same certificate by the same authority, of a month that is over."""
    own, *issuers = read_chain(chain)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(own.issuer, own.subject, own.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=31))
        .not_valid_after(now - timedelta(days=1))
    )
    for extension in own.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    late = builder.sign(read_tls_key(issuing_key.read_bytes()), hashes.SHA256())
    return b"".join(link.public_bytes(Encoding.PEM) for link in (late, *issuers))


def test_expired_certificate_is_said_to_be_expired_at_the_node(box: Sandbox, copied: Path) -> None:
    chain = copied / "pki/certificate.pem"
    chain.write_bytes(expired(chain.read_bytes(), box.coordinator_home / "authority/issuing/key.pem"))
    ended = run_program("isthmus-node", "run", "--home", str(copied))
    assert ended.code == AuthenticationError.exit_code, ended.stderr
    assert "expired" in ended.stderr.splitlines()[-2]
    checked = run_program("isthmus-node", "check", "--home", str(copied), "--json")
    assert checked.code != 0
    assert "expired" in checked.stdout


# --------------------------------------------------------------------------- tokens


def join(token: Path | str, home: Path) -> tuple[int, str, str]:
    ended = run_program("isthmus-node", "join", str(token), "--home", str(home), "--json")
    assert not (home / "pki/certificate.pem").exists()
    return ended.code, ended.error["code"], ended.everything


def test_tokens_that_are_not_good_are_turned_down_by_name(box: Sandbox, tmp_path: Path) -> None:
    token = box.invite("lu", "node", "LU")
    text = token.read_text(encoding="ascii").strip()
    damaged, none = tmp_path / "damaged.token", tmp_path / "none.token"
    damaged.write_text(text[:-40] + text[-39:], encoding="ascii")
    none.write_text("good morning\n", encoding="ascii")
    # another coordinator, at the address of ours
    other = Sandbox(tmp_path / "other", name="other", port=box.port)
    other.init_coordinator()
    foreign = other.invite("lu", "node", "LU")
    answers: Mapping[str, tuple[int, str, str]] = {
        "used": join(box.home / "tokens/node-nl.token", tmp_path / "used"),
        "damaged": join(damaged, tmp_path / "damaged"),
        "none": join(none, tmp_path / "none"),
        "foreign": join(foreign, tmp_path / "foreign"),
        "no file": join(tmp_path / "nowhere", tmp_path / "no-file"),
        "given as text": join(text, tmp_path / "as-text"),
        "of an analyst": join(box.invite("second", "analyst"), tmp_path / "analyst"),
    }
    assert {what: (code, name) for what, (code, name, _) in answers.items()} == {
        "used": (15, "TOKEN_USED"),
        "damaged": (15, "TOKEN_DAMAGED"),
        "none": (15, "NO_TOKEN"),
        "foreign": (15, "WRONG_ISSUER"),
        "no file": (2, "TOKEN_FILE"),
        "given as text": (2, "TOKEN_IN_ARGUMENTS"),
        "of an analyst": (2, "TOKEN_FOR_ANALYST"),
    }
    # none of them quotes the token, and the good one is still good
    assert [what for what, (_, _, said) in answers.items() if text[20:60] in said] == []
    box.join({"lu": "LU"})


def test_token_of_a_node_logs_nobody_in(box: Sandbox, tmp_path: Path) -> None:
    token = box.invite("ch", "node", "CH")
    ended = run_program("isthmus", "login", str(token), "--profile", str(tmp_path / "profile"), "--json")
    assert (ended.code, ended.error["code"]) == (UsageError.exit_code, "TOKEN_OF_A_NODE")


# --------------------------------------------------------------------------- versions


def test_node_too_far_away_in_version_is_told_both(box: Sandbox) -> None:
    box.processes["de"].stop()
    home = str(box.node_home("de"))
    ended = run_script("versioned.py", "0.3.0", "isthmus-node", "run", "--home", home)
    assert ended.code == VersionError.exit_code, ended.stderr
    last = ended.stderr.splitlines()[-2:]
    assert "VERSIONS_APART" in last[0]
    assert "0.3.0" in last[0]
    assert __version__ in last[0]
    assert "upgrade" in last[1]
    box.start_nodes(["de"])


def test_node_one_minor_version_away_takes_part(box: Sandbox) -> None:
    box.processes["de"].stop()
    script = str(Path(__file__).with_name("versioned.py"))
    command = [sys.executable, script, "0.2.5", "isthmus-node", "run", "--home", str(box.node_home("de"))]
    newer = Process.start("node de", command, box.home / "logs/node-de.log", {})
    box.processes["de"] = newer
    newer.wait_ready()
    with box.connect() as connection:
        fit = connection.study(STUDY).planned("waits").run(progress=False)
    assert {c.country: c.software for c in fit.provenance().contributions}["DE"] == "0.2.5"
    newer.stop()
    box.start_nodes(["de"])


def test_enrolling_in_another_version_costs_no_token(box: Sandbox, tmp_path: Path) -> None:
    token = box.invite("fr", "node", "FR")
    home = tmp_path / "fr"
    ended = run_script("versioned.py", "1.0.0", "isthmus-node", "join", str(token), "--home", str(home), "--json")
    assert (ended.code, ended.error["code"]) == (16, "VERSIONS_APART")
    assert "1.0.0" in ended.error["message"]
    assert __version__ in ended.error["message"]
    again = run_program("isthmus-node", "join", str(token), "--home", str(home), "--json")
    assert again.code == 0, again.stderr


# --------------------------------------------------------------------------- revoked (last: there is no way back)


def test_revoked_node_is_refused_at_its_next_message_and_named(box: Sandbox) -> None:
    dialled = dial(box, "at")
    box.coordinator("revoke", "at")
    with box.connect() as connection:
        study = connection.study(STUDY)
        # while its stream stands: the order does not go out
        fit = study.planned("goes-on").run(progress=False)
        assert fit.missing_countries == ("AT",)
        given = {c.country: c for c in fit.provenance().contributions}["AT"]
        assert "taken off the roster" in given.reason
        with pytest.raises(AuthenticationError) as caught:
            study.planned("fails").run(progress=False)
        assert caught.value.code == "PARTICIPANT_REVOKED"
        assert "AT (node at)" in caught.value.message
        with pytest.raises(AuthenticationError, match="AT"):
            study.planned("waits").run(progress=False)
    with speaking(dialled) as session:
        assert attach(session).code == "REVOKED"
        assert submit(session, bytes(32), b"x").code == "REVOKED"
    # the node says so and ends: no waiting heals it
    process = box.processes["at"]
    wait_until(lambda: not process.running)
    assert process.popen.returncode == AuthenticationError.exit_code
    assert "REVOKED" in process.last_words()
