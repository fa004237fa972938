"""Joining: a token once, keys that stay, and what is said of a token that will not do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import AuthenticationError
from isthmus_node.homes import find_home
from isthmus_node.link.channel import Session, open_channel
from isthmus_node.link.enrol import renew, renewal_due
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, read_chain
from isthmus_trust.identity import IdentityKey
from isthmus_trust.tokens import new_token, write_token


def test_join_makes_keys_here_and_says_what_to_compare(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path, ground: Any
) -> None:
    said = isthmus_node("join", token_file)
    assert said.code == 0, said.err
    assert ground.authority.fingerprint in said.out
    home = find_home(tmp_path / "home", {})
    identity = IdentityKey.load(home.identity_key)
    (request,) = coordinator.exchange.enrolments
    assert request.identity_key == identity.public
    assert request.custodian_key != request.identity_key
    assert b"PRIVATE" not in request.SerializeToString()
    for path in (home.identity_key, home.tls_key, home.pki / "custodian.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert home.policy.read_text().count("[purpose.") == 4
    assert "data add" in said.out


def test_join_reads_the_token_from_standard_input(isthmus_node: Callable[..., Any], token_file: Path) -> None:
    said = isthmus_node("join", "-", "--json", stdin=token_file.read_text())
    assert said.data["node"] == "nl"


def test_token_as_an_argument_is_refused_and_not_repeated(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any
) -> None:
    text = token_file.read_text().strip()
    said = isthmus_node("join", text)
    assert said.code == 2
    assert "TOKEN_IN_ARGUMENTS" in said.err
    assert text[20:60] not in said.err + said.out
    assert coordinator.exchange.enrolments == []


def test_second_join_is_refused_and_keeps_what_is_there(
    isthmus_node: Callable[..., Any], token_file: Path, tmp_path: Path
) -> None:
    isthmus_node("join", token_file)
    before = {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    said = isthmus_node("join", token_file, "--json")
    assert said.code == 10
    assert said.error["code"] == "JOINED_ALREADY"
    assert {path: path.read_bytes() for path in before} == before


def test_node_enrolled_again_keeps_its_keys_and_settings(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path
) -> None:
    isthmus_node("join", token_file)
    home = find_home(tmp_path / "home", {})
    home.policy.write_text(home.policy.read_text() + "# read by the custodian\n")
    kept = {path: path.read_bytes() for path in (home.identity_key, home.tls_key, home.policy, home.settings)}
    before = home.certificate.read_bytes()
    assert isthmus_node("join", token_file, "--again").code == 0
    assert {path: path.read_bytes() for path in kept} == kept
    assert home.certificate.read_bytes() != before
    one, two = coordinator.exchange.enrolments
    assert (one.identity_key, one.custodian_key) == (two.identity_key, two.custodian_key)


def test_used_token_says_so_and_loses_nothing(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path
) -> None:
    coordinator.exchange.enrol_error = AuthenticationError(
        "TOKEN_USED", "the join token has been used; rule: a token is used once", "ask for a new one"
    )
    said = isthmus_node("join", token_file, "--json")
    assert said.code == 15
    assert said.error == {
        "code": "TOKEN_USED",
        "message": "the join token has been used; rule: a token is used once",
        "remedy": "ask for a new one",
    }
    identity = IdentityKey.load(find_home(tmp_path / "home", {}).identity_key).public
    # asked again, it goes on with the keys that were made
    coordinator.exchange.enrol_error = None
    assert isthmus_node("join", token_file).code == 0
    assert coordinator.exchange.enrolments[-1].identity_key == identity


@pytest.mark.parametrize(
    ("text", "code", "exit_code"),
    [
        ("hello", "NO_TOKEN", 15),
        ("", "NO_TOKEN", 15),
        ("isthmus-join-9.abc.def", "TOKEN_VERSION", 15),
    ],
)
def test_wrong_token_says_what_is_wrong(isthmus_node: Callable[..., Any], text: str, code: str, exit_code: int) -> None:
    said = isthmus_node("join", "-", "--json", stdin=text)
    assert (said.code, said.error["code"]) == (exit_code, code)


def test_damaged_token_says_that_it_is_damaged(isthmus_node: Callable[..., Any], token_file: Path) -> None:
    token_file.write_text(token_file.read_text().strip()[:-30])
    said = isthmus_node("join", token_file, "--json")
    assert (said.code, said.error["code"]) == (15, "TOKEN_DAMAGED")


def test_expired_token_says_when_it_expired(
    isthmus_node: Callable[..., Any], ground: Any, tmp_path: Path, coordinator: Any
) -> None:
    old = Authority.open(ground.folder, lambda: datetime.now(UTC) - timedelta(days=3))
    path = tmp_path / "old.token"
    path.write_text(write_token(new_token(old, str(coordinator.address), Role.NODE, "nl", "NL")))
    said = isthmus_node("join", path, "--json")
    assert (said.code, said.error["code"]) == (15, "TOKEN_EXPIRED")
    assert (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d") in said.error["message"]


def test_token_of_an_analyst_is_not_for_a_node(
    isthmus_node: Callable[..., Any], ground: Any, tmp_path: Path, coordinator: Any
) -> None:
    path = tmp_path / "ann.token"
    path.write_text(write_token(new_token(ground.authority, str(coordinator.address), Role.ANALYST, "ann", "")))
    said = isthmus_node("join", path, "--json")
    assert (said.code, said.error["code"]) == (2, "TOKEN_FOR_ANALYST")
    assert "isthmus login" in said.error["remedy"]


def test_token_file_that_is_not_there(isthmus_node: Callable[..., Any], tmp_path: Path) -> None:
    said = isthmus_node("join", tmp_path / "absent", "--json")
    assert (said.code, said.error["code"]) == (2, "TOKEN_FILE")


def test_coordinator_that_is_away_is_a_link_error(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any
) -> None:
    coordinator.stop()
    said = isthmus_node("join", token_file, "--json")
    assert (said.code, said.error["code"]) == (14, "CONNECTION_REFUSED")
    assert str(coordinator.address) in said.error["message"]


def test_coordinator_behind_a_proxy_that_refuses_is_said_to_be_so(
    isthmus_node: Callable[..., Any], token_file: Path, proxy: Callable[..., Any]
) -> None:
    made = proxy(status=403)
    said = isthmus_node("join", token_file, "--proxy", f"http://{made.address}", "--json")
    assert (said.code, said.error["code"]) == (14, "PROXY_REFUSED")


def test_join_through_a_proxy_remembers_it(
    isthmus_node: Callable[..., Any], token_file: Path, proxy: Callable[..., Any]
) -> None:
    made = proxy()
    assert isthmus_node("join", token_file, "--proxy", f"http://{made.address}").code == 0
    assert made.seen
    shown = isthmus_node("config", "show", "--json").data["settings"]["proxy.url"]
    assert shown["value"] == f"http://{made.address}"


def test_token_with_another_authority_than_the_coordinators_is_turned_down(
    isthmus_node: Callable[..., Any], foreign_ground: Any, tmp_path: Path, coordinator: Any
) -> None:
    path = tmp_path / "foreign.token"
    path.write_text(write_token(new_token(foreign_ground.authority, str(coordinator.address), Role.NODE, "nl", "NL")))
    said = isthmus_node("join", path, "--json")
    assert (said.code, said.error["code"]) == (15, "WRONG_ISSUER")


def test_certificate_for_another_name_is_not_kept(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path
) -> None:
    coordinator.exchange.issues_to = "de"
    said = isthmus_node("join", token_file, "--json")
    assert (said.code, said.error["code"]) == (15, "CERTIFICATE_OF_ANOTHER")
    assert not find_home(tmp_path / "home", {}).joined


@pytest.mark.parametrize(("arguments", "code"), [(["--name", "de"], 2), (["--name", "nl"], 0)])
def test_name_expected_is_the_tokens_own(
    isthmus_node: Callable[..., Any], token_file: Path, arguments: list[str], code: int
) -> None:
    assert isthmus_node("join", token_file, *arguments).code == code


def test_settings_that_contradict_the_token_are_said(
    isthmus_node: Callable[..., Any], token_file: Path, tmp_path: Path, coordinator: Any
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/node.toml").write_text('country = "DE"\n')
    said = isthmus_node("join", token_file, "--json")
    assert (said.code, said.error["code"]) == (10, "SETTINGS_CONTRADICT")
    assert coordinator.exchange.enrolments == [], "the token was not used up"


def test_custodians_key_may_be_kept_elsewhere(
    isthmus_node: Callable[..., Any], token_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/node.toml").write_text(f'custodian_key = "{tmp_path}/stick/custodian.key"\n')
    assert isthmus_node("join", token_file).code == 0
    assert (tmp_path / "stick/custodian.key").exists()
    assert not (tmp_path / "home/pki/custodian.key").exists()


# --------------------------------------------------------------------------- renewal


@pytest.mark.parametrize(("days", "due"), [(0, False), (19, False), (21, True), (40, True)])
def test_renewal_is_due_after_two_thirds_of_the_life(ground: Any, days: int, due: bool) -> None:
    chain, _ = ground.node()
    assert renewal_due(chain, datetime.now(UTC) + timedelta(days=days)) is due


def test_renewed_certificate_is_kept_for_the_same_key(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path, dial: Any, fast: Any
) -> None:
    isthmus_node("join", token_file)
    home = find_home(tmp_path / "home", {})
    before = read_chain(home.certificate.read_bytes())[0]
    channel = open_channel(replace(dial, chain=home.certificate.read_bytes(), key=home.tls_key.read_bytes()), fast)
    try:
        renew(Session(channel, fast), home, "nl", IdentityKey.load(home.identity_key))
    finally:
        channel.close()
    after = read_chain(home.certificate.read_bytes())[0]
    assert after.serial_number != before.serial_number
    assert after.public_key() == before.public_key()
    assert coordinator.exchange.renewals


def test_renewal_that_fails_keeps_the_certificate_in_use(
    isthmus_node: Callable[..., Any], token_file: Path, coordinator: Any, tmp_path: Path, dial: Any, fast: Any
) -> None:
    isthmus_node("join", token_file)
    home = find_home(tmp_path / "home", {})
    before = home.certificate.read_bytes()
    coordinator.exchange.issues_to = "de"
    channel = open_channel(replace(dial, chain=before, key=home.tls_key.read_bytes()), fast)
    try:
        with pytest.raises(AuthenticationError):
            renew(Session(channel, fast), home, "nl", IdentityKey.load(home.identity_key))
    finally:
        channel.close()
    assert home.certificate.read_bytes() == before
