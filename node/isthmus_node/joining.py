"""From a join token to a node that can run: keys, certificate, settings, policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import ConfigError, UsageError
from isthmus_methods.registry import METHODS
from isthmus_node import config as settings
from isthmus_node.config import NodeConfig
from isthmus_node.custodian.adoption import Adoptions, in_journal
from isthmus_node.egress import presets
from isthmus_node.egress.policy import DEFAULT_FILE, Policy, policy_text
from isthmus_node.egress.thresholds import PURPOSES
from isthmus_node.homes import Home
from isthmus_node.link.enrol import dial_of_token, enrol, keep, make_keys
from isthmus_trust.identity import IdentityKey, fingerprint
from isthmus_trust.key_files import replace
from isthmus_trust.tokens import PREFIX, credentials_of, read_token


@dataclass(frozen=True, slots=True)
class Joined:
    """What people compare by telephone, and where things are."""

    node: str
    country: str
    coordinator: str
    authority: str
    identity: str
    custodian: str
    home: Home
    policy: Path
    policy_is_new: bool


def read_token_text(given: str, stdin: str | None) -> str:
    """The token's text from a file, or from standard input where `given` is ``-``.

    Raises
    ------
    UsageError
        ``TOKEN_IN_ARGUMENTS`` where the token itself was given: a command line is seen by every user of the machine.
    """
    if given.startswith(PREFIX.rsplit("-", 1)[0]):
        raise UsageError(
            "TOKEN_IN_ARGUMENTS",
            "the token itself was given as an argument, where every user of this machine can see it; "
            "rule: a secret is never an argument",
            "put it in a file and name the file, or pipe it in: isthmus-node join - < FILE; as it may have been seen, "
            "better ask for a new one",
        )
    if given == "-":
        return stdin or ""
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "TOKEN_FILE", f"the token file {given} cannot be read", "name the file that the coordinating team sent"
        ) from error


def join(home: Home, text: str, name: str | None, flags: dict[str, str | None], again: bool = False) -> Joined:
    """Enrol this machine as a node.

    Parameters
    ----------
    home
        Where the node will be kept.
    text
        The token.
    name
        The name expected; the token's own decides, and another is an error.
    flags
        Settings given on the command line, by key.
    again
        The node is enrolled already and gets a certificate anew, with the keys it has.

    Raises
    ------
    ConfigError
        ``JOINED_ALREADY``, or settings that contradict the token.
    AuthenticationError, LinkError, UsageError, VersionError
        What is wrong with the token, or why the coordinator was not reached. Nothing is lost: keys that were made stay,
        and the command can be run again.
    """
    if home.joined and not again:
        raise ConfigError(
            "JOINED_ALREADY",
            f"there is a node in {home.config} already; rule: a token is used only where there is no identity",
            "start it: isthmus-node run; for a second node use another folder, --home DIR; where its certificate "
            "expired or it was taken off the roster, enrol the same keys again: --again",
        )
    token = read_token(text)
    if name is not None and name != token.name:
        raise UsageError(
            "OTHER_NAME",
            f"the token is for node {token.name}, not {name}",
            "leave --name out, or ask for a token with the other name",
        )
    config = settings.load(home, {**flags, "coordinator": token.address})
    _check_settings(settings.load(home, {}), token.name, token.country)
    if home.policy.exists():
        # a policy that is not as it must be is said now, not when the token is used up
        Policy.load(home.policy, METHODS)
    home.make()
    keys = make_keys(home, config.custodian_key)
    dial = dial_of_token(token, config.proxy)
    reply = enrol(dial, token, keys)
    written = {"name": token.name, "country": token.country, "coordinator": token.address}
    if flags.get("proxy.url"):
        # the same way out will be needed tomorrow
        written["proxy.url"] = str(flags["proxy.url"])
    settings.add_settings(home.settings, written)
    policy_is_new = not home.policy.exists()
    if policy_is_new:
        replace(home.policy, first_policy(token.country).encode())
        home.policy.chmod(0o640)
    keep(home, reply, keys, dial.authority)
    if not again:
        _adopt(home, token.name, keys.custodian)
    return Joined(
        node=token.name,
        country=token.country,
        coordinator=token.address,
        authority=credentials_of(token).fingerprint,
        identity=fingerprint(keys.identity.public),
        custodian=fingerprint(keys.custodian.public),
        home=home,
        policy=home.policy,
        policy_is_new=policy_is_new,
    )


def first_policy(country: str) -> str:
    """The policy of a node that brings none: the default's numbers, or the preset of its country where it has one."""
    if country not in presets.names():
        return DEFAULT_FILE.read_text(encoding="utf-8")
    title = presets.preset(country).title
    tables = "\n".join(f"[purpose.{name}]" for name in PURPOSES)
    return f"""# What this site lets out, and for what purpose. It belongs to the data custodian.
#
# Its numbers are those of the preset of {title}: a convention, a proposal for local legal review; it makes no
# release lawful. isthmus-node policy show says all of them in plain words. A table may be made tighter; a purpose whose
# table is taken out is refused. Without the line below, isthmus's defaults hold.
preset = "{country}"

{tables}
"""


def _adopt(home: Home, node: str, custodian: IdentityKey) -> None:
    """The policy that is there at joining is the first that the custodian signs."""
    adoptions = Adoptions(home.policies, node, custodian.public)
    text = policy_text(home.policy)
    above, _ = in_journal(home.journal)
    adoptions.sign(custodian, text.encode(), Policy.read(text, METHODS, home.policy), above=above, reason="joined")


def _check_settings(config: NodeConfig, name: str, country: str) -> None:
    """What stands in the settings already must not contradict the token."""
    for key, stands, given in (("name", config.name, name), ("country", config.country, country)):
        if stands and stands != given:
            raise ConfigError(
                "SETTINGS_CONTRADICT",
                f"{key} is {stands!r} (from {config.origins[key]}), the token says {given!r}",
                f"remove {key} from the settings, or ask for another token",
            )
