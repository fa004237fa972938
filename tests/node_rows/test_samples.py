"""The files that CDISC publishes, where they are at hand: all forms of a dataset hold the same rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus_node.sources import Source, read

_SHARED = Path(os.environ.get("ISTHMUS_SHARED") or Path(__file__).parents[2].parent / "shared")
SAMPLES = sorted(p for p in (_SHARED / "samples").glob("ad*.*") if p.suffix != ".xpt")


def test_samples_are_looked_for_where_the_environment_says() -> None:
    # with no sample at hand the tests below have no cases; the formats are tested on files made here
    assert _SHARED.is_absolute()


@pytest.mark.parametrize("path", SAMPLES, ids=[p.name for p in SAMPLES])
def test_published_dataset_json_equals_its_transport_file(path: Path) -> None:
    from_json, from_xpt = read(Source(str(path))), read(Source(str(path.with_suffix(".xpt"))))
    assert from_json.names == from_xpt.names
    assert len(from_json) == len(from_xpt) == 254
    for name in from_json.names:
        texts: list[list[Any]] = []
        for rows in (from_json, from_xpt):
            column = rows.text(name)
            texts.append([column.distinct[code] if code >= 0 else None for code in column.codes])
        numbers = from_xpt.numbers(name)
        if numbers.unreadable == 0 and from_json.numbers(name).unreadable == 0:
            # the JSON files print 15 digits
            np.testing.assert_allclose(from_json.numbers(name).values, numbers.values, rtol=1e-14, err_msg=name)
        elif not name.endswith("DT"):
            # dates are days in one file and ISO text in the other
            assert texts[0] == texts[1], name


@pytest.mark.parametrize("path", [p for p in SAMPLES if "adsl" in p.name], ids=lambda p: p.name)
def test_published_adsl_has_the_published_margins(path: Path) -> None:
    rows = read(Source(str(path)))
    arm, age, sex = rows.text("TRT01P"), rows.numbers("AGE").values, rows.text("SEX")
    found = {
        text: (int((arm.codes == code).sum()), round(float(age[arm.codes == code].mean()), 2))
        for code, text in enumerate(arm.distinct)
    }
    # Source: README of the samples
    assert found == {
        "Placebo": (86, 75.21),
        "Xanomeline High Dose": (84, 74.38),
        "Xanomeline Low Dose": (84, 75.67),
    }
    assert int((sex.codes == sex.distinct.index("F")).sum()) == 143
