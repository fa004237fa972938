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
    smd = "TRUE" if arm else "FALSE"
    lines = [
        f"t1 <- tableone::CreateTableOne(vars = c({names}){groups}, data = {rows}, test = FALSE, includeNA = FALSE)",
        f"print(t1, smd = {smd})",
    ]
    if spec.options.get("quantiles"):
        probs = "c(.05, .25, .5, .75, .95)"
        numbers = [r_column(c) for c in spec.role("variables") if isinstance(c, Ref) and not spec.levels(c)]
        lines += [f"with({rows}, quantile({x}, {probs}, type = 7, na.rm = TRUE))  # and type = 2" for x in numbers]
    return lines


CALLS: Mapping[str, Call] = {"table_one": _table_one}
