"""Commands about the apps that may train models here: which are installed, and whether the policy allows them."""

from __future__ import annotations

import typer

from isthmus.command import say
from isthmus.errors import IsthmusError
from isthmus_node.commands.common import HomeOption, JsonOption, QuietOption, config_of, show, show_table

app = typer.Typer(help="Apps that train models.", no_args_is_help=True)


@app.command("list")
def list_apps(home: HomeOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show the apps installed here, and what the custodian writes into policy.toml to allow one.

    An app comes with a Python package that site IT installs; none comes over the network. Nothing of an app runs here.
    """
    from isthmus_methods.registry import METHODS
    from isthmus_node.egress.policy import Policy, policy_text
    from isthmus_node.training.installed import standing_of
    from isthmus_training import apps

    path = config_of(home).home.policy
    allowed = Policy.read(policy_text(path), METHODS, path).training
    found: list[dict[str, str]] = []
    for name in apps.names():
        try:
            installed = apps.find(name)
        except IsthmusError as error:
            found.append({"name": name, "standing": f"{error.message} [{error.code}]"})
            continue
        found.append(
            {
                "name": name,
                "version": installed.version,
                "digest": installed.digest.hex(),
                "standing": standing_of(installed, allowed),
                "policy_lines": installed.policy_lines,
            }
        )

    def render() -> None:
        rows = [(a["name"], a.get("version", ""), a.get("digest", "")[:16], a["standing"]) for a in found]
        show_table("", ("app", "version", "digest", "standing"), rows, "no app is installed here")
        lines = [a["policy_lines"] for a in found if a.get("policy_lines") and a["standing"] != "allowed"]
        if lines:
            say("", f"To allow one, the custodian adds its lines to {path} and signs: isthmus-node policy adopt", "")
            say(*"\n\n".join(lines).splitlines())

    show(json, {"apps": found}, render, quiet)
