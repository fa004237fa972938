"""The site's policy: a file the custodian owns. What is not in it, or not as it must be, is refused."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from isthmus.errors import ConfigError
from isthmus_methods.training import Training
from isthmus_node.egress import policy_tables as tables
from isthmus_node.egress.pace import Pace, pace
from isthmus_node.egress.permits import Permits, permits
from isthmus_node.egress.policy_keys import known, table, words
from isthmus_node.egress.presets import EXPLORATORY, OUTPUTS, RERUNS, RUNS
from isthmus_node.egress.thresholds import KEYS, PURPOSES, RECIPIENTS, VARIABLE_ROLES, Limits, strictest
from isthmus_node.egress.training_policy import TrainingPolicy, training

_TABLES = (
    *("preset", "methods", "exploratory", "runs", "variables", "purpose", "release", "refusals", "training"),
    "permits",
)
DEFAULT_FILE = Path(__file__).with_name("default_policy.toml")


@dataclass(frozen=True, slots=True)
class Policy:
    """What this site lets out: to whom, for what purpose, under which jurisdiction's preset.

    `limits` has the purposes the file has a table for, by their number in the contract; the others are refused.
    `recipients` has the purposes whose table names recipients: only these get anything, each under its own limits.
    `methods` None: all that are installed. `digest`: SHA-256 of `canonical`, 32 bytes.
    """

    limits: Mapping[int, Limits]
    recipients: Mapping[int, Mapping[int, Limits]]
    methods: frozenset[str] | None
    exploratory: str  # analyses that are not in an approved plan: "refuse", "ask" (a person decides), "allow"
    runs: str  # "ask": a person decides on each run, of planned analyses too; "allow"
    outputs: str  # "ask": what is computed is held until a person has seen it; "allow"
    reruns: str  # the same analysis with other countries: "refuse", "ask" (once, and a person decides)
    refused_roles: frozenset[int]  # variables of these roles are never used
    refused_variables: frozenset[str]
    preset: str  # the jurisdiction's; empty where there is none
    pace: Pace  # release slots, and the lock after refusals
    permits: Permits  # numbers that the custodian fills in
    training: TrainingPolicy  # apps that may train here
    canonical: bytes  # all of the above, defaults filled in, in one form: JSON with sorted keys
    digest: bytes

    @classmethod
    def load(cls, path: Path, installed: Collection[str] = ()) -> Policy:
        """Read policy.toml.

        Parameters
        ----------
        path
            The file.
        installed
            Names of the methods at this node; given, a name in ``[methods] allow`` that is not among them is an error.

        Raises
        ------
        ConfigError
            ``POLICY_MISSING``, ``POLICY_UNREADABLE``, ``POLICY_UNKNOWN_KEY`` (with the nearest known key),
            ``POLICY_BAD_VALUE``, ``POLICY_BELOW_FLOOR``, ``POLICY_BELOW_PRESET``, ``POLICY_RECIPIENT_LOOSER`` (each
            with the loosest value that may stand there).
        """
        return cls.read(policy_text(path), installed, path)

    @classmethod
    def read(cls, text: str, installed: Collection[str] = (), path: Path = Path("policy.toml")) -> Policy:
        """The policy of a file's text; raises as `load` does."""
        try:
            file = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _unreadable(path, str(error)) from error
        known(file, _TABLES, "")
        name, under = tables.preset(file)
        limits: dict[int, Limits] = {}
        recipients: dict[int, Mapping[int, Limits]] = {}
        for purpose, written in sorted(known(tables.named(file, "purpose"), PURPOSES, "purpose.").items()):
            own = dict(known(table(written, f"[purpose.{purpose}]"), (*KEYS, "recipient"), f"purpose.{purpose}."))
            to, number = own.pop("recipient", None), PURPOSES[purpose]
            limits[number] = tables.purpose(purpose, own, name, under)
            if to is not None:
                recipients[number] = tables.recipients(purpose, to, limits[number])
        variables = known(tables.named(file, "variables"), ("refuse", "refuse_roles"), "variables.")
        roles = words(variables.get("refuse_roles", []), "variables.refuse_roles")
        known(dict.fromkeys(roles), VARIABLE_ROLES, "role ")
        return _whole(
            limits=limits,
            recipients=recipients,
            methods=tables.methods(tables.named(file, "methods"), installed),
            exploratory=tables.word(file, "exploratory", "analyses", EXPLORATORY, "ask", under.exploratory, name),
            runs=tables.word(file, "runs", "each", RUNS, "allow", under.runs, name),
            outputs=tables.word(file, "release", "outputs", OUTPUTS, "allow", under.outputs, name),
            reruns=tables.word(file, "runs", "other_countries", RERUNS, "refuse", "ask", name),
            refused_roles=under.roles | {VARIABLE_ROLES[role] for role in roles},
            refused_variables=frozenset(words(variables.get("refuse", []), "variables.refuse")),
            preset=name,
            pace=pace(file),
            permits=permits(file, under.permits),
            training=training(file),
        )

    def allows_method(self, name: str) -> bool:
        """Whether the site lets this method run at all; training, where it lets an app train."""
        if name == Training.name:
            return bool(self.training.apps)
        return self.methods is None or name in self.methods

    def limits_to(self, purpose: int, to: Collection[int]) -> Limits | None:
        """The thresholds for these recipients: of several the strictest. None where it lets nothing out to them.

        Parameters
        ----------
        purpose
            Number of the purpose in the contract.
        to
            Numbers of the parts that recipients play; empty where the study does not say. Where the purpose names
            recipients, each of these must be among them, and there must be one.
        """
        named = self.recipients.get(purpose)
        if named is None:
            return self.limits.get(purpose)
        if not to or not all(part in named for part in to):
            return None
        return strictest([named[part] for part in to])

    def towards(self, purpose: int, to: Collection[int]) -> Policy:
        """This policy with the thresholds that hold for one purpose and its recipients, and no other purpose."""
        found = self.limits_to(purpose, to)
        return replace(self, limits={} if found is None else {purpose: found}, recipients={})

    def without_zeros(self) -> Policy:
        """This policy with a count of nobody withheld for every purpose, as a small one is."""
        return replace(
            self,
            limits={purpose: replace(limits, zeros_shown=False) for purpose, limits in self.limits.items()},
            recipients={},
        )


def policy_text(path: Path) -> str:
    """The text of policy.toml; `ConfigError` ``POLICY_MISSING`` or ``POLICY_UNREADABLE``."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            "POLICY_MISSING",
            f"there is no policy at {path}; rule: without a policy nothing leaves",
            f"copy {DEFAULT_FILE.name} there, let the custodian read it and sign it: isthmus-node policy adopt",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "it cannot be read as text") from error


def _whole(  # each part of a policy by its name
    *,
    limits: Mapping[int, Limits],
    recipients: Mapping[int, Mapping[int, Limits]],
    methods: frozenset[str] | None,
    exploratory: str,
    runs: str,
    outputs: str,
    reruns: str,
    refused_roles: frozenset[int],
    refused_variables: frozenset[str],
    preset: str,
    pace: Pace,
    permits: Permits,
    training: TrainingPolicy,
) -> Policy:
    form = {
        "preset": preset,
        "purpose": {name: asdict(limits[number]) for name, number in PURPOSES.items() if number in limits},
        "recipient": {
            name: {part: asdict(to[code]) for part, code in RECIPIENTS.items() if code in to}
            for name, number in PURPOSES.items()
            if (to := recipients.get(number)) is not None
        },
        "methods": None if methods is None else sorted(methods),
        "exploratory": exploratory,
        "runs": runs,
        "outputs": outputs,
        "reruns": reruns,
        "refuse_roles": sorted(role for role, number in VARIABLE_ROLES.items() if number in refused_roles),
        "refuse": sorted(refused_variables),
        "pace": asdict(pace),
        "permits": permits.form(),
        "training": training.form(),
    }
    canonical = json.dumps(form, sort_keys=True, separators=(",", ":")).encode()
    return Policy(
        MappingProxyType(dict(limits)),
        MappingProxyType(dict(recipients)),
        methods,
        exploratory,
        runs,
        outputs,
        reruns,
        refused_roles,
        refused_variables,
        preset,
        pace,
        permits,
        training,
        canonical,
        hashlib.sha256(canonical).digest(),
    )


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        "POLICY_UNREADABLE",
        f"the policy {path} is no TOML file: {why}; rule: without a policy nothing leaves",
        "correct the file, or restore it from the backup",
    )
