"""What the nodes tell of their policies: kept as signed; the strictest of them, with the country that sets it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.errors import IsthmusError
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_coordinator.analyses.strictest import Asked, Told, ruled_out, strictest, variables_of
from isthmus_coordinator.roster.limits import MAX_BYTES, PolicyLimits
from isthmus_trust.certificates import Role
from isthmus_trust.documents import LIMITS, SUMMARY, canonical
from isthmus_trust.identity import IdentityKey
from isthmus_trust.roster import RosterEntry, State

from .conftest import Region, call, spec

TRIAL = study_pb2.TRIAL_ANALYSIS
PLAIN = Asked(TRIAL, (), frozenset({"count"}), (), True, 3)


def threshold(name: str, value: float, *kinds: str, smaller: bool = False) -> study_pb2.Threshold:
    return study_pb2.Threshold(
        name=name, value=value, smaller_is_tighter=smaller, rule=f"{name} is {value:g}", kinds=kinds
    )


def stated(cells: float = 5, *, preset: str = "", recipient: int = 0, **more: object) -> study_pb2.StatedLimits:
    purpose = study_pb2.PurposeLimits(
        purpose=TRIAL,
        recipient=recipient,  # type: ignore[arg-type]
        thresholds=[
            threshold("cell_persons", cells, "count"),
            threshold("leverage", 0.5, "score", smaller=True),
            threshold("contributors", 1),
        ],
    )
    return study_pb2.StatedLimits(node="nl", preset=preset, purposes=[purpose], **more)  # type: ignore[arg-type]


def explained(asked: Asked, **countries: study_pb2.StatedLimits | None) -> analyst_pb2.Explanation:
    answer = analyst_pb2.Explanation()
    strictest([Told(country, limits) for country, limits in countries.items()], asked, answer)
    return answer


def limits_of(answer: analyst_pb2.Explanation) -> dict[str, tuple[str, list[str], bool]]:
    return {limit.name: (limit.rule, list(limit.countries), limit.agreed) for limit in answer.limits}


# --------------------------------------------------------------------------- the strictest


def test_strictest_number_is_said_with_the_country_that_sets_it() -> None:
    answer = explained(PLAIN, NL=stated(), CN=stated(10, preset="CN"), VN=stated(10, preset="VN"))
    assert limits_of(answer) == {
        "cell_persons": ("cell_persons is 10", ["CN", "VN"], False),
        "contributors": ("contributors is 1", ["NL", "CN", "VN"], True),
    }
    assert list(answer.limits[0].presets) == ["CN", "VN"]
    assert not answer.refusing
    assert not answer.unknown


def test_threshold_that_tightens_downwards_is_compared_downwards() -> None:
    low = stated()
    low.purposes[0].thresholds[1].value = 0.25
    asked = Asked(TRIAL, (), frozenset({"score"}), (), True, 3)
    answer = explained(asked, NL=stated(), CN=low)
    assert limits_of(answer)["leverage"][1:] == (["CN"], False)
    assert "cell_persons" not in limits_of(answer), "no count leaves"


@pytest.mark.parametrize(
    ("limits", "asked", "word"),
    [
        (study_pb2.StatedLimits(), PLAIN, "for this purpose"),
        (stated(recipient=study_pb2.SPONSOR), PLAIN, "does not say who does"),
        (
            stated(recipient=study_pb2.SPONSOR),
            Asked(TRIAL, (study_pb2.PUBLIC,), frozenset(), (), True, 3),
            "one of the recipients",
        ),
        (stated(exploratory="refuse"), Asked(TRIAL, (), frozenset(), (), False, 3), "approved plan"),
        (
            stated(refused_roles=[study_pb2.Variable.GENOMIC]),
            Asked(
                TRIAL,
                (),
                frozenset(),
                (study_pb2.Variable(name="KRAS", roles=[study_pb2.Variable.GENOMIC]),),
                True,
                3,
            ),
            "KRAS",
        ),
    ],
)
def test_policy_that_stands_against_an_analysis_is_said_with_why(
    limits: study_pb2.StatedLimits, asked: Asked, word: str
) -> None:
    answer = explained(asked, CN=limits)
    (refusing,) = answer.refusing
    assert refusing.country == "CN"
    assert word in refusing.reason
    assert not answer.limits


def test_run_of_fewer_countries_than_a_policy_asks_for_is_said() -> None:
    many = stated()
    many.purposes[0].thresholds[2].CopyFrom(threshold("contributors", 4))
    (refusing,) = explained(PLAIN, CN=many).refusing
    assert "contributors is 4" in refusing.reason


@pytest.mark.parametrize(
    ("kinds", "countries", "refuses"), [(("update",), 2, 1), (("update",), 3, 0), (("sum",), 2, 0)]
)
def test_training_over_fewer_countries_than_a_policy_asks_for_is_said(
    kinds: tuple[str, ...], countries: int, refuses: int
) -> None:
    many = stated()
    many.purposes[0].thresholds.append(threshold("update_contributors", 3, "update"))
    answer = explained(Asked(TRIAL, (), frozenset(kinds), (), True, countries), CN=many)
    assert len(answer.refusing) == refuses
    assert all("update_contributors is 3" in one.reason for one in answer.refusing)


def test_recipients_that_are_named_are_held_to_the_strictest_of_theirs() -> None:
    two = stated(6, recipient=study_pb2.SPONSOR)
    two.purposes.extend(stated(9, recipient=study_pb2.AUTHORITY).purposes)
    to = (study_pb2.SPONSOR, study_pb2.AUTHORITY)
    assert limits_of(explained(Asked(TRIAL, to, frozenset({"count"}), (), True, 3), CN=two))["cell_persons"][0] == (
        "cell_persons is 9"
    )
    alone = Asked(TRIAL, to[:1], frozenset({"count"}), (), True, 3)
    assert limits_of(explained(alone, CN=two))["cell_persons"][0] == "cell_persons is 6"


def test_country_that_told_nothing_and_one_that_asks_a_person_are_named() -> None:
    answer = explained(PLAIN, NL=None, CN=stated(asks_each_run=True))
    assert (list(answer.unknown), list(answer.asking)) == (["NL"], ["CN"])


def test_rule_of_a_node_is_shown_as_text() -> None:
    odd = stated()
    odd.purposes[0].thresholds[0].rule = "a\x1b[31m" + "x" * 5000
    (limit, _) = explained(PLAIN, CN=odd).limits
    assert "\x1b" not in limit.rule
    assert len(limit.rule) <= 200


def test_variables_of_a_request_are_found_wherever_they_stand() -> None:
    dataset = study_pb2.Dataset(name="D", variables=[study_pb2.Variable(name=name) for name in ("ARM", "AGE", "OTHER")])
    message = spec()
    message.ClearField("terms")
    message.where.negation.comparison.variable = "AGE"
    message.roles.add(name="arm").columns.add().indicator.membership.variable = "ARM"
    assert {variable.name for variable in variables_of(message, [dataset])} >= {"ARM", "AGE"}
    assert "OTHER" not in {variable.name for variable in variables_of(message, [dataset])}


# --------------------------------------------------------------------------- as it was signed


def entry_of(key: IdentityKey, node: str = "nl") -> RosterEntry:
    return RosterEntry(node, "NL", key.public, bytes(32), Role.NODE, "1", State.ACTIVE)


def test_what_a_node_told_is_kept_until_it_tells_otherwise(region: Region) -> None:
    limits = PolicyLimits(region.coordinator.office.database, region.coordinator.office.clock)
    key = IdentityKey.generate()
    limits.take(entry_of(key), key.sign(LIMITS, canonical(stated(7))))
    assert limits.find(["nl", "de"])["nl"].purposes[0].thresholds[0].value == 7
    limits.take(entry_of(key), key.sign(LIMITS, canonical(stated(8))))
    assert limits.find(["nl"])["nl"].purposes[0].thresholds[0].value == 8
    limits.take(entry_of(key), None)
    assert limits.find(["nl"]) == {}


@pytest.mark.parametrize("how", ["another key", "another node", "another kind", "too large"])
def test_what_is_not_the_nodes_own_word_is_not_kept(region: Region, how: str) -> None:
    limits = PolicyLimits(region.coordinator.office.database, region.coordinator.office.clock)
    key = IdentityKey.generate()
    context = SUMMARY if how == "another kind" else LIMITS
    body = stated(preset="x" * MAX_BYTES if how == "too large" else "")
    signed = (IdentityKey.generate() if how == "another key" else key).sign(context, canonical(body))
    with pytest.raises(IsthmusError) as caught:
        limits.take(entry_of(key, "de" if how == "another node" else "nl"), signed)
    codes = {"WRONG_SIGNER", "LIMITS_OF_ANOTHER", "WRONG_CONTEXT", "LIMITS_TOO_LARGE"}
    assert caught.value.code in codes
    assert limits.find(["nl", "de"]) == {}


def test_explanation_says_which_country_sets_which_number(region: Region) -> None:
    nodes = nl, be, _ = region.nodes("nl", "be", "de")
    for node, cells in ((nl, 5), (be, 10)):
        told = stated(cells, preset="VN" if node is be else "")
        told.node = node.name
        node.attach(limits=node.identity.sign(LIMITS, canonical(told)))
        node.next("welcome")
    study = region.propose(region.study(nodes))
    request = analyst_pb2.ExplainRequest(study_digest=study, analysis=study_pb2.Analysis(name="fail"))
    said = call(region.lead.analyst.Explain, request)
    assert limits_of(said)["cell_persons"] == ("cell_persons is 10", ["BE"], False)
    assert list(said.unknown) == ["DE"]
    # kept over a restart, and for those that are away
    region.restart()
    assert limits_of(call(region.lead.analyst.Explain, request))["cell_persons"][1] == ["BE"]


def test_node_that_tells_in_anothers_name_is_not_attached(region: Region) -> None:
    (nl,) = region.nodes("nl")
    nl.attach(limits=IdentityKey.generate().sign(LIMITS, canonical(stated())))
    error = nl.ended.get(timeout=10)
    assert error is not None
    assert error.code == "WRONG_SIGNER"


# --------------------------------------------------------------------------- what is refused before anybody is asked


@pytest.mark.parametrize(
    ("limits", "asked", "code"),
    [
        (stated(), PLAIN, ""),
        (stated(), replace(PLAIN, purpose=study_pb2.PUBLICATION), "PURPOSE_NOT_ALLOWED"),
        (stated(recipient=study_pb2.SPONSOR), PLAIN, "RECIPIENT_NOT_NAMED"),
        (stated(recipient=study_pb2.SPONSOR), replace(PLAIN, recipients=(study_pb2.PUBLIC,)), "RECIPIENT_NOT_ALLOWED"),
        (stated(recipient=study_pb2.SPONSOR), replace(PLAIN, recipients=(study_pb2.SPONSOR,)), ""),
        (stated(), replace(PLAIN, countries=0), "FEW_CONTRIBUTORS"),
        (stated(open_datasets=["D"]), replace(PLAIN, countries=0), ""),
        (None, PLAIN, ""),
    ],
)
def test_what_a_country_refuses_for_certain_is_known_before_it_is_asked(
    limits: study_pb2.StatedLimits | None, asked: Asked, code: str
) -> None:
    error = ruled_out(Told("CN", limits), asked, {"D"})
    assert (error.code if error else "") == code
    assert error is None or "CN would refuse it, so no country was asked" in error.message


def test_run_that_a_country_rules_out_asks_nobody(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    study_digest = region.approved(nodes)
    for node in nodes:
        node.attach(limits=node.identity.sign(LIMITS, canonical(study_pb2.StatedLimits(node=node.name))))
        node.next("welcome")
    with pytest.raises(IsthmusError) as caught:
        region.submit(study_digest, "fail")
    assert caught.value.code == "PURPOSE_NOT_ALLOWED"
    assert nodes[0].tasks == []
    # a run that may go on without a country says afterwards who refused
    region.submit(study_digest, "go-on")
