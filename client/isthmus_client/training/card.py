"""The card of a trained model, for people: from the card for programs, so that both say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isthmus.untrusted import shown

# Version of the shape of a card, not of what is in it.
CARD_VERSION = 1
# What holds for every model that is trained this way; a reader of the card may know nothing of isthmus.
LIMITS = (
    "It predicts for persons like those it was trained on: the countries, the rows and the variables named here.",
    "Nobody has seen the rows of all countries together; what is said of them comes from counts that left countries.",
    "Weights can tell something of the persons they were learned from. Where a country added noise, the privacy spent"
    " is stated; where it added none, there is no such bound.",
    "It is no medical device, and nothing here shows that a decision based on it does good.",
)


# Headings of an evaluation as people read it.
EVALUATION = ("held out in", "rows", "with outcome", "AUC (95 % CI)", "cells allow", "Brier score", "observed/expected")


def evaluation_cells(row: Mapping[str, Any]) -> list[str]:
    """One row of an evaluation under these headings."""
    auc, open_ = _number(row["auc"]), f"{_number(row['auc_least'])} to {_number(row['auc_most'])}"
    limits = "" if row["auc_lower"] is None else f" ({_number(row['auc_lower'])} to {_number(row['auc_upper'])})"
    rows, events = f"{row['rows']:,}", f"{row['with outcome']:,}"
    return [
        str(row["held out in"]),
        rows,
        events,
        auc + limits,
        open_,
        _number(row["brier"]),
        _number(row["observed/expected"]),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def card_text(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    return shown("\n".join(_lines(card)) + "\n", "\n")


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    app, study, weights = card["app"], card["study"], card["weights"]
    yield f"# {card['title']}"
    yield ""
    yield f"{card['parameters']:,} numbers, trained on rows that stayed in {len(_countries(card))} countries."
    yield from _heading("What it predicts")
    yield f"{card['outcome']['predicted'].capitalize()}."
    yield ""
    yield f"From: {', '.join(card['predictors'])}."
    yield from _heading("How it was trained")
    yield from _table(
        ("", ""),
        [
            ("app", f"{app['name']}, version {app['version']}"),
            ("digest of the app's source", app["digest"]),
            ("settings that were given", _words(card["settings"]) or "none, its defaults"),
            ("strategy", card["strategy"]),
            ("rounds", card["rounds"]),
            ("persons held out", f"{100 * card['held_out']:g} % of each country's"),
            ("seed", card["seed"]),
            ("ended", card["ended_at"] or "–"),
            ("isthmus", card["software"]),
        ],
    )
    yield from _heading("Data")
    yield f"Study {study['name']}, version {study['version']}: {study['title']}"
    yield ""
    yield f"- digest of the study: `{study['digest']}`"
    yield f"- analysis: {card['analysis'] or 'exploratory'}, for: {card['purpose']}"
    yield f"- run: `{card['run']}`"
    yield f"- dataset: {card['dataset']}; rows: {card['rows'] or 'all'}"
    yield ""
    heads = ("country", "state", "dataset", "policy", "releases", "bytes that left", "withheld")
    keys = ("country", "state", "dataset_digest", "policy_digest", "releases", "bytes", "withheld")
    yield from _table(heads, [[_cell(c[key]) for key in keys] for c in card["countries"]])
    yield from _heading("Privacy spent")
    if card["privacy"]:
        yield from _table(tuple(card["privacy"][0]), [[_cell(v) for v in p.values()] for p in card["privacy"]])
    else:
        yield "No country added noise, so there is no bound on what the weights tell of a person."
    yield from _heading("Evaluation on persons held out")
    if card["evaluation"]:
        yield from _table(EVALUATION, [evaluation_cells(e) for e in card["evaluation"]])
        yield ""
        yield from (f"- {sentence}" for sentence in card["evaluation_notes"])
    else:
        yield "None: nobody was held out, or what there was did not leave the countries."
    yield from _heading("Limits")
    yield from (f"- {sentence}" for sentence in (*card["caveats"], *card["limits"]))
    yield from _heading("Files")
    yield f"`{weights['file']}` (SHA-256 `{weights['sha256']}`), for `numpy.load` or `isthmus_client.training.load`:"
    yield ""
    arrays = [(a["name"], _cell(a["shape"]), a["type"]) for a in weights["arrays"]]
    yield from _table(("array", "shape", "type"), arrays)


def _countries(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [c for c in card["countries"] if c["state"] == "contributed"]


def _heading(text: str) -> tuple[str, ...]:
    return "", f"## {text}", ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        # a bar would begin another cell
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"


def _cell(value: object) -> str:
    if value is None or value == [] or value == "":
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
