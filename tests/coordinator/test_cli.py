"""The command: making, running and looking after a coordinator."""

from __future__ import annotations

import json
import random
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from isthmus.command import main
from isthmus.errors import ConfigError
from isthmus_coordinator.cli import app
from isthmus_coordinator.config import Home, default_home, load_settings
from isthmus_trust.tokens import read_token

from .conftest import Region, dataset


def run(*argv: str | Path) -> int:
    return main(app, [str(a) for a in argv])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    assert run("init", "--home", home, "--host", "127.0.0.1", "--host", "localhost", "--port", "8443") == 0
    return home


def enveloped(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, Any]:
    capsys.readouterr()
    code = run(*argv, "--json")
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["schema_version"] == 1
    return code, envelope


def test_init_makes_a_home_that_only_its_owner_reads(home: Path) -> None:
    assert load_settings(Home(home), {}).hosts == ("127.0.0.1", "localhost")
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"coordinator.toml", "coordinator.db", "identity.pem"} <= {path.name for path in files}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_init_never_overwrites(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (home / "keys/identity.pem").read_bytes()
    code, envelope = enveloped(capsys, "init", "--home", home, "--host", "127.0.0.1")
    assert (code, envelope["error"]["code"]) == (10, "HOME_EXISTS")
    assert (home / "keys/identity.pem").read_bytes() == before


@pytest.mark.parametrize("host", ["https://x", "a b", "1.2.3.999"])
def test_init_refuses_what_is_no_host_and_leaves_nothing(tmp_path: Path, host: str) -> None:
    assert run("init", "--home", tmp_path / "h", "--host", host) == 2
    assert not (tmp_path / "h").exists()


def test_invite_writes_a_token_that_only_its_owner_reads(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "nl.token"
    assert run("invite", "nl", "--country", "NL", "-o", file, "--home", home) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = read_token(file.read_text())
    assert (token.name, token.country, token.role, token.address) == ("nl", "NL", "node", "127.0.0.1:8443")


def test_invite_writes_to_stdout_for_an_analyst(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("invite", "lead", "--role", "analyst", "-o", "-", "--home", home) == 0
    assert read_token(capsys.readouterr().out).role == "analyst"


def test_invite_refuses_a_file_that_is_there(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "nl.token"
    file.write_text("keep")
    assert run("invite", "nl", "--country", "NL", "-o", file, "--home", home) == 2
    assert file.read_text() == "keep"


@pytest.mark.parametrize("argv", [("nl",), ("nl", "--country", "NL", "--role", "boss"), ("n l", "--country", "NL"), ()])
def test_invite_refuses_what_cannot_be(home: Path, argv: Sequence[str]) -> None:
    assert run("invite", *argv, "-o", "-", "--home", home) == 2


def test_status_and_roster_are_one_envelope(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, status = enveloped(capsys, "status", "--home", home)
    assert status["data"]["running"] is False
    assert (status["data"]["nodes"], status["data"]["runs"]) == (0, {})
    assert enveloped(capsys, "roster", "--home", home)[1]["data"] == {"members": []}
    assert enveloped(capsys, "studies", "--home", home)[1]["data"] == {"studies": []}


def test_lists_show_members_studies_and_runs(region: Region, capsys: pytest.CaptureFixture[str]) -> None:
    home = region.home.path
    nodes = region.nodes("nl", "be")
    study_digest = region.propose(region.study(nodes))
    nodes[0].decide(study_digest)
    region.submit(study_digest, "wait")
    _, roster = enveloped(capsys, "roster", "--home", home)
    assert [m["name"] for m in roster["data"]["members"]] == ["lead", "be", "nl"]
    assert roster["data"]["members"][2]["identity_fingerprint"].count(" ") == 15
    _, status = enveloped(capsys, "status", "--home", home)
    assert (status["data"]["running"], status["data"]["runs"]) == (True, {"waiting": 1})
    _, studies = enveloped(capsys, "studies", "--home", home)
    assert studies["data"]["studies"][0]["decisions"] == {"NL": "approved", "BE": "waiting"}
    _, revoked = enveloped(capsys, "revoke", "nl", "--home", home)
    assert revoked["data"]["state"] == "revoked"
    capsys.readouterr()
    for command in ("roster", "studies", "status"):
        assert run(command, "--home", home) == 0
    words = capsys.readouterr().out
    assert "NL approved, BE waiting" in words
    assert "revoked" in words
    assert "1 waiting" in words
    assert dataset().name


def test_revoke_of_nobody_is_a_usage_error(home: Path) -> None:
    assert run("revoke", "zz", "--home", home) == 2


@pytest.mark.parametrize("command", ["run", "status", "roster", "studies"])
def test_folder_without_a_coordinator_says_how_to_make_one(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--home", tmp_path) == 10
    assert "isthmus-coordinator init" in capsys.readouterr().err


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("prot = 1", "UNKNOWN_KEY", "did you mean 'port'?"),
        ("port = 70000", "WRONG_VALUE", "port"),
        ('port = "x"', "WRONG_VALUE", "port"),
        ("hosts = []", "WRONG_VALUE", "hosts"),
        ("port = = 1", "CONFIG_UNREADABLE", "TOML"),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, line: str, code: str, said: str) -> None:
    base = {"port": "port = 1", "hosts": 'hosts = ["h"]'}
    kept = [text for key, text in base.items() if not line.startswith(key)]
    (tmp_path / "coordinator.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError) as caught:
        load_settings(Home(tmp_path), {})
    assert caught.value.code == code
    assert said in caught.value.message


def test_environment_goes_before_the_file(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p@h/d\n")
    settings = load_settings(
        Home(home),
        {"ISTHMUS_COORDINATOR_PORT": "9000", "ISTHMUS_COORDINATOR_DATABASE_FILE": str(secret)},
    )
    assert (settings.port, settings.database) == (9000, "postgresql://u:p@h/d")
    with pytest.raises(ConfigError, match="DATABASE_FILE"):
        load_settings(Home(home), {"ISTHMUS_COORDINATOR_DATABASE_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("hosts", "listen", "expected"),
    [
        (["127.0.0.1"], "", "127.0.0.1"),
        (["localhost", "::1"], "", "127.0.0.1"),
        (["localhost", "c.example.org"], "", "0.0.0.0"),
        (["c.example.org"], "10.0.0.1", "10.0.0.1"),
    ],
)
def test_coordinator_listens_where_it_can_be_reached(
    tmp_path: Path, hosts: list[str], listen: str, expected: str
) -> None:
    text = f"port = 1\nhosts = {json.dumps(hosts)}\nlisten = {json.dumps(listen)}\n"
    (tmp_path / "coordinator.toml").write_text(text)
    assert load_settings(Home(tmp_path), {}).listen_on == expected


def test_home_is_where_the_environment_says(tmp_path: Path) -> None:
    assert default_home({"ISTHMUS_COORDINATOR_HOME": str(tmp_path)}) == tmp_path


# --------------------------------------------------------------------------- running


def free_port() -> int:
    """A port below those that the system gives out by itself, so that nobody takes it before we do."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    home, port = tmp_path / "home", free_port()
    assert run("init", "--home", home, "--host", "127.0.0.1", "--port", str(port)) == 0
    process = start(home)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready 127.0.0.1:{port}\n"
        yield process, home, port
    finally:
        process.kill()
        process.communicate()


def start(home: Path, *argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from isthmus_coordinator.cli import main; raise SystemExit(main())"]
    return subprocess.Popen(
        [*command, "run", "--home", str(home), *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_coordinator_that_is_ready_takes_connections_and_ends_cleanly(
    running: tuple[subprocess.Popen[str], Path, int], number: signal.Signals
) -> None:
    process, _, port = running
    with socket.create_connection(("127.0.0.1", port), timeout=20):
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


@pytest.mark.processes
def test_second_coordinator_of_a_home_is_refused(
    running: tuple[subprocess.Popen[str], Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    _, home, _ = running
    second = start(home, "--json")
    out, _ = second.communicate(timeout=30)
    assert second.returncode == 10
    assert json.loads(out)["error"]["code"] == "ALREADY_RUNNING"
    assert enveloped(capsys, "status", "--home", home)[1]["data"]["running"] is True


@pytest.mark.processes
def test_port_in_use_is_said_to_be_in_use(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("init", "--home", home, "--host", "127.0.0.1", "--port", str(port)) == 0
        process = start(home, "--json")
        out, err = process.communicate(timeout=30)
    assert process.returncode == 10
    error = json.loads(out)["error"]
    assert error["code"] == "PORT_IN_USE"
    assert str(port) in error["message"]
    assert "Traceback" not in err
