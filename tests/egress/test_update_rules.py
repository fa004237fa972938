"""What leaves a training is what was sent to be trained: its form, its rounding, and what its noise costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import Array, CellSupport, Item, MetricSupport, Summary, UpdateSupport
from isthmus_methods.training import Training
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.update_rules import Trained, rho_of
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_trust.identity import IdentityKey

TRIAL = study_pb2.TRIAL_ANALYSIS
SUPPORT = UpdateSupport(persons=80, batch=80, parameters=4, norm=0.5, clip=np.inf, noise=0.0)
MODEL: Mapping[str, Array] = {"weights": np.array([0.25, -1.5, 129.587]), "intercept": np.array([2.0])}
SENT = Trained({name: array.shape for name, array in MODEL.items()}, {"loss": (0.0, 10.0)})


def arrays(model: Mapping[str, Array] = MODEL, **changed: object) -> list[Item]:
    support = replace(SUPPORT, **changed)  # type: ignore[arg-type]
    return [Item("arrays", array, support, name) for name, array in model.items()]


def examples(n: int = 83, persons: int = 80) -> Item:
    return Item("examples", np.array(n), CellSupport(np.array(persons)))


def measure(value: object = 0.123456789, persons: int = 80, name: str = "loss", high: float = 10.0) -> Item:
    return Item("metrics", np.array(value), MetricSupport(persons, 0.0, high), name)


def verdict(
    items: list[Item], policy: str = "", trained: Trained = SENT, open_data: bool = False
) -> tuple[str, dict[tuple[str, str], object]]:
    """The code of a refusal, or what leaves by field and label: its numbers, or the code it is withheld by."""
    under = Policy.read(f"[purpose.trial_analysis]\n{policy}")
    found = judge(Summary(tuple(items)), Training.leaves, (), TRIAL, under, open_data, lambda _: None, trained)
    if isinstance(found, Refusal):
        return found.code, {}
    return "", {(i.field, i.label): i.withheld_by if i.value is None else i.value.tolist() for i in found.items}


def test_model_leaves_as_it_was_trained() -> None:
    code, left = verdict([*arrays(), examples(), measure()])
    assert code == ""
    assert left == {
        ("arrays", "weights"): [0.25, -1.5, 129.587],
        ("arrays", "intercept"): [2.0],
        ("examples", ""): 83,
        ("metrics", "loss"): 0.1235,
    }


def test_floats_leave_as_floats(key: IdentityKey) -> None:
    model = {name: array.astype(np.float32) for name, array in MODEL.items()}
    under = Policy.read("[purpose.trial_analysis]")
    found = judge(Summary(tuple(arrays(model))), Training.leaves, (), TRIAL, under, False, lambda _: None, SENT)
    assert isinstance(found, Cleared)
    outbound = encode(found, Header(bytes(32), "nl", "NL"), key)
    body = study_pb2.Signed.FromString(outbound.payload).body
    left = summary_pb2.Summary.FromString(body)
    assert [item.value.WhichOneof("values") for item in left.items] == ["floats", "floats"]
    np.testing.assert_array_equal(array_from_message(left.items[0].value), model["weights"])


@pytest.mark.parametrize("open_data", [False, True])
@pytest.mark.parametrize(
    ("items", "code"),
    [
        (arrays({**MODEL, "rows": np.array([1.0])}), "NOT_OF_THE_MODEL"),
        (arrays({"weights": np.array([1.0, 2.0]), "intercept": np.array([2.0])}), "NOT_OF_THE_MODEL"),
        (arrays({"weights": MODEL["weights"][None, :]}), "NOT_OF_THE_MODEL"),
        (arrays(parameters=5), "NOT_OF_THE_MODEL"),
        (arrays({"weights": np.array([1, 2, 3])}), "NOT_AN_ARRAY"),
        (arrays({"weights": MODEL["weights"].astype(np.float16)}), "NOT_AN_ARRAY"),
        (arrays({"weights": np.array([0.25, np.nan, 1.0])}), "NOT_FINITE"),
        (arrays({"weights": np.array([0.25, 1.0, np.inf])}), "NOT_FINITE"),
        (arrays({"weights": np.array([0.25, 1.0, -1e301])}), "NOT_FINITE"),
        (arrays(batch=81), "BAD_SUPPORT"),
        (arrays(norm=2.0, clip=1.0), "BAD_SUPPORT"),
        (arrays(noise=np.inf), "BAD_SUPPORT"),
        (arrays() + arrays(), "FIELD_TWICE"),
        ([measure(name="row_17")], "UNDECLARED_MEASURE"),
        ([measure(high=1e9)], "UNDECLARED_MEASURE"),
        ([measure(129.587)], "BAD_SUPPORT"),
        ([measure([0.1, 0.2])], "BAD_SUPPORT"),
        ([measure(np.nan)], "NOT_FINITE"),
        ([replace(measure(), support=CellSupport(np.array(80)))], "WRONG_SUPPORT"),
        ([replace(arrays()[0], support=MetricSupport(80, 0.0, 10.0))], "WRONG_SUPPORT"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_not_sent_or_not_declared_does_not_leave(items: list[Item], code: str, open_data: bool) -> None:
    assert verdict(items, open_data=open_data)[0] == code


@pytest.mark.parametrize(
    "item",
    [
        measure(name="lab is 129.587"),
        measure(float("nan"), name="lab is 129.587"),
        replace(measure(name="lab is 129.587"), support=CellSupport(np.array(80))),
        arrays({"lab is 129.587": MODEL["weights"]})[0],
    ],
    ids=["measure", "no number", "another support", "array"],
)
def test_label_that_an_app_made_up_does_not_leave_with_the_refusal(item: Item) -> None:
    under = Policy.read("[purpose.trial_analysis]")
    found = judge(Summary((item,)), Training.leaves, (), TRIAL, under, False, lambda _: None, SENT)
    assert isinstance(found, Refusal)
    assert "129" not in found.field + found.rule + found.remedy


def test_open_data_leave_in_full() -> None:
    _, left = verdict([*arrays(persons=1, batch=1), examples(3, 1), measure(persons=1)], open_data=True)
    assert left["metrics", "loss"] == 0.123456789
    assert left["examples", ""] == 3


def test_measure_of_few_is_withheld_and_the_model_leaves() -> None:
    _, left = verdict([*arrays(), measure(persons=19)])
    assert left["metrics", "loss"] == "FEW_PERSONS"
    assert left["arrays", "intercept"] == [2.0]


@pytest.mark.parametrize(
    ("policy", "value", "left"),
    [("", 0.000123456, 0.0001235), ("metric_digits = 2", 9.876, 9.9), ("metric_digits = 1", 0.0, 0.0)],
)
def test_measure_leaves_with_the_digits_of_the_policy(policy: str, value: float, left: float) -> None:
    assert verdict([measure(value)], policy)[1]["metrics", "loss"] == left


@pytest.mark.parametrize(("n", "step", "left"), [(83, 5, 85), (82, 5, 80), (83, 1, 83), (85, 10, 90), (0, 5, 0)])
def test_counts_beside_a_model_are_multiples_of_the_policys_number(n: int, step: int, left: int) -> None:
    items = [*arrays(), examples(n, n)]
    assert verdict(items, f"examples_rounding = {step}")[1]["examples", ""] == left


@pytest.mark.parametrize("numbers", [4, 3000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers_of_one_model_have_one_length(numbers: int, dtype: type[np.floating], key: IdentityKey) -> None:
    """Whatever the weights are, whether measures are withheld, noise was paid for, or all of it is refused."""
    model: dict[str, Array] = {"weights": np.zeros(numbers, dtype), "intercept": np.zeros(1, dtype)}
    sent = Trained({name: array.shape for name, array in model.items()}, {"loss": (0.0, 10.0)})
    spent = summary_pb2.PrivacySpent(
        rho=0.1, rho_total=0.3, rho_budget=1.0, epsilon_total=4.5, delta=1e-6, accountant="zCDP, Gaussian"
    )
    support = {"parameters": numbers + 1, "persons": 8000, "batch": 8000}
    large = {name: array + dtype(1e6) for name, array in model.items()}
    cases = {
        "zeros": ([*arrays(model, **support), examples(), measure()], sent),
        "large": ([*arrays(large, **support), examples(1_000_000), measure()], sent),
        "withheld": ([*arrays(model, **support), examples(), measure(persons=1)], sent),
        "noise": ([*arrays(model, **support), examples(), measure()], replace(sent, privacy=spent)),
        "few": ([*arrays(model, **{**support, "batch": 1}), examples(), measure()], sent),
        "no number": ([*arrays({**model, "intercept": np.array([np.nan])}, **support), examples(), measure()], sent),
    }
    lengths = {}
    for what, (items, trained) in cases.items():
        under, header = Policy.read("[purpose.trial_analysis]"), Header(bytes(32), "nl", "NL")
        found = judge(Summary(tuple(items)), Training.leaves, (), TRIAL, under, False, lambda _: None, trained)
        out = encode_refusal(found, header, key) if isinstance(found, Refusal) else encode(found, header, key)
        lengths[what] = len(out.payload)
    assert len(set(lengths.values())) == 1, lengths


NOISE = "update_norm = 0.5\nupdate_noise = 4.0"


@pytest.mark.parametrize(
    ("clip", "noise", "spent", "code"),
    [
        (0.5, 2.0, 0.125, ""),
        (0.5, 2.0, 0.124, "PRIVACY_NOT_DEBITED"),
        (0.5, 2.0, None, "PRIVACY_NOT_DEBITED"),
        (0.5, 1.9, 0.125, "UPDATE_NOT_CUT"),
        (0.6, 2.4, 0.125, "UPDATE_NOT_CUT"),
        (np.inf, 2.0, 0.125, "UPDATE_NOT_CUT"),
    ],
)
def test_noise_leaves_once_it_is_drawn_as_asked_and_written_down(
    clip: float, noise: float, spent: float | None, code: str
) -> None:
    privacy = None if spent is None else summary_pb2.PrivacySpent(rho=spent)
    items = arrays(clip=clip, noise=noise, norm=0.5)
    assert verdict(items, NOISE, replace(SENT, privacy=privacy))[0] == code


def test_noise_costs_what_the_source_says() -> None:
    # Bun and Steinke 2016, proposition 1.6: sensitivity^2 / (2 sd^2), here (2 C)^2 / (2 (4 C)^2)
    assert rho_of(4.0) == 0.125
    assert rho_of(0.0) == np.inf
