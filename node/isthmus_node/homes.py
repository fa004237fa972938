"""Where a node keeps things: its settings, its keys, and what it must not forget."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/isthmus")
SYSTEM_STATE = Path("/var/lib/isthmus")
# Tries to get the lock of the home, 20 ms apart.
_LOCK_TRIES = 5


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one node.

    Attributes
    ----------
    config
        Holds ``node.toml``, ``policy.toml`` and ``pki/``: what people write, and keys.
    state
        Holds studies, decisions, the register of datasets and the journal: what the node writes.
    origin
        Which rule chose these folders, for `config show --origin`.
    """

    config: Path
    state: Path
    origin: str

    @property
    def settings(self) -> Path:
        return self.config / "node.toml"

    @property
    def policy(self) -> Path:
        return self.config / "policy.toml"

    @property
    def pki(self) -> Path:
        return self.config / "pki"

    @property
    def identity_key(self) -> Path:
        return self.pki / "identity.key"

    @property
    def tls_key(self) -> Path:
        return self.pki / "tls.key"

    @property
    def certificate(self) -> Path:
        return self.pki / "certificate.pem"

    @property
    def authority(self) -> Path:
        return self.pki / "authority.pem"

    @property
    def coordinator_key(self) -> Path:
        return self.pki / "coordinator.pub"

    @property
    def custodian_public(self) -> Path:
        return self.pki / "custodian.pub"

    @property
    def studies(self) -> Path:
        return self.state / "studies"

    @property
    def decisions(self) -> Path:
        return self.state / "decisions"

    @property
    def policies(self) -> Path:
        """What the custodian signed as the site's policy, one after the other."""
        return self.state / "policies"

    @property
    def waiting(self) -> Path:
        return self.state / "waiting"

    @property
    def held(self) -> Path:
        return self.state / "held"

    @property
    def journal(self) -> Path:
        return self.state / "journal"

    @property
    def checkpoints(self) -> Path:
        """This node's own checkpoints of its journal, with those who co-signed them."""
        return self.journal / "checkpoints"

    @property
    def witnessed(self) -> Path:
        """What this node saw of other nodes' journals."""
        return self.state / "witnessed"

    @property
    def roster(self) -> Path:
        """The nodes of the network and their keys, as the coordinator last signed them."""
        return self.state / "roster.pb"

    @property
    def auditor(self) -> Path:
        """What the auditor keeps: cohorts that were released, by keyed pseudonym."""
        return self.state / "auditor"

    @property
    def reruns(self) -> Path:
        """With which countries each analysis was answered."""
        return self.state / "reruns"

    @property
    def sealed(self) -> Path:
        """The signed summaries that were in shares of sealed rounds: the custodian's, and nobody else's."""
        return self.state / "sealed"

    @property
    def held_out_key(self) -> Path:
        """By it persons are drawn who are held out of training."""
        return self.state / "held-out.key"

    @property
    def contributors(self) -> Path:
        """How many persons are behind what left, by study."""
        return self.state / "contributors"

    @property
    def refusals(self) -> Path:
        """The count of refusals, and what is locked."""
        return self.state / "refusals.json"

    @property
    def standing(self) -> Path:
        """What the running node last said about itself."""
        return self.state / "standing.json"

    @property
    def run_lock(self) -> Path:
        return self.state / "run.lock"

    @property
    def joined(self) -> bool:
        return self.certificate.exists() and self.identity_key.exists()

    def make(self) -> None:
        """Make the folders, readable by their owner only."""
        try:
            for folder in (
                self.config,
                self.pki,
                self.state,
                self.studies,
                self.decisions,
                self.waiting,
                self.held,
                self.reruns,
                self.sealed,
                self.contributors,
                self.policies,
            ):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                "HOME_NOT_WRITABLE",
                f"the node's folder {error.filename} cannot be made: {error.strerror}",
                "give a folder you may write to with --home, or run as the user the node runs as",
            ) from error


def find_home(given: Path | None, env: Mapping[str, str] | None = None) -> Home:
    """The node's folders: ``--home``, ``ISTHMUS_HOME``, ``/etc`` and ``/var/lib`` where they exist, the user's own."""
    env = os.environ if env is None else env
    if given is not None:
        return _one_folder(given, "--home")
    if env.get("ISTHMUS_HOME"):
        return _one_folder(Path(env["ISTHMUS_HOME"]), "ISTHMUS_HOME")
    if SYSTEM_CONFIG.is_dir():
        return Home(SYSTEM_CONFIG, SYSTEM_STATE, f"{SYSTEM_CONFIG} exists")
    user = Path(env.get("HOME") or Path.home())
    config = Path(env.get("XDG_CONFIG_HOME") or user / ".config") / "isthmus-node"
    state = Path(env.get("XDG_STATE_HOME") or user / ".local/state") / "isthmus-node"
    return Home(config, state, "the user's own folders (XDG)")


def _one_folder(folder: Path, origin: str) -> Home:
    folder = folder.expanduser().absolute()
    return Home(folder, folder / "state", origin)


def check_joined(home: Home, name: str, has_coordinator: bool) -> None:
    """Raise `ConfigError` where the node has no name, no coordinator or no certificate."""
    if not home.joined or not name or not has_coordinator:
        raise ConfigError(
            "NOT_JOINED",
            f"there is no node in {home.config}: it has not joined a coordinator",
            "join first: isthmus-node join TOKEN_FILE; or name its folder with --home",
        )


@contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Hold the home for one running node; `ConfigError` ``RUNNING_ALREADY`` where another does."""
    try:
        descriptor = os.open(home.run_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            "HOME_NOT_WRITABLE",
            f"{home.run_lock} cannot be written: {error.strerror or 'input/output error'}",
            "run as the user the folder belongs to; check the disk",
        ) from error
    try:
        if not any(_locked(descriptor) for _ in range(_LOCK_TRIES)):
            raise ConfigError(
                "RUNNING_ALREADY",
                f"a node runs already on {home.state}; rule: one at a time",
                "stop the other one, or use another home",
            )
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # `is_running` holds the lock for a moment too
        time.sleep(0.02)
        return False
    return True


def is_running(home: Home) -> bool:
    """Whether a node runs on this home now."""
    try:
        descriptor = os.open(home.run_lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
