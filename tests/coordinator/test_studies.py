"""Studies: proposing, amending, deciding, and what is refused before a site ever sees it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from isthmus.errors import IsthmusError
from isthmus.v1 import analyst_pb2, exchange_pb2, spec_pb2, study_pb2
from isthmus_methods import codec, contract as c
from isthmus_trust.documents import DECISION, STUDY, canonical, digest
from isthmus_trust.identity import IdentityKey

from .conftest import Region, alone, call, spec

Change = Callable[[study_pb2.Study], object]


def refusal(region: Region, study: study_pb2.Study) -> IsthmusError:
    signed = region.lead.identity.sign(STUDY, canonical(study))
    return alone(region.lead.analyst.ProposeStudy, analyst_pb2.ProposeStudyRequest(study=signed))


def test_study_is_kept_as_signed_and_found_by_its_name(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    study = region.study(nodes)
    study_digest = region.propose(study)
    assert study_digest == digest(canonical(study))
    reply = call(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="TRIAL"))
    assert reply.digest == study_digest
    assert study_pb2.Study.FromString(reply.study.body) == study
    assert [(s.node, s.country, s.attached, s.decision) for s in reply.sites] == [
        ("nl", "NL", False, "waiting"),
        ("be", "BE", False, "waiting"),
    ]


def test_sites_show_contact_software_datasets_and_decision(region: Region) -> None:
    (node,) = region.nodes("nl")
    before = time.time_ns()
    node.attach().next("welcome")
    region.approved([node])
    (site,) = call(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="TRIAL")).sites
    assert (site.attached, site.decision, site.software, list(site.datasets)) == (True, "approved", "0.1.0", ["ADTTE"])
    assert site.last_contact >= before
    assert site.certificate_expires > before
    (line,) = call(region.lead.analyst.ListStudies, analyst_pb2.ListStudiesRequest()).studies
    assert (line.approved, line.participants) == (1, 1)


def test_same_study_again_changes_nothing(region: Region) -> None:
    study = region.study(region.nodes("nl"))
    assert region.propose(study) == region.propose(study)
    assert len(call(region.lead.analyst.ListStudies, analyst_pb2.ListStudiesRequest()).studies) == 1


def test_amendment_has_a_higher_version_and_is_decided_anew(region: Region) -> None:
    nodes = region.nodes("nl")
    region.approved(nodes)
    assert refusal(region, region.study(nodes, title="other")).code == "OLD_VERSION"
    region.propose(region.study(nodes, version=2, title="other"))
    newest = call(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="TRIAL"))
    assert newest.sites[0].decision == "waiting"
    first = call(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="TRIAL", version=1))
    assert first.sites[0].decision == "approved"


def test_study_is_signed_by_the_one_who_proposes_it(region: Region) -> None:
    study = region.study(region.nodes("nl"))
    other = region.analyst("other")
    signed = other.identity.sign(STUDY, canonical(study))
    request = analyst_pb2.ProposeStudyRequest(study=signed)
    assert alone(region.lead.analyst.ProposeStudy, request).code == "WRONG_SIGNER"
    assert call(other.analyst.ProposeStudy, request).digest


def test_unknown_study_names_the_nearest(region: Region) -> None:
    region.propose(region.study(region.nodes("nl")))
    error = alone(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="TRAIL"))
    assert error.code == "UNKNOWN_STUDY"
    assert "did you mean 'TRIAL'?" in error.message


def _add_analysis(**values: object) -> Change:
    base: dict[str, object] = {
        "name": "extra",
        "spec": spec(),
        "purpose": study_pb2.TRIAL_ANALYSIS,
        "missing_country": study_pb2.FAIL,
    }
    return lambda study: study.plan.add(**{**base, **values})  # type: ignore[arg-type]


def _wrong_key(study: study_pb2.Study) -> None:
    study.participants[0].identity_key = IdentityKey.generate().public


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: s.ClearField("name"), "STUDY_INCOMPLETE"),
        (lambda s: s.ClearField("version"), "STUDY_INCOMPLETE"),
        (lambda s: s.ClearField("participants"), "STUDY_INCOMPLETE"),
        (lambda s: s.ClearField("datasets"), "STUDY_INCOMPLETE"),
        (lambda s: s.participants.append(s.participants[0]), "STUDY_INCONSISTENT"),
        (lambda s: s.datasets.append(s.datasets[0]), "STUDY_INCONSISTENT"),
        (lambda s: s.plan.append(s.plan[0]), "STUDY_INCONSISTENT"),
        (lambda s: setattr(s.participants[0], "node", "zz"), "NOT_A_PARTICIPANT"),
        (lambda s: setattr(s.participants[0], "country", "ZZ"), "NOT_A_PARTICIPANT"),
        (_wrong_key, "NOT_A_PARTICIPANT"),
        (lambda s: setattr(s.datasets[0], "subject", "NOBODY"), "STUDY_INCONSISTENT"),
        (lambda s: s.datasets[0].variables.add(name="X"), "STUDY_INCOMPLETE"),
        (lambda s: s.datasets[0].variables.add(name="AGE", type=1), "STUDY_INCONSISTENT"),
        (lambda s: s.datasets[0].variables.add(name="F", type=study_pb2.Variable.FACTOR), "STUDY_INCOMPLETE"),
        (lambda s: s.datasets[0].variables.add(name="F", type=3, levels=["a", "a"]), "STUDY_INCONSISTENT"),
        (lambda s: s.datasets[0].variables.add(name="X", type=1, minimum=2.0, maximum=1.0), "STUDY_INCONSISTENT"),
        (lambda s: s.datasets[0].variables.add(name="X", type=1, grid=0.0), "STUDY_INCONSISTENT"),
        (_add_analysis(name=""), "STUDY_INCOMPLETE"),
        (_add_analysis(name="a\0b"), "STUDY_INCOMPLETE"),
        (_add_analysis(deadline_seconds=4_000_000_000), "STUDY_INCONSISTENT"),
        (lambda s: setattr(s, "version", 4_000_000_000), "STUDY_INCOMPLETE"),
        (_add_analysis(purpose=0), "STUDY_INCOMPLETE"),
        (_add_analysis(recipients=[0]), "STUDY_INCOMPLETE"),
        (lambda s: s.recipient_roles.append(99), "UNKNOWN_VALUE"),
        (_add_analysis(missing_country=0), "STUDY_INCOMPLETE"),
        (_add_analysis(spec=spec_pb2.Spec(method="climb", method_version=1, dataset="NONE")), "UNKNOWN_DATASET"),
        (_add_analysis(spec=spec_pb2.Spec(method="fly", method_version=1, dataset="ADTTE")), "UNKNOWN_METHOD"),
        (_add_analysis(spec=spec_pb2.Spec(method="climb", method_version=1, dataset="ADTTE")), "MISSING_ROLE"),
        (_add_analysis(spec=spec(each=True)), "BY_COUNTRY_NOT_ALLOWED"),
    ],
)
def test_study_that_cannot_be_decided_on_is_refused(region: Region, change: Change, code: str) -> None:
    study = region.study(region.nodes("nl"))
    change(study)
    assert refusal(region, study).code == code


def test_results_by_country_are_allowed_where_the_study_says_so(region: Region) -> None:
    study = region.study(region.nodes("nl"), by_country=True)
    _add_analysis(spec=spec(each=True))(study)
    assert region.propose(study)


# --------------------------------------------------------------------------- decisions


def decision_error(region: Region, signed: study_pb2.Signed, through: object) -> IsthmusError:
    return alone(through.exchange.Decide, exchange_pb2.DecideRequest(decision=signed))  # type: ignore[attr-defined]


def decision_of(study_digest: bytes, node: str, approved: bool = True, at: int = 5) -> bytes:
    return canonical(study_pb2.Decision(study_digest=study_digest, node=node, approved=approved, decided_at=at))


def test_decision_needs_the_custodians_key(region: Region) -> None:
    (node,) = region.nodes("nl")
    body = decision_of(region.propose(region.study([node])), "nl")
    assert decision_error(region, node.identity.sign(DECISION, body), node).code == "WRONG_SIGNER"


def test_node_cannot_bring_another_sites_decision(region: Region) -> None:
    nl, be = region.nodes("nl", "be")
    body = decision_of(region.propose(region.study([nl, be])), "be")
    assert decision_error(region, be.custodian.sign(DECISION, body), nl).code == "FOREIGN_DECISION"


def test_site_outside_the_study_has_nothing_to_decide(region: Region) -> None:
    nl, be = region.nodes("nl", "be")
    study_digest = region.propose(region.study([nl]))
    signed = be.custodian.sign(DECISION, decision_of(study_digest, "be"))
    assert decision_error(region, signed, be).code == "NOT_A_PARTICIPANT"


def test_newest_decision_holds_and_an_older_one_cannot_be_replayed(region: Region) -> None:
    (node,) = region.nodes("nl")
    study_digest = region.propose(region.study([node]))
    node.decide(study_digest, approved=True, at=10)
    node.decide(study_digest, approved=False, at=20)
    replayed = node.custodian.sign(DECISION, decision_of(study_digest, "nl", approved=True, at=10))
    assert decision_error(region, replayed, node).code == "OLD_DECISION"
    node.decide(study_digest, approved=False, at=20)
    (site,) = call(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="TRIAL")).sites
    assert site.decision == "refused"


# --------------------------------------------------------------------------- analyses


def test_participants_are_the_active_nodes(region: Region) -> None:
    nl, _, _ = region.nodes("nl", "be", "de")
    region.coordinator.office.roster.revoke("be")
    reply = call(region.lead.analyst.ListParticipants, analyst_pb2.ListParticipantsRequest())
    assert [p.node for p in reply.participants] == ["de", "nl"]
    assert reply.participants[1] == nl.participant()


def test_unknown_analysis_names_the_nearest(region: Region) -> None:
    study_digest = region.propose(region.study(region.nodes("nl")))
    request = analyst_pb2.SubmitRequest(study_digest=study_digest, planned="fial")
    error = alone(region.lead.analyst.Submit, request)
    assert error.code == "UNKNOWN_ANALYSIS"
    assert "did you mean 'fail'?" in error.message


def test_exploratory_analysis_needs_the_studys_leave(region: Region) -> None:
    nodes = region.nodes("nl")
    analysis = study_pb2.Analysis(spec=spec())
    closed = region.propose(region.study(nodes, exploratory_purpose=0))
    request = analyst_pb2.SubmitRequest(study_digest=closed, exploratory=analysis)
    assert alone(region.lead.analyst.Submit, request).code == "EXPLORATORY_NOT_ALLOWED"
    open_ = region.propose(region.study(nodes, version=2))
    assert region.submit(open_, exploratory=analysis)


def test_exploratory_task_has_the_studys_purpose_and_no_name(region: Region) -> None:
    (node,) = region.nodes("nl")
    study_digest = region.approved([node], exploratory_purpose=study_pb2.PUBLICATION)
    analysis = study_pb2.Analysis(name="primary", spec=spec(), purpose=study_pb2.CLOSED_COMMITTEE)
    run = region.submit(study_digest, exploratory=analysis)
    node.attach()
    assert region.result(run).analysis == ""
    assert (node.tasks[0].purpose, node.tasks[0].analysis) == (study_pb2.PUBLICATION, "")


def test_result_by_country_is_refused_at_submission(region: Region) -> None:
    study_digest = region.approved(region.nodes("nl"))
    request = analyst_pb2.SubmitRequest(study_digest=study_digest, exploratory=study_pb2.Analysis(spec=spec(each=True)))
    error = alone(region.lead.analyst.Submit, request)
    assert (error.code, error.exit_code) == ("BY_COUNTRY_NOT_ALLOWED", 12)


def test_explanation_says_what_leaves_and_who_must_approve(region: Region) -> None:
    nl, be = region.nodes("nl", "be")
    study_digest = region.propose(region.study([nl, be]))
    nl.decide(study_digest)
    asked = codec.spec_to_message(
        c.Spec(
            "climb",
            "ADTTE",
            roles={"outcome": (c.Ref("AVAL"),)},
            terms=tuple(
                c.Term(x)
                for x in (
                    (c.Ref("AGE"),),
                    (c.Ref("TRT01P"),),
                    (c.Transform(c.Function.FACTOR, c.Ref("GRADE")),),
                )
            ),
        )
    )
    request = analyst_pb2.ExplainRequest(study_digest=study_digest, analysis=study_pb2.Analysis(spec=asked))
    said = call(region.lead.analyst.Explain, request)
    assert [(f.field, f.kind, f.size) for f in said.fields] == [
        ("score", "score", "10 = p (p + 1) / 2"),
        ("cells", "count", "levels"),
    ]
    assert (said.in_plan, said.by_country, list(said.outstanding)) == (False, False, ["BE"])
    assert (said.rounds_least, said.rounds_most) == (1, 40)
    planned = analyst_pb2.ExplainRequest(study_digest=study_digest, analysis=study_pb2.Analysis(name="fail"))
    assert call(region.lead.analyst.Explain, planned).in_plan


def test_unknown_run_is_said_to_be_unknown(region: Region) -> None:
    assert alone(region.lead.analyst.GetResult, analyst_pb2.GetResultRequest(run=b"x" * 16)).code == "UNKNOWN_RUN"
    with pytest.raises(IsthmusError, match="UNKNOWN_RUN"):
        region.watch(b"x" * 16, lambda p: True)


def test_result_of_a_run_that_goes_on_is_not_there_yet(region: Region) -> None:
    run = region.submit(region.approved(region.nodes("nl")), "wait")
    assert alone(region.lead.analyst.GetResult, analyst_pb2.GetResultRequest(run=run)).code == "NOT_FINISHED"


def test_ended_run_can_still_be_watched(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be")]
    run = region.submit(region.approved(nodes), "fail")
    region.result(run)
    progress = region.watch(run, lambda p: True)
    assert (progress.state, progress.round) == ("done", 4)
    assert [k.state for k in progress.countries] == ["answered", "answered"]
