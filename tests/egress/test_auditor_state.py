"""What the auditor remembers outlives restarts, crashes and registrations, and without it nothing leaves."""

from __future__ import annotations

import itertools
import stat
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus.errors import ConfigError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_methods import contract as c
from isthmus_methods.rows import Cohorts
from isthmus_node.egress import auditor as module
from isthmus_node.egress.auditor import KEY_FILE, Audit, Auditor, file_name, read_states
from isthmus_node.egress.linear import Columns, is_combination, prime, tells_apart
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.released import Released, Unreadable
from isthmus_node.egress.thresholds import Limits, compiled_in
from tests.egress.country import Country, Journal, is_, model, rows, table

LIMITS: Limits = compiled_in(study_pb2.TRIAL_ANALYSIS)[0]
NOT_V = is_("age", "<", 97.0)
OLD = is_("age", ">", 60.0)


def test_state_outlives_restarts_and_snapshots(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    assert country.codes(model(), model(OLD)) == ["", ""]
    country.restart()
    assert country.codes(model(NOT_V)) == ["DIFFERENCING"]
    # the same persons registered anew, in another order and with one more
    columns = rows()
    order = np.random.default_rng(1).permutation(60)
    country.table = table({name: np.asarray(values)[order] for name, values in columns.items()})
    assert country.codes(model(), model(NOT_V)) == ["", "DIFFERENCING"]
    more = rows(61)
    for name, values in columns.items():
        more[name][:60] = values
    country.table = table(more)
    assert country.codes(model()) == ["DIFFERENCING"]


def test_new_persons_are_waited_for_until_there_are_enough(policy: Policy, tmp_path: Path) -> None:
    """[9]"""
    columns = rows(65)
    country = Country(policy, tmp_path)
    answers = []
    for persons in (60, 61, 64, 65):
        country.table = table({name: values[:persons] for name, values in columns.items()})
        answers += country.codes(model(terms=()))
    assert answers == ["", "DIFFERENCING", "DIFFERENCING", ""]


def test_corrected_values_are_waited_for_until_there_are_enough(policy: Policy, tmp_path: Path) -> None:
    """[9]: by cohort, and over the snapshots together."""
    country = Country(policy, tmp_path)
    asked = model(terms=())
    assert country.codes(asked) == [""]
    columns = rows()
    codes = []
    for corrected in (1, 4, 5):
        columns["lab"][:corrected] = 101.0 + np.arange(corrected)
        country.table = table(columns)
        codes += country.codes(asked)
    assert codes == ["DIFFERENCING", "DIFFERENCING", ""]
    # two of the five are in arm A: that cohort changed by too few
    assert country.codes(model(is_("arm", "==", "A"), terms=())) == ["DIFFERENCING"]


def test_files_are_the_owners_and_hold_no_name_and_no_value(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    assert country.codes(model()) == [""]
    for path in (tmp_path / KEY_FILE, tmp_path / file_name("ADSL")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    state = (tmp_path / file_name("ADSL")).read_bytes()
    assert b"01-0000" not in state
    for value in (97.0, 129.587):
        assert np.float64(value).tobytes() not in state
    # nor does anything of it leave
    key = (tmp_path / KEY_FILE).read_bytes()
    found, _ = read_states(tmp_path)[0]
    assert key not in country.sent
    assert not any(row.tobytes() in country.sent for row in found.persons)


def test_decision_is_in_state_and_journal_before_anything_leaves(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    seen: list[tuple[bool, int]] = []

    class Looking(Journal):
        def append(self, record: journal_pb2.Record) -> None:
            seen.append(((tmp_path / file_name("ADSL")).exists(), len(country.sent)))
            super().append(record)

    country.journal = Looking()
    country.restart()
    assert country.codes(model()) == [""]
    assert seen == [(True, 0)]
    record = country.journal.records[0]
    assert (record.event, record.actor, record.dataset, record.analysis) == ("AUDITED", "node", "ADSL", "primary")
    assert record.auditor_digest == read_states(tmp_path)[0][1]
    assert not any(character.isdigit() for character in record.words)


@pytest.mark.parametrize("place", [0, 25, 60, 400, -1])
def test_damaged_state_stops_the_node(place: int, policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    country.codes(model())
    path = tmp_path / file_name("ADSL")
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match="damaged") as caught:
        country.restart()
    assert caught.value.code == "AUDITOR_UNREADABLE"
    for length in (0, 10, 200):
        with pytest.raises(Unreadable):
            Released.from_bytes(bytes(damaged[:length]))


@pytest.mark.parametrize("lost", ["state", "key", "journal", "older state"])
def test_state_that_the_journal_does_not_know_stops_the_node(lost: str, policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    path = tmp_path / file_name("ADSL")
    country.codes(model())
    first = path.read_bytes()
    country.codes(model(OLD), model(is_("sex", "==", "F")))
    country.restart()
    if lost == "journal":
        country.journal = Journal()
    elif lost == "older state":
        path.write_bytes(first)
    else:
        (path if lost == "state" else tmp_path / KEY_FILE).unlink()
    with pytest.raises(ConfigError) as caught:
        country.restart()
    assert caught.value.code == "AUDITOR_BEHIND"


def test_key_that_others_may_read_stops_the_node(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="0600"):
        country.restart()


def test_crash_between_state_and_journal_is_no_fault(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    assert country.codes(model()) == [""]

    def crash(record: journal_pb2.Record) -> None:
        raise ConfigError("JOURNAL_NOT_WRITABLE", "no space left", "make room")

    working = country.journal.append
    country.journal.append = crash  # type: ignore[method-assign]
    left = len(country.sent)
    for where in (OLD, is_("sex", "==", "F")):
        with pytest.raises(ConfigError, match="no space"):
            country.ask(model(where))
    assert len(country.sent) == left
    country.restart()
    country.journal.append = working  # type: ignore[method-assign]
    assert country.codes(model(OLD), model(NOT_V)) == ["", "DIFFERENCING"]
    country.restart()


def test_state_that_cannot_be_written_lets_nothing_leave(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    country = Country(policy, tmp_path)

    def full(path: Path, content: bytes) -> None:
        raise ConfigError("FILE_NOT_WRITTEN", "no space left on device", "make room")

    with monkeypatch.context() as patch:
        patch.setattr(module, "replace_file", full)
        with pytest.raises(ConfigError):
            country.ask(model())
    assert country.sent == b""
    assert country.journal.records == []
    assert country.codes(model()) == [""]


def test_rounds_of_a_fit_ask_once(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    asked = 0

    def cohorts() -> tuple[Cohorts, ...]:
        nonlocal asked
        asked += 1
        return ()

    audit = Audit(country.auditor, b"a request", cohorts, False, journal_pb2.Record())
    for _ in range(5):
        assert audit.violation(LIMITS) is None
    assert asked == 1


def everybody(number: int, rows_used: np.ndarray[tuple[int], np.dtype[np.bool_]], used: object = None) -> Cohorts:
    """A request for some of a dataset's rows, a row a person."""
    names = [str(n) for n in range(len(rows_used))]
    left = rows_used if used is None else used
    return Cohorts(
        "D",
        "id",
        np.arange(len(names)),
        lambda: names,
        b"d",
        bytes([number]),
        lambda: np.full(len(names), number + 1, dtype=np.uint64),
        rows_used,
        left,  # type: ignore[arg-type]
    )


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 1)
    monkeypatch.setattr("isthmus_node.egress.cohort_rules.MOST_COHORTS", 2)
    monkeypatch.setattr("isthmus_node.egress.request_rules.SNAPSHOTS", 2)
    auditor = Auditor(tmp_path, Journal())
    groups = np.random.default_rng(2).random((4, 100)) < 0.5

    def asked(number: int, one: Cohorts) -> str:
        audit = Audit(auditor, bytes([number]), lambda: (one,), True, journal_pb2.Record())
        violation = audit.violation(LIMITS)
        return "" if violation is None else violation.code

    # new contents of everybody in each snapshot: only the newest few are told apart
    assert [asked(n, everybody(n, np.ones(100, dtype=np.bool_))) for n in range(5)] == [""] * 5
    assert len(next(iter(read_states(tmp_path)[0][0].contents.values())).changed) == 2
    # so many cohorts, and no more; and so many of what plans left out of them
    assert [asked(10 + n, everybody(4, group)) for n, group in enumerate(groups)] == ["", *["TOO_MANY_COHORTS"] * 3]
    less = [groups[0] & (np.arange(100) != n) for n in range(4)]
    found = [asked(20 + n, everybody(4, groups[0], used)) for n, used in enumerate(less)]
    assert found.count("TOO_MANY_COHORTS") == max(sum((used != groups[0]).any() for used in less) - 2, 0)


def test_cohort_of_nobody_is_none(tmp_path: Path) -> None:
    journal = Journal()
    auditor = Auditor(tmp_path, journal)
    nobody = Audit(auditor, b"n", lambda: (everybody(0, np.zeros(9, dtype=np.bool_)),), False, journal_pb2.Record())
    assert nobody.violation(LIMITS) is None
    assert [len(state.cohorts) for state, _ in read_states(tmp_path)] == [0]


# --------------------------------------------------------------------------- no combination is of few persons


def rank(matrix: list[list[int]]) -> int:
    """By fractions, nothing rounded: written once more, without the auditor's own algebra."""
    left = [[Fraction(x) for x in row] for row in matrix]
    found = 0
    for column in range(len(left[0]) if left else 0):
        row = next((i for i in range(found, len(left)) if left[i][column]), None)
        if row is None:
            continue
        left[found], left[row] = left[row], left[found]
        for other in range(found + 1, len(left)):
            factor = left[other][column] / left[found][column]
            left[other] = [a - factor * b for a, b in zip(left[other], left[found], strict=True)]
        found += 1
    return found


def says_something_of_few(cohorts: list[list[int]], person: list[int], fewest: int) -> bool:
    """Whether the rank falls without some 1 to `fewest` - 1 persons: then a combination lies on them alone."""
    whole = rank(cohorts)
    everybody = sorted(set(person))
    return any(
        rank([[x for x, who in zip(row, person, strict=True) if who not in left_out] for row in cohorts]) < whole
        for size in range(1, fewest)
        for left_out in itertools.combinations(everybody, size)
    )


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[int], list[list[int]], int]:
    """Whose each row is, cohorts in the order they are asked about, and k."""
    rows_ = draw(st.integers(4, 11))
    person = draw(st.lists(st.integers(0, rows_ - 1), min_size=rows_, max_size=rows_))
    many = draw(st.booleans())
    person = person if many else list(range(rows_))
    bits = st.lists(st.integers(0, 1), min_size=rows_, max_size=rows_)
    return person, draw(st.lists(bits, min_size=1, max_size=7)), draw(st.integers(2, 4))


@settings(max_examples=60, deadline=None)
@given(sequences())
def test_no_accepted_sequence_has_a_combination_of_few_persons(
    tmp_path_factory: pytest.TempPathFactory, asked: tuple[list[int], list[list[int]], int]
) -> None:
    person, cohorts, fewest = asked
    names = sorted(set(person))
    subject = np.array([names.index(who) for who in person], dtype=np.int64)
    auditor = Auditor(tmp_path_factory.mktemp("auditor"), Journal())
    limits = Limits(**{**{n: getattr(LIMITS, n) for n in LIMITS.__dataclass_fields__}, "difference_persons": fewest})
    accepted: list[list[int]] = []
    for number, cohort in enumerate(cohorts):
        rows_used = np.array(cohort, dtype=np.bool_)
        one = Cohorts(
            "D",
            "id",
            subject,
            lambda: [str(name) for name in names],
            b"d",
            b"s",
            lambda: np.ones(len(names), dtype=np.uint64),
            rows_used,
            rows_used,
        )
        audit = Audit(auditor, bytes([number]), lambda one=one: (one,), False, journal_pb2.Record())  # type: ignore[misc]
        violation = audit.violation(limits)
        if violation is None:
            accepted.append(cohort)
        else:
            assert violation.code == "DIFFERENCING"
            # and it is refused for a reason
            assert says_something_of_few([*accepted, cohort], person, fewest)
    assert not says_something_of_few(accepted, person, fewest)


def test_search_that_takes_too_long_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    # without persons in common the cohorts are harmless; a search that may take no step does not find that out
    sizes = np.array([3, 3, 3], dtype=np.int64)
    columns = Columns(np.array([[1, 1, 0]]), np.array([1, 0, 1]), np.arange(3), sizes)
    assert not tells_apart(columns, 4, prime())
    monkeypatch.setattr("isthmus_node.egress.linear.MOST_STEPS", 0)
    monkeypatch.setattr("isthmus_node.egress.linear._Search.has_witnesses_enough", lambda _: False)
    assert tells_apart(columns, 4, prime())


def test_prime_is_one_and_is_drawn() -> None:
    drawn = {prime() for _ in range(3)}
    assert len(drawn) > 1
    assert all(2**30 < p < 2**31 and all(p % d for d in range(2, 1000)) for p in drawn)
    one = np.array([[1, 1, 0], [0, 1, 1]])
    assert is_combination(one, np.array([1, 0, -1]), drawn.pop())
    assert not is_combination(one, np.array([1, 0, 1]), prime())


def test_predicate_types_are_complete() -> None:
    # a new kind of condition must have a normal form before it can be asked
    assert set(c.Predicate.__args__) == {c.Comparison, c.Membership, c.Missing, c.All, c.AnyOf, c.Not}
