"""The pooled answers over real nodes equal R's on the pooled file, from whatever format a country's rows come."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.case import Case, read_case
from conformance.compare import compare, expected_of
from conformance.run import Outcome, follow_plan, nodes_of, register, set_up
from conformance.step import Context
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Sandbox
from isthmus_node.egress.journal_read import read

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("pooled"), pytest.mark.timeout(300)]

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = (
    "p11_km_lung",
    "p12_cox_lung",
    "p13_cox_rotterdam_gbsg",
    "p14_cox_ag_cgd",
    "t01_table_one_lung",
    "t02_km_edges",
    "t03_meta_rotterdam",
)
# Keys of R's answers that isthmus has no answer for.
NOT_YET = re.compile(r"/(unstratified|country_fixed_effects|robust_\w+)/")
# Each country of the lung study keeps its rows in another format.
LUNG = "p11_km_lung"
FORMATS = {"DK": "parquet", "NO": "xpt", "FI": "dataset-json", "IS": "sqlite", "SE": "ndjson"}
OTHER = "-other"
# The lung file's columns under names that a transport file of version 5 can have.
SHORT = {"ph.ecog": "PHECOG", "ph.karno": "PHKARNO", "pat.karno": "PATKARNO", "wt.loss": "WTLOSS"}


def load(name: str) -> Case:
    return read_case(REFERENCE / name)


class Pooled:
    """Every analysis of every case, run once when first asked for."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.done: dict[str, tuple[Outcome, Context]] = {}

    def outcome(self, name: str, form: str = "") -> tuple[Outcome, Context]:
        key = name.split("_")[0] + form
        if key not in self.done:
            outcome = Outcome(load(name))
            if not form:
                register(self.box, outcome.case)
            self.done[key] = (outcome, follow_plan(self.box, outcome, key, form=form))
        return self.done[key]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    with Sandbox(tmp_path_factory.mktemp("pooled")) as box:
        set_up(box, list(dict.fromkeys(country for name in CASES for country in load(name).countries)))
        yield Pooled(box)


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


def runs(context: Context) -> list[Fit]:
    return [fit for fits in context.fits.values() for fit in fits]


@pytest.mark.parametrize("name", CASES)
def test_pooled_answer_equals_r(pooled: Pooled, name: str) -> None:
    outcome, context = pooled.outcome(name)
    assert outcome.errors == []
    compared = compare(outcome.answer, expected_of(outcome.case), outcome.case.tolerances)
    assert [k.worst for k in compared.failed if not k.missing] == []
    assert [k.key for k in compared.missing if not NOT_YET.search(k.key)] == []
    assert len(compared.keys) > len(compared.missing)
    assert [fit.caveats for fit in runs(context) if not fit.exact] == []


def test_formats_give_the_same_answer_to_the_bit(pooled: Pooled) -> None:
    outcome, from_csv = pooled.outcome(LUNG)
    case, box = outcome.case, pooled.box
    (table,) = case.tables.values()
    nodes = nodes_of(box, case)
    box.at_each_node(
        {
            nodes[country]: ("data", "add", *rewritten(path, FORMATS[country], box.home / country),
                             "--dataset", case.dataset(table.name) + OTHER, "--open-data")
            for country, path in table.files.items()
        }
    )  # fmt: skip
    _, from_others = pooled.outcome(LUNG, OTHER)
    assert len(runs(from_others)) == len(runs(from_csv)) > 0
    for one, other in zip(runs(from_csv), runs(from_others), strict=True):
        assert other.result.answer.SerializeToString(deterministic=True) == one.result.answer.SerializeToString(
            deterministic=True
        )
        assert [c.state for c in other.result.contributions] == ["contributed"] * len(FORMATS)


def test_every_country_gave_what_its_journal_holds(pooled: Pooled) -> None:
    """What the results say of bytes and releases is what the journals say."""
    pooled.outcome(LUNG)
    said: dict[str, list[int]] = {}
    runs_seen: set[str] = set()
    for fit in (fit for _, context in pooled.done.values() for fit in runs(context)):
        provenance = fit.provenance()
        if provenance.run in runs_seen:
            continue
        runs_seen.add(provenance.run)
        for given in provenance.contributions:
            entry = said.setdefault(given.node, [0, 0])
            entry[0] += given.releases
            entry[1] += given.bytes
    journals = {node: list(read(pooled.box.node_home(node) / "state/journal")) for node in said}
    left = {node: [len(e.payload) for e in entries if e.payload] for node, entries in journals.items()}
    assert {node: [len(sizes), sum(sizes)] for node, sizes in left.items()} == said
    assert sum(outcome.bytes_out for outcome, _ in pooled.done.values()) == sum(size for _, size in said.values())
