"""Logging in and speaking to a coordinator over mutual TLS."""

from __future__ import annotations

import contextlib
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_coordinator import FakeCoordinator, days_ago, serve, write_join_token, write_profile

from isthmus.errors import AuthenticationError, ConfigError, IsthmusError, LinkError, Refused, UsageError, VersionError
from isthmus.v1 import analyst_pb2, exchange_pb2
from isthmus_client import connect, login
from isthmus_client.connection import Connection
from isthmus_client.link import why_unreachable
from isthmus_client.profiles import find_profile
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role
from isthmus_trust.documents import ENROLMENT, STUDY, open_signed
from isthmus_trust.identity import verify


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ISTHMUS_PROFILE_DIR", raising=False)


def test_login_makes_keys_here_and_keeps_a_profile(fake: FakeCoordinator, tmp_path: Path) -> None:
    made = login(str(write_join_token(fake, tmp_path / "token")))
    assert made.folder == tmp_path / "config/isthmus/profiles/localhost"
    assert (made.address, made.analyst) == (fake.address, "ana")
    for name in ("key.pem", "identity.key"):
        assert stat.S_IMODE((made.folder / name).stat().st_mode) == 0o600
    (request,) = fake.requests(exchange_pb2.EnrolRequest)
    assert request.identity_key == made.identity.public
    verify(made.identity.public, ENROLMENT, request.certificate_request, request.identity_proof)
    with connect() as connection:
        assert list(connection.studies()["study"]) == ["BREAST-RFS"]


def test_login_reads_the_token_from_standard_input(
    fake: FakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = write_join_token(fake, tmp_path / "token")
    with token.open(encoding="ascii") as file:
        monkeypatch.setattr("sys.stdin", file)
        assert login("-", "mine").folder.name == "mine"


def test_login_that_lost_its_reply_asks_again_with_the_same_keys(fake: FakeCoordinator, tmp_path: Path) -> None:
    token = str(write_join_token(fake, tmp_path / "token"))
    fake.fails_with = LinkError("UNREACHABLE", "gone", "wait")
    with pytest.raises(LinkError):
        login(token, "p")
    fake.fails_with = None
    login(token, "p")
    first, second = fake.requests(exchange_pb2.EnrolRequest)
    assert first.identity_key == second.identity_key


def test_login_never_overwrites_a_profile(fake: FakeCoordinator, tmp_path: Path) -> None:
    token = str(write_join_token(fake, tmp_path / "token"))
    login(token, "p")
    with pytest.raises(ConfigError) as caught:
        login(token, "p")
    assert caught.value.code == "KEY_EXISTS"


def test_login_with_a_nodes_token_is_refused(fake: FakeCoordinator, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        login(str(write_join_token(fake, tmp_path / "token", Role.NODE)))
    assert caught.value.code == "TOKEN_OF_A_NODE"
    assert not fake.asked


def test_login_with_a_file_that_is_no_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hello", encoding="ascii")
    with pytest.raises(AuthenticationError) as caught:
        login(str(tmp_path / "token"))
    assert caught.value.code == "NO_TOKEN"
    with pytest.raises(UsageError) as missing:
        login(str(tmp_path / "absent"))
    assert missing.value.code == "TOKEN_FILE"


def test_login_to_another_version_keeps_no_profile(fake: FakeCoordinator, tmp_path: Path) -> None:
    fake.software = "0.9.0"
    with pytest.raises(VersionError, match=r"0\.9\.0"):
        login(str(write_join_token(fake, tmp_path / "token")), "p")
    assert not (tmp_path / "config/isthmus/profiles/p/profile.toml").exists()


def test_profile_is_found_by_name_environment_address_or_alone(
    fake: FakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as none:
        find_profile()
    assert none.value.code == "NO_PROFILE"
    root = tmp_path / "config/isthmus/profiles"
    for name in ("a", "b"):
        write_profile(fake, root / name)
    (root / "b/profile.toml").write_text('address = "other:1"\nanalyst = "ana"\n', encoding="utf-8")
    assert find_profile("a").folder == root / "a"
    assert find_profile(address="other").folder == root / "b"
    assert find_profile(address="other:1").folder == root / "b"
    with pytest.raises(UsageError) as several:
        find_profile()
    assert several.value.code == "WHICH_PROFILE"
    monkeypatch.setenv("ISTHMUS_PROFILE_DIR", str(root / "a"))
    assert find_profile().folder == root / "a"


def test_error_of_the_coordinator_arrives_as_it_was_meant(fake: FakeCoordinator, connection: Connection) -> None:
    fake.fails_with = Refused("NOT_YOURS", "this study is not open to you – «ä»", "ask its author")
    with pytest.raises(Refused) as caught:
        connection.studies()
    assert (caught.value.code, caught.value.message, caught.value.remedy) == (
        "NOT_YOURS",
        "this study is not open to you – «ä»",
        "ask its author",
    )


def test_closed_port_says_that_nothing_answers(fake: FakeCoordinator, profile: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        free = probe.getsockname()[1]
    (profile / "profile.toml").write_text(f'address = "localhost:{free}"\nanalyst = "ana"\n', encoding="utf-8")
    with connect(profile=str(profile)) as connection, pytest.raises(LinkError) as caught:
        connection.studies()
    assert caught.value.code == "UNREACHABLE"
    assert "nothing answers" in caught.value.message


def test_foreign_coordinator_is_named_as_such(fake: FakeCoordinator, tmp_path: Path) -> None:
    other, server = serve(tmp_path / "other")
    try:
        folder = write_profile(fake, tmp_path / "p")
        (folder / "profile.toml").write_text(f'address = "{other.address}"\nanalyst = "ana"\n', encoding="utf-8")
        with connect(profile=str(folder)) as connection, pytest.raises(AuthenticationError) as caught:
            connection.studies()
        assert caught.value.code == "UNKNOWN_AUTHORITY"
        assert not other.asked
    finally:
        server.stop(None).wait()


def test_coordinator_of_another_host_is_named_as_such(tmp_path: Path) -> None:
    fake, server = serve(tmp_path, hosts=("elsewhere.example.org",))
    try:
        folder = str(write_profile(fake, tmp_path / "p"))
        with connect(profile=folder) as connection, pytest.raises(AuthenticationError) as caught:
            connection.studies()
        assert caught.value.code == "WRONG_HOST"
    finally:
        server.stop(None).wait()


def test_own_expired_certificate_is_said_before_anything_is_dialled(fake: FakeCoordinator, tmp_path: Path) -> None:
    Authority.create(tmp_path / "old/authority", "test", clock=lambda: days_ago(400))
    old = Authority.open(tmp_path / "old/authority", clock=lambda: days_ago(60))
    folder = write_profile(fake, tmp_path / "p", old)
    (folder / "authority.pem").write_bytes(old.root_pem)
    with pytest.raises(AuthenticationError) as caught:
        connect(profile=str(folder))
    assert caught.value.code == "CERTIFICATE_EXPIRED"
    assert not fake.asked


def test_certificate_is_renewed_after_two_thirds_of_its_life_and_not_before(tmp_path: Path) -> None:
    Authority.create(tmp_path / "authority", "test", clock=lambda: days_ago(100))
    fake, server = serve(tmp_path, authority=Authority.open(tmp_path / "authority"))
    try:
        for days, renewals in ((15, 0), (25, 1)):
            folder = write_profile(fake, tmp_path / f"p{days}", now=days_ago(days))
            before = (folder / "certificate.pem").read_bytes()
            with connect(profile=str(folder)) as connection:
                connection.studies()
            assert len(fake.requests(exchange_pb2.RenewRequest)) == renewals
            assert ((folder / "certificate.pem").read_bytes() != before) is bool(renewals)
    finally:
        server.stop(None).wait()


def test_renewal_that_fails_does_not_stop_the_work(tmp_path: Path) -> None:
    Authority.create(tmp_path / "authority", "test", clock=lambda: days_ago(100))
    fake, server = serve(tmp_path, authority=Authority.open(tmp_path / "authority"))
    try:
        folder = write_profile(fake, tmp_path / "p", now=days_ago(25))
        fake.fails_with = Refused("NO", "no", "no")
        connection = connect(profile=str(folder))
        fake.fails_with = None
        assert isinstance(connection.renewal_problem, Refused)
        assert len(connection.studies()) == 1
        connection.close()
    finally:
        server.stop(None).wait()


def _change_a_byte(reply: analyst_pb2.GetStudyReply) -> None:
    reply.study.body = reply.study.body.replace(b"hormon", b"hermon")


def _change_the_digest(reply: analyst_pb2.GetStudyReply) -> None:
    reply.digest = bytes(32)


@pytest.mark.parametrize(("tampers", "code"), [(_change_a_byte, "BAD_SIGNATURE"), (_change_the_digest, "WRONG_STUDY")])
def test_study_that_was_changed_is_not_read(
    fake: FakeCoordinator, connection: Connection, tampers: Callable[[analyst_pb2.GetStudyReply], None], code: str
) -> None:
    assert connection.study("BREAST-RFS").name == "BREAST-RFS"
    fake.tampers = tampers
    with pytest.raises(AuthenticationError) as caught:
        connection.study("BREAST-RFS")
    assert caught.value.code == code


def test_proposal_is_signed_by_the_analysts_identity_key(fake: FakeCoordinator, connection: Connection) -> None:
    digest = connection.propose(fake.study)
    (request,) = fake.requests(analyst_pb2.ProposeStudyRequest)
    opened = open_signed(request.study, STUDY, type(fake.study), connection.profile.identity.public)
    assert opened == fake.study
    assert digest == fake.digest


def test_sites_and_dictionary_are_data_frames(connection: Connection) -> None:
    study = connection.study("BREAST-RFS")
    sites = study.sites()
    assert list(sites["country"]) == ["NL", "BE", "DE", "AT"]
    assert list(sites["decision"]) == ["approved", "approved", "approved", "waiting"]
    assert sites["last_contact"].isna().tolist() == [False, False, False, True]
    dictionary = study.dictionary()
    age = dictionary[dictionary["variable"] == "age"].iloc[0]
    assert (age["type"], age["unit"], age["minimum"]) == ("numeric", "years", 18)
    with pytest.raises(UsageError, match="no dataset 'X'"):
        study.dictionary("X")


def test_unknown_study_says_so(connection: Connection) -> None:
    with pytest.raises(IsthmusError) as caught:
        connection.study("NOPE")
    assert caught.value.code == "UNKNOWN_STUDY"


def test_server_without_tls_is_named_as_such(fake: FakeCoordinator) -> None:
    with socket.create_server(("localhost", 0)) as listener:

        def answer_in_the_clear() -> None:
            connected, _ = listener.accept()
            with connected, contextlib.suppress(OSError):
                connected.recv(1)
                connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connected.shutdown(socket.SHUT_WR)
                while connected.recv(4096):
                    pass

        other = threading.Thread(target=answer_in_the_clear)
        other.start()
        error = why_unreachable(f"localhost:{listener.getsockname()[1]}", fake.authority.root_pem)
        other.join()
    assert error is not None
    assert error.code == "NOT_TLS"
