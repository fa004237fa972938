from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Literal(_message.Message):
    __slots__ = ("number", "text")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    number: float
    text: str
    def __init__(self, number: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class Predicate(_message.Message):
    __slots__ = ("comparison", "membership", "missing", "all", "any", "negation")
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    ANY_FIELD_NUMBER: _ClassVar[int]
    NEGATION_FIELD_NUMBER: _ClassVar[int]
    comparison: Comparison
    membership: Membership
    missing: Missing
    all: Predicates
    any: Predicates
    negation: Predicate
    def __init__(self, comparison: _Optional[_Union[Comparison, _Mapping]] = ..., membership: _Optional[_Union[Membership, _Mapping]] = ..., missing: _Optional[_Union[Missing, _Mapping]] = ..., all: _Optional[_Union[Predicates, _Mapping]] = ..., any: _Optional[_Union[Predicates, _Mapping]] = ..., negation: _Optional[_Union[Predicate, _Mapping]] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("variable", "operator", "value")
    class Operator(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OPERATOR_UNSPECIFIED: _ClassVar[Comparison.Operator]
        EQUAL: _ClassVar[Comparison.Operator]
        NOT_EQUAL: _ClassVar[Comparison.Operator]
        LESS: _ClassVar[Comparison.Operator]
        LESS_OR_EQUAL: _ClassVar[Comparison.Operator]
        GREATER: _ClassVar[Comparison.Operator]
        GREATER_OR_EQUAL: _ClassVar[Comparison.Operator]
    OPERATOR_UNSPECIFIED: Comparison.Operator
    EQUAL: Comparison.Operator
    NOT_EQUAL: Comparison.Operator
    LESS: Comparison.Operator
    LESS_OR_EQUAL: Comparison.Operator
    GREATER: Comparison.Operator
    GREATER_OR_EQUAL: Comparison.Operator
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    variable: str
    operator: Comparison.Operator
    value: Literal
    def __init__(self, variable: _Optional[str] = ..., operator: _Optional[_Union[Comparison.Operator, str]] = ..., value: _Optional[_Union[Literal, _Mapping]] = ...) -> None: ...

class Membership(_message.Message):
    __slots__ = ("variable", "values", "negated")
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    NEGATED_FIELD_NUMBER: _ClassVar[int]
    variable: str
    values: _containers.RepeatedCompositeFieldContainer[Literal]
    negated: bool
    def __init__(self, variable: _Optional[str] = ..., values: _Optional[_Iterable[_Union[Literal, _Mapping]]] = ..., negated: _Optional[bool] = ...) -> None: ...

class Missing(_message.Message):
    __slots__ = ("variable", "negated")
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    NEGATED_FIELD_NUMBER: _ClassVar[int]
    variable: str
    negated: bool
    def __init__(self, variable: _Optional[str] = ..., negated: _Optional[bool] = ...) -> None: ...

class Predicates(_message.Message):
    __slots__ = ("predicates",)
    PREDICATES_FIELD_NUMBER: _ClassVar[int]
    predicates: _containers.RepeatedCompositeFieldContainer[Predicate]
    def __init__(self, predicates: _Optional[_Iterable[_Union[Predicate, _Mapping]]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("variable", "transform", "indicator")
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_FIELD_NUMBER: _ClassVar[int]
    INDICATOR_FIELD_NUMBER: _ClassVar[int]
    variable: str
    transform: Transform
    indicator: Predicate
    def __init__(self, variable: _Optional[str] = ..., transform: _Optional[_Union[Transform, _Mapping]] = ..., indicator: _Optional[_Union[Predicate, _Mapping]] = ...) -> None: ...

class Transform(_message.Message):
    __slots__ = ("function", "argument", "constants")
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Transform.Function]
        LOG: _ClassVar[Transform.Function]
        SQUARE_ROOT: _ClassVar[Transform.Function]
        SQUARE: _ClassVar[Transform.Function]
        CENTRE: _ClassVar[Transform.Function]
        SCALE: _ClassVar[Transform.Function]
        FACTOR: _ClassVar[Transform.Function]
    FUNCTION_UNSPECIFIED: Transform.Function
    LOG: Transform.Function
    SQUARE_ROOT: Transform.Function
    SQUARE: Transform.Function
    CENTRE: Transform.Function
    SCALE: Transform.Function
    FACTOR: Transform.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_FIELD_NUMBER: _ClassVar[int]
    CONSTANTS_FIELD_NUMBER: _ClassVar[int]
    function: Transform.Function
    argument: Column
    constants: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, function: _Optional[_Union[Transform.Function, str]] = ..., argument: _Optional[_Union[Column, _Mapping]] = ..., constants: _Optional[_Iterable[float]] = ...) -> None: ...

class Term(_message.Message):
    __slots__ = ("columns",)
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    def __init__(self, columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ...) -> None: ...

class Role(_message.Message):
    __slots__ = ("name", "columns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    def __init__(self, name: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("variable", "level")
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    variable: str
    level: str
    def __init__(self, variable: _Optional[str] = ..., level: _Optional[str] = ...) -> None: ...

class Option(_message.Message):
    __slots__ = ("name", "flag", "integer", "number", "text", "numbers", "texts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    flag: bool
    integer: int
    number: float
    text: str
    numbers: Numbers
    texts: Texts
    def __init__(self, name: _Optional[str] = ..., flag: _Optional[bool] = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., numbers: _Optional[_Union[Numbers, _Mapping]] = ..., texts: _Optional[_Union[Texts, _Mapping]] = ...) -> None: ...

class Numbers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class Events(_message.Message):
    __slots__ = ("dataset", "where", "roles", "references")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    where: Predicate
    roles: _containers.RepeatedCompositeFieldContainer[Role]
    references: _containers.RepeatedCompositeFieldContainer[Reference]
    def __init__(self, dataset: _Optional[str] = ..., where: _Optional[_Union[Predicate, _Mapping]] = ..., roles: _Optional[_Iterable[_Union[Role, _Mapping]]] = ..., references: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ...) -> None: ...

class Spec(_message.Message):
    __slots__ = ("method", "method_version", "dataset", "where", "roles", "terms", "references", "options", "events", "training")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    METHOD_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    method: str
    method_version: int
    dataset: str
    where: Predicate
    roles: _containers.RepeatedCompositeFieldContainer[Role]
    terms: _containers.RepeatedCompositeFieldContainer[Term]
    references: _containers.RepeatedCompositeFieldContainer[Reference]
    options: _containers.RepeatedCompositeFieldContainer[Option]
    events: Events
    training: Training
    def __init__(self, method: _Optional[str] = ..., method_version: _Optional[int] = ..., dataset: _Optional[str] = ..., where: _Optional[_Union[Predicate, _Mapping]] = ..., roles: _Optional[_Iterable[_Union[Role, _Mapping]]] = ..., terms: _Optional[_Iterable[_Union[Term, _Mapping]]] = ..., references: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., options: _Optional[_Iterable[_Union[Option, _Mapping]]] = ..., events: _Optional[_Union[Events, _Mapping]] = ..., training: _Optional[_Union[Training, _Mapping]] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("app", "strategy", "rounds", "held_out", "seed", "settings")
    APP_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    app: ClientApp
    strategy: Strategy
    rounds: int
    held_out: float
    seed: int
    settings: _containers.RepeatedCompositeFieldContainer[Option]
    def __init__(self, app: _Optional[_Union[ClientApp, _Mapping]] = ..., strategy: _Optional[_Union[Strategy, _Mapping]] = ..., rounds: _Optional[int] = ..., held_out: _Optional[float] = ..., seed: _Optional[int] = ..., settings: _Optional[_Iterable[_Union[Option, _Mapping]]] = ...) -> None: ...

class ClientApp(_message.Message):
    __slots__ = ("name", "version", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: bytes
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Strategy(_message.Message):
    __slots__ = ("name", "arguments", "wraps")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    WRAPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    arguments: _containers.RepeatedCompositeFieldContainer[Option]
    wraps: Strategy
    def __init__(self, name: _Optional[str] = ..., arguments: _Optional[_Iterable[_Union[Option, _Mapping]]] = ..., wraps: _Optional[_Union[Strategy, _Mapping]] = ...) -> None: ...
