"""Every method: from the journals alone the same answer, to the bit, as the coordinator gave."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bundle_kit import REQUESTS, Region

from isthmus_client.replay import Outcome, exit_code_of, read_bundles, replay
from isthmus_client.replay.held import withheld_of
from isthmus_methods.codec import answer_to_message
from isthmus_methods.registry import METHODS
from isthmus_node.egress.policy import Policy

# One request a method is enough to see its pooled half; those of several rounds with memory are among them.
ANALYSES = [next(title for title, (name, _) in REQUESTS.items() if name == method) for method in METHODS]


@pytest.mark.parametrize("analysis", ANALYSES)
def test_answer_is_the_coordinators_to_the_bit(analysis: str, tmp_path: Path) -> None:
    region = Region(tmp_path)
    region.approve()
    result = region.run(analysis)
    assert result.state == "done", result.failure
    bundles = read_bundles(region.export(tmp_path / "out"))
    (judged,) = replay(bundles, region.result_file(tmp_path / "result.json", result), exact=True)
    run = judged.replayed
    assert run.outcome is Outcome.POOLED, run.why
    assert run.done is not None
    pooled = answer_to_message(run.done.answer).SerializeToString(deterministic=True)
    assert pooled == result.answer.SerializeToString(deterministic=True)
    assert len(run.rounds) == result.rounds
    assert all(r.asked.to_the_bit for r in run.rounds)
    assert judged.near is not None
    assert judged.near.to_the_bit
    assert exit_code_of([judged]) == 0


@pytest.mark.parametrize(
    ("analysis", "exact"),
    [("table_one, by country", False), ("mmrm, with least-squares means", True), ("lmm, nested", False)],
)
def test_answer_with_withheld_fields_is_the_same_and_they_are_named(analysis: str, exact: bool, tmp_path: Path) -> None:
    """Under the policy's floors: fields the method does without, and fields that others make up for."""
    region = Region(tmp_path)
    region.open_data = False
    region.approve()
    result = region.run(analysis)
    told = [list(c.withheld) for c in result.contributions]
    assert (result.state, result.exact, any(told)) == ("done", exact, True)
    bundles = read_bundles(region.export(tmp_path / "out"))
    (judged,) = replay(bundles, region.result_file(tmp_path / "result.json", result), exact=True)
    assert judged.replayed.outcome is Outcome.POOLED, judged.replayed.why
    assert [withheld_of(judged.replayed, a.node) for a in judged.replayed.rounds[-1].answers] == told


@pytest.mark.parametrize("analysis", ["table_one, by country", "mmrm, with least-squares means"])
def test_rounded_counts_are_pooled_again_as_they_left(analysis: str, tmp_path: Path) -> None:
    region = Region(tmp_path)
    region.open_data = False
    region.policy = Policy.read("[purpose.trial_analysis]\ncount_rounding = 5")
    region.approve()
    result = region.run(analysis)
    assert (result.state, result.exact) == ("done", False)
    (said,) = [caveat for caveat in result.caveats if "rounded to multiples of 5" in caveat]
    bundles = read_bundles(region.export(tmp_path / "out"))
    (judged,) = replay(bundles, region.result_file(tmp_path / "result.json", result), exact=True)
    assert judged.replayed.outcome is Outcome.POOLED, judged.replayed.why
    assert judged.replayed.done is not None
    assert said in judged.replayed.done.caveats
    assert exit_code_of([judged]) == 0
