"""The pooled answers over real nodes equal R's on the pooled file, from whatever format a country's rows come."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import reference_study as reference

from isthmus_client.proposal import study_from_toml
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Sandbox
from isthmus_node.egress.journal_read import read

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("pooled"), pytest.mark.timeout(300)]

# Each country of the lung study keeps its rows in another format.
FORMATS = {"DK": "parquet", "NO": "xpt", "FI": "dataset-json", "IS": "sqlite", "SE": "ndjson"}
OTHER = "-OTHER"
# The lung file's columns under names that a transport file of version 5 can have.
SHORT = {"ph.ecog": "PHECOG", "ph.karno": "PHKARNO", "pat.karno": "PATKARNO", "wt.loss": "WTLOSS"}

load = cache(reference.load)


class Pooled:
    """Every analysis of every study, run once when first asked for."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.fits: dict[str, dict[str, Fit]] = {}

    def answers(self, study: str) -> dict[str, Fit]:
        if study not in self.fits:
            with self.box.connect() as connection:
                opened = connection.study(study)
                plans = {name: opened.planned(name) for name in opened.plan()}
                # ordered all at once, as a statistician's script would not, but an impatient one's might
                for plan in plans.values():
                    plan.start()
                self.fits[study] = {name: plan.run(progress=False) for name, plan in plans.items()}
        return self.fits[study]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    folder = tmp_path_factory.mktemp("pooled")
    nodes = {c.lower(): c for cases in reference.STUDIES.values() for c in reference.countries(cases)}
    with Sandbox(folder) as box:
        box.init_coordinator()
        box.start_coordinator()
        box.join(nodes)
        box.login("statistician")
        for dataset in dict.fromkeys(reference.DATASETS.values()):
            add_everywhere(box, dataset, folder)
        box.start_nodes(nodes)
        with box.connect() as connection:
            for study, cases in reference.STUDIES.items():
                written = folder / f"{study}.toml"
                forms = ("", OTHER) if reference.DATASETS[study] == "LUNG" else ("",)
                written.write_text(reference.study_toml(study, cases, forms), encoding="utf-8")
                connection.propose(study_from_toml(written, connection.participants()))
        for study, cases in reference.STUDIES.items():
            box.at_each_node({c.lower(): ("approve", study) for c in reference.countries(cases)})
        yield Pooled(box)


def add_everywhere(box: Sandbox, dataset: str, folder: Path) -> None:
    """Each country registers its rows as CSV; of the lung study in another format too."""
    study = next(s for s, name in reference.DATASETS.items() if name == dataset)
    case = load(reference.STUDIES[study][0])
    files = {c: reference.file_of(case, c) for c in reference.countries(reference.STUDIES[study])}
    box.at_each_node(
        {c.lower(): ("data", "add", str(path), "--dataset", dataset, "--open-data") for c, path in files.items()}
    )
    if dataset == "LUNG":
        box.at_each_node(
            {
                c.lower(): ("data", "add", *rewritten(path, FORMATS[c], folder / c),
                            "--dataset", dataset + OTHER, "--open-data")
                for c, path in files.items()
            }
        )  # fmt: skip


def rewritten(csv: Path, form: str, stem: Path) -> list[str]:
    """The rows of a CSV file in another format; where they are and how they are to be read."""
    import pandas as pd

    frame = pd.read_csv(csv)
    texts = frame.select_dtypes(exclude="number").columns
    if form == "parquet":
        frame.to_parquet(stem.with_suffix(".parquet"))
        return [str(stem.with_suffix(".parquet"))]
    if form == "xpt":
        import pyreadstat

        short = frame.rename(columns={name: SHORT.get(name, name.upper()) for name in frame})
        pyreadstat.write_xport(short, str(stem.with_suffix(".xpt")), file_format_version=5, table_name="LUNG")
        mapped = [word for name in frame for word in ("--map", f"{name}={SHORT.get(name, name.upper())}")]
        return [str(stem.with_suffix(".xpt")), *mapped]
    if form == "sqlite":
        with sqlite3.connect(stem.with_suffix(".db")) as database:
            frame.to_sql("lung", database, index=False)
        database.close()
        return [f"sqlite:///{stem.with_suffix('.db')}", "--table", "lung"]
    columns = [
        {"itemOID": f"IT.{name}", "name": name, "label": name, "dataType": "string" if name in texts else "double"}
        for name in frame
    ]
    head = {"datasetJSONVersion": "1.1.0", "records": len(frame), "name": "LUNG", "columns": columns}
    rows = json.loads(frame.to_json(orient="values"))
    if form == "ndjson":
        stem.with_suffix(".ndjson").write_text("\n".join(json.dumps(line) for line in (head, *rows)) + "\n")
        return [str(stem.with_suffix(".ndjson"))]
    stem.with_suffix(".json").write_text(json.dumps({**head, "rows": rows}))
    return [str(stem.with_suffix(".json"))]


def trees(fits: Mapping[str, Fit]) -> dict[str, Any]:
    return {name: fit.answer for name, fit in fits.items()}


STEPS = list(reference.every_step())
LUNG = [
    (study, asked.name)
    for study, name, k in STEPS
    if reference.DATASETS[study] == "LUNG"
    for asked in reference.analyses(load(name), k)
]


@pytest.mark.parametrize(("study", "name", "k"), STEPS, ids=[f"{name}-{k}" for _, name, k in STEPS])
def test_pooled_answer_equals_r(pooled: Pooled, study: str, name: str, k: int) -> None:
    fits = pooled.answers(study)
    assert reference.differences_from_r(load(name), k, trees(fits)) == []
    asked = [a.name for a in reference.analyses(load(name), k)]
    assert [fits[a].caveats for a in asked if not fits[a].exact] == []


@pytest.mark.parametrize(("study", "analysis"), LUNG)
def test_formats_give_the_same_answer_to_the_bit(pooled: Pooled, study: str, analysis: str) -> None:
    fits = pooled.answers(study)
    from_csv, from_others = fits[analysis].result, fits[analysis + OTHER].result
    assert from_others.answer.SerializeToString(deterministic=True) == from_csv.answer.SerializeToString(
        deterministic=True
    )
    assert [c.state for c in from_others.contributions] == ["contributed"] * len(FORMATS)


def test_every_country_gave_what_its_journal_holds(pooled: Pooled) -> None:
    """What the results say of bytes and releases is what the journals say."""
    for study in reference.STUDIES:
        pooled.answers(study)
    said: dict[str, list[int]] = {}
    for fits in pooled.fits.values():
        for fit in fits.values():
            for given in fit.provenance().contributions:
                entry = said.setdefault(given.node, [0, 0])
                entry[0] += given.releases
                entry[1] += given.bytes
    journals = {node: list(read(pooled.box.node_home(node) / "state/journal")) for node in said}
    left = {node: [len(e.payload) for e in entries if e.payload] for node, entries in journals.items()}
    assert {node: [len(sizes), sum(sizes)] for node, sizes in left.items()} == said


def test_comparison_with_r_can_fail(pooled: Pooled) -> None:
    case, answers = load("p13_cox_rotterdam_gbsg"), trees(pooled.answers("ROTTERDAM"))
    name = reference.analyses(case, 0)[0].name
    coefficients = dict(answers[name]["coef"])
    first = next(iter(coefficients))
    coefficients[first] = {**coefficients[first], "estimate": coefficients[first]["estimate"] * (1 + 2e-8)}
    changed = {**answers, name: {**answers[name], "coef": coefficients}}
    assert len(reference.differences_from_r(case, 0, changed)) == 1
