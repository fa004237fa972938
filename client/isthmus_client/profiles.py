"""A statistician's profile: the folder that says where the coordinator is and holds the keys to speak to it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from isthmus.errors import ConfigError, UsageError
from isthmus_trust.certificates import Role, check_name, check_valid
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import read_secret, replace

CERTIFICATE = "certificate.pem"  # the chain, own certificate first
KEY = "key.pem"
AUTHORITY = "authority.pem"
IDENTITY = "identity.key"
SETTINGS = "profile.toml"
FOLDER_VARIABLE = "ISTHMUS_PROFILE_DIR"


@dataclass(frozen=True, slots=True)
class Profile:
    """One coordinator, and who we are there."""

    folder: Path
    address: str
    analyst: str

    @property
    def chain(self) -> bytes:
        return self._read(CERTIFICATE)

    @property
    def key(self) -> bytes:
        return read_secret(self.folder / KEY)

    @property
    def authority(self) -> bytes:
        return self._read(AUTHORITY)

    @property
    def identity(self) -> IdentityKey:
        return IdentityKey.load(self.folder / IDENTITY)

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ConfigError(
                "PROFILE_INCOMPLETE",
                f"the profile {self.folder} has no readable {name}",
                "log in again with a new token: isthmus login TOKEN_FILE",
            ) from error

    def check_certificate(self, now: datetime | None = None) -> None:
        """Raise `AuthenticationError` where our own certificate is expired, damaged or another role's."""
        check_valid(self.chain, now or datetime.now(UTC), authority_pem=self.authority, role=Role.ANALYST)


def profiles_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Folder that holds the profiles by name: ``$XDG_CONFIG_HOME/isthmus/profiles``."""
    environment = os.environ if environment is None else environment
    base = environment.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(base) / "isthmus" / "profiles"


def find_profile(name: str | None = None, address: str | None = None) -> Profile:
    """The profile to use.

    Parameters
    ----------
    name
        Name of a profile, or the path of its folder. None: the folder in ``ISTHMUS_PROFILE_DIR``, the profile of
        `address`, or the only one there is.
    address
        ``host`` or ``host:port`` of the coordinator.

    Raises
    ------
    ConfigError
        ``NO_PROFILE`` where there is none that fits, ``PROFILE_DAMAGED`` where its settings cannot be read.
    UsageError
        ``WHICH_PROFILE`` where several fit.
    """
    if name is not None:
        folder = Path(name) if os.sep in name else profiles_folder() / check_name(name)
        return read_profile(folder)
    from_environment = os.environ.get(FOLDER_VARIABLE)
    if from_environment:
        return read_profile(Path(from_environment))
    root = profiles_folder()
    folders = sorted(p.parent for p in root.glob(f"*/{SETTINGS}")) if root.is_dir() else []
    fitting = [p for p in map(read_profile, folders) if address is None or _same_address(p.address, address)]
    if not fitting:
        raise ConfigError(
            "NO_PROFILE",
            "you are not logged in to a coordinator" + (f" at {address}" if address else ""),
            "log in once with the token you were given: isthmus login TOKEN_FILE",
        )
    if len(fitting) > 1:
        raise UsageError(
            "WHICH_PROFILE",
            f"there are several profiles: {', '.join(p.folder.name for p in fitting)}",
            "name one: --profile NAME, or connect(profile=NAME)",
        )
    return fitting[0]


def _same_address(known: str, asked: str) -> bool:
    return asked in (known, known.rpartition(":")[0])


def read_profile(folder: Path) -> Profile:
    """The profile in a folder; `ConfigError` ``NO_PROFILE`` or ``PROFILE_DAMAGED``."""
    path = folder / SETTINGS
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            "NO_PROFILE", f"there is no profile in {folder}", "log in: isthmus login TOKEN_FILE"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("PROFILE_DAMAGED", f"{path} cannot be read", "log in again with a new token") from error
    address, analyst = settings.get("address"), settings.get("analyst")
    if not isinstance(address, str) or not isinstance(analyst, str):
        raise ConfigError("PROFILE_DAMAGED", f"{path} lacks address or analyst", "log in again with a new token")
    return Profile(folder, address, analyst)


def write_settings(folder: Path, address: str, analyst: str) -> Profile:
    """Write the settings of a profile whose keys are already there."""
    lines = [
        "# Written by `isthmus login`.",
        f"address = {_quoted(address)}",
        f"analyst = {_quoted(analyst)}",
    ]
    replace(folder / SETTINGS, ("\n".join(lines) + "\n").encode())
    return Profile(folder, address, analyst)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
