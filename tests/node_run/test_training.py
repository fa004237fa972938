"""A training in a whole node: admission, the app's process, gate, journal, what leaves; and what never does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_site import RUN, asked, message, state, training, values

from isthmus.v1 import exchange_pb2, spec_pb2, summary_pb2
from isthmus_methods.codec import state_to_messages
from isthmus_methods.settings_codec import settings_to_messages
from isthmus_methods.training import state_of
from isthmus_node.catalogue import Datasets
from isthmus_node.config import load
from isthmus_node.custodian.decisions import RELEASE
from isthmus_node.egress.journal_read import entries
from isthmus_node.homes import find_home
from isthmus_node.ops.lines import Mark
from isthmus_node.sources import Source
from isthmus_node.training.checking import check_training
from isthmus_node.training.runner import Trainer
from isthmus_training import apps
from isthmus_training.apps import find
from isthmus_trust.key_files import write_new

pytestmark = pytest.mark.processes


def the_rows(site: Any) -> tuple[np.ndarray, np.ndarray]:
    with Path(site.source).open() as file:
        read = list(csv.DictReader(file))
    X = np.array([[(float(r["AGE"]) - 60) / 9, (float(r["AVAL"]) - 300) / 300] for r in read])
    return X, np.array([float(r["ARM"] == "B") for r in read])


def test_round_gives_the_step_over_the_nodes_own_rows_and_nothing_else(trains: Any) -> None:
    found = values(asked(trains))
    X, y = the_rows(trains)
    slope = X.T @ (0.5 - y) / len(y)
    assert set(found) == {
        ("arrays", "weights"),
        ("arrays", "intercept"),
        ("examples", ""),
        ("metrics", "loss"),
        ("metrics", "accuracy"),
    }
    # the same sums in another order
    np.testing.assert_allclose(found["arrays", "weights"], -0.5 * slope, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["arrays", "intercept"], [-0.5 * np.mean(0.5 - y)], rtol=0, atol=1e-12)
    assert found["examples", ""].tolist() == [400]
    # four digits, as the policy has it
    assert found["metrics", "loss"][0] == float(f"{found['metrics', 'loss'][0]:.4g}")


def test_next_round_begins_where_the_coordinator_says(trains: Any) -> None:
    asked(trains)
    found = values(asked(trains, round=2, state=state([0.3, -0.2], 0.1)))
    X, y = the_rows(trains)
    residual = 1 / (1 + np.exp(-(X @ [0.3, -0.2] + 0.1))) - y
    np.testing.assert_allclose(
        found["arrays", "weights"], [0.3, -0.2] - 0.5 * X.T @ residual / len(y), rtol=0, atol=1e-12
    )


def test_first_round_with_the_apps_own_values_is_answered_and_with_others_is_not(trains: Any) -> None:
    assert values(asked(trains, state=state([0, 0], 0)))["examples", ""].tolist() == [400]
    assert asked(trains, run=bytes(16), state=state([0, 1e-6], 0)).code == "NOT_THE_START"


@pytest.mark.parametrize(
    "arrays",
    [
        {"weights": np.zeros(3), "intercept": np.zeros(1)},
        {"weights": np.zeros(2)},
        {"intercept": np.zeros(1), "weights": np.zeros(2)},
        {"weights": np.zeros(2, dtype=np.float32), "intercept": np.zeros(1)},
    ],
    ids=["shape", "fewer", "order", "type"],
)
def test_model_that_is_not_the_apps_is_refused(trains: Any, arrays: dict[str, np.ndarray]) -> None:
    assert asked(trains, round=2, state=state_to_messages(state_of(arrays))).code == "NOT_THE_MODEL"


def test_evaluation_is_over_the_persons_held_out(trains: Any) -> None:
    spec = training(held_out=0.5)
    trained = values(asked(trains, spec))
    evaluated = values(asked(trains, spec, round=2, message=message("evaluate"), state=state([0.1, 0.0], 0.0)))
    assert ("arrays", "weights") not in evaluated
    assert trained["examples", ""][0] + evaluated["examples", ""][0] == 400
    assert 150 < trained["examples", ""][0] < 250
    cells = evaluated["scores", ""]
    assert cells[:, 3].sum() == evaluated["examples", ""][0]
    assert cells[:, 3].min() >= 5


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"spec": training(app=spec_pb2.ClientApp(name="logistic", version="1", digest=bytes(32)))}, "APP_NOT_ALLOWED"),
        ({"spec": training(app=spec_pb2.ClientApp(name="mlp", version="1", digest=bytes(32)))}, "APP_NOT_ALLOWED"),
        ({"spec": training(rounds=11)}, "TOO_MANY_ROUNDS"),
        ({"message": message("query")}, "UNKNOWN_MESSAGE"),
        ({"message": message("evaluate")}, "NOTHING_HELD_OUT"),
        ({"participants": ["nl"]}, "FEW_CONTRIBUTORS"),
        ({"spec": training(settings=settings_to_messages({"rate": 1.0}))}, "UNKNOWN_SETTING"),
        ({"spec": training(settings=settings_to_messages({"batch-size": 1}))}, "SMALL_BATCH"),
        ({"spec": training(settings=settings_to_messages({"batch-size": 10}))}, "SMALL_BATCH"),
    ],
)
def test_what_the_policy_or_the_app_does_not_allow_is_refused(trains: Any, changes: dict[str, Any], code: str) -> None:
    assert asked(trains, **changes).code == code


def test_training_that_began_again_without_a_country_has_higher_numbers_and_is_answered(trains: Any) -> None:
    """Two rounds, then three again: the numbers of rounds go on, and all of them are fewer than the run may have."""
    asked(trains)
    codes = [getattr(asked(trains, round=n, state=state([0, 0], 0)), "code", "") for n in range(2, 6)]
    assert codes == [""] * 4


def test_first_round_that_is_asked_again_after_others_begins_anew(trains: Any) -> None:
    """As where a country went away in the second round: the starting values were let go by then."""
    first = values(asked(trains))
    asked(trains, round=2, state=state([0.3, -0.2], 0.1))
    again = values(asked(trains, deadline=2_000_000_000 * 10**9))
    assert again["arrays", "weights"].tolist() == first["arrays", "weights"].tolist()
    assert asked(trains, deadline=2_000_000_001 * 10**9, state=state([0, 1e-6], 0)).code == "NOT_THE_START"


def test_site_that_allows_no_app_trains_nothing_and_says_so(site: Any) -> None:
    site.adopt(site.home.policy.read_text().replace('analyses = "ask"', 'analyses = "allow"'))
    assert asked(site).code == "METHOD_NOT_ALLOWED"
    assert "training/1" not in site.service.hello().methods


def test_site_that_allows_one_says_so(trains: Any) -> None:
    assert "training/1" in trains.service.hello().methods


def test_app_whose_source_has_changed_since_does_not_run(trains: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = training()
    monkeypatch.setattr(apps, "digest_of", lambda _: bytes(32))
    assert asked(trains, spec).code == "APP_CHANGED"


def test_message_to_a_method_is_refused(trains: Any) -> None:
    trains.ask(trains.task(message=message()))
    assert trains.answers()[-1].code == "NO_TRAINING"


def test_another_seed_holds_others_out_and_the_auditor_counts_both(trains: Any) -> None:
    """Two trainings that differ in who is held out are two cohorts: their difference is of the persons between them."""
    for number in (1, 2):
        asked(trains, training(held_out=0.25, seed=number), run=bytes([number]) * 16)
    released = [
        r.event for r in (entry.record for entry in entries(trains.home.journal / "journal")) if r.event == "AUDITED"
    ]
    assert len(released) == 2


def test_process_ends_with_the_run(trains: Any) -> None:
    asked(trains)
    (run,) = trains.runs._runs.values()
    trains.service.run_ended(exchange_pb2.RunEnded(run=RUN, given=True))
    trains.service.work_off()
    assert run.trainer.ended
    assert not trains.runs._runs


def test_run_has_no_more_answers_than_its_plan_whatever_its_rounds_are_called(trains: Any) -> None:
    spec = training(rounds=1)
    codes = []
    for number in range(6):
        # each in round 2, with a model of the coordinator's choice, and by a process begun anew
        trains.answering.run_ended(RUN)
        codes.append(getattr(asked(trains, spec, round=2, state=state([0.1 * number, 0.0], 0.0)), "code", ""))
    most = 2 * max(1, len(trains.study.participants) - 1)
    assert codes == [""] * most + ["TOO_MANY_ROUNDS"] * (6 - most)


def test_process_that_nobody_asks_is_ended_and_begun_anew(trains: Any) -> None:
    asked(trains)
    (run,) = trains.runs._runs.values()
    trains.runs._clock = lambda: run.trainer.used + 1e6
    trains.service.settle_again()
    trains.service.work_off()
    assert run.trainer.ended
    assert values(asked(trains, round=2, state=state([0, 0], 0)))["examples", ""].tolist() == [400]


def test_open_data_leave_without_floors_and_with_fine_scores(trains: Any) -> None:
    Datasets(trains.home.state, "NL").add("ADTTE", Source(str(trains.source)), open_data=True, replacing=True)
    trains.service.look_again()
    spec = training(held_out=0.1, settings=settings_to_messages({"batch-size": 1}))
    asked(trains, spec)
    evaluated = values(asked(trains, spec, round=2, message=message("evaluate"), state=state([0.1, 0.0], 0.0)))
    assert evaluated["scores", ""][:, 3].min() < 5


def test_noise_that_the_policy_asks_for_is_paid_for_and_in_what_leaves(trains: Any) -> None:
    text = trains.home.policy.read_text()
    text = text.replace("update_norm = 1e300", "update_norm = 0.01").replace("update_noise = 0.0", "update_noise = 2.0")
    trains.adopt(text)
    summary = asked(trains)
    assert summary.privacy.rho == 0.5
    X, y = the_rows(trains)
    change = values(summary)["arrays", "weights"] + 0.5 * X.T @ (0.5 - y) / len(y)
    assert np.abs(change).min() > 0
    # the budget is 1: two of these, and no third
    assert asked(trains, round=2, state=state([0, 0], 0)).privacy.rho_total == 1.0
    assert asked(trains, round=3, state=state([0, 0], 0)).code == "PRIVACY_SPENT"


def test_answer_that_the_custodian_has_seen_is_the_one_that_leaves(
    trains: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app may answer otherwise when it is asked again; it is not asked again."""
    trains.adopt(f'{trains.home.policy.read_text()}\n[release]\noutputs = "ask"\n')
    asks: list[Any] = []
    ask = Trainer.ask
    monkeypatch.setattr(Trainer, "ask", lambda self, message: asks.append(message) or ask(self, message))
    trains.ask(trains.task(analysis="", spec=training(), run=RUN, message=message()))
    (held,) = trains.service._parts.held.everything()
    assert not trains.wire.submitted
    trains.decide(held.digest, context=RELEASE)
    assert trains.wire.submitted == [held.payload]
    assert len(asks) == 1


def test_third_run_ends_the_process_of_the_one_asked_longest_ago(trains: Any) -> None:
    for number in (1, 2):
        asked(trains, run=bytes([number]) * 16)
    first, second = trains.runs._runs.values()
    asked(trains, run=bytes([1]) * 16, round=2, state=state([0, 0], 0))
    asked(trains, run=bytes([3]) * 16)
    assert (first.trainer.ended, second.trainer.ended) == (False, True)


def test_data_registered_anew_end_the_processes_that_have_the_old_rows(trains: Any) -> None:
    asked(trains)
    (run,) = trains.runs._runs.values()
    Datasets(trains.home.state, "NL").add("ADTTE", Source(str(trains.source)), open_data=True, replacing=True)
    trains.service.look_again()
    trains.service.work_off()
    assert run.trainer.ended


def test_apps_are_listed_with_the_lines_that_allow_them(
    isthmus_node: Callable[..., Any], token_file: Path, tmp_path: Path
) -> None:
    assert isthmus_node("join", token_file).code == 0
    policy = find_home(tmp_path / "home", {}).policy
    policy.write_text(f"{policy.read_text()}\n[training]\n{find('logistic').policy_lines}\n")
    listed = isthmus_node("apps", "list", "--json")
    assert listed.code == 0
    found = {one["name"]: one for one in listed.data["apps"]}
    assert (found["logistic"]["standing"], found["mlp"]["standing"]) == ("allowed", "not allowed")
    assert found["mlp"]["policy_lines"] == find("mlp").policy_lines
    shown = isthmus_node("apps", "list").out
    assert all(line in shown for line in found["mlp"]["policy_lines"].splitlines())
    assert found["logistic"]["policy_lines"].splitlines()[0] not in shown


def test_check_says_what_an_app_is_kept_from_and_whether_it_is_the_allowed_one(
    trains: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(trains.home, env={})
    lines = list(check_training(config))
    assert [line.mark for line in lines] == [Mark.PASS, Mark.PASS]
    assert "Landlock" in lines[0].found
    monkeypatch.setattr(apps, "digest_of", lambda _: bytes(32))
    assert [line.mark for line in check_training(config)] == [Mark.PASS, Mark.FAIL]


def test_check_skips_training_where_no_app_may(site: Any) -> None:
    (line,) = check_training(load(site.home, env={}))
    assert line.mark is Mark.SKIP


def test_node_that_trains_has_not_imported_flower(trains: Any) -> None:
    import subprocess
    import sys

    program = (
        "import sys, isthmus_node.running, isthmus_node.cli, isthmus_node.training.runs, isthmus_node.training.answer;"
        "print([name for name in ('flwr', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def all_but_a_few(site: Any) -> list[tuple[str, int, np.ndarray]]:
    """A training on everybody, then some that hold out hardly anybody: code, persons, sum of all rows' gradients."""
    write_new(site.home.held_out_key, bytes(range(32)))  # so that the same persons are held out each time
    found = []
    for seed, share in [(0, 0.0), *((seed, 0.003) for seed in range(6))]:
        left = asked(site, training(held_out=share, seed=seed), run=bytes([seed + 1, int(share > 0)]) * 8)
        if isinstance(left, summary_pb2.Refusal):
            found.append((left.code, 0, np.zeros(3)))
            continue
        numbers = values(left)
        persons = int(numbers["examples", ""][0])
        step = np.append(numbers["arrays", "weights"], numbers["arrays", "intercept"])
        found.append(("", persons, -2 * persons * step))
    return found


def test_two_trainings_that_hold_out_a_person_differ_by_that_persons_row_without_the_auditor(
    trains: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trains.answering._auditor, "violation", lambda *_: None)
    (_, everybody, whole), *others = all_but_a_few(trains)
    gone = [whole - less for _, persons, less in others if persons == everybody - 1]
    assert gone
    X, _ = the_rows(trains)
    for row in (rest[:2] / rest[2] for rest in gone):
        # to the last digits that a difference of sums over 400 leaves
        assert np.abs(X - row).max(axis=1).min() < 1e-9


def test_trainings_that_differ_by_a_few_persons_held_out_are_refused(trains: Any) -> None:
    (_, everybody, _), *others = all_but_a_few(trains)
    assert {(code, persons) for code, persons, _ in others} <= {("", everybody), ("DIFFERENCING", 0)}
    assert "DIFFERENCING" in {code for code, _, _ in others}
