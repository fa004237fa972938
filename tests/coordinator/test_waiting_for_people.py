"""A node says that a task waits for a person there: those who watch see it, and a deadline says what was waited for."""

from __future__ import annotations

import pytest

from isthmus_trust.documents import canonical, digest

from .conftest import Region


@pytest.mark.parametrize(
    ("code", "state", "said", "remedy"),
    [
        ("OUTPUT_HELD", "held for inspection", "the numbers were held for inspection", "release list"),
        ("RUN_NOT_DECIDED", "waiting for a decision", "nobody at the site decided on it", "isthmus-node studies"),
    ],
)
def test_what_a_country_waits_for_is_shown_and_said_when_time_is_over(
    region: Region, code: str, state: str, said: str, remedy: str
) -> None:
    nodes = region.nodes("nl", "be")
    nodes[1].silent = True
    for node in nodes:
        node.attach()
    run = region.submit(region.approved(nodes), "fail")
    region.watch(run, lambda p: p.countries[1].state == "asked" and p.countries[0].state == "answered")
    task = digest(canonical(nodes[1].tasks[0]))
    nodes[1].says_it_waits(bytes(32), code)  # of no task that is open
    nodes[1].says_it_waits(task, code)
    region.watch(run, lambda p: p.countries[1].state == state)
    region.forward(3601)
    failure = region.result(run).failure
    assert (failure.code, said in failure.message, remedy in failure.remedy) == ("DEADLINE_PASSED", True, True)


def test_country_that_went_away_is_shown_as_away_whatever_it_waited_for(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[1].silent = True
    for node in nodes:
        node.attach()
    run = region.submit(region.approved(nodes), "wait")
    region.watch(run, lambda p: p.countries[1].state == "asked" and p.countries[0].state == "answered")
    nodes[1].says_it_waits(digest(canonical(nodes[1].tasks[0])), "OUTPUT_HELD")
    region.watch(run, lambda p: p.countries[1].state == "held for inspection")
    nodes[1].detach()
    region.watch(run, lambda p: p.countries[1].state == "away")
