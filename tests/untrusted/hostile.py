"""Text as somebody would write it who wants more than to be read, and a study and a result made of it."""

from __future__ import annotations

from pooling import breast_cancer, planned

from isthmus.v1 import analyst_pb2, study_pb2, values_pb2

# Of each sort one: escapes of a terminal in both forms, a mark that turns the direction of reading, ends of lines,
# markup of pages, of terminals and of figures, formulas of spreadsheets, paths, a NUL.
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31mred",
    "level\u202egnp.exe",
    "one\r\nerror: two",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[bold red]x[/bold red] [/nothing] :smile: [link=https://evil.example]y[/link]",
    r"$\frac{1}{0}$ $x",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "../../../etc/passwd",
    "a\x00b",
)


def poisoned_study(text: str) -> study_pb2.Study:
    """A study whose every text that names or describes something for people holds the hostile one."""
    study = study_pb2.Study()
    study.CopyFrom(breast_cancer())
    study.title = study.rationale = study.data_cut = text
    del study.recipients[:]
    study.recipients.append(text)
    for dataset in study.datasets:
        dataset.label = text
        for variable in dataset.variables:
            variable.label, variable.unit = text, text
    for analysis in study.plan:
        analysis.title = text
    return study


def poisoned_result(name: str, text: str) -> analyst_pb2.Result:
    """A result in which a coordinator has put the hostile text wherever the result holds one."""
    result = analyst_pb2.Result()
    result.CopyFrom(planned(name))
    result.analysis = text
    result.caveats.append(text)
    _poison(result.answer, text)
    for contribution in result.contributions:
        contribution.software = text
    result.contributions[0].withheld.append(f"count[{text}]: {text}")
    return result


def _poison(value: values_pb2.Value, text: str) -> None:
    """Units and labels in the answer, which come from the study, and names of levels."""
    kind = value.WhichOneof("kind")
    if kind == "tree":
        for entry in value.tree.entries:
            entry.name = entry.name.replace("hormon=1", f"hormon={text}")
            if entry.name in ("unit", "label") and entry.value.WhichOneof("kind") == "text":
                entry.value.text = text
            else:
                _poison(entry.value, text)
    elif kind == "list":
        for one in value.list.values:
            _poison(one, text)
