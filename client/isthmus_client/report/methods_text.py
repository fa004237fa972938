"""The methods paragraph of a report, from the requests themselves."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus_client.results import Fit
from isthmus_methods.training import Training


def methods_text(fits: Sequence[Fit]) -> list[str]:
    """Paragraphs that a statistician may paste into a paper, each about one method used."""
    paragraphs = [_pooling(fits)]
    for fit in fits:
        said = fit.paragraph()
        if said and said not in paragraphs:
            paragraphs.append(said)
    return paragraphs


def _pooling(fits: Sequence[Fit]) -> str:
    countries = [c for c in fits[0].provenance().contributions if c.state == "contributed"]
    if all(fit.method == Training.name for fit in fits):
        return (
            f"Patient rows stayed in the {len(countries)} countries that contributed. Each country's node trained a"
            " model on its own rows, with an app that is installed there. A gate in that country checked weights,"
            " measures and counts against its disclosure policy, and only these left it."
        )
    return (
        f"Patient rows stayed in the {len(countries)} countries that contributed. Each country's node computed the"
        " sums a method needs, a gate in that country checked them against its disclosure policy, and only these sums"
        " left it. Pooled estimates were computed from the sums of the countries; unless a caveat says otherwise they"
        " equal those of the same analysis on the pooled rows."
    )
