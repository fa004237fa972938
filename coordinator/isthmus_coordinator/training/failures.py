"""What a strategy's process can end with, as fixed codes. No text of a strategy or an app is ever passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isthmus.errors import IsthmusError, MethodError, UsageError
from isthmus.untrusted import shown
from isthmus_methods.validate import nearest

# code -> (what happened and which rule, what to do)
_ENDINGS: Mapping[str, tuple[str, str]] = {
    "NOT_ONE_MODEL": (
        "the strategy asked nodes of one round for different things; rule: all of them get the same model and "
        "settings, for one made for a single country could draw that country's rows out",
        "use a strategy that sends one model to all nodes of a round",
    ),
    "UNKNOWN_NODE": (
        "the strategy asked a node that does not take part in the run",
        "use a strategy that asks the nodes its grid names",
    ),
    "ASKED_TWICE": (
        "the strategy asked a node twice in one round",
        "use a strategy that asks each node once a round",
    ),
    "TOO_FEW_NODES": (
        "the strategy waits for more nodes than take part in the run",
        "give it a smaller min_available_nodes and min_train_nodes, or more countries",
    ),
    "UNSUPPORTED_MESSAGE": (
        "the strategy sends a message that is not carried; "
        "rule: one model and its configuration, to train or to evaluate",
        "use a strategy that sends nothing else",
    ),
    "UNSUPPORTED_ARRAY": (
        "the model holds an array that is not carried; rule: weights are float64 or float32",
        "use an app and a strategy whose weights are such numbers",
    ),
    "UNSUPPORTED_CONFIG": (
        "the strategy's configuration of a round holds a value that is not carried; "
        "rule: flags, numbers, texts, and lists of one of the last two",
        "use a strategy that sends nothing else",
    ),
    "NOT_SUPPORTED": (
        "the strategy uses a part of Flower's grid that is not here; rule: get_node_ids and send_and_receive",
        "use a strategy that asks in whole rounds, as Flower's own do",
    ),
    "TOO_MANY_ROUNDS": (
        "the strategy asks for more rounds than the plan has; "
        "rule: each round of the plan trains once and evaluates once",
        "ask for more rounds in the plan, or use another strategy",
    ),
    "NO_ROOM": (
        "the coordinator's disk has no room for the models of a round",
        "make room where the coordinator's home is: as many models as there are countries, and two",
    ),
    "NOTHING_TRAINED": (
        "the strategy ended without a model: it asked nobody to train",
        "give it a fraction_train above 0",
    ),
    "WRONG_ANSWER": (
        "a country's answer does not fit the model that was asked about; rule: the same arrays, of the same shapes",
        "run the same release of the app at all sites",
    ),
    "STRATEGY_FAILED": (
        "the strategy failed; its text is not passed on",
        "try its arguments on data that may be seen, with Flower alone; its author can say what it needs",
    ),
    "STRATEGY_DIED": (
        "the strategy's process ended by itself, twice at the same place",
        "see whether the coordinator's machine has the memory that the model needs: memory_mib in coordinator.toml",
    ),
    "STRATEGY_TOO_SLOW": (
        "the strategy did not say within the time it has how the training goes on",
        "raise seconds under [training] in coordinator.toml, or use another strategy",
    ),
    "STRATEGY_NOT_REPEATED": (
        "after a restart the strategy asked something else than before; rule: from the same answers it asks the same",
        "run the training again; use a strategy that draws chance from numpy's or Python's generators alone",
    ),
    "MODEL_TOO_LARGE": (
        "the model is larger than a submission may be",
        "raise max_submission_bytes in coordinator.toml, or train a smaller model",
    ),
    "NOT_BOUNDED": (
        "the system does not let a strategy's process be given bounds of memory and time; rule: without them none runs",
        "let the service use setrlimit and prlimit64: SystemCallFilter in deploy/systemd/isthmus-coordinator.service",
    ),
    "OUT_OF_MEMORY": (
        "the strategy needs more memory than it has",
        "raise memory_mib under [training] in coordinator.toml, or train a smaller model",
    ),
}

# What stands against a plan before anything is asked: made with names that the plan, Flower or the settings have.
_APP_HERE = "install the sites' app at the coordinator too, in the same release: its starting values are made here"


def ending(code: str) -> MethodError:
    """The error of a fixed code; one that is not known is the strategy's failure."""
    what, remedy = _ENDINGS.get(code, _ENDINGS["STRATEGY_FAILED"])
    return MethodError(code if code in _ENDINGS else "STRATEGY_FAILED", what, remedy)


def refusal(code: str, name: str, known: Sequence[str]) -> IsthmusError:
    """Why a plan cannot be carried out at this coordinator.

    Parameters
    ----------
    code
        As the strategy's process said it.
    name
        What of the plan it is about.
    known
        The names it could have been.
    """
    said, names = shown(name, most=128), [shown(one, most=128) for one in known]
    close, listed = nearest(said, names), ", ".join(names) or "none"
    if code == "UNKNOWN_STRATEGY":
        what = f"there is no strategy {said!r} at this coordinator{close}"
        return UsageError(code, what, f"the strategies are: {listed}; its settings may allow others")
    if code == "UNKNOWN_ARGUMENT":
        return UsageError(code, f"the strategy has no argument {said!r}{close}", f"its arguments are: {listed}")
    if code == "MISSING_ARGUMENT":
        return UsageError(code, f"the strategy needs its argument {said!r}", "give it in the training plan")
    if code == "NOTHING_TO_WRAP":
        return UsageError(code, f"{said} wraps a strategy, and the plan names none", "name the strategy it wraps")
    if code == "WRAPS_NOTHING":
        return UsageError(code, f"{said} wraps no other strategy, and the plan names one", "leave out what it wraps")
    if code == "WRONG_ARGUMENTS":
        what = f"{said} does not take the arguments it is given"
        return UsageError(code, what, "see in Flower's documentation which values each of them may have")
    if code == "APP_NOT_HERE":
        return UsageError(code, f"no client app {said!r} is installed at the coordinator{close}", _APP_HERE)
    if code == "OTHER_APP":
        what = f"client app {said!r} is installed at the coordinator with another version or source than the plan names"
        return UsageError(code, what, _APP_HERE)
    if code == "WRONG_SETTING":
        return UsageError(
            code, f"client app {said!r} does not take these settings", "see what the app's documentation says of them"
        )
    if code == "APP_FAILED":
        return UsageError(code, f"client app {said!r} gives no starting values for this model", "ask the app's author")
    return ending(code)
