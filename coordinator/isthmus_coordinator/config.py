"""The coordinator's home folder and `coordinator.toml`, checked at the edge: unknown keys are errors."""

from __future__ import annotations

import ipaddress
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isthmus.errors import ConfigError
from isthmus_methods.validate import nearest

ENVIRONMENT = "ISTHMUS_COORDINATOR_"


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one coordinator is kept."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "coordinator.toml"

    @property
    def authority(self) -> Path:
        return self.path / "authority"

    @property
    def identity_key(self) -> Path:
        return self.path / "keys" / "identity.pem"

    @property
    def database(self) -> Path:
        return self.path / "coordinator.db"

    @property
    def lock(self) -> Path:
        return self.path / ".running"


class TrainingSettings(BaseModel):
    """`[training]` of `coordinator.toml`: what strategies may do, each in a process of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Beside Flower's own, as "package.module:Class"; a plan names them as they stand here.
    strategies: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=256)], ...] = ()
    # Memory that the process of one training may have, MiB of address space.
    memory_mib: int = Field(default=8192, ge=1024)
    # Seconds that a strategy may take to say how a training goes on.
    seconds: int = Field(default=600, ge=1, le=24 * 3600)
    # Trainings at one time.
    runs: int = Field(default=8, ge=1, le=1000)


class Settings(BaseModel):
    """`coordinator.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # In every certificate, and what nodes see when they attach.
    name: str = Field(default="coordinator", min_length=1, max_length=63)
    # Names and addresses by which nodes and analysts reach it; the first is written into join tokens.
    hosts: tuple[str, ...] = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    # Address of this machine to listen on; by default loopback where all hosts are, otherwise every address.
    listen: str = ""
    # sqlite:///PATH or postgresql://USER@HOST/NAME; by default coordinator.db in the home folder.
    database: str = ""
    # Seconds a round may take where the analysis does not say.
    deadline_seconds: int = Field(default=600, ge=1, le=30 * 24 * 3600)
    # A submission larger than this is not read.
    max_submission_bytes: int = Field(default=256 << 20, ge=1 << 20, le=2 << 30)
    training: TrainingSettings = TrainingSettings()

    @property
    def address(self) -> str:
        """``host:port`` for join tokens."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def listen_on(self) -> str:
        """Address of this machine to listen on."""
        if self.listen:
            return self.listen
        return "127.0.0.1" if all(_is_loopback(host) for host in self.hosts) else "0.0.0.0"  # noqa: S104 - a coordinator is there to be reached


def load_settings(home: Home, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings: environment (``ISTHMUS_COORDINATOR_DATABASE``, or ``..._FILE``) before file before default.

    Raises
    ------
    ConfigError
        ``NOT_INITIALISED``, ``CONFIG_UNREADABLE``, ``UNKNOWN_KEY`` (with the nearest known one), ``WRONG_VALUE``.
    """
    environment = os.environ if environment is None else environment
    try:
        text = home.config.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            "NOT_INITIALISED",
            f"there is no coordinator in {home.path}",
            f"make one with: isthmus-coordinator init --home {home.path} --host HOST --port PORT",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "CONFIG_UNREADABLE", f"{home.config} cannot be read", "run the command as the user the file belongs to"
        ) from error
    try:
        values: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            "CONFIG_UNREADABLE", f"{home.config} is not TOML: {error}", "correct the line named"
        ) from error
    values.update(_from_environment(environment))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _wrong(home.config, error) from error


def database_url(home: Home, settings: Settings) -> str:
    """URL of the store: the one set, or the file in the home folder."""
    return settings.database or f"sqlite:///{home.database}"


def write_settings(home: Home, name: str, hosts: tuple[str, ...], port: int) -> None:
    """The first `coordinator.toml`, mode 0600: a database URL in it may hold a password."""
    # a JSON text or list of texts is TOML as well
    content = f"""# isthmus coordinator. Each key is explained in the documentation; an unknown key is an error.
name = {json.dumps(name)}
# Names and addresses by which nodes and analysts reach it; the first is written into join tokens.
hosts = {json.dumps(list(hosts))}
port = {port}

# Address of this machine to listen on.
# listen = "0.0.0.0"
# The store; by default coordinator.db beside this file. The environment's ISTHMUS_COORDINATOR_DATABASE, or the file
# that ISTHMUS_COORDINATOR_DATABASE_FILE names, goes before it.
# database = "postgresql://isthmus@db.example.org/isthmus"
# Seconds a round may take where the analysis does not say.
# deadline_seconds = 600
# A submission larger than this is not read.
# max_submission_bytes = 268435456

# Training of models (pip install 'isthmus[train]').
# [training]
# Strategies beside Flower's own, as "package.module:Class".
# strategies = []
# MiB of memory and seconds that a strategy's process may take, and trainings at one time.
# memory_mib = 8192
# seconds = 600
# runs = 8
"""
    try:
        descriptor = os.open(home.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise already_there(home) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def already_there(home: Home) -> ConfigError:
    """A coordinator is never made over another."""
    return ConfigError(
        "HOME_EXISTS",
        f"there is a coordinator in {home.path} already; rule: it is never overwritten",
        "use it, or choose another folder with --home",
    )


def default_home(environment: Mapping[str, str] | None = None) -> Path:
    """``ISTHMUS_COORDINATOR_HOME``, or the usual place for this user."""
    environment = os.environ if environment is None else environment
    if set_home := environment.get(f"{ENVIRONMENT}HOME"):
        return Path(set_home)
    if os.geteuid() == 0:
        return Path("/var/lib/isthmus-coordinator")
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "isthmus-coordinator"


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key in Settings.model_fields:
        if key == "training":
            continue  # a table: the file alone has it
        name = f"{ENVIRONMENT}{key.upper()}"
        if key == "database" and (file := environment.get(f"{name}_FILE")):
            try:
                values[key] = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    "CONFIG_UNREADABLE",
                    f"the file that {name}_FILE names cannot be read",
                    "correct the path, or let this user read the file",
                ) from error
        elif (text := environment.get(name)) is not None:
            values[key] = text.split(",") if key == "hosts" else text
    return values


def _wrong(path: Path, error: ValidationError) -> ConfigError:
    first = error.errors(include_input=False, include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        inside = len(first["loc"]) > 1
        known = (TrainingSettings if inside else Settings).model_fields
        return ConfigError(
            "UNKNOWN_KEY",
            f"{path} has a key {key!r} that is not known{nearest(str(first['loc'][-1]), known)}",
            f"use one of: {', '.join(known)}",
        )
    return ConfigError("WRONG_VALUE", f"{path}: {key}: {first['msg']}", "correct the value of this key")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
