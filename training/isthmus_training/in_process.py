"""A whole training in one process, no node asked: to try an app on rows that may be seen, and for tests.

Nothing here is judged or confined. The rows are in the caller's memory, and so is the app.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus_methods.contract import Array, Setting
from isthmus_methods.training import EVALUATE, TRAIN
from isthmus_training.apps import load, settings_of, starting_values
from isthmus_training.exchange import Ask, Carried, Reply
from isthmus_training.flower import CarriedGrid, Strategy, call_app, context_of, identify, run_strategy
from isthmus_training.rows import Rows, at_hand


@dataclass(frozen=True, slots=True)
class Country:
    """One country's rows: to train on, and of persons held out."""

    train: Rows
    evaluate: Rows


@dataclass(slots=True)
class Tried:
    """What came of it.

    Parameters
    ----------
    arrays
        The model's weights by name.
    measures
        By round, "train" or "evaluate", and country: the app's measures.
    scores
        What the app predicted for the rows held out, in the last evaluation, by country, (n,).
    """

    arrays: Mapping[str, Array] = field(default_factory=dict)
    measures: list[tuple[int, str, str, Mapping[str, float]]] = field(default_factory=list)
    scores: dict[str, Array] = field(default_factory=dict)


def train_in_process(
    module: str,
    countries: Mapping[str, Country],
    strategy: Strategy,
    rounds: int,
    settings: Mapping[str, Setting] | None = None,
    seed: int = 0,
) -> Tried:
    """Train an app with a strategy over rows in memory.

    Parameters
    ----------
    module
        The app's, as its entry point names it: ``ward_model.app``.
    countries
        Rows by country.
    strategy
        A Flower strategy; it is used up.
    settings
        Of the app; the others have their defaults.

    Raises
    ------
    UsageError
        ``UNKNOWN_SETTING``, ``WRONG_SETTING``.
    ConfigError
        ``APP_UNREADABLE``: the module is no app's. What the app itself raises comes through.
    """
    loaded = load(module)
    chosen = settings_of(loaded.offered, settings or {})
    names = tuple(countries)
    first = next(iter(countries.values())).train
    identify(1, 0)
    contexts = {number: context_of(1, number, {**chosen, "seed": seed}) for number in range(1, len(names) + 1)}
    tried, trained = Tried(), 0

    def carry(ask: Ask, nodes: tuple[int, ...]) -> Carried:
        nonlocal trained
        trained += ask.type == TRAIN
        replies: dict[int, Reply] = {}
        for number in nodes:
            country = names[number - 1]
            mine = countries[country].train if ask.type == TRAIN else countries[country].evaluate
            with at_hand(contexts[number], mine) as here:
                replies[number] = call_app(loaded.app, ask, contexts[number])
            tried.measures.append((trained, ask.type, country, replies[number].metrics))
            if ask.type == EVALUATE and here.scores is not None:
                tried.scores[country] = here.scores
        return Carried(replies)

    start = starting_values(loaded, first.columns, first.outcome_levels, chosen, seed)
    tried.arrays = run_strategy(strategy, CarriedGrid(tuple(contexts), carry), start, rounds)
    return tried
