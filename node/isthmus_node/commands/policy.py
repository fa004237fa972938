"""Commands for the site's policy: what it allows to whom, what a change would allow, and the custodian's signature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import say
from isthmus.errors import IsthmusError, UsageError
from isthmus_node.commands.common import (
    HomeOption,
    JsonOption,
    QuietOption,
    config_of,
    joined_config_of,
    moment,
    show,
)

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig
    from isthmus_node.custodian.adoption import Adopted, Adoptions
    from isthmus_node.custodian.policy_words import Change
    from isthmus_node.egress.policy import Policy

app = typer.Typer(help="What this site lets out, and to whom.", no_args_is_help=True)

_FILE = typer.Argument(metavar="[FILE]", help="A policy; left out: policy.toml as it stands.", show_default=False)


@app.command("show")
def policy_show(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what policy.toml lets out, to whom and for what purpose, rule by rule, and whether it is in force."""
    from isthmus_methods.registry import METHODS
    from isthmus_node.custodian.policy_words import rules, whole
    from isthmus_node.egress.policy import Policy
    from isthmus_node.egress.presets import preset
    from isthmus_node.egress.thresholds import PURPOSES

    config = config_of(home)
    where = config.home.policy
    policy = Policy.load(where, METHODS)
    said = {name: list(rules(policy, name)) for name in PURPOSES}
    methods = sorted(policy.methods) if policy.methods is not None else sorted(METHODS)
    standing = standing_words(config)
    persons = persons_words(config, policy)
    payload = {
        "file": str(where),
        "digest": policy.digest.hex(),
        "standing": standing,
        "preset": policy.preset,
        "methods": methods,
        "exploratory": policy.exploratory,
        "runs": policy.runs,
        "outputs": policy.outputs,
        "other_countries": policy.reruns,
        "words": list(whole(policy)),
        "rules": said,
        "permits": {name: getattr(policy.permits, name) for name in ("permit", "dossier", "counted_since")},
        "persons": persons,
    }

    def render() -> None:
        say(f"{where}  digest {policy.digest.hex()}", standing, "", *whole(policy))
        if policy.preset:
            say(*(f"  {fact}" for fact in preset(policy.preset).facts))
        say(f"methods: {', '.join(methods)}", *persons)
        for name, lines in said.items():
            say("", name, *(f"  {line.removeprefix(name + ': ')}" for line in lines))

    show(json, payload, render)


@app.command("diff")
def policy_diff(file: Annotated[Path | None, _FILE] = None, home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what FILE would allow that the signed policy does not, and what it would no longer allow."""
    config = joined_config_of(home)
    _, new = _read(config, file)
    adoptions = _adoptions(config)
    adopted = adoptions.newest()
    changes = _changes(adoptions, adopted, new)
    payload = {
        "signed": adopted.serial if adopted else 0,
        "digest": new.digest.hex(),
        "allows": [change.words for change in changes if change.allows],
        "forbids": [change.words for change in changes if not change.allows],
        "keys": sorted({change.where for change in changes}),
    }
    against = f"the policy signed as number {adopted.serial}" if adopted else "nothing, as no policy is signed yet"
    show(json, payload, lambda: say(f"compared with {against}:", *_change_words(changes)))


@app.command("adopt")
def policy_adopt(
    file: Annotated[Path | None, _FILE] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sign FILE with the custodian's key as this site's policy; a running node takes it up before its next task."""
    from isthmus_node.custodian.adoption import in_journal
    from isthmus_node.homes import is_running
    from isthmus_trust.identity import IdentityKey

    config = joined_config_of(home)
    text, new = _read(config, file)
    adoptions = _adoptions(config)
    before = _newest(adoptions)
    changes = _changes(adoptions, before, new)
    key = IdentityKey.load(config.custodian_key)
    adopted = adoptions.sign(key, text, new, above=in_journal(config.home.journal)[0], reason=reason)
    _put_in_place(config, text)
    payload = {
        "serial": adopted.serial,
        "digest": adopted.digest.hex(),
        "adopted_at": moment(adopted.adopted_at),
        "reason": reason,
        "allows": [change.words for change in changes if change.allows],
        "forbids": [change.words for change in changes if not change.allows],
        "node_running": is_running(config.home),
    }

    def render() -> None:
        say(f"signed as number {adopted.serial}  digest {adopted.digest.hex()}", *_change_words(changes))

    show(json, payload, render, quiet)


@app.command("restore")
def policy_restore(home: HomeOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Undo changes that nobody signed: policy.toml becomes what the custodian signed last."""
    config = joined_config_of(home)
    newest = _adoptions(config).newest()
    if newest is None:
        raise UsageError(
            "POLICY_NOT_ADOPTED",
            "no policy was signed at this site",
            "let the custodian read policy.toml and sign it: isthmus-node policy adopt",
        )
    _put_in_place(config, newest.text)
    payload = {"serial": newest.serial, "digest": newest.digest.hex(), "file": str(config.home.policy)}
    show(json, payload, lambda: say(f"{config.home.policy} is what was signed as number {newest.serial}"), quiet)


@app.command("history")
def policy_history(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the policies that the custodian signed, oldest first."""
    found = list(_adoptions(joined_config_of(home)).everything())
    payload = {
        "policies": [
            {
                "serial": one.serial,
                "digest": one.digest.hex(),
                "adopted_at": moment(one.adopted_at),
                "reason": one.reason,
                "text": one.text.decode("utf-8", "replace"),
            }
            for one in found
        ]
    }

    def render() -> None:
        say(*(f"{one.serial:>4}  {moment(one.adopted_at)}  {one.digest.hex()[:16]}  {one.reason}" for one in found))

    show(json, payload, render)


def _read(config: NodeConfig, file: Path | None) -> tuple[bytes, Policy]:
    """A policy file, and what it means here."""
    from isthmus_methods.registry import METHODS
    from isthmus_node.egress.policy import Policy, policy_text

    path = config.home.policy if file is None else file.expanduser()
    text = policy_text(path)
    return text.encode(), Policy.read(text, METHODS, path)


def _adoptions(config: NodeConfig) -> Adoptions:
    from isthmus_node.custodian.adoption import Adoptions
    from isthmus_node.public_keys import read_public

    return Adoptions(config.home.policies, config.name, read_public(config.home.custodian_public))


def _newest(adoptions: Adoptions) -> Adopted | None:
    """The newest adoption to compare with; None where it cannot be read: a new one takes its place."""
    try:
        return adoptions.newest()
    except IsthmusError:
        return None


def standing_words(config: NodeConfig) -> str:
    """Whether policy.toml is in force, in a line."""
    from isthmus_node.custodian.adoption import in_journal

    if not config.home.joined:
        return "not in force: the node has not joined"
    try:
        text, policy = _read(config, None)
        adopted = _adoptions(config).check(text, policy, in_journal(config.home.journal))
    except IsthmusError as error:
        return f"not in force: {error.message} [{error.code}]; {error.remedy}"
    return f"in force, signed by the custodian as number {adopted.serial} on {moment(adopted.adopted_at)}"


def persons_words(config: NodeConfig, policy: Policy) -> list[str]:
    """How many persons are behind what left, beside the numbers that the preset names."""
    from isthmus_node.custodian.contributors import Contributors, words_of
    from isthmus_node.egress.presets import preset

    since = policy.permits.counted_since
    named = preset(policy.preset).persons if policy.preset else ()
    try:
        counted = Contributors(config.home.contributors)
        totals, countries = counted.totals(since), counted.by_country(since)
    except IsthmusError as error:
        return [f"{error.message} [{error.code}]; {error.remedy}"]
    return words_of(totals, since, named, policy.preset, countries)


def _changes(adoptions: Adoptions, adopted: Adopted | None, new: Policy) -> tuple[Change, ...]:
    """What changes from what was signed, as it was meant then; where that is lost, everything counts as new."""
    from isthmus_methods.registry import METHODS
    from isthmus_node.custodian.past_policy import past_policy
    from isthmus_node.custodian.policy_words import differences

    meant = None if adopted is None else adoptions.meaning(adopted)
    return differences(None if meant is None else past_policy(meant), new, METHODS)


def _change_words(changes: tuple[Change, ...]) -> list[str]:
    lines = []
    for title, allows in (("newly allowed", True), ("no longer allowed", False)):
        found = [change.words for change in changes if change.allows is allows]
        lines += [f"{title}:", *(f"  {words}" for words in found)] if found else [f"{title}: nothing"]
    return lines


def _put_in_place(config: NodeConfig, text: bytes) -> None:
    """policy.toml with these bytes; left alone where it has them."""
    from isthmus_trust.key_files import replace

    path = config.home.policy
    if not path.exists() or path.read_bytes() != text:
        replace(path, text)
        path.chmod(0o640)
