"""The training of a model by rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isthmus_client.analyses.common import Asks, Common
from isthmus_client.training.asked import HELD_OUT, ROUNDS, training_plan
from isthmus_client.training.strategies import FedAvg

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan
    from isthmus_client.training.strategies import StrategyName
    from isthmus_methods.contract import ClientApp, Strategy


class Trains(Asks):
    """The call that trains a model over the countries."""

    def train(
        self,
        formula: str,
        *,
        app: str | ClientApp = "logistic",
        strategy: Strategy | StrategyName | str = FedAvg,
        rounds: int = ROUNDS,
        held_out: float = HELD_OUT,
        seed: int = 0,
        settings: Mapping[str, object] | None = None,
        **common: Unpack[Common],
    ) -> Plan:
        """Train a model by rounds: an app that is installed at the nodes, a strategy that the coordinator has.

        Parameters
        ----------
        formula
            ``"RESPONSE == 'Y' ~ AGE + SEX"``: the outcome is a condition, a factor of two levels, or a number; the
            right side is the terms of a model, as everywhere.
        app
            ``"logistic"`` (logistic or linear, numpy), ``"mlp"`` (PyTorch), one that site IT installed, or an `App`
            with version and digest.
        strategy
            One of `isthmus_client.training`: ``FedAvg(fraction_train=1.0)``.
        rounds
            Of training, 1 to 500; a policy may allow fewer.
        held_out
            Share of each country's persons that no round trains on, for the evaluation; 0 to 0.5.
        seed
            Of the starting values, and of who is held out.
        settings
            Of the app: ``{"learning-rate": 0.5}``.
        **common
            As in `Common`.

        Returns
        -------
        Plan
            Its ``run()`` gives a `TrainingFit`.
        """
        plan = training_plan(
            self.countries,
            app=app,
            strategy=strategy,
            rounds=rounds,
            held_out=held_out,
            seed=seed,
            settings=settings,
        )
        return self.ask("training", formula, training=plan, **common)
