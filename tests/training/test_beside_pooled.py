"""A model trained over nodes of four countries is as good as one on their pooled rows: the vendored trial's."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.training import CLOSE, compare

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT / "tests/reference/p13_cox_rotterdam_gbsg"


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_federated_is_as_good_as_pooled_and_better_than_the_small_countries_alone(tmp_path: Path) -> None:
    compared = compare(CASE, tmp_path, rounds=25)
    auc = {line.trained: line.auc for line in compared.lines}
    assert compared.distance <= CLOSE
    for small in ("BE alone", "DE alone", "AT alone"):
        assert auc["federated, 4 nodes"] > auc[small] + CLOSE
    # what the nodes' counts say of a training with held-out persons of their own choice: others, by chance, so only
    # near. The interval is four standard errors wide; chance does not leave five to either side.
    row = compared.fit.evaluation().loc["all countries"]
    assert abs(row["auc"] - auc["pooled"]) < 1.25 * (row["auc_upper"] - row["auc_lower"])
    assert row["rows"] == pytest.approx(3668 / 5, rel=0.15)
