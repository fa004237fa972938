"""What tests of a training in one whole node have in common: its request, its messages, what was answered."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.v1 import spec_pb2, summary_pb2
from isthmus_methods.codec import array_from_message, state_to_messages
from isthmus_methods.settings_codec import settings_to_messages
from isthmus_methods.training import state_of
from isthmus_training.apps import find

RUN = bytes([7]) * 16


def training(**changes: Any) -> spec_pb2.Spec:
    """ARM by age and time, each about its middle."""
    app = find("logistic")

    def moved(name: str, centre: float, scale: float) -> spec_pb2.Term:
        functions = spec_pb2.Transform
        inner = spec_pb2.Transform(
            function=functions.CENTRE, argument=spec_pb2.Column(variable=name), constants=[centre]
        )
        outer = spec_pb2.Transform(
            function=functions.SCALE, argument=spec_pb2.Column(transform=inner), constants=[scale]
        )
        return spec_pb2.Term(columns=[spec_pb2.Column(transform=outer)])

    plan = {
        "app": spec_pb2.ClientApp(name=app.name, version=app.version, digest=app.digest),
        "strategy": spec_pb2.Strategy(name="FedAvg"),
        "rounds": 3,
        "seed": 5,
        **changes,
    }
    return spec_pb2.Spec(
        method="training",
        method_version=1,
        dataset="ADTTE",
        roles=[spec_pb2.Role(name="outcome", columns=[spec_pb2.Column(variable="ARM")])],
        terms=[moved("AGE", 60.0, 9.0), moved("AVAL", 300.0, 300.0)],
        training=spec_pb2.Training(**plan),
    )


def message(kind: str = "train", **config: Any) -> summary_pb2.AppMessage:
    return summary_pb2.AppMessage(type=kind, config=settings_to_messages(config))


def state(weights: Any, intercept: float) -> list[Any]:
    return state_to_messages(state_of({"weights": np.asarray(weights, float), "intercept": np.array([intercept])}))


def asked(site: Any, spec: spec_pb2.Spec | None = None, **changes: Any) -> Any:
    fields = {"analysis": "", "spec": spec or training(), "run": RUN, "message": message(), **changes}
    site.ask(site.task(**fields))
    return site.answers()[-1]


def values(summary: Any) -> dict[tuple[str, str], Any]:
    return {(i.field, i.label): array_from_message(i.value) if i.HasField("value") else None for i in summary.items}
