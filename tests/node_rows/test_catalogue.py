"""A study's dictionary held against a site's rows, and the register of the site's datasets."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.errors import ConfigError, DataError
from isthmus_methods.contract import Variable, VariableType
from isthmus_node.catalogue import Datasets, Finding, Mapped, Registration, Severity, check_against
from isthmus_node.catalogue.findings import _numbers
from isthmus_node.catalogue.registration import read_registrations, written
from isthmus_node.sources import Source, read

Writer = Callable[..., str]
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HEADER = "USUBJID,SITEID,AGE,SEX,RACE,CNSR,AVAL\n"
GOOD = HEADER + "a,701,50,F,NO,0,10\nb,710,60,M,NA,1,20\nc,710,70,M,0,0,30\n"


def found(sample: Any, location: str, country: str = "NL", **changes: Any) -> tuple[Finding, ...]:
    return check_against(sample.dictionary(**changes), read(Source(location)), country)


def test_rows_that_fit_have_no_finding(sample: Any, csv_file: Writer) -> None:
    assert found(sample, csv_file(GOOD)) == ()


# what is wrong -> code, variable, rows concerned, severity, a word that must be said
WRONG: list[tuple[str, str, str, str, int, str, str]] = [
    ("column missing", "AVAL\n", "aval\n", "MISSING_COLUMN", 0, "fail", "'aval'"),
    ("number that is none", "b,710,60,", "b,710,sixty,", "WRONG_TYPE", 1, "fail", "AGE"),
    ("not whole", "NA,1,20", "NA,0.5,20", "NOT_WHOLE", 1, "fail", "CNSR"),
    ("unknown level", "60,M", "60,X", "UNKNOWN_LEVEL", 1, "warn", "'X' (1 row)"),
    ("out of range", "c,710,70", "c,710,170", "OUT_OF_RANGE", 1, "warn", "-1 to 120 years"),
    ("missing value", "NA,1,20", "NA,1,", "MISSING_VALUE", 1, "warn", "AVAL"),
    ("off the grid", "NA,1,20", "NA,1,20.5", "OFF_GRID", 1, "fail", "1 days"),
    ("subject twice", "b,710", "a,710", "DUPLICATE_SUBJECT", 2, "fail", "1 subject"),
    ("subject missing", "b,710", ",710", "MISSING_SUBJECT", 1, "fail", "USUBJID"),
]


@pytest.mark.parametrize(
    ("good", "bad", "code", "count", "severity", "word"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_what_does_not_fit_is_named_and_counted(
    good: str, bad: str, code: str, count: int, severity: str, word: str, sample: Any, csv_file: Writer
) -> None:
    assert good in GOOD
    findings = found(sample, csv_file(GOOD.replace(good, bad)))
    assert [f.code for f in findings] == [code]
    assert findings[0].count == count
    assert findings[0].severity is Severity(severity)
    assert word in findings[0].words


@pytest.mark.parametrize(("value", "codes"), [(1000000018.833, []), (1000000018.8334, ["OFF_GRID"])])
def test_large_number_is_on_the_grid_as_far_as_it_can_be_written(value: float, codes: list[str]) -> None:
    variable = Variable("X", VariableType.NUMERIC, grid=0.001)
    assert [f.code for f in _numbers(variable, np.array([value]))] == codes


def test_no_rows_is_a_warning(sample: Any, csv_file: Writer) -> None:
    (finding,) = found(sample, csv_file(HEADER))
    assert (finding.code, finding.severity) == ("EMPTY", Severity.WARN)


def test_many_subjects_rows_are_fine_where_the_dictionary_allows_them(sample: Any, csv_file: Writer) -> None:
    assert found(sample, csv_file(GOOD.replace("b,710", "a,710")), one_row_a_subject=False) == ()


def test_rows_of_another_country_are_a_failure(sample: Any, csv_file: Writer) -> None:
    lines = GOOD.splitlines()
    content = "\n".join([lines[0] + ",COUNTRY", lines[1] + ",NL", lines[2] + ",DE", lines[3] + ",FR"])
    findings = {f.code: f for f in found(sample, csv_file(content))}
    assert set(findings) == {"OTHER_COUNTRY", "UNKNOWN_LEVEL"}
    assert findings["OTHER_COUNTRY"].count == 2


def test_own_country_must_be_in_the_dictionary(sample: Any, csv_file: Writer) -> None:
    (finding,) = found(sample, csv_file(GOOD), country="BE")
    assert (finding.code, finding.severity) == ("COUNTRY_NOT_DECLARED", Severity.FAIL)


def test_integer_with_declared_levels_is_held_to_them(sample: Any, csv_file: Writer) -> None:
    dictionary = sample.dictionary()
    sample.variable(dictionary, "CNSR").levels.extend(["0"])
    rows = read(Source(csv_file(GOOD)))
    (finding,) = check_against(dictionary, rows, "NL")
    assert (finding.code, finding.variable, finding.count) == ("UNKNOWN_LEVEL", "CNSR", 1)


# --------------------------------------------------------------------------- the register


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(tmp_path / "state", "NL", lambda: NOW)


def test_added_dataset_is_listed_by_a_later_process(datasets: Datasets, csv_file: Writer, tmp_path: Path) -> None:
    added = datasets.add(
        "ADTTE",
        Source(csv_file(GOOD), missing=(".", 'a "quoted" \\ text')),
        constants={"COUNTRY": "NL"},
        mapping={"REGION": Mapped("SITEID", {"701": "north", "710": "süd \x7f\n"})},
        open_data=True,
    )
    assert Datasets(tmp_path / "state", "NL").list() == (added,)
    assert added.added_at == NOW
    assert stat.S_IMODE(datasets.path.stat().st_mode) == 0o600


def test_relative_path_is_remembered_in_full(
    datasets: Datasets, csv_file: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_file(GOOD)
    monkeypatch.chdir(tmp_path)
    assert datasets.add("ADTTE", Source("adtte.csv")).source.location == str(tmp_path / "adtte.csv")


def test_file_that_is_no_table_is_not_registered(datasets: Datasets, csv_file: Writer) -> None:
    with pytest.raises(DataError, match="EMPTY_FILE"):
        datasets.add("ADTTE", Source(csv_file("")))
    assert datasets.list() == ()


def test_mapping_from_a_column_that_is_not_there(datasets: Datasets, csv_file: Writer) -> None:
    with pytest.raises(ConfigError, match="did you mean 'SITEID'"):
        datasets.add("ADTTE", Source(csv_file(GOOD)), mapping={"COUNTRY": Mapped("SITE_ID", {})})


def test_name_that_is_taken_is_replaced_only_on_word(datasets: Datasets, csv_file: Writer) -> None:
    first, second = csv_file(GOOD), csv_file(GOOD, "second.csv")
    datasets.add("ADTTE", Source(first))
    with pytest.raises(ConfigError, match="DATASET_EXISTS"):
        datasets.add("ADTTE", Source(second))
    datasets.add("ADTTE", Source(second), replacing=True)
    assert [r.source.location for r in datasets.list()] == [second]


def test_removed_dataset_is_gone_and_its_file_is_not(datasets: Datasets, csv_file: Writer, sample: Any) -> None:
    location = csv_file(GOOD)
    datasets.add("ADTTE", Source(location))
    datasets.load("ADTTE", sample.dictionary())
    datasets.remove("ADTTE")
    assert datasets.list() == ()
    assert Path(location).exists()
    with pytest.raises(DataError, match="DATASET_NOT_REGISTERED"):
        datasets.load("ADTTE", sample.dictionary())


def test_unknown_dataset_names_the_nearest(datasets: Datasets, csv_file: Writer) -> None:
    datasets.add("ADTTE", Source(csv_file(GOOD)))
    with pytest.raises(DataError, match="nearest one is 'ADTTE'"):
        datasets.get("ADTE")


@pytest.mark.parametrize("name", ["", "1a", "a b", "../x", "a" * 65, "é"])
def test_dataset_name_must_be_usable(name: str, datasets: Datasets, csv_file: Writer) -> None:
    with pytest.raises(ConfigError, match="DATASET_NAME"):
        datasets.add(name, Source(csv_file(GOOD)))


LINE = 'location = "x.csv"\nadded_at = 2026-01-01T00:00:00Z\n'


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        ("[A]\nlocaton = 'x'\n", "UNKNOWN_KEY", "'location'"),
        ("[A]\n" + LINE + "opendata = true\n", "UNKNOWN_KEY", "'open_data'"),
        ("[A]\n" + LINE + "open_data = 'yes'\n", "WRONG_VALUE", "open_data"),
        ("[A]\n" + LINE + "format = 'xlsx'\n", "WRONG_VALUE", "csv"),
        ("[A]\n" + LINE + "delimiter = ';;'\n", "WRONG_VALUE", "delimiter"),
        ("[A]\n" + LINE + "missing = '.'\n", "WRONG_VALUE", "missing"),
        ("[A]\n" + LINE + "encoding = 8\n", "WRONG_VALUE", "encoding"),
        ("[A]\n" + LINE + "[A.constants]\nX = 1\n", "WRONG_VALUE", "constants"),
        ("[A]\n" + LINE + "mapping = 'x'\n", "WRONG_VALUE", "mapping"),
        ("[A]\n" + LINE + "[A.mapping.COUNTRY]\n701 = 'NL'\n", "WRONG_VALUE", "`from`"),
        ("[A]\nlocation = 'x'\nadded_at = 2026-01-01T00:00:00\n", "WRONG_VALUE", "UTC"),
        ("[A]\nadded_at = 2026-01-01T00:00:00Z\n", "WRONG_VALUE", "location"),
        ("A = 1\n", "WRONG_VALUE", "table"),
        ("[A\n", "NOT_TOML", "TOML"),
    ],
)
def test_register_with_a_slip_is_refused_and_says_where(content: str, code: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "datasets.toml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        Datasets(tmp_path, "NL").list()
    assert caught.value.code == code
    assert word in str(caught.value)


def test_register_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    registration = Registration(
        "SQL-1.x",
        Source("postgresql://u@h/d", format="sql", query='SELECT "a"\nFROM t', password_variable="X"),
        NOW,
        mapping={"a.b": Mapped("from", {"": "x", "k e y": "ü"})},
    )
    text = written({registration.name: registration})
    tomllib.loads(text)
    (tmp_path / "datasets.toml").write_text(text)
    assert read_registrations(tmp_path / "datasets.toml") == {registration.name: registration}


# --------------------------------------------------------------------------- loading


def test_country_may_be_constant_mapped_or_the_nodes_own(datasets: Datasets, csv_file: Writer, sample: Any) -> None:
    location, tables = csv_file(GOOD), {}
    datasets.add("own", Source(location))
    datasets.add("constant", Source(location), constants={"COUNTRY": "NL"})
    datasets.add("mapped", Source(location), mapping={"COUNTRY": Mapped("SITEID", {"701": "NL", "710": "NL"})})
    for name in ("own", "constant", "mapped"):
        tables[name] = datasets.load(name, sample.dictionary())
        assert tables[name].codes["COUNTRY"].tolist() == [0, 0, 0]
    assert len({table.digest for table in tables.values()}) == 1


def test_mapping_to_another_country_does_not_load(datasets: Datasets, csv_file: Writer, sample: Any) -> None:
    datasets.add("ADTTE", Source(csv_file(GOOD)), mapping={"COUNTRY": Mapped("SITEID", {"701": "NL", "710": "DE"})})
    with pytest.raises(DataError, match=r"COUNTRY \(OTHER_COUNTRY\)"):
        datasets.load("ADTTE", sample.dictionary())


def test_constant_that_is_empty_stands_for_missing_everywhere(
    datasets: Datasets, csv_file: Writer, sample: Any
) -> None:
    content = GOOD.replace(",AGE,", ",AGE_OLD,")
    datasets.add("ADTTE", Source(csv_file(content)), constants={"AGE": ""})
    assert np.isnan(datasets.load("ADTTE", sample.dictionary()).numbers["AGE"]).all()


def test_load_error_names_variables_and_rules_without_counts_or_values(
    datasets: Datasets, csv_file: Writer, sample: Any
) -> None:
    content = GOOD.replace("b,710,60,", "b,710,SECRET-60,").replace("NA,1,", "NA,0.5,")
    datasets.add("ADTTE", Source(csv_file(content)))
    with pytest.raises(DataError) as caught:
        datasets.load("ADTTE", sample.dictionary())
    assert caught.value.code == "DICTIONARY_MISMATCH"
    assert "AGE (WRONG_TYPE), CNSR (NOT_WHOLE)" in caught.value.message
    assert "SECRET" not in str(caught.value)
    assert not any(character.isdigit() for character in caught.value.message)
    assert [f.count for f in datasets.check("ADTTE", sample.dictionary())] == [1, 1]


def test_check_names_the_nearest_column(datasets: Datasets, csv_file: Writer, sample: Any) -> None:
    datasets.add("ADTTE", Source(csv_file(GOOD.replace(",SEX,", ",SEXX,"))))
    (finding,) = datasets.check("ADTTE", sample.dictionary())
    assert "'SEXX'" in finding.words


def test_warnings_do_not_stop_loading_and_unknown_levels_are_other(
    datasets: Datasets, csv_file: Writer, sample: Any
) -> None:
    datasets.add("ADTTE", Source(csv_file(GOOD.replace("60,M", "60,X"))))
    assert datasets.load("ADTTE", sample.dictionary()).codes["SEX"].tolist() == [0, 2, 1]


def test_table_is_loaded_once_until_its_file_changes(datasets: Datasets, csv_file: Writer, sample: Any) -> None:
    location = csv_file(GOOD)
    datasets.add("ADTTE", Source(location))
    first = datasets.load("ADTTE", sample.dictionary())
    assert datasets.load("ADTTE", sample.dictionary()) is first
    Path(location).write_text(GOOD.replace("c,710,70", "c,710,71"))
    os.utime(location, ns=(1, 1))
    changed = datasets.load("ADTTE", sample.dictionary())
    assert changed.numbers["AGE"].tolist() == [50, 60, 71]
    assert changed.digest != first.digest


def test_table_is_made_again_when_the_dictionary_or_registration_changes(
    datasets: Datasets, csv_file: Writer, sample: Any
) -> None:
    datasets.add("ADTTE", Source(csv_file(GOOD)))
    first = datasets.load("ADTTE", sample.dictionary())
    other = sample.dictionary(label="another version")
    assert datasets.load("ADTTE", other).digest != first.digest
    datasets.add("ADTTE", Source(csv_file(GOOD), missing=("NO",)), replacing=True)
    assert datasets.load("ADTTE", sample.dictionary()).codes["RACE"].tolist() == [-1, 1, 2]


def test_database_is_read_again_only_on_refresh(datasets: Datasets, sample: Any, tmp_path: Path) -> None:
    import sqlite3

    location = sample.write("sqlite", tmp_path)
    datasets.add("ADTTE", Source(location, table="adtte"))
    first = datasets.load("ADTTE", sample.dictionary())
    with sqlite3.connect(location.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE adtte SET AGE = 33 WHERE SITEID = '703'")
    connection.close()
    assert datasets.load("ADTTE", sample.dictionary()) is first
    assert datasets.load("ADTTE", sample.dictionary(), refresh=True).numbers["AGE"][-1] == 33


def test_snapshot_digest_needs_the_nodes_own_key(csv_file: Writer, sample: Any, tmp_path: Path) -> None:
    digests = []
    for node in ("a", "b", "a"):
        datasets = Datasets(tmp_path / node, "NL")
        datasets.add("ADTTE", Source(csv_file(GOOD)), replacing=True)
        digests.append(datasets.load("ADTTE", sample.dictionary()).digest)
    # equal rows at two sites cannot be told to be equal, at one site they can, also by a later process
    assert digests[0] == digests[2] != digests[1]
    assert stat.S_IMODE((tmp_path / "a" / "snapshot.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("good", "bad"),
    [("50,F", "51,F"), ("60,M", "60,F"), ("NA,1", "NA,0"), ("b,710", "a,710"), ("c,710,70,M,0,0,30\n", "")],
)
def test_snapshot_digest_tells_every_change(good: str, bad: str, csv_file: Writer, sample: Any) -> None:
    from isthmus_node.sources import table_from_csv

    dictionary = sample.dictionary(one_row_a_subject=False)
    before = table_from_csv(csv_file(GOOD), dictionary, "NL").digest
    assert table_from_csv(csv_file(GOOD.replace(good, bad)), dictionary, "NL").digest != before
    assert table_from_csv(csv_file(GOOD), dictionary, "DE").digest != before


def test_table_cannot_be_changed_by_a_method(csv_file: Writer, sample: Any) -> None:
    from isthmus_node.sources import table_from_csv

    table = table_from_csv(csv_file(GOOD), sample.dictionary(), "NL")
    with pytest.raises(ValueError, match="read-only"):
        table.numbers["AGE"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        table.subject[0] = 1


@pytest.mark.parametrize(
    ("good", "bad", "code"),
    [("AVAL\n", "aval\n", "MISSING_COLUMN"), ("60,M", "x,M", "WRONG_TYPE"), ("b,710", ",710", "MISSING_SUBJECT")],
)
def test_conversion_without_the_catalogue_still_refuses(
    good: str, bad: str, code: str, csv_file: Writer, sample: Any
) -> None:
    from isthmus_node.sources import table_from_csv

    with pytest.raises(DataError) as caught:
        table_from_csv(csv_file(GOOD.replace(good, bad)), sample.dictionary(), "NL")
    assert caught.value.code == code
