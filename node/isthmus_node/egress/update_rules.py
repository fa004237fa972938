"""The rules for what leaves a training: a model's weights (UPDATE), its measures (METRIC), and counts beside them.

The gate holds these to what was sent to be trained, not to the app's word: arrays and measures that were not asked for
do not leave.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from isthmus.v1 import summary_pb2
from isthmus_methods.contract import Array, Field, Integers, Item, Kind, MetricSupport, UpdateSupport
from isthmus_node.egress import form
from isthmus_node.egress.form import Violation
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.training_thresholds import NOT_CUT

MORE_PERSONS = "train where there are more persons, or on a wider selection of them"
SMALLER_MODEL = "train a smaller model: fewer columns, fewer or narrower layers"
LARGER_BATCH = "use a larger batch, or all rows at once"
_BUG = "report this to the app's author: a correct app never does this"
NOT_SENT = Violation(
    "NOT_OF_THE_MODEL", "of a model the arrays that were sent leave, in their shapes, and no other", _BUG
)
NOT_DECLARED = Violation(
    "UNDECLARED_MEASURE", "only measures that the app declares leave, in the range it declares", _BUG
)
NOT_CUT_AS_ASKED = Violation(
    "UPDATE_NOT_CUT", "a change is cut, and has noise, as the policy asks", form.UPDATE_AT_SITE
)
NOT_DEBITED = Violation("PRIVACY_NOT_DEBITED", "noise leaves once what it spends is written down", form.UPDATE_AT_SITE)


@dataclass(frozen=True, slots=True)
class Trained:
    """What was sent to be trained, and what noise cost: what the answer of a training is held against.

    `shapes`: of the arrays sent, by their own names. `measures`: those the app declares, with the range of each.
    `privacy`: what was debited for this answer before noise was drawn; None where none was.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    measures: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    privacy: summary_pb2.PrivacySpent | None = None

    def violation(self, item: Item, leaves: Mapping[str, Field]) -> Violation | None:
        """What holds for open data too: what was not sent, or not declared, does not leave."""
        kind, support = leaves[item.field].kind if item.field in leaves else None, item.support
        if kind is Kind.UPDATE:
            sent = self.shapes.get(item.label) == np.shape(item.value)
            if isinstance(support, UpdateSupport):
                sent = sent and support.parameters == sum(math.prod(shape) for shape in self.shapes.values())
            return None if sent else NOT_SENT
        if kind is Kind.METRIC:
            declared = self.measures.get(item.label)
            if isinstance(support, MetricSupport):
                declared = None if declared != (support.low, support.high) else declared
            return NOT_DECLARED if declared is None else None
        return None

    def unpaid(self, items: Collection[Item], limits: Limits) -> Violation | None:
        """Where the policy asks for noise, what it spends is written down before anything leaves."""
        if limits.update_noise == 0 or not any(isinstance(item.support, UpdateSupport) for item in items):
            return None
        paid = self.privacy is not None and self.privacy.rho >= rho_of(limits.update_noise)
        return None if paid else NOT_DEBITED


def rho_of(noise: float) -> float:
    """What one release of a model costs one person, (rho), where noise is so many times the norm.

    Without the person the change could be any other of that norm, so it is changed by twice the norm at most, and
    rho = (2 C)^2 / (2 (noise C)^2). Infinite without noise.

    Source: Bun and Steinke 2016, proposition 1.6.
    """
    return 2 / noise**2 if noise > 0 else math.inf


def trains(leaves: Mapping[str, Field]) -> bool:
    """Whether a procedure is a training: then each of its fields is judged as one's, whatever it says of itself."""
    return any(declared.kind in (Kind.UPDATE, Kind.METRIC) for declared in leaves.values())


# --------------------------------------------------------------------------- form


def update_fits(value: Array | Integers, support: UpdateSupport) -> bool:
    """No smaller batch than nobody, no larger one than everybody; no norm beyond that it was cut to."""
    counts = [support.persons, support.batch, support.parameters]
    return (
        all(form.is_whole(n) and n >= 0 for n in counts)
        and support.batch <= support.persons
        and value.size <= support.parameters
        and all(x >= 0 for x in (support.norm, support.clip, support.noise))
        and math.isfinite(support.noise)
        and support.norm <= support.clip * (1 + form.ROUNDING)
        and value.dtype.kind == "f"
    )


def metric_fits(value: Array | Integers, support: MetricSupport) -> bool:
    """One number, in the range that its app declares."""
    return (
        form.is_whole(support.persons)
        and support.persons >= 0
        and value.size == 1
        and value.dtype == np.float64
        and bool(support.low <= value.reshape(-1)[0] <= support.high)
    )


# --------------------------------------------------------------------------- UPDATE


def update_has_persons(support: UpdateSupport, limits: Limits) -> Violation | None:
    """Attack 1: a model is trained on enough distinct persons."""
    if support.persons < limits.update_persons:
        return Violation("FEW_PERSONS", limits.rule("update_persons"), MORE_PERSONS)
    return None


def batches_are_large(support: UpdateSupport, limits: Limits) -> Violation | None:
    """Attack 42: the step that a batch of one takes is that person's gradient."""
    if support.batch < limits.batch_persons:
        return Violation("SMALL_BATCH", limits.rule("batch_persons"), LARGER_BATCH)
    return None


def model_is_small(support: UpdateSupport, limits: Limits) -> Violation | None:
    """Attack 13: a model with more numbers than persons can hold each of them."""
    if not support.parameters <= limits.update_parameters_per_person * support.persons:
        return Violation("LARGE_MODEL", limits.rule("update_parameters_per_person"), SMALLER_MODEL)
    return None


def change_is_cut(support: UpdateSupport, limits: Limits) -> Violation | None:
    """The change has the norm that the policy asks for, and noise that is a multiple of it."""
    if limits.update_norm >= NOT_CUT:
        return None
    if not (support.clip <= limits.update_norm and support.noise >= limits.update_noise * support.clip):
        return NOT_CUT_AS_ASKED
    return None


# In the order in which they are asked.
FLOORS = (update_has_persons, batches_are_large, model_is_small, change_is_cut)

# --------------------------------------------------------------------------- METRIC


def metric_has_persons(support: MetricSupport, limits: Limits) -> Violation | None:
    """A measure is an average over enough distinct persons."""
    if support.persons < limits.metric_persons:
        return Violation("FEW_PERSONS", limits.rule("metric_persons"), MORE_PERSONS)
    return None
