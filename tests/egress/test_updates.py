"""A trained model made ready to leave: cut to a norm, noise drawn once it is paid for, nothing else changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from isthmus.errors import Refused
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.contract import Array, Item, Summary
from isthmus_methods.training import Training
from isthmus_node.egress import updates
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Debit
from isthmus_node.egress.update_rules import Trained, rho_of
from isthmus_node.egress.updates import Update, ready

TRIAL = study_pb2.TRIAL_ANALYSIS
SENT: Mapping[str, Array] = {"weights": np.array([1.0, -2.0, 0.5]), "intercept": np.array([0.25])}
# A change of norm 13: 3, 4, 12 and 0.
TRAINED: Mapping[str, Array] = {"weights": np.array([4.0, 2.0, 12.5]), "intercept": np.array([0.25])}


def policy(text: str = "") -> Policy:
    return Policy.read(f"[purpose.trial_analysis]\n{text}")


@dataclass
class Purse:
    """Pays, and remembers when."""

    seed: bytes = bytes(range(32))
    paid: list[str] = field(default_factory=list)

    def debit(self) -> Debit:
        self.paid.append("debit")
        return Debit(summary_pb2.PrivacySpent(rho=1e6), self.seed)


def made(
    text: str = "",
    trained: Mapping[str, Array] = TRAINED,
    sent: Mapping[str, Array] = SENT,
    persons: int = 80,
    batch: int = 80,
    purse: Purse | None = None,
    open_data: bool = False,
) -> Update:
    limits = None if open_data else policy(text).limits[TRIAL]
    # what an app gave is the caller's no more
    own = {name: np.array(array) for name, array in trained.items()}
    return ready(own, sent, persons, batch, limits, (purse or Purse()).debit)


def judged(update: Update, text: str = "", open_data: bool = False) -> Cleared | Refusal:
    items = tuple(Item("arrays", array, update.support, name) for name, array in update.arrays.items())
    trained = Trained({name: np.shape(array) for name, array in SENT.items()}, {}, update.privacy)
    return judge(Summary(items), Training.leaves, (), TRIAL, policy(text), open_data, lambda _: None, trained)


CUT = "update_norm = 6.5"
NOISE = "update_norm = 6.5\nupdate_noise = 2.0"


def test_model_is_left_alone_where_nothing_is_asked() -> None:
    for update in (made(), made(NOISE, open_data=True), made("update_norm = 13.0")):
        assert {name: array.tolist() for name, array in update.arrays.items()} == {
            "weights": [4.0, 2.0, 12.5],
            "intercept": [0.25],
        }
    assert made().support.clip == math.inf
    assert made().support.norm == 13.0


def test_change_is_cut_over_all_arrays_together() -> None:
    update = made(CUT)
    np.testing.assert_allclose(update.arrays["weights"], [2.5, 0.0, 6.5], rtol=1e-15)
    assert update.arrays["intercept"] == [0.25]
    assert (update.support.norm, update.support.clip, update.support.noise) == (6.5, 6.5, 0.0)
    assert isinstance(judged(update, CUT), Cleared)


def test_uncut_change_is_refused_where_the_policy_asks_for_a_norm() -> None:
    verdict = judged(made(), CUT)
    assert isinstance(verdict, Refusal)
    assert verdict.code == "UPDATE_NOT_CUT"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_has_the_deviation_of_the_policy_and_is_independent(dtype: type[np.floating]) -> None:
    # by the law of large numbers: 400 000 numbers, so the deviation is known to 0.1 %
    sent = {"a": np.zeros((400, 500), dtype=dtype), "b": np.zeros(200_000, dtype=dtype)}
    text = NOISE + "\nupdate_parameters_per_person = 10000.0"
    purse = Purse()
    update = made(text, sent, sent, purse=purse)
    assert purse.paid == ["debit"]
    assert update.support.noise == 13.0
    noise = np.concatenate([array.reshape(-1) for array in update.arrays.values()]).astype(np.float64)
    assert all(array.dtype == dtype for array in update.arrays.values())
    assert noise.std() == pytest.approx(13.0, rel=5e-3)
    assert abs(noise.mean()) < 0.1
    # halves, and each number and the next, have nothing to do with each other
    assert abs(np.corrcoef(noise[:200_000], noise[200_000:])[0, 1]) < 0.01
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.01
    # a normal distribution has 4.55 % beyond two deviations, and kurtosis 3
    assert np.mean(np.abs(noise) > 26.0) == pytest.approx(0.0455, rel=0.03)
    assert np.mean((noise / 13.0) ** 4) == pytest.approx(3.0, rel=0.03)


def test_noise_of_two_seeds_has_nothing_in_common_and_of_one_is_the_same() -> None:
    first, again = made(NOISE), made(NOISE)
    other = made(NOISE, purse=Purse(bytes(32)))
    assert first.arrays["weights"].tolist() == again.arrays["weights"].tolist()
    assert not np.any(first.arrays["weights"] == other.arrays["weights"])


def test_what_leaves_takes_the_place_of_what_the_app_gave() -> None:
    given = {name: np.array(array) for name, array in TRAINED.items()}
    update = ready(given, SENT, 80, 80, policy(CUT).limits[TRIAL], Purse().debit)
    assert all(update.arrays[name] is given[name] for name in given)
    for name in given:
        given[name] = np.array(TRAINED[name])
        given[name].setflags(write=False)
    again = ready(given, SENT, 80, 80, policy(CUT).limits[TRIAL], Purse().debit)
    assert all(again.arrays[name].tolist() == update.arrays[name].tolist() for name in given)
    assert all(given[name].tolist() == np.array(TRAINED[name]).tolist() for name in given)


def test_numbers_with_noise_lie_on_a_grid() -> None:
    # the last bits of value + noise would tell of the value
    update = made(NOISE)
    grid = 2.0 ** math.floor(math.log2(13.0 / 2**20))
    for array in update.arrays.values():
        assert np.all(array / grid == np.round(array / grid))


def test_noise_is_drawn_after_it_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    purse = Purse()
    drawn = updates._normal

    def watched(seed: bytes, number: int, size: int) -> Array:
        purse.paid.append("noise")
        return drawn(seed, number, size)

    monkeypatch.setattr(updates, "_normal", watched)
    made(NOISE, purse=purse)
    assert purse.paid == ["debit", "noise", "noise"]


def test_no_noise_is_drawn_where_it_cannot_be_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def spent() -> Debit:
        raise Refused("PRIVACY_SPENT", "", "")

    monkeypatch.setattr(updates, "_normal", lambda *_: pytest.fail("drawn"))
    with pytest.raises(Refused):
        ready(TRAINED, SENT, 80, 80, policy(NOISE).limits[TRIAL], spent)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"persons": 49, "batch": 49}, "FEW_PERSONS"),
        ({"batch": 1}, "SMALL_BATCH"),
        ({"trained": {"weights": np.array([4.0, 2.0]), "intercept": np.array([0.25])}}, "NOT_OF_THE_MODEL"),
        ({"trained": {**TRAINED, "rows": np.array([0.25])}}, "NOT_OF_THE_MODEL"),
        ({"trained": {**TRAINED, "weights": np.array([4.0, np.nan, 2.0])}}, "NOT_FINITE"),
    ],
)
def test_nothing_is_paid_for_what_the_gate_refuses(change: dict[str, object], code: str) -> None:
    purse = Purse()
    update = made(NOISE, purse=purse, **change)  # type: ignore[arg-type]
    assert purse.paid == []
    verdict = judged(update, NOISE)
    assert isinstance(verdict, Refusal)
    assert verdict.code == code


@pytest.mark.parametrize("rows", [lambda change: change, lambda change: -change], ids=["all", "without the person"])
def test_two_updates_differ_by_twice_the_norm_at_most(rows: Callable[[Array], Array]) -> None:
    # so that rho is (2 C)^2 / (2 (noise C)^2), whatever one person's rows do to a training
    far = {name: SENT[name] + rows(1e9 * (TRAINED[name] - SENT[name])) for name in SENT}
    other = {name: SENT[name] - rows(1e9 * (TRAINED[name] - SENT[name])) for name in SENT}
    one, two = made(CUT, far), made(CUT, other)
    distance = math.sqrt(sum(float(np.sum((one.arrays[n] - two.arrays[n]) ** 2)) for n in SENT))
    assert distance <= 2 * 6.5 * (1 + 1e-12)
    assert rho_of(2.0) == (2 * 6.5) ** 2 / (2 * 13.0**2)
