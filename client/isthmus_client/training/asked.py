"""The part of a request that says which model is trained, how, and how long; and how many numbers it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isthmus.errors import ConfigError, UsageError
from isthmus_client.training.strategies import checked, for_study, strategy_of
from isthmus_methods.contract import ClientApp, Setting, Spec, TrainingPlan, coefficient_names
from isthmus_methods.training import parameters_of

if TYPE_CHECKING:
    from isthmus_training.apps import Offered

# A model is trained by so many rounds, and tested on such a share of persons, where nothing else is said.
ROUNDS = 20
HELD_OUT = 0.2


def training_plan(
    countries: int,
    *,
    app: str | ClientApp,
    strategy: object,
    rounds: int = ROUNDS,
    held_out: float = HELD_OUT,
    seed: int = 0,
    settings: Mapping[str, object] | None = None,
) -> TrainingPlan:
    """What is asked of apps and strategy.

    Parameters
    ----------
    countries
        Participants of the study.
    app
        Name of an app that is installed here, whose version and digest are then asked for at the nodes; or all three,
        as ``isthmus-node apps list`` says them at a site.
    strategy
        Described, as ``FedAvg()``, or its name.
    settings
        Of the app; those that are not here have its defaults. Held against what the app declares where it can be
        loaded here (which needs flwr); otherwise the nodes do.

    Raises
    ------
    UsageError
        ``UNKNOWN_APP``, ``UNKNOWN_SETTING``, ``WRONG_SETTING``, or what `strategy_of` says.
    ConfigError
        ``APP_UNREADABLE``.
    """
    chosen = {name: _setting(name, value) for name, value in (settings or {}).items()}
    named = app if isinstance(app, ClientApp) else app_of(app)
    offered = _offered(named)
    if offered is not None:
        from isthmus_training.apps import settings_of

        whole = settings_of(offered, chosen)
        chosen = {name: whole[name] for name in chosen}
    described = for_study(checked(strategy_of(strategy)), countries, held_out)
    return TrainingPlan(named, described, rounds, float(held_out), seed, chosen)


def app_of(name: str) -> ClientApp:
    """The app of that name as it is installed here: a node trains with its own, if version and digest are the same.

    Raises
    ------
    UsageError
        ``UNKNOWN_APP``: it is not installed here; give it with version and digest.
    """
    from isthmus_training.apps import find, names

    if name not in names():
        raise UsageError(
            "UNKNOWN_APP",
            f"no client app {name!r} is installed here; here are: {', '.join(names()) or 'none'}",
            "install its package, or say which one is meant: App(name, version, digest), as isthmus-node apps list"
            " says them at a site",
        )
    found = find(name)
    return ClientApp(found.name, found.version, found.digest)


def App(name: str, version: str, digest: str) -> ClientApp:  # noqa: N802 - reads as the thing that it names
    """An app as a site has it installed.

    Parameters
    ----------
    digest
        SHA-256 of its source, 64 hexadecimal digits.
    """
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise UsageError("WRONG_DIGEST", "a digest is 64 hexadecimal digits", "copy it from isthmus-node apps list")
    return ClientApp(name, version, raw)


def parameters_asked(spec: Spec) -> int | None:
    """How many numbers the model of a request has; None where its app cannot be loaded here."""
    plan = spec.training
    if plan is None or _offered(plan.app) is None:
        return None
    from isthmus_training.apps import find, load, settings_of, starting_values

    loaded = load(find(plan.app.name).module)
    outcome = spec.role("outcome")
    levels = spec.levels(outcome[0]) if outcome else ()
    settings = settings_of(loaded.offered, plan.settings)
    return parameters_of(starting_values(loaded, coefficient_names(spec), levels, settings, plan.seed))


def _offered(app: ClientApp) -> Offered | None:
    """What the app that is asked for says of itself; None where it is not the one installed here, or needs flwr."""
    from isthmus_training.apps import find, load

    try:
        found = find(app.name)
        return load(found.module).offered if found.digest == app.digest else None
    except (ImportError, ConfigError, UsageError):
        return None


def _setting(name: str, value: object) -> Setting:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        # an app's settings are single values; a list of sizes is written as an app reads it
        return " ".join(map(str, value))
    raise UsageError(
        "WRONG_SETTING", f"setting {name!r} is neither true or false, a number nor a text", "give one of these"
    )
