"""Which apps may train here: those that lie on this machine, held against the policy before anything of them runs."""

from __future__ import annotations

from isthmus.errors import Refused
from isthmus_methods.contract import ClientApp, TrainingPlan
from isthmus_node.egress.training_policy import TrainingPolicy
from isthmus_training.apps import Installed, find

_CUSTODIAN = "ask the site's custodian to allow it: isthmus-node apps list has the lines for policy.toml"


def check_plan(plan: TrainingPlan, policy: TrainingPolicy) -> None:
    """Raise `Refused` unless the policy lets this plan's app train, in this version, of this source, so many rounds.

    ``APP_NOT_ALLOWED``, ``TOO_MANY_ROUNDS``. Nothing on the machine is looked at.
    """
    app, allowed = plan.app, policy.apps.get(plan.app.name)
    if allowed is None or allowed.version != app.version or allowed.digest != app.digest:
        raise Refused(
            "APP_NOT_ALLOWED",
            f"the site's policy does not let app {app.name[:64]!r} train here in the version and with the source that "
            "the request names; rule: an app is allowed by name, version and digest",
            _CUSTODIAN,
        )
    if plan.rounds > policy.rounds:
        raise Refused(
            "TOO_MANY_ROUNDS",
            f"the request trains longer than the site's policy lets a run; rule: {policy.rounds} rounds or fewer",
            "ask for fewer rounds",
        )


def standing_of(found: Installed, policy: TrainingPolicy) -> str:
    """Whether the policy lets an installed app train, in words."""
    allowed = policy.apps.get(found.name)
    if allowed is None:
        return "not allowed"
    if allowed.version != found.version:
        return f"allowed in version {allowed.version}, not in this one"
    return "allowed" if allowed.digest == found.digest else "allowed with another source, not with this one"


def installed(app: ClientApp) -> Installed:
    """The app as it lies on this machine; `Refused` ``APP_CHANGED`` where that is not what was asked for and allowed.

    Raises what `isthmus_training.apps.find` raises where there is none that can be read.
    """
    found = find(app.name)
    if (found.version, found.digest) != (app.version, app.digest):
        raise Refused(
            "APP_CHANGED",
            f"app {app.name[:64]!r} lies at the site in another version or with another source than was allowed; "
            "rule: what runs is what the custodian allowed",
            "have site IT install the version that was allowed, or the custodian allow the one that is installed",
        )
    return found
