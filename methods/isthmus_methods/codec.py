"""Between the contract's messages and the plain data that methods read. Only the codecs here know protobuf.

Decoding refuses what it does not know: an unset enum, an empty oneof, an array whose shape and length disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from isthmus.delimited import Part, before
from isthmus.errors import UsageError
from isthmus.v1 import spec_pb2, study_pb2, values_pb2
from isthmus_methods import contract as c
from isthmus_methods.settings_codec import (
    MAX_DEPTH,
    malformed,
    settings_from_messages,
    settings_to_messages,
    training_from_message,
    training_to_message,
)

# Of the encodings of floating numbers: type and number of the field.
_FLOATING: dict[str | None, np.dtype[Any]] = {"doubles": np.dtype("<f8"), "floats": np.dtype("<f4")}
_NUMBERS = {"<f8": values_pb2.Array.DOUBLES_FIELD_NUMBER, "<f4": values_pb2.Array.FLOATS_FIELD_NUMBER}
# For `take_out`: the fields of an array that are large.
NUMBERS = frozenset(_NUMBERS.values())

# Caps before anything is built from a message.
MAX_ARRAY = 50_000_000
MAX_AXES = 8

_OPERATORS = {
    spec_pb2.Comparison.EQUAL: c.Operator.EQUAL,
    spec_pb2.Comparison.NOT_EQUAL: c.Operator.NOT_EQUAL,
    spec_pb2.Comparison.LESS: c.Operator.LESS,
    spec_pb2.Comparison.LESS_OR_EQUAL: c.Operator.LESS_OR_EQUAL,
    spec_pb2.Comparison.GREATER: c.Operator.GREATER,
    spec_pb2.Comparison.GREATER_OR_EQUAL: c.Operator.GREATER_OR_EQUAL,
}
_OPERATORS_OUT = {v: k for k, v in _OPERATORS.items()}
_FUNCTIONS = {
    spec_pb2.Transform.LOG: c.Function.LOG,
    spec_pb2.Transform.SQUARE_ROOT: c.Function.SQUARE_ROOT,
    spec_pb2.Transform.SQUARE: c.Function.SQUARE,
    spec_pb2.Transform.CENTRE: c.Function.CENTRE,
    spec_pb2.Transform.SCALE: c.Function.SCALE,
    spec_pb2.Transform.FACTOR: c.Function.FACTOR,
}
_FUNCTIONS_OUT = {v: k for k, v in _FUNCTIONS.items()}
_CONSTANTS = {c.Function.CENTRE: 1, c.Function.SCALE: 1}
_TYPES = {
    study_pb2.Variable.NUMERIC: c.VariableType.NUMERIC,
    study_pb2.Variable.INTEGER: c.VariableType.INTEGER,
    study_pb2.Variable.FACTOR: c.VariableType.FACTOR,
    study_pb2.Variable.TEXT: c.VariableType.TEXT,
    study_pb2.Variable.DATE: c.VariableType.DATE,
}


# --------------------------------------------------------------------------- arrays and values


def array_to_message(array: c.Array | c.Integers) -> values_pb2.Array:
    """An array as a message: whole numbers packed, float32 as floats, all others as doubles, little-endian."""
    message = values_pb2.Array(shape=list(array.shape))
    if array.dtype.kind in "iu":
        message.counts.values.extend(array.astype(np.int64).ravel().tolist())
    elif array.dtype == np.float32:
        message.floats = np.ascontiguousarray(array, dtype="<f4").tobytes()
    else:
        message.doubles = np.ascontiguousarray(array, dtype="<f8").tobytes()
    return message


def array_parts(array: c.Array | c.Integers) -> list[Part]:
    """The bytes of `array_to_message`, in parts: the numbers of floats and doubles are not copied."""
    if array.dtype.kind in "iu":
        return [array_to_message(array).SerializeToString(deterministic=True)]
    little = "<f4" if array.dtype == np.float32 else "<f8"
    numbers = np.ascontiguousarray(array, dtype=little).reshape(-1).view(np.uint8).data
    shape = values_pb2.Array(shape=list(array.shape)).SerializeToString(deterministic=True)
    return [shape, before(_NUMBERS[little], len(numbers)), numbers]


def array_from_message(message: values_pb2.Array, apart: memoryview | None = None) -> c.Array | c.Integers:
    """The array of a message; int64 where it was packed as counts, float32 where it was sent as floats.

    Parameters
    ----------
    message
        As received.
    apart
        Its floats or doubles, where they were taken out of it: the array is made of these bytes, not a copy.

    Raises `UsageError` where it is malformed.
    """
    shape = tuple(message.shape)
    # an axis of nobody does not make the others smaller
    if len(shape) > MAX_AXES or math.prod(max(n, 1) for n in shape) > MAX_ARRAY:
        raise malformed(f"an array of more than {MAX_AXES} axes or {MAX_ARRAY} numbers")
    size = math.prod(shape)
    which = message.WhichOneof("values")
    if which == "counts":
        if len(message.counts.values) != size:
            raise malformed("an array's shape and length disagree")
        return np.array(message.counts.values, dtype=np.int64).reshape(shape)
    if which in _FLOATING:
        little = _FLOATING[which]
        numbers = getattr(message, which) if apart is None else apart
        if len(numbers) != little.itemsize * size:
            raise malformed("an array's shape and length disagree")
        array = np.frombuffer(numbers, dtype=little).astype(little.newbyteorder("="), copy=apart is None)
        return cast(c.Array, array.reshape(shape))
    raise malformed("an array without values")


def state_to_messages(state: c.State) -> list[values_pb2.NamedArray]:
    return [values_pb2.NamedArray(name=name, array=array_to_message(state[name])) for name in sorted(state)]


def state_from_messages(
    messages: Sequence[values_pb2.NamedArray], apart: Sequence[memoryview] | None = None
) -> dict[str, c.Array]:
    """The state of such messages; `apart`: the numbers of each array, where they were taken out."""
    if apart is not None and len(apart) != len(messages):
        raise malformed("an array without values")
    numbers = [None] * len(messages) if apart is None else apart
    state = {m.name: _floating(array_from_message(m.array, n)) for m, n in zip(messages, numbers, strict=True)}
    if len(state) != len(messages):
        raise malformed("a state with a name twice")
    return state


def _floating(array: c.Array | c.Integers) -> c.Array:
    return cast(c.Array, array if array.dtype == np.float32 else np.asarray(array, dtype=np.float64))


def answer_to_message(answer: c.Answer) -> values_pb2.Value:
    """A result tree as a message. NaN becomes null: not estimable."""
    message = values_pb2.Value()
    _fill(message, answer)
    return message


def _fill(message: values_pb2.Value, answer: c.Answer) -> None:
    # filled in place: a matrix has thousands of numbers, and each would be copied otherwise
    if isinstance(answer, float):  # np.float64 is one
        if math.isnan(answer):
            message.null.SetInParent()
        else:
            message.number = answer
    elif answer is None:
        message.null.SetInParent()
    elif isinstance(answer, bool | np.bool_):
        message.boolean = bool(answer)
    elif isinstance(answer, int | np.integer):
        message.integer = int(answer)
    elif isinstance(answer, str):
        message.text = answer
    elif isinstance(answer, Mapping):
        message.tree.SetInParent()
        for name, value in answer.items():
            _fill(message.tree.entries.add(name=str(name)).value, value)
    else:
        message.list.SetInParent()
        add = message.list.values.add
        for value in answer:
            _fill(add(), value)


def answer_from_message(message: values_pb2.Value, depth: int = 0) -> c.Answer:
    """The result tree of a message."""
    if depth > MAX_DEPTH:
        raise malformed("a result nested too deeply")
    which = message.WhichOneof("kind")
    if which == "tree":
        return {entry.name: answer_from_message(entry.value, depth + 1) for entry in message.tree.entries}
    if which == "list":
        return [answer_from_message(value, depth + 1) for value in message.list.values]
    if which is None:
        raise malformed("a result without a value")
    if which == "null":
        return None
    if which == "number" and math.isnan(message.number):
        raise malformed("a result with a number that is none")
    answer: c.Answer = getattr(message, which)
    return answer


# --------------------------------------------------------------------------- the request


def variable_from_message(message: study_pb2.Variable) -> c.Variable:
    if message.type not in _TYPES:
        raise malformed(f"variable {message.name!r} without a type")
    return c.Variable(
        name=message.name,
        type=_TYPES[message.type],
        label=message.label,
        unit=message.unit,
        levels=tuple(message.levels),
        minimum=message.minimum if message.HasField("minimum") else None,
        maximum=message.maximum if message.HasField("maximum") else None,
        roles=frozenset(study_pb2.Variable.Role.Name(role) for role in message.roles),
        grid=message.grid if message.HasField("grid") else None,
        may_be_missing=message.may_be_missing,
    )


def _literal(message: spec_pb2.Literal) -> float | str:
    which = message.WhichOneof("value")
    if which is None:
        raise malformed("a comparison without a value")
    value: float | str = getattr(message, which)
    return value


def predicate_from_message(message: spec_pb2.Predicate, depth: int = 0) -> c.Predicate:
    if depth > MAX_DEPTH:
        raise malformed("a filter nested too deeply")
    which = message.WhichOneof("node")
    if which == "comparison":
        if message.comparison.operator not in _OPERATORS:
            raise malformed("a comparison without an operator")
        return c.Comparison(
            message.comparison.variable, _OPERATORS[message.comparison.operator], _literal(message.comparison.value)
        )
    if which == "membership":
        return c.Membership(
            message.membership.variable,
            tuple(_literal(v) for v in message.membership.values),
            message.membership.negated,
        )
    if which == "missing":
        return c.Missing(message.missing.variable, message.missing.negated)
    if which == "all":
        return c.All(tuple(predicate_from_message(m, depth + 1) for m in message.all.predicates))
    if which == "any":
        return c.AnyOf(tuple(predicate_from_message(m, depth + 1) for m in message.any.predicates))
    if which == "negation":
        return c.Not(predicate_from_message(message.negation, depth + 1))
    raise malformed("a filter without a condition")


def column_from_message(message: spec_pb2.Column, depth: int = 0) -> c.Column:
    if depth > MAX_DEPTH:
        raise malformed("a transform nested too deeply")
    which = message.WhichOneof("node")
    if which == "variable":
        return c.Ref(message.variable)
    if which == "indicator":
        return c.Indicator(predicate_from_message(message.indicator))
    if which == "transform":
        function = _FUNCTIONS.get(message.transform.function)
        if function is None:
            raise malformed("a transform that is not on the list")
        constants = tuple(message.transform.constants)
        if len(constants) != _CONSTANTS.get(function, 0) or not all(math.isfinite(x) for x in constants):
            raise malformed(f"transform {function.value} with the wrong constants")
        return c.Transform(function, column_from_message(message.transform.argument, depth + 1), constants)
    raise malformed("a column without a variable")


def spec_from_message(message: spec_pb2.Spec, study: study_pb2.Study) -> c.Spec:
    """A request bound to the study's dictionary. Raises `UsageError` for a dataset or variable that is not in it."""
    dataset = _dataset(message.dataset, study)
    return c.Spec(
        method=message.method,
        version=message.method_version,
        dataset=message.dataset,
        variables={v.name: variable_from_message(v) for v in dataset.variables},
        subject=dataset.subject,
        where=predicate_from_message(message.where) if message.HasField("where") else None,
        roles=_roles(message.roles),
        terms=tuple(c.Term(tuple(column_from_message(col) for col in term.columns)) for term in message.terms),
        references={r.variable: r.level for r in message.references},
        options=settings_from_messages(message.options),
        countries=tuple(p.country for p in study.participants),
        events=_events_from_message(message, study) if message.HasField("events") else None,
        training=training_from_message(message.training) if message.HasField("training") else None,
    )


def _dataset(name: str, study: study_pb2.Study) -> study_pb2.Dataset:
    dataset = next((d for d in study.datasets if d.name == name), None)
    if dataset is None:
        raise UsageError(
            "UNKNOWN_DATASET",
            f"study {study.name} has no dataset {name!r}",
            f"name one of its datasets: {', '.join(d.name for d in study.datasets)}",
        )
    return dataset


def _roles(messages: Sequence[spec_pb2.Role]) -> dict[str, tuple[c.Column, ...]]:
    return {role.name: tuple(column_from_message(col) for col in role.columns) for role in messages}


def _events_from_message(message: spec_pb2.Spec, study: study_pb2.Study) -> c.Spec:
    events = message.events
    dataset = _dataset(events.dataset, study)
    return c.Spec(
        method=message.method,
        version=message.method_version,
        dataset=events.dataset,
        variables={v.name: variable_from_message(v) for v in dataset.variables},
        subject=dataset.subject,
        where=predicate_from_message(events.where) if events.HasField("where") else None,
        roles=_roles(events.roles),
        references={r.variable: r.level for r in events.references},
        countries=tuple(p.country for p in study.participants),
    )


# --------------------------------------------------------------------------- the request, on its way out


def _literal_to_message(value: float | str) -> spec_pb2.Literal:
    return spec_pb2.Literal(text=value) if isinstance(value, str) else spec_pb2.Literal(number=value)


def predicate_to_message(predicate: c.Predicate) -> spec_pb2.Predicate:
    message = spec_pb2.Predicate()
    match predicate:
        case c.Comparison(variable, operator, value):
            message.comparison.variable = variable
            message.comparison.operator = _OPERATORS_OUT[operator]
            message.comparison.value.CopyFrom(_literal_to_message(value))
        case c.Membership(variable, values, negated):
            message.membership.variable = variable
            message.membership.values.extend(_literal_to_message(v) for v in values)
            message.membership.negated = negated
        case c.Missing(variable, negated):
            message.missing.variable = variable
            message.missing.negated = negated
        case c.All(predicates):
            message.all.SetInParent()
            message.all.predicates.extend(predicate_to_message(p) for p in predicates)
        case c.AnyOf(predicates):
            message.any.SetInParent()
            message.any.predicates.extend(predicate_to_message(p) for p in predicates)
        case c.Not(inner):
            message.negation.CopyFrom(predicate_to_message(inner))
    return message


def column_to_message(column: c.Column) -> spec_pb2.Column:
    message = spec_pb2.Column()
    match column:
        case c.Ref(variable):
            message.variable = variable
        case c.Indicator(predicate):
            message.indicator.CopyFrom(predicate_to_message(predicate))
        case c.Transform(function, argument, constants):
            message.transform.function = _FUNCTIONS_OUT[function]
            message.transform.argument.CopyFrom(column_to_message(argument))
            message.transform.constants.extend(constants)
    return message


def spec_to_message(spec: c.Spec) -> spec_pb2.Spec:
    """The request as a message, everything unordered in sorted order: equal requests give equal bytes."""
    message = spec_pb2.Spec(method=spec.method, method_version=spec.version, dataset=spec.dataset)
    if spec.where is not None:
        message.where.CopyFrom(predicate_to_message(spec.where))
    for name in sorted(spec.roles):
        message.roles.add(name=name, columns=[column_to_message(col) for col in spec.roles[name]])
    for term in spec.terms:
        message.terms.add(columns=[column_to_message(col) for col in term.columns])
    for variable in sorted(spec.references):
        message.references.add(variable=variable, level=spec.references[variable])
    message.options.extend(settings_to_messages(spec.options))
    if spec.events is not None:
        half = spec_to_message(spec.events)
        message.events.MergeFrom(
            spec_pb2.Events(dataset=half.dataset, where=half.where if half.HasField("where") else None)
        )
        message.events.roles.extend(half.roles)
        message.events.references.extend(half.references)
    if spec.training is not None:
        message.training.CopyFrom(training_to_message(spec.training))
    return message
