"""The node's settings: flag over ISTHMUS_* over node.toml over default, and where each came from."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isthmus.errors import ConfigError, UsageError
from isthmus_node.homes import Home
from isthmus_trust.certificates import check_name
from isthmus_trust.key_files import read_secret, replace

DEFAULT_PORT = 443
LOG_LEVELS = ("debug", "info", "warning", "error")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ProxyTable(_Table):
    """[proxy]: the site's way out, an HTTP proxy that knows CONNECT."""

    url: str | None = Field(default=None, description="http://host:port; without name and password")
    username: str | None = Field(default=None, description="for Basic authentication")
    password_file: str | None = Field(default=None, description="file with the password, mode 0600")


class LogTable(_Table):
    """[log]: what the node says about itself on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level shown")


class HealthTable(_Table):
    """[health]: /healthz, /readyz and /metrics on the loopback interface."""

    port: int | None = Field(default=None, ge=1, le=65535, description="absent: nothing listens")


class TrainingTable(_Table):
    """[training]: what the process of an app that trains a model may take."""

    memory_mb: int = Field(default=4096, ge=512, le=1 << 20, description="address space, MB of 2^20 bytes")
    seconds: int = Field(default=600, ge=1, le=86_400, description="for one message of a round")


class NodeTable(_Table):
    """node.toml"""

    name: str | None = Field(default=None, description="name of the node on the roster")
    country: str | None = Field(default=None, description="code of the country")
    coordinator: str | None = Field(default=None, description="host:port of the coordinator")
    custodian_key: str | None = Field(default=None, description="where the custodian's key is kept")
    proxy: ProxyTable = Field(default_factory=ProxyTable)
    log: LogTable = Field(default_factory=LogTable)
    health: HealthTable = Field(default_factory=HealthTable)
    training: TrainingTable = Field(default_factory=TrainingTable)


# Keys people may set, in the order they are shown.
KEYS = (
    "name",
    "country",
    "coordinator",
    "custodian_key",
    "proxy.url",
    "proxy.username",
    "proxy.password_file",
    "log.level",
    "health.port",
    "training.memory_mb",
    "training.seconds",
)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT."""

    address: Address
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node's settings, checked, with the origin of each."""

    home: Home
    name: str
    country: str
    coordinator: Address | None
    proxy: Proxy | None
    custodian_key: Path
    log_level: str
    health_port: int | None
    training_memory: int  # bytes
    training_seconds: int
    origins: Mapping[str, str]
    shown: Mapping[str, str]

    def dial_address(self) -> Address:
        """The coordinator's address; `ConfigError` where none is set."""
        if self.coordinator is None:
            raise ConfigError(
                "NOT_JOINED",
                f"no coordinator is set in {self.home.settings}",
                "join first: isthmus-node join TOKEN_FILE",
            )
        return self.coordinator


def load(home: Home, flags: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None) -> NodeConfig:
    """Read and check the settings.

    Parameters
    ----------
    home
        The node's folders.
    flags
        Values given on the command line, by key as in `KEYS`; None: not given.
    env
        The environment; a key is read from ``ISTHMUS_`` and its name in capitals, ``.`` as ``_``.

    Raises
    ------
    ConfigError
        An unknown key (with the nearest known one), a value of the wrong type or form, an unreadable file.
    """
    env = os.environ if env is None else env
    table = read_table(home.settings)
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for key in KEYS:
        value, origin = _pick(key, table, flags or {}, env, home.settings)
        if value is not None:
            values[key] = value
        origins[key] = origin
    _check_name(values.get("name"), origins["name"])
    level = values.get("log.level", "info")
    if level not in LOG_LEVELS:
        raise _wrong("log.level", origins["log.level"], f"one of {', '.join(LOG_LEVELS)}")
    proxy, proxy_origin = _proxy(values, origins, env)
    origins["proxy.url"] = proxy_origin
    if proxy is not None:
        values["proxy.url"] = f"http://{proxy.address}"
    coordinator = values.get("coordinator")
    values.setdefault("custodian_key", str(home.pki / "custodian.key"))
    values.setdefault("log.level", level)
    return NodeConfig(
        home=home,
        name=values.get("name", ""),
        country=values.get("country", ""),
        coordinator=parse_address(coordinator, "coordinator", origins["coordinator"]) if coordinator else None,
        proxy=proxy,
        custodian_key=home.config / Path(values["custodian_key"]).expanduser(),
        log_level=level,
        health_port=_port(values.get("health.port"), origins["health.port"]),
        training_memory=_whole("training.memory_mb", values, origins, 512, 1 << 20) << 20,
        training_seconds=_whole("training.seconds", values, origins, 1, 86_400),
        origins=origins,
        shown={key: values.get(key, "") for key in KEYS},
    )


def read_table(path: Path) -> NodeTable:
    """node.toml, checked; all defaults where there is no file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return NodeTable()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("CONFIG_UNREADABLE", f"{path} cannot be read", "see its owner, mode and encoding") from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("CONFIG_NOT_TOML", f"{path} is not TOML: {error}", "correct the line named") from error
    try:
        return NodeTable.model_validate(found)
    except ValidationError as error:
        raise _from_validation(path, error) from error


def _from_validation(path: Path, error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        table, _, own = where.rpartition(".")
        known = [k.rpartition(".")[2] for k in KEYS if k.rpartition(".")[0] == table]
        if not table:
            known += ["proxy", "log", "health", "training"]
        near = difflib.get_close_matches(own, known, n=1, cutoff=0.0)
        prefix = f"{table}." if table else ""
        return ConfigError(
            "UNKNOWN_KEY",
            f"{path}: there is no key {where!r}; the nearest known one is {prefix + near[0]!r}",
            f"write {prefix + near[0]!r}, or remove the line; known here: {', '.join(prefix + k for k in known)}",
        )
    return ConfigError("WRONG_VALUE", f"{path}: {where}: {first['msg']}", "correct the value; see docs on node.toml")


def _pick(
    key: str, table: NodeTable, flags: Mapping[str, str | None], env: Mapping[str, str], path: Path
) -> tuple[str | None, str]:
    flag = flags.get(key)
    if flag is not None:
        return flag, f"--{key.removesuffix('.url').replace('.', '-').replace('_', '-')}"
    variable = "ISTHMUS_" + key.upper().replace(".", "_")
    if env.get(variable):
        return env[variable], variable
    value: object = table
    for part in key.split("."):
        value = getattr(value, part)
    section = table
    for part in key.split(".")[:-1]:
        section = getattr(section, part)
    if key.split(".")[-1] in section.model_fields_set and value is not None:
        return str(value), str(path)
    return (None if value is None else str(value)), "default"


def _wrong(key: str, origin: str, must: str) -> ConfigError:
    return ConfigError("WRONG_VALUE", f"{key} (from {origin}) must be {must}", "correct the value")


def _check_name(name: str | None, origin: str) -> None:
    if name is None:
        return
    try:
        check_name(name)
    except UsageError as error:
        raise _wrong("name", origin, "letters, digits, dot, dash and underscore, at most 63") from error


def _port(text: str | None, origin: str) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise _wrong("health.port", origin, "a port from 1 to 65535")
    return int(text)


def _whole(key: str, values: Mapping[str, str], origins: Mapping[str, str], least: int, most: int) -> int:
    text = values[key]
    if not text.isdecimal() or not least <= int(text) <= most:
        raise _wrong(key, origins[key], f"a whole number from {least} to {most}")
    return int(text)


def parse_address(text: str, key: str, origin: str) -> Address:
    """``host``, ``host:port`` or ``[v6]:port``; the port is 443 where none is given."""
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path or parts.query or "@" in text or "//" in text:
        raise _wrong(key, origin, "host:port")
    return Address(host, port or DEFAULT_PORT)


def _proxy(values: Mapping[str, str], origins: Mapping[str, str], env: Mapping[str, str]) -> tuple[Proxy | None, str]:
    url = values.get("proxy.url")
    if url is None:
        return _proxy_of_environment(values.get("coordinator", ""), env)
    origin = origins["proxy.url"]
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError(
            "SECRET_IN_URL",
            f"proxy.url (from {origin}) holds a name or a password; rule: a secret stands in a file of its own",
            "set proxy.username, and proxy.password_file to a file with mode 0600",
        )
    address = _proxy_address(url, origin)
    password = ""
    if values.get("proxy.password_file"):
        password = _password(Path(values["proxy.password_file"]).expanduser())
    return Proxy(address, values.get("proxy.username", ""), password), origin


def _password(path: Path) -> str:
    try:
        return read_secret(path).decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as error:
        raise _wrong("proxy.password_file", str(path), "a file of UTF-8 text") from error


def _proxy_of_environment(coordinator: str, env: Mapping[str, str]) -> tuple[Proxy | None, str]:
    """The proxy that the environment names, in the order gRPC looks: lower-case names only."""
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
        url = env.get(variable)
        if not url:
            continue
        if _exempt(coordinator, env.get("no_grpc_proxy") or env.get("no_proxy") or ""):
            return None, f"{variable} is set, but no_proxy exempts the coordinator"
        parts = urlsplit(url)
        address = _proxy_address(url, variable)
        return Proxy(address, unquote(parts.username or ""), unquote(parts.password or "")), variable
    return None, "default"


def _proxy_address(url: str, origin: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ConfigError(
            "PROXY_SCHEME",
            f"proxy.url (from {origin}) must begin with http://; a proxy reached over TLS, Digest and NTLM are not "
            "spoken here",
            "name an http:// proxy, or run a local helper such as cntlm or px and name that",
        )
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise _wrong("proxy.url", origin, "http://host:port")
    return Address(host, port or 3128)


def _exempt(coordinator: str, no_proxy: str) -> bool:
    host = coordinator.rsplit(":", 1)[0].strip("[]").lower()
    rules = [rule.strip().lower().lstrip(".") for rule in no_proxy.split(",") if rule.strip()]
    return any(rule == "*" or host == rule or host.endswith("." + rule) for rule in rules)


def add_settings(path: Path, values: Mapping[str, str]) -> None:
    """Put keys into node.toml that it does not have yet, before what people wrote there.

    Keys of tables (``proxy.url``) are written dotted, which TOML takes anywhere before the first table.
    """
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = "# Settings of this node; all of them, and where each comes from: isthmus-node config show --origin\n"
    there = tomllib.loads(before)
    lines = []
    for key, value in values.items():
        # of a table that stands there nothing is added: TOML takes a table only once
        if key.split(".")[0] not in there:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    replace(path, ("\n".join([*lines, before])).encode("utf-8"))
