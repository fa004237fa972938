"""What of the policy is about training and no threshold: which apps may train here, and for how many rounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from isthmus.errors import ConfigError
from isthmus_methods.training import MOST_ROUNDS
from isthmus_node.egress.policy_keys import bad, known, table

# Rounds of one run where the policy does not say.
ROUNDS = 100


@dataclass(frozen=True, slots=True)
class AllowedApp:
    """An app that the custodian let in: this version of it, with this source and no other."""

    version: str
    digest: bytes  # SHA-256 of its source, 32 bytes


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """Apps that may train here, by name, and the most rounds of training that a run may have.

    Without a ``[training]`` table nothing is trained: no app, no rounds.
    """

    rounds: int = 0
    apps: Mapping[str, AllowedApp] = field(default_factory=lambda: MappingProxyType({}))

    def form(self) -> dict[str, object]:
        """As it is in a policy's canonical form."""
        return {
            "rounds": self.rounds,
            "apps": {name: {"version": app.version, "digest": app.digest.hex()} for name, app in self.apps.items()},
        }

    def words(self) -> tuple[str, ...]:
        """Each rule a sentence."""
        if not self.apps:
            return ("no model is trained here",)
        return (
            f"a training has {self.rounds} rounds or fewer",
            *(
                f"app {name} may train here: version {app.version}, of source {app.digest.hex()}"
                for name, app in sorted(self.apps.items())
            ),
        )


def training(file: Mapping[str, object]) -> TrainingPolicy:
    """What a policy file says of training; `ConfigError` for an unknown key, a value of another type, a looser one."""
    if "training" not in file:
        return TrainingPolicy()
    written = known(table(file["training"], "[training]"), ("rounds", "apps"), "training.")
    apps = {
        name: _app(f"training.apps.{name}", own)
        for name, own in table(written.get("apps", {}), "[training.apps]").items()
    }
    return TrainingPolicy(_rounds(written.get("rounds", ROUNDS)), MappingProxyType(apps))


def training_of_form(form: Mapping[str, object]) -> TrainingPolicy:
    """Read back what `TrainingPolicy.form` gave; a form without it is of a release that did not train."""
    return training({"training": form}) if form.get("rounds") else TrainingPolicy()


def _rounds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad("training.rounds", "a whole number, 1 or more: rounds of one training")
    if value > MOST_ROUNDS:
        raise ConfigError(
            "POLICY_BELOW_FLOOR",
            f"training.rounds is looser than isthmus allows; rule: the floor is {MOST_ROUNDS}",
            f"set it to {MOST_ROUNDS} or tighter (tighter is smaller)",
        )
    return value


def _app(where: str, value: object) -> AllowedApp:
    own = known(table(value, f"[{where}]"), ("version", "digest"), f"{where}.")
    version, digest = own.get("version"), own.get("digest")
    if not isinstance(version, str) or not version:
        raise bad(f"{where}.version", "the version of the app, a text")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise bad(f"{where}.digest", "SHA-256 of the app's source, 64 digits of 0-9 and a-f")
    return AllowedApp(version, bytes.fromhex(digest))
