"""How large a document of somebody else's may be. Asked before anything is made of it, at the node and the coordinator.

A message is bounded by the port (4 MiB, 100 levels deep); within that much could still be asked for: a million levels,
a filter of a million conditions. The bounds are far above what a study needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from google.protobuf.message import Message

from isthmus.errors import UsageError
from isthmus.v1 import spec_pb2, study_pb2, summary_pb2

DATASETS = 64
VARIABLES = 5_000  # in a dataset
LEVELS = 2_000  # of a variable
ALL_LEVELS = 200_000  # of a study
PARTICIPANTS = 250
ANALYSES = 2_000
RECIPIENTS = 200
NAME = 256  # characters of a name or a level
TEXT = 20_000  # characters of a text for people
TERMS = 500
CONDITIONS = 5_000  # nodes of the trees of a request: columns, conditions, values
OPTIONS = 200
STRATEGIES = 10  # one in the other
STATE = 2_000  # arrays that come with a round
MODEL = 1 << 30  # bytes of a model that is trained
ITEMS = 200_000  # fields and labels of an answer


class _Sized(Protocol):
    def __len__(self) -> int: ...


def check_study(study: study_pb2.Study) -> None:
    """Raise `UsageError` ``TOO_LARGE`` where a study has more of something than is taken, ``UNKNOWN_VALUE`` where it
    has a value of an enumeration that this release does not know: nobody could read what it means."""
    _few("datasets", study.datasets, DATASETS)
    _few("participants", study.participants, PARTICIPANTS)
    _few("analyses", study.plan, ANALYSES)
    _few("recipients", study.recipients, RECIPIENTS)
    _short("a text", TEXT, (study.title, study.rationale, study.data_cut, *study.recipients))
    _short(
        "a name", NAME, (study.name, *(p.node for p in study.participants), *(p.country for p in study.participants))
    )
    levels = 0
    for dataset in study.datasets:
        _few("variables of a dataset", dataset.variables, VARIABLES)
        _short("a name", NAME, (dataset.name, dataset.subject, *(v.name for v in dataset.variables)))
        _short(
            "a text", TEXT, (dataset.label, *(v.label for v in dataset.variables), *(v.unit for v in dataset.variables))
        )
        for variable in dataset.variables:
            _few("levels of a variable", variable.levels, LEVELS)
            _short("a level", NAME, variable.levels)
            levels += len(variable.levels)
    _at_most("levels", levels, ALL_LEVELS)
    for analysis in study.plan:
        _short("a name", NAME, (analysis.name,))
        _short("a text", TEXT, (analysis.title,))
        check_spec(analysis.spec)
    _check_values(study)


def check_spec(spec: spec_pb2.Spec) -> None:
    """Raise `UsageError` ``TOO_LARGE`` where a request is larger than any that is meant."""
    _few("terms", spec.terms, TERMS)
    _short("a name", NAME, (spec.method, spec.dataset, spec.events.dataset))
    size = 0
    open_parts: list[spec_pb2.Column | spec_pb2.Predicate] = [spec.where, spec.events.where]
    for roles in (spec.roles, spec.events.roles):
        open_parts += [column for role in roles for column in role.columns]
    open_parts += [column for term in spec.terms for column in term.columns]
    while open_parts:
        part = open_parts.pop()
        size += 1
        if isinstance(part, spec_pb2.Column):
            if part.HasField("transform"):
                size += len(part.transform.constants)
                open_parts.append(part.transform.argument)
            elif part.HasField("indicator"):
                open_parts.append(part.indicator)
        elif part.HasField("all") or part.HasField("any"):
            open_parts += [*part.all.predicates, *part.any.predicates]
        elif part.HasField("negation"):
            open_parts.append(part.negation)
        else:
            size += len(part.membership.values)
        _at_most("conditions and columns", size + len(open_parts), CONDITIONS)
    _few("reference levels", [*spec.references, *spec.events.references], VARIABLES)
    _check_options([*spec.options, *spec.training.settings])
    strategy, depth = spec.training.strategy, 0
    while spec.HasField("training"):
        _short("a name", NAME, (strategy.name, spec.training.app.name, spec.training.app.version))
        _check_options(strategy.arguments)
        _at_most("strategies in one another", depth, STRATEGIES)
        if not strategy.HasField("wraps"):
            break
        strategy, depth = strategy.wraps, depth + 1


def _check_options(options: Sequence[spec_pb2.Option]) -> None:
    _few("options", options, OPTIONS)
    for option in options:
        _at_most("values of an option", len(option.numbers.values) + len(option.texts.values), CONDITIONS)


def check_task(task: summary_pb2.Task) -> None:
    """Raise `UsageError` ``TOO_LARGE`` where a task is larger than any that is meant; its request is `check_spec`'s."""
    _few("participants", task.participants, PARTICIPANTS)
    _few("arrays of a state", task.state, STATE)
    _at_most("bytes of a state", task.state_bytes, MODEL)
    _check_options(task.message.config)
    _short("a name", NAME, (task.analysis, *(array.name for array in task.state)))
    _short("a requester's name", NAME, (task.requester,))


def check_summary(summary: summary_pb2.Summary) -> None:
    """Raise `UsageError` ``TOO_LARGE`` where an answer has more fields than any method gives."""
    _few("fields and labels", summary.items, ITEMS)
    _few("notes", summary.notes, NAME)


def _check_values(message: Message) -> None:
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for one in value if field.is_repeated else (value,):
                _check_values(one)
        elif field.type == field.TYPE_ENUM:
            known = field.enum_type.values_by_number
            if any(number not in known for number in (value if field.is_repeated else (value,))):
                raise UsageError(
                    "UNKNOWN_VALUE",
                    f"{field.name} has a value that this release does not know",
                    "run the same release of isthmus on both sides",
                )


def _few(what: str, things: _Sized, most: int) -> None:
    _at_most(what, len(things), most)


def _short(what: str, most: int, texts: Iterable[str]) -> None:
    for text in texts:
        _at_most(f"characters of {what}", len(text), most)


def _at_most(what: str, number: int, most: int) -> None:
    if number > most:
        raise UsageError(
            "TOO_LARGE", f"it has more than {most} {what}; rule: no more are taken", "split it into smaller ones"
        )
