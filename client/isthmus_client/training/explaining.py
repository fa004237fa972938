"""What a training asks, in words: which app and strategy, and how many numbers leave each country."""

from __future__ import annotations

from isthmus_client.training.asked import parameters_asked
from isthmus_client.training.strategies import written
from isthmus_methods.contract import Indicator, Spec, Strategy, Transform, column_name
from isthmus_methods.request import CONDITION_LEVELS, written_predicate

# Of a number of a model; some are trained in half of it.
BYTES = 8


def outcome_words(spec: Spec) -> str:
    """The outcome's name, a condition as it was written."""
    columns = spec.role("outcome")
    if not columns:
        return "nothing"
    inner = columns[0].argument if isinstance(columns[0], Transform) else columns[0]
    return written_predicate(inner.predicate) if isinstance(inner, Indicator) else column_name(columns[0])


def predicted(spec: Spec) -> str:
    """What the model predicts: ``the probability that RESPONSE is Y``."""
    of, columns = outcome_words(spec), spec.role("outcome")
    levels = spec.levels(columns[0]) if columns else ()
    if not levels:
        return f"{of}, a number"
    return f"the probability that {of}" + ("" if levels == CONDITION_LEVELS else f" is {levels[-1]}")


def training_lines(spec: Spec) -> tuple[str, ...]:
    """Lines for the explanation of a training.

    Parameters
    ----------
    spec
        The request; without a training plan there is nothing to say.
    """
    plan = spec.training
    if plan is None:
        return ()
    held = (
        f"{100 * plan.held_out:g} % of each country's persons are held out of it"
        if plan.held_out
        else "nobody held out"
    )
    return (
        f"trains: {predicted(spec)}; {held}",
        f"app: {plan.app.name}, version {plan.app.version}, digest {plan.app.digest.hex()[:16]}…",
        f"strategy: {written(plan.strategy)}, {plan.rounds} rounds of training"
        + (
            ", each followed by an evaluation on the persons held out"
            if _evaluates(plan.strategy, plan.held_out)
            else ""
        ),
        _size(spec, plan.rounds),
    )


def _size(spec: Spec, rounds: int) -> str:
    parameters = parameters_asked(spec)
    if parameters is None:
        return "size of the model: as the app at the nodes makes it; the app cannot be loaded here, so it is not known"
    return (
        f"size of the model: {parameters:,} numbers leave each country in each round of training,"
        f" {rounds * parameters:,} in all (at most {BYTES * rounds * parameters / 1e6:,.3g} MB)"
    )


def _evaluates(strategy: Strategy, held_out: float) -> bool:
    while strategy.wraps is not None:
        strategy = strategy.wraps
    return held_out > 0 and strategy.arguments.get("fraction_evaluate", 1.0) != 0
