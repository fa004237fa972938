"""A study in plain words, as the custodian reads it before deciding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from isthmus.v1 import spec_pb2, study_pb2
from isthmus_methods.contract import leaving
from isthmus_methods.registry import METHODS
from isthmus_trust.identity import fingerprint

_OPERATORS = {
    spec_pb2.Comparison.EQUAL: "=",
    spec_pb2.Comparison.NOT_EQUAL: "is not",
    spec_pb2.Comparison.LESS: "<",
    spec_pb2.Comparison.LESS_OR_EQUAL: "<=",
    spec_pb2.Comparison.GREATER: ">",
    spec_pb2.Comparison.GREATER_OR_EQUAL: ">=",
}
_FUNCTIONS = {
    spec_pb2.Transform.LOG: "log",
    spec_pb2.Transform.SQUARE_ROOT: "square root",
    spec_pb2.Transform.SQUARE: "square",
    spec_pb2.Transform.CENTRE: "centre",
    spec_pb2.Transform.SCALE: "scale",
    spec_pb2.Transform.FACTOR: "factor",
}


def purpose_words(purpose: int) -> str:
    """E.g. "trial analysis"."""
    try:
        name: str = study_pb2.Purpose.Name(purpose)
    except ValueError:
        return f"an unknown purpose ({purpose})"
    return name.lower().replace("_", " ")


def recipient_words(roles: Iterable[int]) -> str:
    """E.g. "sponsor, authority"; empty where there is none."""
    known = study_pb2.Recipient
    return ", ".join(known.Name(role).lower() if role in known.values() else f"unknown ({role})" for role in roles)


def spec_words(spec: spec_pb2.Spec) -> Iterator[str]:
    """A request line by line: method, dataset, rows, what plays which part, what leaves."""
    method = METHODS.get(spec.method)
    title = method.title if method is not None else "not installed here: it cannot run"
    yield f"method {spec.method} {spec.method_version}: {title}"
    rows = f"rows where {_predicate(spec.where)}" if spec.HasField("where") else "all rows"
    yield f"over dataset {spec.dataset}, {rows}"
    yield from _roles(spec.roles)
    if spec.HasField("events"):
        events = spec.events
        rows = f"events where {_predicate(events.where)}" if events.HasField("where") else "all events"
        yield f"joined by person to dataset {events.dataset}, {rows}"
        yield from (f"  {line}" for line in _roles(events.roles))
        yield from (f"  reference of {reference.variable}: {reference.level}" for reference in events.references)
    if spec.terms:
        yield "terms: " + ", ".join(" x ".join(_column(column) for column in term.columns) for term in spec.terms)
    for reference in spec.references:
        yield f"reference of {reference.variable}: {reference.level}"
    options: dict[str, object] = {}
    for option in spec.options:
        which = option.WhichOneof("value")
        value = options[option.name] = getattr(option, which) if which else ""
        yield f"{option.name}: {', '.join(map(str, value.values)) if hasattr(value, 'values') else value}"
    if method is not None:
        yield "leaves: " + "; ".join(field.about for field in leaving(method, options).values())


def _roles(roles: Iterable[spec_pb2.Role]) -> Iterator[str]:
    for role in roles:
        yield f"{role.name}: {', '.join(_column(column) for column in role.columns)}"


def study_words(study: study_pb2.Study) -> Iterator[str]:
    """A study line by line: why, for whom, by whom, what, over which variables."""
    yield f"{study.name} version {study.version}: {study.title}"
    yield f"why: {study.rationale or 'not said'}"
    roles = recipient_words(study.recipient_roles) or "not said"
    yield f"who gets the results: {', '.join(study.recipients) or 'not said'} (by the part they play: {roles})"
    yield f"in which countries they are: {', '.join(study.recipient_countries) or 'not said'}"
    yield f"data cut: {study.data_cut or 'not said'}"
    yield f"results by country may be shown: {'yes' if study.by_country else 'no'}"
    if study.mode == study_pb2.SEALED:
        yield "mode: sealed; the coordinator sees the sum over all participants, and no country's own numbers"
    yield f"participants: {', '.join(f'{p.node} ({p.country})' for p in study.participants)}"
    if study.mode == study_pb2.SEALED:
        # who has the keys of all others has this country's numbers
        yield from (f"  key of {p.node}: {fingerprint(p.identity_key)}" for p in study.participants)
    if study.exploratory_purpose:
        purpose = purpose_words(study.exploratory_purpose)
        yield f"analyses outside the plan: for {purpose}, where the site's policy lets them"
    for dataset in study.datasets:
        yield ""
        persons = f"persons by {dataset.subject}" if dataset.subject else "each row a person"
        rows = ", one row a subject" if dataset.subject and dataset.one_row_a_subject else ""
        yield f"dataset {dataset.name}: {dataset.label} ({persons}{rows})"
        for variable in dataset.variables:
            yield f"  {_variable(variable)}"
    for analysis in study.plan:
        yield ""
        to = f", to {recipient_words(analysis.recipients)}" if analysis.recipients else ""
        yield f"analysis {analysis.name}: {analysis.title} (for {purpose_words(analysis.purpose)}{to})"
        for line in spec_words(analysis.spec):
            yield f"  {line}"


def _variable(variable: study_pb2.Variable) -> str:
    words = [study_pb2.Variable.Type.Name(variable.type).lower()]
    if variable.unit:
        words.append(variable.unit)
    if variable.levels:
        words.append(" | ".join(variable.levels))
    if variable.HasField("minimum") or variable.HasField("maximum"):
        low = f"{variable.minimum:g}" if variable.HasField("minimum") else "..."
        high = f"{variable.maximum:g}" if variable.HasField("maximum") else "..."
        words.append(f"{low} to {high}")
    words += [study_pb2.Variable.Role.Name(role).lower().replace("_", " ") for role in variable.roles]
    if variable.may_be_missing:
        words.append("may be missing")
    return f"{variable.name}: {variable.label + ', ' if variable.label else ''}{', '.join(words)}"


def _column(column: spec_pb2.Column) -> str:
    which = column.WhichOneof("node")
    if which == "variable":
        return column.variable
    if which == "indicator":
        return f"[{_predicate(column.indicator)}]"
    if which == "transform":
        inner = [_column(column.transform.argument), *(f"{c:g}" for c in column.transform.constants)]
        return f"{_FUNCTIONS.get(column.transform.function, 'unknown')}({', '.join(inner)})"
    return "nothing"


def _predicate(predicate: spec_pb2.Predicate) -> str:
    which = predicate.WhichOneof("node")
    if which == "comparison":
        one = predicate.comparison
        return f"{one.variable} {_OPERATORS.get(one.operator, '?')} {_literal(one.value)}"
    if which == "membership":
        many = predicate.membership
        values = ", ".join(_literal(value) for value in many.values)
        return f"{many.variable} {'not ' if many.negated else ''}in ({values})"
    if which == "missing":
        return f"{predicate.missing.variable} is {'given' if predicate.missing.negated else 'missing'}"
    if which in ("all", "any"):
        parts = predicate.all.predicates if which == "all" else predicate.any.predicates
        joined = (" and " if which == "all" else " or ").join(_predicate(part) for part in parts)
        return f"({joined})"
    if which == "negation":
        return f"not {_predicate(predicate.negation)}"
    return "nothing"


def _literal(literal: spec_pb2.Literal) -> str:
    return repr(literal.text) if literal.WhichOneof("value") == "text" else f"{literal.number:g}"
