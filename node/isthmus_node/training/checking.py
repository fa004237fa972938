"""Whether models can be trained here: part of `isthmus-node check`."""

from __future__ import annotations

from collections.abc import Iterator

from isthmus.errors import Refused
from isthmus_methods.registry import METHODS
from isthmus_node.catalogue import Datasets
from isthmus_node.config import NodeConfig
from isthmus_node.egress.policy import Policy
from isthmus_node.ops.lines import Line, Mark
from isthmus_node.training.installed import standing_of
from isthmus_node.training.runner import Bounds, check_apart, what_holds
from isthmus_training.apps import find


def check_training(config: NodeConfig) -> Iterator[Line]:
    """Whether the apps that the policy allows could train here, and what they are kept from."""
    allowed = Policy.load(config.home.policy, METHODS).training
    if not allowed.apps:
        yield Line("training", Mark.SKIP, "the policy lets no app train here")
        return
    files = Datasets(config.home.state, config.country).files()
    check_apart([config.home.config, config.home.state, config.custodian_key, *files])
    held = what_holds(Bounds(config.training_memory, config.training_seconds))
    yield Line("training", Mark.PASS, f"an app has {'; '.join(held)}")
    for name in sorted(allowed.apps):
        standing = standing_of(find(name), allowed)
        mark = Mark.PASS if standing == "allowed" else Mark.FAIL
        remedy = "isthmus-node apps list" if mark is Mark.FAIL else ""
        yield Line(f"app {name}", mark, standing, remedy, Refused.exit_code if mark is Mark.FAIL else 0)
