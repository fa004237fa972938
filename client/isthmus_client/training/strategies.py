"""Strategies as a statistician writes them: ``FedAvg(fraction_train=1.0)``. A name and its arguments, no code.

The coordinator has the strategies themselves (flwr's, and its own); what is written here travels as a name with
arguments, is part of what custodians approve, and is built there. Nothing here needs flwr.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.errors import UsageError
from isthmus_client.training.flower_table import REQUIRED, STRATEGIES
from isthmus_methods.contract import Setting, Strategy
from isthmus_methods.validate import nearest

WRAPPED = "strategy"
# Of the wrappers that add noise; filled in from the study where it is not written.
SAMPLED = "num_sampled_clients"
# Of those that may have a round of training followed by one of evaluation.
EVALUATED = "fraction_evaluate"


class StrategyName:
    """The name of a strategy; called with its arguments it describes one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, strategy: Strategy | None = None, **arguments: Setting) -> Strategy:
        """The strategy's description.

        Parameters
        ----------
        strategy
            The one that is wrapped, for wrappers only.
        **arguments
            As flwr 1.41 names them; those that are functions cannot be given, because no code travels.

        Raises
        ------
        UsageError
            ``UNKNOWN_ARGUMENT`` with the nearest known one, ``MISSING_ARGUMENT``, ``WRONG_ARGUMENT``.
        """
        return checked(Strategy(self.name, arguments, None if strategy is None else strategy_of(strategy)))

    def __repr__(self) -> str:
        return f"isthmus_client.training.{self.name}"


Bulyan = StrategyName("Bulyan")
DifferentialPrivacyClientSideAdaptiveClipping = StrategyName("DifferentialPrivacyClientSideAdaptiveClipping")
DifferentialPrivacyClientSideFixedClipping = StrategyName("DifferentialPrivacyClientSideFixedClipping")
DifferentialPrivacyServerSideAdaptiveClipping = StrategyName("DifferentialPrivacyServerSideAdaptiveClipping")
DifferentialPrivacyServerSideFixedClipping = StrategyName("DifferentialPrivacyServerSideFixedClipping")
FedAdagrad = StrategyName("FedAdagrad")
FedAdam = StrategyName("FedAdam")
FedAvg = StrategyName("FedAvg")
FedAvgM = StrategyName("FedAvgM")
FedMedian = StrategyName("FedMedian")
FedProx = StrategyName("FedProx")
FedTrimmedAvg = StrategyName("FedTrimmedAvg")
FedYogi = StrategyName("FedYogi")
Krum = StrategyName("Krum")
MultiKrum = StrategyName("MultiKrum")
QFedAvg = StrategyName("QFedAvg")


def own_strategy(name: str, strategy: Strategy | None = None, **arguments: Setting) -> Strategy:
    """A strategy of the coordinating team's own, ``"package.module:Class"``, as their coordinator lists it.

    Its arguments are checked there.
    """
    if ":" not in name:
        raise UsageError("UNKNOWN_STRATEGY", f"{name!r} is no strategy's place", 'write it as "package.module:Class"')
    return Strategy(name, arguments, strategy)


def strategy_of(written: object) -> Strategy:
    """The description of a strategy, however it was given: described, or by its name alone.

    Raises
    ------
    UsageError
        ``STRATEGY_OBJECT`` for a strategy object of flwr, with the text to write instead; ``UNKNOWN_STRATEGY``.
    """
    if isinstance(written, Strategy):
        return written
    if isinstance(written, StrategyName):
        return written()
    if isinstance(written, str):
        return checked(Strategy(written))
    kind = written if isinstance(written, type) else type(written)
    if any(base.__module__.split(".")[0] in ("flwr", "flwr_nightly") for base in kind.__mro__):
        name = kind.__name__
        raise UsageError(
            "STRATEGY_OBJECT",
            f"{name} is given as flwr's own object; rule: a strategy travels as its name and arguments, never as code",
            f"write: from isthmus_client.training import {name}; strategy={_as_written(written, name)}",
        )
    raise UsageError(
        "UNKNOWN_STRATEGY", f"{kind.__name__} is no strategy", "write one of isthmus_client.training, such as FedAvg()"
    )


def _as_written(written: object, name: str) -> str:
    """The text that describes the same, as far as the object's attributes say."""
    given = []
    for argument, (kind, default) in STRATEGIES.get(name, {}).items():
        value: Any = getattr(written, argument, default)
        if kind == WRAPPED:
            given.append(_as_written(value, type(value).__name__))
        elif value != default and isinstance(value, int | float | str) and not isinstance(value, bool):
            given.append(f"{argument}={value!r}")
    return f"{name}({', '.join(given)})"


def checked(strategy: Strategy) -> Strategy:
    """The same, its arguments held against what flwr's strategy of that name takes.

    A name with a colon is one of the coordinating team's own, whose arguments only they know.

    Raises
    ------
    UsageError
        ``UNKNOWN_STRATEGY``, ``UNKNOWN_ARGUMENT``, ``MISSING_ARGUMENT``, ``WRONG_ARGUMENT``.
    """
    if ":" in strategy.name:
        return strategy
    takes = STRATEGIES.get(strategy.name)
    if takes is None:
        raise UsageError(
            "UNKNOWN_STRATEGY",
            f"there is no strategy {strategy.name!r}{nearest(strategy.name, STRATEGIES)}",
            f"the strategies are: {', '.join(STRATEGIES)}; one of the coordinating team's own is package.module:Class",
        )
    own = {name: kind for name, (kind, _) in takes.items() if kind != WRAPPED}
    arguments: dict[str, Setting] = {}
    for name, value in strategy.arguments.items():
        if name not in own:
            raise UsageError(
                "UNKNOWN_ARGUMENT",
                f"{strategy.name} has no argument {name!r}{nearest(name, own)}",
                f"it takes: {', '.join(own)}; functions cannot be given, because no code travels",
            )
        arguments[name] = _as(strategy.name, name, own[name], value)
    if WRAPPED in takes and strategy.wraps is None:
        raise UsageError(
            "MISSING_ARGUMENT", f"{strategy.name} wraps a strategy and none is given", f"{strategy.name}(FedAvg(), ...)"
        )
    if WRAPPED not in takes and strategy.wraps is not None:
        raise UsageError("UNKNOWN_ARGUMENT", f"{strategy.name} wraps no strategy", "leave the inner one out")
    missing = [
        name
        for name, (kind, default) in takes.items()
        if default == REQUIRED and kind != WRAPPED and name != SAMPLED and name not in strategy.arguments
    ]
    if missing:
        raise UsageError("MISSING_ARGUMENT", f"{strategy.name} needs {' and '.join(missing)}", f"give {missing[0]}=...")
    return Strategy(strategy.name, arguments, None if strategy.wraps is None else checked(strategy.wraps))


def _as(strategy: str, name: str, kind: str, value: Setting) -> Setting:
    """The value as the argument takes it."""
    if kind == "text" and isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if kind == "number":
            return float(value)
        if kind == "whole" and value == int(value):
            return int(value)
    asked = {"text": "a text", "whole": "a whole number", "number": "a number"}[kind]
    raise UsageError("WRONG_ARGUMENT", f"{name} of {strategy} is {asked}, not {value!r}", f"give {name} as {asked}")


def for_study(strategy: Strategy, countries: int, held_out: float) -> Strategy:
    """The same, with what follows from the study and is not written.

    A wrapper learns how many countries answer a round; where nobody is held out, nothing is evaluated.

    Raises
    ------
    UsageError
        ``NOTHING_HELD_OUT`` where an evaluation is asked for and nobody is held out for it.
    """
    wraps = None if strategy.wraps is None else for_study(strategy.wraps, countries, held_out)
    takes: Mapping[str, object] = STRATEGIES.get(strategy.name, {})
    more: dict[str, Setting] = {SAMPLED: countries} if SAMPLED in takes else {}
    if held_out == 0 and EVALUATED in takes:
        if strategy.arguments.get(EVALUATED):
            raise UsageError(
                "NOTHING_HELD_OUT",
                f"{strategy.name} is to evaluate ({EVALUATED} = {strategy.arguments[EVALUATED]:g}), and nobody is held"
                " out for it",
                f"hold out a share of the persons, or leave {EVALUATED} out",
            )
        more[EVALUATED] = 0.0
    return Strategy(strategy.name, {**more, **strategy.arguments}, wraps)


def written(strategy: Strategy) -> str:
    """As it is written in Python: ``FedAvg(fraction_train=1.0)``."""
    return f"{strategy.name}({', '.join(_parts(strategy))})"


def _parts(strategy: Strategy) -> Iterator[str]:
    if strategy.wraps is not None:
        yield written(strategy.wraps)
    yield from (f"{name}={value!r}" for name, value in sorted(strategy.arguments.items()))
