"""Results as a statistician reads them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from pooling import DEADLINE, asked, breast_cancer, planned, tabulated
from rich.console import Console

from isthmus.errors import VersionError
from isthmus.v1 import analyst_pb2
from isthmus_client.report import report_html
from isthmus_client.results import CoxFit, Fit, KmFit, LogRankFit, MetaFit, TableOneFit
from isthmus_client.results.fit import Footnotes, beside, fit_of
from isthmus_client.results.frames import frames
from isthmus_client.terminal import show
from isthmus_methods.contract import Answer

GOLDEN = Path(__file__).parent / "golden"
MODEL = "Surv(rfstime, status) ~ hormon + age + meno + size + grade + nodes + pgr + er"


def fit(result: analyst_pb2.Result, formula: str = "") -> Fit:
    return fit_of(result, breast_cancer(), formula)


def words(text: str) -> list[list[str]]:
    """The words of each line that says something; R's factor names (hormon1) as ours (hormon=1)."""
    text = re.sub(r"^(hormon|meno|size|grade)(?=[0-9<>])", r"\1=", text, flags=re.MULTILINE)
    return [line.split() for line in text.splitlines() if line.strip()]


def after(text: str, start: str) -> str:
    return text[text.index(start) :]


@pytest.mark.parametrize(
    ("golden", "result"),
    [
        ("coxph", lambda: asked("cox", MODEL, concordance=True)),
        (
            "coxph-small",
            lambda: asked("cox", "Surv(rfstime, status) ~ hormon + age", where="nodes <= 3", concordance=True),
        ),
        (
            "coxph-robust",
            lambda: asked(
                "cox", "Surv(rfstime, status) ~ hormon + sqrt(nodes)", robust=True, ties="breslow", concordance=True
            ),
        ),
    ],
)
def test_cox_summary_is_that_of_r_word_for_word(golden: str, result: object) -> None:
    shown = fit(result()).text()  # type: ignore[operator]
    in_r = (GOLDEN / f"{golden}.txt").read_text(encoding="utf-8")
    ours = words(re.sub(r"[†‡§]", "", after(shown, "  n= ")).split("\n†")[0])
    notes = [line for line in ours if "level" in line or "levels," in line]
    assert [line for line in ours if line not in notes] == words(after(in_r, "  n= "))


def test_log_rank_summary_is_that_of_r() -> None:
    shown = fit(asked("log_rank", "Surv(rfstime, status) ~ hormon")).text()
    in_r = (GOLDEN / "survdiff.txt").read_text(encoding="utf-8")
    assert words(after(shown, "            N"))[:4] == words(after(in_r, "            N"))


def test_kaplan_meier_summary_is_that_of_r() -> None:
    shown = words(after(fit(planned("km")).text(), "            n events"))
    in_r = words(after((GOLDEN / "survfit.txt").read_text(encoding="utf-8"), "            n events"))
    assert [line for line in shown[:4] if line[0] != "overall"] == in_r


def test_each_method_has_its_own_class() -> None:
    kinds = {name: type(fit(planned(name))) for name in ("table-1", "km", "log-rank", "primary", "by-country")}
    assert list(kinds.values()) == [TableOneFit, KmFit, LogRankFit, CoxFit, MetaFit]


def test_cox_with_one_baseline_hazard_says_so_and_shows_the_countries() -> None:
    cox = fit(asked("cox", "Surv(rfstime, status) ~ hormon + country", stratify_by_country=False))
    assert isinstance(cox, CoxFit)
    assert not cox.stratified
    assert "one baseline hazard for all countries" in cox.call()
    assert "model with one baseline hazard for all countries, with Efron's" in cox.paragraph()
    assert cox.has_coefficient("country=DE")
    assert "stratified by country" not in cox.text()
    assert "stratified by country" in fit(planned("primary")).text()


def test_cox_table_holds_every_digit_of_the_answer() -> None:
    cox = fit(planned("primary"))
    assert isinstance(cox, CoxFit)
    table = cox.table()
    assert list(table.columns) == ["estimate", "se", "z", "p", "hr", "hr_lower", "hr_upper"]
    own = cox.answer["coef"]["hormon=1"]  # type: ignore[index, call-overload]
    assert table.loc["hormon=1", "estimate"] == own["estimate"]  # type: ignore[index, call-overload]
    assert table.loc["hormon=1", "hr_upper"] == pytest.approx(own["hr_ci95_upper"], rel=1e-14)  # type: ignore[index, call-overload]


def test_missing_country_is_marked_at_n_and_named_in_the_footnote() -> None:
    cox = fit(asked("cox", "Surv(rfstime, status) ~ hormon", without=("BE",)))
    assert cox.missing_countries == ("BE",)
    assert not cox.exact
    text = cox.text()
    assert re.search(r"n= 3071†, number of events= \d+†", text)
    assert f"† BE is not in this result: {DEADLINE} [DEADLINE]." in text


def test_missing_country_is_named_though_the_coordinator_says_nothing() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(asked("cox", "Surv(rfstime, status) ~ hormon", without=("BE",)))
    del result.caveats[:]
    assert fit(result).caveats == (f"BE is not in this result (missing: {DEADLINE})",)


def test_withheld_variable_is_marked_at_its_own_row_only() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(tabulated("age", "size"))
    result.exact = False
    result.caveats.append("size: AT withheld (SMALL_CELL); it covers NL, BE, DE")
    result.caveats.append("AT withheld: count[size]: SMALL_CELL.")
    result.contributions[3].withheld.append("count[size]: SMALL_CELL")
    table = fit(result)
    lines = table.text().splitlines()
    assert [line for line in lines if "†" in line] == [
        next(line for line in lines if line.startswith("Tumour size, n (%)†")),
        "† size: AT withheld (SMALL_CELL); it covers NL, BE, DE",
    ]
    assert len(table.caveats) == 1  # said once, not in two forms


def test_withheld_cell_says_so_where_the_number_would_stand() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(tabulated("age", "size"))
    for entry in result.answer.tree.entries:
        if entry.name == "rows":
            size = next(e for e in entry.value.tree.entries if e.name == "size")
            for column in size.value.tree.entries:
                if column.name in ("0", "1", "overall"):
                    column.value.null.SetInParent()
    text = fit(result).text()
    assert re.search(r"<=20\s+withheld\s+withheld\s+withheld", text)


def test_table_one_shows_counts_percentages_means_and_missing() -> None:
    table = fit(tabulated("age", "meno"))
    assert isinstance(table, TableOneFit)
    text = table.text()
    assert re.search(r"Age \(years\), mean \(sd\)\s+53\.7 \(12\.6\)\s+60\.1 \(10\.1\)\s+54\.7 \(12\.5\)", text)
    assert re.search(r"0\s+1,502 \(48\.7\)\s+100 \(17\.1\)\s+1,602 \(43\.7\)", text)
    assert table.headings() == ["hormon=0 (n=3,083)", "hormon=1 (n=585)", "overall (n=3,668)"]
    assert table.countries == ["NL", "BE", "DE", "AT"]
    frame = table.table()
    assert frame.loc[("pooled", "meno", "count", "0"), "overall"] == 1602
    assert frame.loc[("AT", "age", "n", ""), "overall"] == 111


def test_coefficient_that_is_not_estimable_is_na_with_a_footnote() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(asked("cox", "Surv(rfstime, status) ~ hormon + age"))
    coefficients = next(e for e in result.answer.tree.entries if e.name == "coef")
    age = next(e for e in coefficients.value.tree.entries if e.name == "age")
    for entry in age.value.tree.entries:
        entry.value.null.SetInParent()
    text = fit(result).text()
    assert re.search(r"age†\s+NA\s+NA\s+NA\s+NA\s+NA", text)
    assert "† age could not be estimated" in text
    assert pd.isna(fit(result).table().loc["age", "hr"])


def test_countries_stand_in_the_studys_order_with_their_numbers() -> None:
    meta = fit(planned("by-country"))
    assert isinstance(meta, MetaFit)
    rows = meta.countries()
    assert [r.label for r in rows] == ["NL", "BE", "DE", "AT"]
    assert [r.n for r in rows] == [2385, 597, 575, 111]
    assert sum(r.weight or 0 for r in rows) == pytest.approx(100)
    assert "Q = " in meta.heterogeneity
    assert "I² = " in meta.heterogeneity


def test_country_without_an_estimate_is_listed_with_its_reason() -> None:
    result = asked("meta_analysis", "Surv(rfstime, status) ~ hormon + grade", coefficient="grade=1")
    meta = fit(result)
    assert isinstance(meta, MetaFit)
    rows = {r.label: r for r in meta.countries()}
    assert rows["NL"].estimate is None
    assert "NL" in rows["NL"].note
    assert rows["DE"].estimate is not None
    assert re.search(r"NL†\s.*NA", meta.text())


def test_countries_beside_a_pooled_fit_are_in_its_summary_and_forest() -> None:
    cox = fit(planned("primary"))
    joined = beside(cox, [fit(planned("by-country"))])
    assert isinstance(joined, CoxFit)
    assert joined.by_country is not None
    assert "hormon=1 by country" in joined.text()
    assert [type(f) for f in joined.beside] == [MetaFit]


def test_json_holds_the_whole_result_and_reads_back(tmp_path: Path) -> None:
    cox = fit(planned("primary"), MODEL)
    document = json.loads(cox.to_json(tmp_path / "deep/result.json").read_text(encoding="utf-8"))
    assert document["answer"]["coef"]["hormon=1"]["estimate"] == cox.table().loc["hormon=1", "estimate"]
    assert document["contributions"][0]["bytes"] == 4000
    assert document["formula"] == MODEL
    assert document["exact"] is True


def test_csv_keeps_all_digits(tmp_path: Path) -> None:
    cox = fit(planned("primary"))
    frame = pd.read_csv(cox.to_csv(tmp_path / "a.csv"), index_col=0)
    assert frame.loc["hormon=1", "estimate"] == cox.table().loc["hormon=1", "estimate"]


def test_provenance_names_countries_bytes_and_digests() -> None:
    provenance = fit(planned("primary")).provenance()
    assert "NL        contributed: 4,000 bytes in" in str(provenance)
    table = provenance.table()
    assert list(table.index) == ["NL", "BE", "DE", "AT"]
    assert len(provenance.contributions[0].policy_digest) == 64


def test_result_of_an_unknown_method_is_shown_by_its_tables() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(planned("primary"))
    result.spec.method = "sorcery"
    plain = fit(result)
    assert "hormon=1" in plain.table().index
    assert "coef:" in plain.text()
    assert "se" in plain.table().columns
    assert "sorcery" in report_html([plain])
    console = Console(width=120, record=True, file=io.StringIO())
    show(console, [plain])
    assert "hormon=1" in console.export_text()


def test_any_answer_becomes_tables() -> None:
    answer: Answer = {
        "n": 3,
        "p": None,
        "curve": {"time": [1.0, 2.0], "surv": [0.5, None]},
        "vcov": {"rows": ["a", "b"], "cols": ["a", "b"], "values": [[1.0, 2.0], [2.0, 4.0]]},
        "robust": {"HC0": {"a": {"estimate": 1.0, "se": 2.0}, "b": {"estimate": 3.0, "se": None}}},
        "test": {"statistic": 1.0, "df": 2},
    }
    tables = frames(answer)
    assert list(tables) == ["", "curve", "vcov", "robust, HC0", "test"]
    assert tables["vcov"].loc["a", "b"] == 2.0
    assert tables["robust, HC0"].loc["b", "estimate"] == 3.0
    assert tables["curve"]["time"].tolist() == [1.0, 2.0]
    assert tables[""].loc["n", "value"] == 3


def test_result_without_an_expected_part_says_which_version_to_use() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(planned("primary"))
    kept = [e for e in result.answer.tree.entries if e.name != "coef"]
    del result.answer.tree.entries[:]
    result.answer.tree.entries.extend(kept)
    with pytest.raises(VersionError, match="coef"):
        fit(result).text()


def test_notebook_form_escapes_names() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(planned("primary"))
    result.caveats.append("<script>alert(1)</script>")
    html = fit(result)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_footnotes_keep_their_mark_and_double_after_the_last() -> None:
    marks = Footnotes()
    first = [marks.mark([str(k)]) for k in range(6)]
    assert first == ["†", "‡", "§", "¶", "#", "††"]
    assert marks.mark(["0", "1"]) == "†‡"
    assert marks.lines()[5] == "†† 5"
