"""The training of a model as a request: over the wire and back, and what cannot be asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.v1 import spec_pb2, study_pb2
from isthmus_methods import codec
from isthmus_methods.contract import (
    ClientApp,
    Comparison,
    Indicator,
    Operator,
    Ref,
    Spec,
    Strategy,
    Term,
    TrainingPlan,
    Variable,
    VariableType,
)
from isthmus_methods.registry import find, find_procedure
from isthmus_methods.training import Training, arrays_of, check_training, outcome_levels, parameters_of, state_of
from isthmus_methods.validate import check_spec
from isthmus_trust.bounds import check_spec as check_bounds

STUDY = study_pb2.Study(
    datasets=[
        study_pb2.Dataset(
            name="ADSL",
            subject="ID",
            variables=[
                study_pb2.Variable(name="ID", type=study_pb2.Variable.TEXT, roles=[study_pb2.Variable.IDENTIFIER]),
                study_pb2.Variable(name="AGE", type=study_pb2.Variable.NUMERIC),
                study_pb2.Variable(name="RESP", type=study_pb2.Variable.FACTOR, levels=["N", "Y"]),
            ],
        )
    ]
)
PLAN = TrainingPlan(
    ClientApp("logistic", "1", bytes(32)),
    Strategy("DifferentialPrivacyServerSideFixedClipping", {"clipping_norm": 1.5}, Strategy("FedAvg", {"x": True})),
    rounds=3,
    held_out=0.25,
    seed=7,
    settings={"learning-rate": 0.1, "batch-size": 0, "layers": (8.0, 4.0)},
)
SPEC = Spec(
    "training",
    "ADSL",
    variables={"AGE": Variable("AGE", VariableType.NUMERIC), "RESP": Variable("RESP", VariableType.FACTOR)},
    roles={"outcome": (Ref("RESP"),)},
    terms=(Term((Ref("AGE"),)),),
    training=PLAN,
)


def test_a_training_plan_is_the_same_over_the_wire() -> None:
    there = codec.spec_from_message(codec.spec_to_message(SPEC), STUDY)
    assert there.training == PLAN
    check_spec(there, find_procedure("training", 1))


def test_training_is_a_procedure_and_no_method() -> None:
    assert isinstance(find_procedure("training"), Training)
    with pytest.raises(UsageError, match="no method 'training'"):
        find("training")


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (replace(PLAN, rounds=0), "0 rounds"),
        (replace(PLAN, rounds=501), "501 rounds"),
        (replace(PLAN, held_out=0.6), "held out 0.6"),
        (replace(PLAN, held_out=float("nan")), "held out nan"),
        (replace(PLAN, app=ClientApp("logistic", "1", b"short")), "32 bytes"),
        (replace(PLAN, strategy=Strategy("")), "without a name"),
    ],
)
def test_what_cannot_be_carried_out_is_said(plan: TrainingPlan, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        check_training(replace(SPEC, training=plan))


def test_a_plan_stands_where_a_model_is_trained_and_nowhere_else() -> None:
    with pytest.raises(UsageError) as missing:
        check_spec(replace(SPEC, training=None), find_procedure("training"))
    assert missing.value.code == "NO_TRAINING_PLAN"
    with pytest.raises(UsageError) as elsewhere:
        check_spec(replace(SPEC, method="glm"), find("glm"))
    assert elsewhere.value.code == "NO_TRAINING"


def test_strategies_nested_without_end_are_too_large() -> None:
    message = codec.spec_to_message(SPEC)
    inner = message.training.strategy
    for _ in range(12):
        inner = inner.wraps
        inner.name = "FedAvg"
    with pytest.raises(UsageError) as refused:
        check_bounds(message)
    assert refused.value.code == "TOO_LARGE"


def test_an_option_that_stands_twice_is_malformed() -> None:
    message = codec.spec_to_message(SPEC)
    message.training.settings.append(spec_pb2.Option(name="batch-size", integer=1))
    with pytest.raises(UsageError) as refused:
        codec.spec_from_message(message, STUDY)
    assert refused.value.code == "MALFORMED_REQUEST"


def test_arrays_keep_their_order_and_their_precision_as_a_state() -> None:
    arrays = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "bias": np.array([1.5]), "a.b": np.zeros(0)}
    there = arrays_of(codec.state_from_messages(codec.state_to_messages(state_of(arrays))))
    assert list(there) == list(arrays)
    for name, array in arrays.items():
        assert there[name].dtype == array.dtype
        assert np.array_equal(there[name], array)
    assert parameters_of(there) == 7


def test_a_state_that_is_no_model_is_said() -> None:
    for state in ({"weight": np.zeros(1)}, {"0001.weight": np.zeros(1)}):
        with pytest.raises(UsageError) as refused:
            arrays_of(state)
        assert refused.value.code == "MALFORMED_STATE"


def test_outcome_has_the_levels_of_a_factor_or_of_a_condition_and_none_as_a_number() -> None:
    named = Spec("training", "ADSL", variables={"RESP": Variable("RESP", VariableType.FACTOR, levels=("N", "Y"))})
    condition = Indicator(Comparison("RESP", Operator.EQUAL, "N"))
    assert outcome_levels(replace(named, roles={"outcome": (Ref("RESP"),)})) == ("N", "Y")
    turned = replace(named, roles={"outcome": (Ref("RESP"),)}, references={"RESP": "Y"})
    assert outcome_levels(turned) == ("Y", "N")
    assert outcome_levels(replace(named, roles={"outcome": (condition,)})) == ("0", "1")
    age = Spec("training", "ADSL", variables={"AGE": Variable("AGE", VariableType.NUMERIC)})
    assert outcome_levels(replace(age, roles={"outcome": (Ref("AGE"),)})) == ()
