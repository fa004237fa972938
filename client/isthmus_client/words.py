"""What is said in words: an explanation of what would leave, and small pieces of safe HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from isthmus.untrusted import shown

if TYPE_CHECKING:
    from isthmus.v1 import analyst_pb2
    from isthmus_client.plan import PlanExplanation


def explanation_text(explanation: PlanExplanation) -> str:
    """Rounds, every field that would leave each country, and who must approve."""
    blocks = []
    for step in explanation.steps:
        answer = step.answer
        least, most = answer.rounds_least, answer.rounds_most
        rounds = f"{least}" if least == most else f"{least} to {most}"
        lines = [
            step.title,
            f"  reads: {step.reads}",
            f"  rounds: {rounds}",
            *(f"  {line}" for line in step.more),
            "  what would leave each country in a round:",
        ]
        width = max((len(f.field) for f in answer.fields), default=0)
        for f in answer.fields:
            unit = f", {f.unit}" if f.unit else ""
            lines.append(
                f"    {f.field.ljust(width)}  {f.about} ({f.kind}{unit}; {f.size} number{'s' * (f.size != '1')})"
            )
        if answer.sealed:
            lines.append("  sealed: the coordinator sees the sum over all countries, and no country's own values")
        else:
            lines.append(
                "  each country's own values are needed, so results by country are shown"
                if answer.by_country
                else "  only the total over the countries is needed"
            )
        lines.extend(_limits(answer))
        lines.append(f"  approval: {_approval(answer.in_plan, list(answer.outstanding), explanation.study)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _limits(answer: analyst_pb2.Explanation) -> Iterator[str]:
    """What the countries' policies ask for: the strictest number of each threshold, and who sets it."""
    if answer.limits:
        yield "  what the strictest of the countries' policies asks for:"
    for limit in (limit for limit in answer.limits if not limit.agreed):
        based = f" (preset {', '.join(limit.presets)})" if limit.presets else ""
        yield f"    {limit.rule}: {', '.join(limit.countries)}{based}"
    alike = [limit.rule for limit in answer.limits if limit.agreed]
    if alike:
        yield "    alike in every country:"
        yield from (f"      {rule}" for rule in alike)
    if any("persons" in limit.name for limit in answer.limits):
        yield "  a country with fewer persons than that refuses, and is named: merge levels or strata, take a coarser"
        yield "  grid, or have its rows pooled with another site's at one node; regions are judged country by country"
    for refusing in answer.refusing:
        yield f"  {refusing.country} will refuse it: {refusing.reason}"
    if answer.holding:
        yield f"  a person sees the numbers before they leave in: {', '.join(answer.holding)}"
    if answer.asking:
        yield f"  a person decides on each run before it starts in: {', '.join(answer.asking)}"
    if answer.unknown:
        yield f"  the policy is not known of: {', '.join(answer.unknown)} (not attached yet, or none in force)"


def _approval(in_plan: bool, outstanding: Sequence[str], study: str) -> str:
    if not in_plan:
        said = f"not in the plan of {study}: each site's policy decides, by default after a person has looked"
        return said + (f"; the study itself is still to be approved by {', '.join(outstanding)}" if outstanding else "")
    if outstanding:
        return f"in the plan of {study}, which is still to be approved by {', '.join(outstanding)}"
    return f"in the plan of {study}, approved by every country"


def as_html(text: str) -> str:
    """A text as it stands, for a notebook."""
    body = escape(shown(text, "\n"))
    return f"<pre>{body}</pre>"


def html_table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str], bool]]) -> str:
    """A table with row labels; rows marked True stand indented."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    body = "".join(
        f"<tr><th style='text-align:left;padding-left:{2 if inner else 0.3}em'>{escape(label)}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for label, cells, inner in rows
    )
    return shown(f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>")
