"""Settings: which source wins, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.errors import ConfigError
from isthmus_node import config
from isthmus_node.homes import SYSTEM_CONFIG, Home, find_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = find_home(tmp_path / "node", {})
    found.make()
    return found


def write(home: Home, text: str) -> None:
    home.settings.write_text(text, encoding="utf-8")


def code_of(home: Home, env: dict[str, str] | None = None, **flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(home, flags, env or {})
    return caught.value.code


def test_home_flag_wins_over_variable(tmp_path: Path) -> None:
    given = find_home(tmp_path / "a", {"ISTHMUS_HOME": str(tmp_path / "b")})
    assert (given.config, given.state, given.origin) == (tmp_path / "a", tmp_path / "a" / "state", "--home")


def test_home_of_a_user_is_their_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus_node.homes.SYSTEM_CONFIG", tmp_path / "absent")
    found = find_home(None, {"HOME": "/home/ann", "XDG_STATE_HOME": "/var/ann"})
    assert found.config == Path("/home/ann/.config/isthmus-node")
    assert found.state == Path("/var/ann/isthmus-node")


def test_home_of_the_system_is_taken_where_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus_node.homes.SYSTEM_CONFIG", tmp_path)
    assert find_home(None, {"HOME": "/home/ann"}).config == tmp_path
    assert Path("/etc/isthmus") == SYSTEM_CONFIG


def test_home_folders_are_their_owners_only(home: Home) -> None:
    assert {p.stat().st_mode & 0o777 for p in (home.pki, home.state, home.decisions)} == {0o700}


@pytest.mark.parametrize(
    ("file", "env", "flags", "level", "origin"),
    [
        ("", {}, {}, "info", "default"),
        ('[log]\nlevel = "debug"', {}, {}, "debug", "node.toml"),
        ('[log]\nlevel = "debug"', {"ISTHMUS_LOG_LEVEL": "error"}, {}, "error", "ISTHMUS_LOG_LEVEL"),
        ('[log]\nlevel = "debug"', {"ISTHMUS_LOG_LEVEL": "error"}, {"log.level": "warning"}, "warning", "--log-level"),
    ],
)
def test_setting_of_the_nearest_source_wins(
    home: Home, file: str, env: dict[str, str], flags: dict[str, str], level: str, origin: str
) -> None:
    write(home, file)
    found = config.load(home, flags, env)
    assert found.log_level == level
    assert found.origins["log.level"].endswith(origin)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ('coordinater = "a:1"', "'coordinator'"),
        ('[proxy]\nurll = "http://p:1"', "'proxy.url'"),
        ("[helth]\nport = 1", "'health'"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(home: Home, text: str, near: str) -> None:
    write(home, text)
    with pytest.raises(ConfigError) as caught:
        config.load(home, {}, {})
    assert caught.value.code == "UNKNOWN_KEY"
    assert near in caught.value.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name = ", "CONFIG_NOT_TOML"),
        ("name = 3", "WRONG_VALUE"),
        ('name = "-nl"', "WRONG_VALUE"),
        ('[log]\nlevel = "loud"', "WRONG_VALUE"),
        ("[health]\nport = 70000", "WRONG_VALUE"),
        ('coordinator = "http://a/b"', "WRONG_VALUE"),
        ('coordinator = "a:99999"', "WRONG_VALUE"),
        ('[proxy]\nurl = "https://p:1"', "PROXY_SCHEME"),
        ('[proxy]\nurl = "http://ann:secret@p:1"', "SECRET_IN_URL"),
        ('[proxy]\nurl = "http://p:1"\npassword_file = "/nowhere/at/all"', "KEY_MISSING"),
    ],
)
def test_wrong_value_is_a_config_error(home: Home, text: str, code: str) -> None:
    write(home, text)
    assert code_of(home) == code


def test_secret_of_the_proxy_is_never_in_a_message(home: Home) -> None:
    write(home, '[proxy]\nurl = "http://ann:hunter2@p:1"')
    with pytest.raises(ConfigError) as caught:
        config.load(home, {}, {})
    assert "hunter2" not in str(caught.value)


def test_proxy_password_comes_from_a_file_of_the_owner_only(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "proxy-password"
    secret.write_text("hunter2\n")
    write(home, f'[proxy]\nurl = "http://p:8080"\nusername = "ann"\npassword_file = "{secret}"')
    secret.chmod(0o644)
    assert code_of(home) == "KEY_OPEN_TO_OTHERS"
    secret.chmod(0o600)
    proxy = config.load(home, {}, {}).proxy
    assert proxy is not None
    assert (str(proxy.address), proxy.username, proxy.password) == ("p:8080", "ann", "hunter2")
    assert "hunter2" not in repr(proxy)


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({"https_proxy": "http://p:1"}, "p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "example.org"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "other.org"}, "p:1"),
        ({"http_proxy": "http://q:2", "https_proxy": "http://p:1"}, "p:1"),
    ],
)
def test_proxy_of_the_environment_is_lower_case_only(home: Home, env: dict[str, str], address: str | None) -> None:
    write(home, 'coordinator = "c.example.org:8443"')
    proxy = config.load(home, {}, env).proxy
    assert (str(proxy.address) if proxy else None) == address


def test_proxy_of_the_file_wins_over_the_environment(home: Home) -> None:
    write(home, '[proxy]\nurl = "http://p:1"')
    found = config.load(home, {}, {"https_proxy": "http://q:2"})
    assert found.shown["proxy.url"] == "http://p:1"


@pytest.mark.parametrize(
    ("text", "host", "port"), [("a.example.org", "a.example.org", 443), ("a:8443", "a", 8443), ("[::1]:9", "::1", 9)]
)
def test_address_is_host_and_port(text: str, host: str, port: int) -> None:
    found = config.parse_address(text, "coordinator", "test")
    assert (found.host, found.port) == (host, port)
    assert config.parse_address(str(found), "coordinator", "test") == found


def test_added_settings_are_read_back(home: Home) -> None:
    config.add_settings(home.settings, {"name": "nl", "country": 'N"L', "coordinator": "c:1"})
    found = config.load(home, {}, {})
    assert (found.name, found.country, str(found.coordinator)) == ("nl", 'N"L', "c:1")


def test_added_settings_leave_what_people_wrote(home: Home) -> None:
    write(home, '# ours\nname = "nl"\n[proxy]\nurl = "http://p:1"\n')
    config.add_settings(home.settings, {"name": "other", "coordinator": "c:1", "proxy.url": "http://q:2"})
    found = config.load(home, {}, {})
    assert (found.name, str(found.coordinator), found.shown["proxy.url"]) == ("nl", "c:1", "http://p:1")
    assert "# ours" in home.settings.read_text()


def test_node_without_coordinator_is_told_to_join(home: Home) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(home, {}, {}).dial_address()
    assert caught.value.code == "NOT_JOINED"
    assert "join" in caught.value.remedy
