"""Dataset-JSON and transport file of one dataset hold the same rows: CDISC's own files where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus_node.sources import Rows, Source, read

_SHARED = Path(os.environ.get("ISTHMUS_SHARED") or Path(__file__).parents[2].parent / "shared")
PUBLISHED = sorted(path for path in (_SHARED / "samples").glob("ad*.*json"))
# one pair is made here, so that there is always a case
CASES: Sequence[Path | None] = (None, *PUBLISHED)


@pytest.mark.parametrize("path", CASES, ids=["made-here", *(path.name for path in PUBLISHED)])
def test_dataset_json_equals_its_transport_file(path: Path | None, sample: Any, tmp_path: Path) -> None:
    if path is None:
        from_json, from_xpt = (read(Source(sample.write(form, tmp_path))) for form in ("ndjson", "xpt5"))
    else:
        from_json, from_xpt = read(Source(str(path))), read(Source(str(path.with_suffix(".xpt"))))
        assert len(from_json) == 254
    assert from_json.names == from_xpt.names
    assert len(from_json) == len(from_xpt)
    for name in from_json.names:
        if from_xpt.numbers(name).unreadable == 0 and from_json.numbers(name).unreadable == 0:
            # the JSON files print 15 digits
            np.testing.assert_allclose(
                from_json.numbers(name).values, from_xpt.numbers(name).values, rtol=1e-14, err_msg=name
            )
        elif from_xpt.numbers(name).unreadable:
            # dates are days in one file and ISO text in the other: only text is compared as text
            assert texts(from_json, name) == texts(from_xpt, name), name
    if path is not None and path.name.startswith("adsl"):
        check_margins(from_json)


def texts(rows: Rows, name: str) -> list[str | None]:
    column = rows.text(name)
    return [column.distinct[code] if code >= 0 else None for code in column.codes]


def check_margins(rows: Rows) -> None:
    """Subjects and mean age by arm, and women, as published with the CDISC pilot study."""
    arm, age = np.array(texts(rows, "TRT01P")), rows.numbers("AGE").values
    found = {text: (int((arm == text).sum()), round(float(age[arm == text].mean()), 2)) for text in np.unique(arm)}
    assert found == {
        "Placebo": (86, 75.21),
        "Xanomeline High Dose": (84, 74.38),
        "Xanomeline Low Dose": (84, 75.67),
    }
    assert texts(rows, "SEX").count("F") == 143
