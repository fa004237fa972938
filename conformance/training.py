"""``python -m conformance.training CASE``: a model trained over real nodes, beside each country alone and all pooled.

One row in five of each country is held out of every training. The federated model is trained over a node a country; the
others in this process, by the same app with the same settings, on rows that here may lie together. All predict the
same held-out rows, so their AUC can be compared to the last digit.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformance.case import Case, read_case
from conformance.run import register, set_up
from conformance.study import study_toml
from isthmus.errors import UsageError
from isthmus_client.proposal import study_from_toml
from isthmus_client.results import TrainingFit
from isthmus_client.sandbox import Sandbox
from isthmus_client.study import Study
from isthmus_client.training import FedAvg, Model

STUDY, APP, FOLD, FOLDS = "TRAINING", "logistic", "FOLD", 5
# What is trained where a case is known; any other needs --formula.
FORMULAS: Mapping[str, str] = {
    "p06_logistic_ist": "DEADDEP6 == 1 ~ RXASP + I((AGE - 70)/10) + SEX + I((RSBP - 160)/20) + I((RDELAY - 20)/12)"
    " + RCONSC + STYPE",
    "p13_cox_rotterdam_gbsg": "status == 1 ~ I((age - 55)/10) + meno + size + grade + sqrt(nodes) + hormon",
}
SETTINGS: Mapping[str, object] = {"learning-rate": 0.5, "local-epochs": 5}
ROUNDS = 40
# Largest distance of the federated model's AUC from the pooled one's.
CLOSE = 0.005


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    trained: str
    rows: int
    auc: float  # over the held-out rows of all countries
    own: float | None = None  # over those of its own country


@dataclass(frozen=True, slots=True)
class Compared:
    """The table, and the federated model's evaluation as its nodes' counts have it."""

    lines: Sequence[Line]
    fit: TrainingFit

    @property
    def distance(self) -> float:
        """Of the federated model's AUC from that of the pooled one."""
        federated, pooled = (
            next(x.auc for x in self.lines if x.trained.startswith(w)) for w in ("federated", "pooled")
        )
        return abs(federated - pooled)


def compare(folder: Path, home: Path, formula: str = "", rounds: int = ROUNDS) -> Compared:
    """Train over nodes, alone and pooled.

    Parameters
    ----------
    folder
        A case with one table.
    home
        An empty folder; the rows are copied there with one more column, and the network lives there.
    formula
        Of the model; empty: the case's own of `FORMULAS`.

    Raises
    ------
    UsageError
        ``NO_FORMULA`` for a case that has none.
    """
    formula = formula or FORMULAS.get(folder.name, "")
    if not formula:
        raise UsageError("NO_FORMULA", f"no formula is known for {folder.name}", "give one with --formula")
    case = read_case(with_folds(folder, home / folder.name))
    with Sandbox(home / "network", name="training") as box:
        set_up(box, case.countries)
        register(box, case)
        allow(box, APP)
        fits = _trained(box, case, formula, rounds)
    return Compared(_lines(case, fits[0].model, rounds), fits[1])


def with_folds(folder: Path, copy: Path) -> Path:
    """A copy of a case whose rows have a fold, drawn for each country by itself."""
    shutil.copytree(folder, copy)
    document = json.loads((copy / "case.json").read_text(encoding="utf-8"))
    document["variables"][FOLD] = {"type": "integer"}
    for k, entry in enumerate(document["countries"]):
        path = copy / entry["file"]
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file)
        folds = np.random.default_rng(k).permutation(len(rows)) % FOLDS
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [[*names, FOLD], *([*row, str(fold)] for row, fold in zip(rows, folds, strict=True))]
            )
    (copy / "case.json").write_text(json.dumps(document), encoding="utf-8")
    return copy


def allow(box: Sandbox, app: str) -> None:
    """Each site's custodian lets an app train there, as it is installed, and signs the policy."""
    for node, listed in box.at_each_node(dict.fromkeys(box.countries, ("apps", "list"))).items():
        found: Any = listed
        lines = next(a["policy_lines"] for a in found["apps"] if a["name"] == app)
        policy = box.node_home(node) / "policy.toml"
        policy.write_text(f"{policy.read_text(encoding='utf-8')}\n[training]\n{lines}\n", encoding="utf-8")
    adopt = ("policy", "adopt", "--reason", f"app {app} was reviewed")
    box.at_each_node(dict.fromkeys(box.countries, adopt))


def _trained(box: Sandbox, case: Case, formula: str, rounds: int) -> list[TrainingFit]:
    """The model of all rows but the fold held out; and one for which the nodes choose whom to hold out."""
    nodes = {country: node for node, country in box.countries.items()}
    path = box.home / "study.toml"
    path.write_text(study_toml(case, STUDY, nodes), encoding="utf-8")
    with box.connect() as connection:
        message = study_from_toml(path, connection.participants())
        asked = Study(connection, message, b"")
        for name, held_out, where in (("held out here", 0.0, f"{FOLD} > 0"), ("held out there", 1 / FOLDS, None)):
            plan = asked.train(
                formula, app=APP, strategy=FedAvg(), rounds=rounds, held_out=held_out, settings=SETTINGS, where=where
            )
            message.plan.append(plan.steps[0].analysis)
            message.plan[-1].name = name.replace(" ", "-")
        connection.propose(message)
        box.approve(STUDY, nodes.values(), "conformance")
        study = connection.study(STUDY)
        fits = [study.planned(name).run(progress=False) for name in study.plan()]
    return [fit for fit in fits if isinstance(fit, TrainingFit)]


def _lines(case: Case, federated: Model, rounds: int) -> list[Line]:
    import pandas as pd

    (table,) = case.tables.values()
    frame = pd.concat([pd.read_csv(path) for path in table.files.values()], ignore_index=True)
    columns = federated.design(frame)
    outcome = outcome_of(federated, frame)
    whole = ~np.isnan(columns).any(axis=1) & ~np.isnan(outcome)
    held = whole & (frame[FOLD] == 0).to_numpy()
    train = whole & ~held

    def line(name: str, model: Any, rows: Any, own: str = "") -> Line:
        predicted = columns[held] @ model["weights"] + model["intercept"][0]
        here = (frame[case.country][held] == own).to_numpy()
        of_own = auc(predicted[here], outcome[held][here]) if own else None
        return Line(name, int(rows.sum()), auc(predicted, outcome[held]), of_own)

    def alone(rows: Any) -> Mapping[str, Any]:
        return here(federated, columns[rows], outcome[rows], rounds)

    found = [
        line(f"federated, {len(case.countries)} nodes", federated.weights, train),
        line("pooled", alone(train), train),
    ]
    for country in case.countries:
        mine = train & (frame[case.country] == country).to_numpy()
        found.append(line(f"{country} alone", alone(mine), mine, country))
    return found


def outcome_of(model: Model, frame: Any) -> Any:
    """0 and 1, (n,), NaN where missing: the outcome as the request has it."""
    from isthmus_client.training.design import Rows

    (column,) = model.spec.role("outcome")
    return Rows(model.spec, frame).part(column, model.spec.levels(column)[1])


def here(model: Model, columns: Any, outcome: Any, rounds: int) -> Mapping[str, Any]:
    """Weights that the same app gives over rows in this process."""
    from flwr.serverapp.strategy import FedAvg as FlowerFedAvg

    from isthmus_training.apps import find
    from isthmus_training.in_process import Country, train_in_process
    from isthmus_training.rows import Rows

    logging.getLogger("flwr").setLevel(logging.ERROR)  # it tells each round to the terminal
    rows = Rows(columns, model.columns, outcome, ("0", "1"), np.arange(len(outcome)))
    one = FlowerFedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1)
    plan = model.spec.training
    settings = {} if plan is None else plan.settings
    return train_in_process(find(APP).module, {"here": Country(rows, rows)}, one, rounds, settings).arrays


def auc(predicted: Any, outcome: Any) -> float:
    """Area under the receiver operating characteristic by ranks (Mann and Whitney 1947); NaN with one outcome only."""
    from scipy.stats import rankdata

    events = float(outcome.sum())
    others = len(outcome) - events
    if not events or not others:
        return float("nan")
    return float((rankdata(predicted)[outcome > 0].sum() - events * (events + 1) / 2) / (events * others))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 where federated and pooled are as close as they shall be."""
    parser = argparse.ArgumentParser(prog="python -m conformance.training", description=__doc__)
    parser.add_argument("case", type=Path, help="folder of a case with one table")
    parser.add_argument("--formula", default="", help="of the model; known for: " + ", ".join(FORMULAS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="training-", ignore_cleanup_errors=True) as home:
        compared = compare(options.case, Path(home), options.formula, options.rounds)
    pooled = compared.lines[1].auc
    _print(f"{'trained on':<22}{'rows':>8}{'AUC, all held out':>20}{'from pooled':>13}{'AUC, own held out':>20}")
    for x in compared.lines:
        own = "" if x.own is None else f"{x.own:.4f}"
        _print(f"{x.trained:<22}{x.rows:>8,}{x.auc:>20.4f}{x.auc - pooled:>+13.4f}{own:>20}")
    _print("")
    _print("A second training, in which each node held out persons of its own choice; as the nodes' counts have it:")
    _print(compared.fit.tables()["Evaluation on persons held out"].to_string())
    _print(f"federated is {compared.distance:.2g} from pooled; at most {CLOSE}")
    return 0 if compared.distance <= CLOSE else 1


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    sys.exit(main())
