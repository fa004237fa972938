"""R's calls that describe."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, r_column
from isthmus_methods.contract import Ref, Spec
from isthmus_methods.request import written_text


def _table_one(spec: Spec, rows: str) -> list[str]:
    arm = spec.role("arm")
    names = ", ".join(written_text(c.variable) for c in spec.role("variables") if isinstance(c, Ref))
    groups = f", strata = {written_text(r_column(arm[0]))}" if arm else ""
    return [f"tableone::CreateTableOne(vars = c({names}){groups}, data = {rows}, test = FALSE, includeNA = FALSE)"]


CALLS: Mapping[str, Call] = {"table_one": _table_one}
