"""What is not mounted, and why: no ground for it, not promised, or open."""

from __future__ import annotations

from attacks.attack import Listed

SECURITY = "SECURITY.md, What is not promised"
AUDITOR = "node/isthmus_node/egress/README.md, The auditor"

LISTED = (
    Listed(
        10,
        "averaging repeated noise",
        "analyst",
        "stored release",
        "no ground",
        "a question asked again has the same numbers; the noise of trained models spends a budget (tests/egress)",
        AUDITOR,
    ),
    Listed(
        11,
        "the same cohort written in another way",
        "analyst",
        "normalised tree",
        "no ground",
        "another way of asking gives the same numbers; noise is paid for, however it is asked for",
        AUDITOR,
    ),
    Listed(
        21,
        "daily curve of a trial's analysis",
        "analyst",
        "leavers a step where the site asks for it",
        "not promised",
        "the default of a trial shows a day on which one person has an event",
        SECURITY,
        "b",
    ),
    Listed(
        40,
        "how long an answer takes",
        "network",
        "release slots where the policy asks for them",
        "not promised",
        "without slots in the site's policy an answer leaves when it is ready",
        SECURITY,
    ),
    Listed(
        28,
        "many states as chosen functionals, in open mode",
        "coordinator",
        "cap of rounds",
        "not promised",
        "in open mode a node cannot see that a state follows from the sums of the other countries",
        SECURITY,
        "d",
    ),
    Listed(
        43,
        "sealed round, all others colluding",
        "coordinator",
        "three or more",
        "not promised",
        "who has the numbers of all countries but one has that one's from the sum",
        SECURITY,
        "b",
    ),
    Listed(
        57,
        "later state that singles out a person, where the policy asks for no noise",
        "coordinator",
        "noise where the policy asks for it",
        "not promised",
        "without noise nothing is promised of a model that a coordinator chooses for each round",
        SECURITY,
        "c",
    ),
)
