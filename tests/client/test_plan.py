"""An analysis before and while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from fake_coordinator import FakeCoordinator, progress
from pooling import asked, planned

from isthmus.errors import CountriesMissing, LinkError, MethodError, Refused, UsageError, WaitingForApproval
from isthmus.v1 import analyst_pb2
from isthmus_client.connection import Connection
from isthmus_client.plan import RETRIES, PlanExplanation, StepExplanation
from isthmus_client.progress import Live
from isthmus_client.results import CoxFit, MetaFit
from isthmus_client.study import Study
from isthmus_methods.codec import spec_from_message

HORMON = "Surv(rfstime, status) ~ hormon"


@pytest.fixture
def study(connection: Connection) -> Study:
    return connection.study("BREAST-RFS")


class Seen:
    """Writes down the progress it is shown."""

    def __init__(self) -> None:
        self.turns: list[tuple[int, str, int]] = []
        self.ended = False

    def begin(self, titles: Sequence[str]) -> None:
        self.titles = list(titles)

    def update(self, position: int, progress: analyst_pb2.Progress) -> None:
        self.turns.append((position, progress.state, progress.round))

    def end(self) -> None:
        self.ended = True


def answer_as_asked(request: analyst_pb2.SubmitRequest) -> analyst_pb2.Result:
    if request.planned:
        return planned(request.planned)
    method = request.exploratory.spec.method
    return asked(method, HORMON, **({"coefficient": "hormon=1"} if method == "meta_analysis" else {}))


def test_planned_analysis_is_asked_by_its_name_and_shown_as_its_class(fake: FakeCoordinator, study: Study) -> None:
    assert study.plan() == ["table-1", "km", "log-rank", "primary", "by-country"]
    seen = Seen()
    fit = study.planned("primary").run(progress=seen)
    assert isinstance(fit, CoxFit)
    (request,) = fake.requests(analyst_pb2.SubmitRequest)
    assert (request.planned, request.HasField("exploratory")) == ("primary", False)
    assert seen.turns == [(0, "running", 1), (0, "done", 2)]
    assert seen.ended


def test_formula_that_the_plan_already_has_is_asked_as_planned(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = lambda request: planned("log-rank")
    study.log_rank("Surv(rfstime, status==1) ~ hormon").start()
    study.log_rank("Surv(rfstime,status)~hormon").start()
    other, same = fake.requests(analyst_pb2.SubmitRequest)
    assert other.planned == ""
    assert same.planned == "log-rank"


def test_exploratory_analysis_carries_its_request_purpose_and_policy(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = answer_as_asked
    study.cox(
        HORMON + " + cluster(country)", ties="breslow", where="age >= 50", missing_country="go on without", deadline=30
    ).start()
    (request,) = fake.requests(analyst_pb2.SubmitRequest)
    analysis = request.exploratory
    spec = spec_from_message(analysis.spec, study.message)
    assert spec.method == "cox"
    assert spec.options == {"ties": "breslow"}
    assert spec.where is not None
    assert set(spec.roles) == {"time", "event", "cluster"}
    assert analysis.deadline_seconds == 30
    assert analysis.missing_country == 3
    assert analysis.purpose == study.message.exploratory_purpose
    assert request.study_digest == study.digest


def test_cox_with_one_baseline_hazard_takes_the_country_as_a_term_and_weights(
    fake: FakeCoordinator, study: Study
) -> None:
    fake.answer = answer_as_asked
    study.cox(HORMON + " + country", stratify_by_country=False, weights="age").start()
    (request,) = fake.requests(analyst_pb2.SubmitRequest)
    spec = spec_from_message(request.exploratory.spec, study.message)
    assert spec.options == {"stratify_by_country": False}
    assert set(spec.roles) == {"time", "event", "weights"}
    with pytest.raises(UsageError) as caught:
        study.cox(HORMON + " + country")
    assert caught.value.code == "COUNTRY_TERM"


def test_cox_by_country_asks_for_the_arm_s_meta_analysis_beside_it(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = answer_as_asked
    fit = study.cox("Surv(rfstime, status) ~ age + hormon", by="country").run(progress=False)
    first, second = fake.requests(analyst_pb2.SubmitRequest)
    spec = spec_from_message(second.exploratory.spec, study.message)
    assert (first.exploratory.spec.method, spec.method) == ("cox", "meta_analysis")
    assert spec.options == {"coefficient": "hormon=1"}  # the treatment arm's, not the first
    assert isinstance(fit, CoxFit)
    assert isinstance(fit.by_country, MetaFit)


def test_results_by_country_are_refused_where_the_study_does_not_allow_them(
    fake: FakeCoordinator, study: Study
) -> None:
    study.message.by_country = False
    with pytest.raises(UsageError) as caught:
        study.cox(HORMON, by="country")
    assert caught.value.code == "BY_COUNTRY"
    study.message.by_country = True
    assert len(study.cox(HORMON, by="country").steps) == 2


def test_km_and_table_one_take_their_settings(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = lambda request: planned("km")
    study.km(HORMON, times=[365, 730], tau=730).start()
    study.table_one(["age", "meno"], arm="hormon", by="country").start()
    km, table = (spec_from_message(r.exploratory.spec, study.message) for r in fake.requests(analyst_pb2.SubmitRequest))
    assert km.options == {"times": (365.0, 730.0), "tau": 730.0}
    assert table.options == {"by_country": True}
    assert set(table.roles) == {"variables", "arm"}


def test_nothing_is_asked_of_a_country_before_run(fake: FakeCoordinator, study: Study) -> None:
    plan = study.cox(HORMON, by="country")
    plan.explain()
    assert not fake.requests(analyst_pb2.SubmitRequest)


def test_explanation_names_every_field_and_who_must_approve(study: Study) -> None:
    explained = study.cox(HORMON).explain()
    text = str(explained)
    assert "rounds: 2 to 62" in text
    assert "score     its gradient (score; 6 = p numbers)" in text
    assert "outcomes  rows (count, rows; 2 numbers)" in text
    assert "not in the plan of BREAST-RFS" in text
    assert "still to be approved by AT" in text
    assert not explained.approved
    assert "in the plan of BREAST-RFS, which is still to be approved by AT" in str(study.planned("primary").explain())


def test_explanation_says_which_country_sets_which_number() -> None:
    answer = analyst_pb2.Explanation(
        rounds_least=1,
        rounds_most=1,
        in_plan=True,
        limits=[
            analyst_pb2.ExplainedLimit(rule="each count is of 10 or more persons", countries=["CN"], presets=["CN"]),
            analyst_pb2.ExplainedLimit(rule="a run is over 1 or more countries", countries=["NL", "CN"], agreed=True),
        ],
        refusing=[analyst_pb2.ExplainedRefusal(country="VN", reason="its policy lets nothing out for this purpose")],
        unknown=["PH"],
        asking=["CN"],
    )
    lines = str(PlanExplanation("S", (StepExplanation("t", "D", answer),))).splitlines()
    assert "    each count is of 10 or more persons: CN (preset CN)" in lines
    assert lines[lines.index("    alike in every country:") + 1] == "      a run is over 1 or more countries"
    assert "  VN will refuse it: its policy lets nothing out for this purpose" in lines
    assert "  a person decides on each run before it starts in: CN" in lines
    assert "  the policy is not known of: PH (not attached yet, or none in force)" in lines


def test_broken_progress_stream_is_taken_up_again(fake: FakeCoordinator, study: Study) -> None:
    lost = LinkError("UNREACHABLE", "gone", "wait")
    fake.streams = [[progress("running", 1), lost], [lost], [progress("running", 2)], [progress("done", 3)]]
    pauses: list[float] = []
    plan = study.planned("primary")
    plan.sleep = pauses.append
    seen = Seen()
    assert isinstance(plan.run(progress=seen), CoxFit)
    assert pauses == list(RETRIES[:3])
    assert [turn[2] for turn in seen.turns] == [1, 2, 3]
    assert len(fake.requests(analyst_pb2.SubmitRequest)) == 1


def test_link_that_stays_broken_says_how_to_attach(fake: FakeCoordinator, study: Study) -> None:
    lost = LinkError("UNREACHABLE", "gone", "wait")
    fake.streams = [[lost] for _ in range(len(RETRIES) + 1)]
    plan = study.planned("primary")
    plan.sleep = lambda seconds: None
    with pytest.raises(LinkError) as caught:
        plan.run(progress=False)
    assert f'study.attach("{plan.runs[0].hex()}")' in caught.value.remedy


def test_other_errors_of_the_stream_are_not_tried_again(fake: FakeCoordinator, study: Study) -> None:
    fake.streams = [[Refused("NOT_YOURS", "no", "no")]]
    with pytest.raises(Refused):
        study.planned("primary").run(progress=False)


def test_ctrl_c_detaches_and_says_how_to_resume(
    fake: FakeCoordinator, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient(Seen):
        def update(self, position: int, progress: analyst_pb2.Progress) -> None:
            raise KeyboardInterrupt

    plan = study.planned("primary")
    seen = Impatient()
    with pytest.raises(KeyboardInterrupt):
        plan.run(progress=seen)
    said = capsys.readouterr().err
    run = plan.runs[0].hex()
    assert f'study.attach("{run}")' in said
    assert f"isthmus attach BREAST-RFS {run}" in said
    assert seen.ended
    assert not fake.requests(analyst_pb2.CancelRequest)  # it detaches, it does not cancel
    assert isinstance(study.attach(run), CoxFit)
    assert len(fake.requests(analyst_pb2.SubmitRequest)) == 1


def test_ctrl_c_promises_nothing_where_the_network_ends_too(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    class Impatient(Seen):
        def update(self, position: int, progress: analyst_pb2.Progress) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.planned("primary").run(progress=Impatient(), outlives=False)
    assert capsys.readouterr().err == ""


def test_attach_to_a_fit_and_what_stands_beside_it(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = answer_as_asked
    names = study.cox(HORMON, by="country").start()
    fit = study.attach(*names, progress=False)
    assert isinstance(fit, CoxFit)
    assert isinstance(fit.by_country, MetaFit)
    with pytest.raises(UsageError) as caught:
        study.attach("no run")
    assert caught.value.code == "BAD_RUN"


def test_cancel_ends_every_run_of_a_plan(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = answer_as_asked
    plan = study.cox(HORMON, by="country")
    with pytest.raises(UsageError, match="has not been run"):
        plan.cancel()
    plan.start()
    plan.cancel()
    assert [r.run for r in fake.requests(analyst_pb2.CancelRequest)] == list(plan.runs)


def test_waiting_for_approval_is_an_error_only_where_nobody_waits(fake: FakeCoordinator, study: Study) -> None:
    waits = progress("waiting", NL="asked", AT="waiting for approval")
    fake.streams = [[waits], [waits, progress("done", 1)]]
    plan = study.planned("primary")
    with pytest.raises(WaitingForApproval) as caught:
        plan.run(progress=False, wait=False)
    assert "AT" in caught.value.message
    assert f"isthmus attach BREAST-RFS {plan.runs[0].hex()}" in caught.value.remedy
    assert isinstance(study.planned("primary").run(progress=False), CoxFit)


def test_failed_run_raises_what_ended_it_and_what_each_country_said(fake: FakeCoordinator, study: Study) -> None:
    result = analyst_pb2.Result(state="failed", study="BREAST-RFS")
    result.failure.code, result.failure.message, result.failure.exit_code = "NO_COUNTRY", "no country gave", 11
    refused = result.contributions.add(node="at", country="AT", state="refused")
    refused.failure.code, refused.failure.message, refused.failure.remedy = "SMALL_CELL", "below 5", "pool with DE"
    fake.answer = lambda request: result
    with pytest.raises(MethodError.__mro__[1]) as caught:  # DataError: exit code 11
        study.planned("primary").run(progress=False)
    assert "no country gave\n  AT: below 5 [SMALL_CELL]\n    -> pool with DE" in caught.value.message
    result.failure.exit_code = 17
    with pytest.raises(CountriesMissing):
        study.planned("primary").run(progress=False)


def test_cancelled_run_says_so(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = lambda request: analyst_pb2.Result(state="cancelled", analysis="primary")
    with pytest.raises(Refused) as caught:
        study.planned("primary").run(progress=False)
    assert caught.value.code == "CANCELLED"


def test_unknown_analysis_lists_the_plan(study: Study) -> None:
    with pytest.raises(UsageError) as caught:
        study.planned("secondary")
    assert "primary" in caught.value.remedy


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda s: s.cox(HORMON, ties="exact"), "WRONG_OPTION"),
        (lambda s: s.cox(HORMON, tie="efron"), "UNKNOWN_OPTION"),
        (lambda s: s.cox("Surv(rfstime, status) ~ 1"), "NO_TERMS"),
        (lambda s: s.cox(HORMON, missing_country="shrug"), "BAD_OPTION"),
        (lambda s: s.cox(HORMON, by="sex"), "BAD_OPTION"),
        (lambda s: s.cox(HORMON, dataset="X"), "UNKNOWN_DATASET"),
        (lambda s: s.km("Surv(rfstime, status) ~ hormon + strata(meno)"), "WRONG_FORMULA"),
        (lambda s: s.log_rank("Surv(rfstime, status) ~ hormon + meno"), "ROLE_TAKES_ONE"),
        (lambda s: s.log_rank("Surv(rfstime, status) ~ 1"), "MISSING_ROLE"),
        (lambda s: s.table_one(["age", "agee"]), "UNKNOWN_VARIABLE"),
        (lambda s: s.table_one([]), "MISSING_ROLE"),
        (lambda s: s.table_one(["age"], arm="nodes"), "WRONG_TYPE"),
        (lambda s: s.table_one(["age"], by="grade"), "BAD_OPTION"),
        (lambda s: s.table_one(["age"], where="grade == 4"), "UNKNOWN_LEVEL"),
    ],
)
def test_bad_request_is_refused_before_anything_is_sent(
    fake: FakeCoordinator, study: Study, call: object, code: str
) -> None:
    before = len(fake.asked)
    with pytest.raises(UsageError) as caught:
        call(study)  # type: ignore[operator]
    assert caught.value.code == code
    assert len(fake.asked) == before


def test_live_display_off_a_terminal_is_one_line_an_analysis(capsys: pytest.CaptureFixture[str]) -> None:
    live = Live()
    live.begin(["Model [bold]", "Countries"])
    for turn in _turns():
        live.update(0, turn)
    live.end()
    said = capsys.readouterr().err
    assert said.splitlines()[0].strip() == "Model [bold]  done, round 3"
    assert "answered" not in said


def test_live_display_shows_countries_and_the_measure() -> None:
    import io

    from rich.console import Console

    screen = io.StringIO()
    live = Live(Console(file=screen, force_terminal=True, width=100, color_system=None))
    live.begin(["Model"])
    for turn in _turns():
        live.update(0, turn)
    live.end()
    said = screen.getvalue()
    assert "running, round 2, distance 0.0012" in said
    assert "waiting for approval" in said
    assert "100 bytes" in said


def _turns() -> Iterator[analyst_pb2.Progress]:
    yield progress("waiting", NL="asked", AT="waiting for approval")
    running = progress("running", 2, NL="answered", AT="asked")
    running.measure, running.measured = "distance", 0.0012
    yield running
    yield progress("done", 3, NL="answered")
