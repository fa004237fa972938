"""The files under deploy/ are what the program accepts, and say what the pages promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import study_pb2
from isthmus_methods.registry import METHODS
from isthmus_node.config import KEYS, load
from isthmus_node.egress.policy import Policy
from isthmus_node.homes import Home

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "systemd/isthmus-node.service").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8")
COMPOSE = (DEPLOY / "docker/compose.yaml").read_text(encoding="utf-8")


def settings_of(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def uncommented(text: str) -> str:
    """The example with every key that is shown as a comment switched on."""
    return re.sub(r"^# (\[|[a-z_]+ = )", r"\1", text, flags=re.MULTILINE)


def test_example_settings_are_accepted(tmp_path: Path) -> None:
    config = load(Home(DEPLOY, tmp_path, "test"), env={})
    assert (config.name, config.country, str(config.coordinator)) == ("nl", "NL", "coordinator.example.org:443")
    assert config.proxy is None
    assert config.health_port is None


def test_every_key_of_the_settings_stands_in_the_example(tmp_path: Path) -> None:
    text = uncommented((DEPLOY / "node.toml").read_text(encoding="utf-8"))
    password = tmp_path / "proxy.password"
    password.write_text("secret\n", encoding="utf-8")
    password.chmod(0o600)
    (tmp_path / "node.toml").write_text(
        text.replace("/etc/isthmus/pki/proxy.password", str(password)), encoding="utf-8"
    )
    config = load(Home(tmp_path, tmp_path, "test"), env={})
    assert {key for key in KEYS if config.origins[key] == "default"} == set()
    assert config.proxy is not None
    assert config.proxy.password == "secret"
    assert config.health_port == 9100


def test_example_settings_with_a_misspelt_key_are_refused(tmp_path: Path) -> None:
    text = (DEPLOY / "node.toml").read_text(encoding="utf-8").replace("coordinator =", "cordinator =")
    (tmp_path / "node.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(Home(tmp_path, tmp_path, "test"), env={})
    assert caught.value.code == "UNKNOWN_KEY"


def test_example_policy_is_accepted_and_allows_only_what_is_installed() -> None:
    policy = Policy.load(DEPLOY / "policy.toml", tuple(METHODS))
    assert set(policy.limits) == {study_pb2.TRIAL_ANALYSIS}
    assert policy.limits[study_pb2.TRIAL_ANALYSIS].cell_persons == 10
    assert policy.exploratory == "refuse"
    assert policy.methods is not None
    assert policy.methods < frozenset(METHODS)


def test_unit_starts_only_what_checked_out_and_waits_until_ready() -> None:
    unit = settings_of(UNIT)
    assert unit["Type"] == ["notify"]
    assert unit["ExecStartPre"] == ["/opt/isthmus/bin/isthmus-node check"]
    assert unit["ExecStart"] == ["/opt/isthmus/bin/isthmus-node run"]
    assert unit["RestartPreventExitStatus"] == ["2 10 15 16"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("User", "isthmus"),
        ("UMask", "0077"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SocketBindDeny", "any"),
        ("StateDirectoryMode", "0700"),
        ("ConfigurationDirectoryMode", "0700"),
    ],
)
def test_unit_confines_the_node(key: str, value: str) -> None:
    assert settings_of(UNIT)[key] == [value]


def test_image_is_made_in_two_stages_from_hashed_wheels_and_runs_without_rights() -> None:
    build, run = DOCKERFILE.split("\nFROM ")[1:]
    assert build.count("--require-hashes -r requirements/${PINS}.txt") == 1
    assert "pip install" in build
    assert "pip install" not in run
    assert "\nUSER 10001:10001\n" in run
    for line in re.findall(r"pip install.*", DOCKERFILE):
        assert "--require-hashes" in line or "--no-index" in line, line


def test_image_has_every_package_of_the_wheel() -> None:
    packages = re.findall(r'"(\w+)/isthmus\w*",', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert packages
    ignored = (DEPLOY / "docker/Dockerfile.dockerignore").read_text(encoding="utf-8")
    for folder in packages:
        assert f"COPY {folder}/ {folder}/" in DOCKERFILE
        assert f"!{folder}\n" in ignored


def test_only_the_coordinator_publishes_a_port() -> None:
    services = re.split(r"^  (?=[a-z-]+:$)", COMPOSE.split("\nservices:\n")[1].split("\nnetworks:\n")[0], flags=re.M)
    found = {block.split(":", 1)[0]: block for block in services if block.strip() and not block.startswith("#")}
    assert set(found) == {"coordinator", "node-nl", "node-be"}
    assert [name for name, block in found.items() if "ports:" in block] == ["coordinator"]
    for block in found.values():
        assert "<<: *confined" in block
    assert "networks: [exchange]" in found["node-nl"]
    for setting in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "core: 0", 'user: "10001:10001"'):
        assert setting in COMPOSE


def test_release_in_the_deployment_is_this_one() -> None:
    from isthmus.version import __version__

    assert f"isthmus:{__version__}" in DOCKERFILE
    assert f"isthmus:{__version__}" in COMPOSE
