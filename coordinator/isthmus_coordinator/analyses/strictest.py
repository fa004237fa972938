"""The strictest of the countries' policies for one analysis: which number holds, and which country sets it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from isthmus.errors import Refused
from isthmus.untrusted import shown
from isthmus.v1 import analyst_pb2, study_pb2

# Characters of a rule that are shown: it is a node's text.
_RULE = 200
# Thresholds that count countries: of a run, and of a round of training.
_OF_COUNTRIES = ("contributors", "update_contributors")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of an analysis decides which thresholds hold for it."""

    purpose: int
    recipients: tuple[int, ...]  # parts that recipients play; empty: not said
    kinds: frozenset[str]  # of the fields that would leave
    variables: tuple[study_pb2.Variable, ...]  # that it uses
    in_plan: bool
    countries: int  # in a run of it


@dataclass(frozen=True, slots=True)
class Told:
    """A country, and what its node told of its policy; None: nothing is known."""

    country: str
    limits: study_pb2.StatedLimits | None


def strictest(told: Sequence[Told], asked: Asked, answer: analyst_pb2.Explanation) -> None:
    """Put into an explanation what the countries' policies ask for.

    Parameters
    ----------
    told
        The participants in their order.
    asked
        The analysis.
    answer
        Gets `limits`, `refusing`, `unknown`, `asking` and `holding`.
    """
    thresholds: dict[str, list[tuple[Told, study_pb2.Threshold]]] = {}
    for one in told:
        if one.limits is None:
            answer.unknown.append(one.country)
            continue
        own = _for_recipients(one.limits, asked)
        reason = _reason(one.limits, asked, own)
        if reason:
            answer.refusing.add(country=one.country, reason=reason)
            continue
        if one.limits.asks_each_run:
            answer.asking.append(one.country)
        if one.limits.holds_outputs:
            answer.holding.append(one.country)
        for threshold in own:
            if not threshold.kinds or not asked.kinds.isdisjoint(threshold.kinds):
                thresholds.setdefault(threshold.name, []).append((one, threshold))
    answer.limits.extend(_limit(found) for found in thresholds.values())


def ruled_out(one: Told, asked: Asked, datasets: Collection[str]) -> Refused | None:
    """What a country's node will say for certain, whatever its rows are; None where it has to be asked.

    Parameters
    ----------
    one
        A country whose node is attached, so that what it told is what holds.
    datasets
        Names of those that the analysis reads.
    """
    if one.limits is None:
        return None
    own = _for_recipients(one.limits, asked)
    few = [t for t in own if t.name == "contributors" and t.value > asked.countries]
    if not any(limit.purpose == asked.purpose for limit in one.limits.purposes):
        code = "PURPOSE_NOT_ALLOWED"
    elif not own:
        code = "RECIPIENT_NOT_ALLOWED" if asked.recipients else "RECIPIENT_NOT_NAMED"
    elif few and not set(datasets) <= set(one.limits.open_datasets):
        code = "FEW_CONTRIBUTORS"
    else:
        return None
    reason = _reason(one.limits, asked, own)
    more = f"; this one is over {asked.countries}" if code == "FEW_CONTRIBUTORS" else ""
    return Refused(
        code,
        f"{one.country} would refuse it, so no country was asked: {reason}{more}",
        "have the analysis go on without the country (missing_country), make a new version of the study, or ask the "
        "site's custodian",
    )


def variables_of(spec: Message, datasets: Sequence[study_pb2.Dataset]) -> tuple[study_pb2.Variable, ...]:
    """The variables of a study's dictionary that a request names anywhere in it."""
    names = set(_names(spec))
    return tuple(variable for dataset in datasets for variable in dataset.variables if variable.name in names)


def _names(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.name == "variable" and isinstance(value, str):
            yield value
        elif field.message_type is not None:
            for one in [value] if isinstance(value, Message) else value:
                yield from _names(one)


def _for_recipients(limits: study_pb2.StatedLimits, asked: Asked) -> list[study_pb2.Threshold]:
    """The thresholds for the recipients, of several the strictest; empty where nothing leaves to them."""
    purposes = [one for one in limits.purposes if one.purpose == asked.purpose]
    whoever = [one for one in purposes if not one.recipient]
    named: dict[int, study_pb2.PurposeLimits] = {one.recipient: one for one in purposes}
    if whoever:
        return list(whoever[0].thresholds)
    if not asked.recipients or any(part not in named for part in asked.recipients):
        return []
    found: dict[str, study_pb2.Threshold] = {}
    for part in asked.recipients:
        for threshold in named[part].thresholds:
            kept = found.get(threshold.name)
            found[threshold.name] = threshold if kept is None else _tightest([kept, threshold])
    return list(found.values())


def _reason(limits: study_pb2.StatedLimits, asked: Asked, own: Collection[study_pb2.Threshold]) -> str:
    """Why a country's policy stands against the whole analysis; empty where it does not."""
    if not any(one.purpose == asked.purpose for one in limits.purposes):
        return "its policy lets nothing out for this purpose"
    if not own:
        return (
            "its policy lets nothing out to one of the recipients"
            if asked.recipients
            else "its policy names who may receive results, and the study does not say who does"
        )
    if limits.missing_permits:
        missing = shown(", ".join(limits.missing_permits), most=_RULE)
        return (
            f"its custodian has not filled in the number of its {missing}, without which nothing but open data leaves"
        )
    if not asked.in_plan and limits.exploratory == "refuse":
        return "its policy lets no analysis through that is not in an approved plan"
    kept = [v.name for v in asked.variables if not set(v.roles).isdisjoint(limits.refused_roles)]
    if kept:
        return f"its policy lets no analysis use {', '.join(dict.fromkeys(kept))}"
    few = [
        t
        for t in own
        if t.name in _OF_COUNTRIES
        and t.value > asked.countries
        and (not t.kinds or not asked.kinds.isdisjoint(t.kinds))
    ]
    return f"its policy asks that {shown(few[0].rule, most=_RULE)}" if few else ""


def _limit(found: Sequence[tuple[Told, study_pb2.Threshold]]) -> analyst_pb2.ExplainedLimit:
    tightest = _tightest([threshold for _, threshold in found])
    setters = [one for one, threshold in found if threshold.value == tightest.value]
    return analyst_pb2.ExplainedLimit(
        name=shown(tightest.name, most=64),
        rule=shown(tightest.rule, most=_RULE),
        countries=[one.country for one in setters],
        agreed=len(setters) == len(found),
        presets=sorted({shown(one.limits.preset, most=8) for one in setters if one.limits and one.limits.preset}),
    )


def _tightest(several: Sequence[study_pb2.Threshold]) -> study_pb2.Threshold:
    choose = min if several[0].smaller_is_tighter else max
    return choose(several, key=lambda threshold: threshold.value)
