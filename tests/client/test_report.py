"""The page and the document: whole, alone on disk, and nothing in them that a browser would run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pooling import asked, breast_cancer, planned

from isthmus.errors import ConfigError, UsageError
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_client.report import report_html, write_report, write_results
from isthmus_client.results import CoxFit, Fit
from isthmus_client.results.fit import beside, fit_of

HOSTILE = '<script>alert("x")</script><img src=https://evil.example onerror=alert(1)>'


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def fit(result: analyst_pb2.Result, study: study_pb2.Study | None = None) -> Fit:
    return fit_of(result, study or breast_cancer())


@pytest.fixture(scope="module")
def html() -> str:
    return report_html([fit(planned(name)) for name in ("primary", "by-country", "km", "log-rank", "table-1")])


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "svg"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,"))


def test_policy_of_the_page_allows_its_own_style_and_images_only(html: str, page: Page) -> None:
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not [a for _, a in page.tags if "style" in a]


def test_page_names_no_network_address(html: str) -> None:
    outside = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert "http://" not in outside
    assert "https://" not in outside


def test_sections_stand_in_the_order_of_a_clinical_report(page: Page) -> None:
    said = page.text
    places = [
        said.index(title)
        for title in (
            "Does hormonal therapy lengthen",
            "results it is in",
            "Age (years), mean (sd)",
            "median (days)",
            "log-rank, stratified",
            "hazard ratio (95 % CI) log hazard ratio",
            "meta-analysis, fixed effect",
            "None: every country contributed",
            "Patient rows stayed in the 4 countries",
            "bytes that left",
            "On a pooled file, these calls give the same numbers",
        )
    ]
    assert places == sorted(places)


def test_figures_are_images_inside_the_page(page: Page) -> None:
    images = [a for tag, a in page.tags if tag == "img"]
    assert [a["alt"] for a in images] == [
        "survival by hormon",
        "hazard ratio of each coefficient",
        "hormon=1 by country",
    ]
    for image in images:
        assert base64.b64decode(image["src"].partition(",")[2]).startswith(b"<svg")


def test_provenance_has_digests_bytes_releases_and_versions(page: Page) -> None:
    said = page.text
    provenance = fit(planned("primary")).provenance()
    assert provenance.study_digest in said
    assert provenance.run in said
    total = sum(
        c.bytes
        for name in ("primary", "by-country", "km", "log-rank", "table-1")
        for c in fit(planned(name)).provenance().contributions
        if c.country == "BE"
    )
    assert f"{total:,}" in said
    assert provenance.contributions[0].policy_digest[:16] in said


def test_every_name_label_and_message_is_escaped() -> None:
    study = study_pb2.Study()
    study.CopyFrom(breast_cancer())
    study.title = study.rationale = study.data_cut = study.recipients[0] = HOSTILE
    study.plan[0].title = study.plan[3].title = HOSTILE
    study.datasets[0].variables[2].label = HOSTILE
    result, table = analyst_pb2.Result(), analyst_pb2.Result()
    result.CopyFrom(planned("primary"))
    table.CopyFrom(planned("table-1"))
    for r in (result, table):
        r.caveats.append(HOSTILE)
        r.software = HOSTILE
        r.contributions[0].software = HOSTILE
        r.contributions[1].state = "refused"
        r.contributions[1].failure.message = HOSTILE
    for entry in table.answer.tree.entries:
        if entry.name == "rows":
            for field in entry.value.tree.entries[0].value.tree.entries:
                if field.name in ("label", "unit"):
                    field.value.text = HOSTILE
    text = report_html([fit(result, study), fit(table, study)])
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [a for _, a in page.tags if "onerror" in a or a.get("src", "").startswith("https")]
    assert HOSTILE in page.text
    for source in (a["src"] for tag, a in page.tags if tag == "img"):
        drawn = base64.b64decode(source.partition(",")[2]).decode()
        assert "<script" not in drawn


def test_level_with_markup_in_its_name_is_text_in_the_figure() -> None:
    study = study_pb2.Study()
    study.CopyFrom(breast_cancer())
    hormon = next(v for v in study.datasets[0].variables if v.name == "hormon")
    hormon.levels[1] = HOSTILE
    result = analyst_pb2.Result()
    result.CopyFrom(asked("kaplan_meier", "Surv(rfstime, status) ~ hormon"))
    for entry in result.answer.tree.entries:
        entry.name = entry.name.replace("hormon=1", f"hormon={HOSTILE}")
    page = Page(report_html([fit(result, study)]))
    assert "script" not in {tag for tag, _ in page.tags}
    (image,) = [a for tag, a in page.tags if tag == "img"]
    assert "<script" not in base64.b64decode(image["src"].partition(",")[2]).decode()


def test_missing_country_stands_at_the_top_and_in_its_section() -> None:
    page = Page(report_html([fit(asked("cox", "Surv(rfstime, status) ~ hormon", without=("BE",)))]))
    assert "BE is not in every result" in page.text
    assert "n = 3,071†" in page.text
    assert "did not answer before the deadline" in page.text
    assert "None: every country contributed" not in page.text


def test_countries_beside_a_fit_get_their_own_section() -> None:
    joined = beside(fit(planned("primary")), [fit(planned("by-country"))])
    assert isinstance(joined, CoxFit)
    assert "meta-analysis, fixed effect" in Page(report_html([joined])).text


def test_page_is_the_same_each_time() -> None:
    fits = [fit(planned("primary")), fit(planned("km"))]
    assert report_html(fits) == report_html(fits)


def test_results_of_two_studies_are_not_mixed() -> None:
    other = analyst_pb2.Result()
    other.CopyFrom(planned("log-rank"))
    other.study_digest = bytes(32)
    with pytest.raises(UsageError) as caught:
        report_html([fit(planned("primary")), fit(other)])
    assert caught.value.code == "SEVERAL_STUDIES"
    with pytest.raises(UsageError):
        report_html([])


def test_report_of_one_result_is_written_by_the_result(tmp_path: Path) -> None:
    path = fit(planned("log-rank")).report(tmp_path / "deep" / "r.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        write_report([fit(planned("log-rank"))], tmp_path / "file" / "r.html")
    assert caught.value.code == "FILE_NOT_WRITTEN"


def test_document_holds_every_result_once(tmp_path: Path) -> None:
    cox, meta = fit(planned("primary")), fit(planned("by-country"))
    joined = beside(cox, [meta])
    document = json.loads(write_results([joined, meta], tmp_path / "result.json").read_text(encoding="utf-8"))
    assert [r["method"] for r in document["results"]] == ["cox", "meta_analysis"]
