"""Join tokens: whole they open, damaged, foreign or late they say so."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from isthmus.errors import AuthenticationError, IsthmusError, UsageError
from isthmus.v1 import journal_pb2
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, check_valid, peer_of, read_tls_key
from isthmus_trust.tokens import PREFIX, credentials_of, new_token, read_token, split_address, write_token

# The fixtures are read only: one authority for all examples does no harm.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def token(authority: Authority) -> journal_pb2.JoinToken:
    return new_token(authority, "coordinator.example.org:8443", Role.NODE, "nl", "NL")


@pytest.fixture
def text(token: journal_pb2.JoinToken) -> str:
    return write_token(token)


def refusal(text: str, now: datetime) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        read_token(text, now)
    return caught.value


def test_token_is_one_line_that_opens_again(token: journal_pb2.JoinToken, text: str, now: datetime) -> None:
    assert text.startswith(PREFIX)
    assert text.isascii()
    assert text.split() == [text]
    assert len(text) < 2500
    assert read_token(text, now) == token


def test_token_says_who_joins_where(token: journal_pb2.JoinToken, now: datetime) -> None:
    assert (token.address, token.role, token.name, token.country) == (
        "coordinator.example.org:8443",
        "node",
        "nl",
        "NL",
    )
    assert token.expires_at == int((now + timedelta(hours=24)).timestamp()) * 10**9


def test_certificate_of_the_token_may_only_enrol(
    authority: Authority, token: journal_pb2.JoinToken, now: datetime
) -> None:
    found = credentials_of(token)
    peer = check_valid(found.chain_pem, now, authority_pem=authority.root_pem)
    assert peer.role is Role.INVITE
    assert found.authority_pem == authority.root_pem
    assert found.fingerprint == authority.fingerprint
    assert read_tls_key(found.key_pem).private_numbers().private_value == int.from_bytes(token.key, "big")


def test_tokens_share_no_secret_and_no_invite(authority: Authority) -> None:
    one, other = (new_token(authority, "localhost:1", Role.NODE, "nl", "NL") for _ in range(2))
    assert one.secret != other.secret
    assert len(one.secret) == 32
    assert one.key != other.key
    names = [peer_of(credentials_of(t).chain_pem).name for t in (one, other)]
    assert names[0] != names[1]


def test_analyst_can_be_invited(authority: Authority, now: datetime) -> None:
    token = new_token(authority, "[::1]:8443", Role.ANALYST, "ada", "")
    assert read_token(write_token(token), now).role == "analyst"


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.INVITE])
def test_nobody_joins_as_something_else(authority: Authority, role: Role) -> None:
    with pytest.raises(UsageError) as caught:
        new_token(authority, "localhost:1", role, "nl", "NL")
    assert caught.value.code == "BAD_ROLE"


@given(st.data())
@shared
def test_line_ends_of_a_mail_program_do_no_harm(text: str, now: datetime, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 100))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\n  ", " "]))
    wrapped = end + end.join(text[k : k + width] for k in range(0, len(text), width)) + end
    assert read_token(wrapped, now) == read_token(text, now)


@given(at=st.integers(0, 2000), by=st.characters(codec="ascii", categories=["L", "N", "P"]))
@shared
def test_one_changed_character_is_noticed(text: str, now: datetime, at: int, by: str) -> None:
    at %= len(text)
    assume(text[at] != by)
    assert refusal(text[:at] + by + text[at + 1 :], now).code in ("TOKEN_DAMAGED", "NO_TOKEN", "TOKEN_VERSION")


@given(start=st.integers(0, 2100), size=st.integers(1, 2100))
@shared
def test_missing_part_is_noticed(text: str, now: datetime, start: int, size: int) -> None:
    start %= len(text)
    cut = text[:start] + text[start + size :]
    assert refusal(cut, now).code in ("TOKEN_DAMAGED", "NO_TOKEN", "TOKEN_VERSION")


@given(st.text(max_size=300) | st.text(max_size=300).map(lambda tail: PREFIX + tail))
@shared
def test_any_other_text_gets_an_error_of_ours(now: datetime, text: str) -> None:
    with pytest.raises(IsthmusError):
        read_token(text, now)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "NO_TOKEN"),
        ("hello", "NO_TOKEN"),
        ("-----BEGIN CERTIFICATE-----", "NO_TOKEN"),
        ("isthmus-join-2.abc.def", "TOKEN_VERSION"),
        (PREFIX, "TOKEN_DAMAGED"),
        (PREFIX + "a" * 200_000, "NO_TOKEN"),
    ],
    ids=["empty", "word", "pem", "newer", "cut", "huge"],
)
def test_wrong_kind_of_text_is_said(now: datetime, text: str, code: str) -> None:
    assert refusal(text, now).code == code


def test_late_token_says_when_it_ended_and_whom_to_ask(text: str, now: datetime) -> None:
    read_token(text, now + timedelta(hours=24))
    error = refusal(text, now + timedelta(hours=24, seconds=1))
    assert error.code == "TOKEN_EXPIRED"
    assert "2026-11-23 12:00 UTC" in error.message
    assert "new one" in error.remedy


def test_expiry_cannot_be_moved_past_the_certificates(token: journal_pb2.JoinToken, now: datetime) -> None:
    token.expires_at += 10**9 * 86400 * 365
    assert refusal(write_token(token), now + timedelta(days=2)).code == "TOKEN_DAMAGED"


def test_token_of_the_future_says_the_clock(text: str, now: datetime) -> None:
    error = refusal(text, now - timedelta(minutes=11))
    assert error.code == "TOKEN_NOT_YET_VALID"
    assert "clock" in error.remedy


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("address", "nowhere"),
        ("address", "host:0"),
        ("authority", b""),
        ("certificate", b""),
        ("certificate", b"\x30\x82\xff\xff"),
        ("certificate", b"\x01\x02"),
        ("key", b""),
        ("key", b"\0" * 32),
        ("key", b"\x01" * 32),
        ("key", b"\xff" * 32),
        ("secret", b""),
        ("secret", b"short"),
        ("role", "coordinator"),
        ("role", ""),
        ("name", "../nl"),
        ("name", ""),
    ],
)
def test_token_whose_parts_do_not_fit_is_damaged(
    token: journal_pb2.JoinToken, now: datetime, part: str, value: object
) -> None:
    setattr(token, part, value)
    assert refusal(write_token(token), now).code == "TOKEN_DAMAGED"


def test_key_of_the_token_has_one_form(token: journal_pb2.JoinToken, now: datetime) -> None:
    token.key = b"\0" + token.key  # the same number
    assert refusal(write_token(token), now).code == "TOKEN_DAMAGED"


def test_token_with_another_authority_is_damaged(
    token: journal_pb2.JoinToken, impostor: Authority, now: datetime
) -> None:
    token.authority = impostor.root_der
    assert refusal(write_token(token), now).code == "TOKEN_DAMAGED"


def test_errors_hold_nothing_of_the_token(text: str, now: datetime) -> None:
    pieces = {text[k : k + 12] for k in range(len(PREFIX), len(text) - 12)}
    for broken, moment in ((text[:-1], now), (text[:600], now), (text[9:], now), (text, now + timedelta(days=3))):
        said = str(refusal(broken, moment))
        assert not any(piece in said for piece in pieces)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("coordinator.example.org:443", ("coordinator.example.org", 443)),
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:8443", ("::1", 8443)),
    ],
)
def test_address_is_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address", ["host", "host:", ":1", "host:x", "host:65536", "::1:8443", "https://host:1", "host:²"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_address(address)
    assert caught.value.code in ("BAD_ADDRESS", "BAD_HOST")
