from isthmus.v1 import spec_pb2 as _spec_pb2
from isthmus.v1 import study_pb2 as _study_pb2
from isthmus.v1 import values_pb2 as _values_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(_message.Message):
    __slots__ = ("study_digest", "analysis", "run", "round", "spec", "purpose", "state", "participants", "deadline", "requester", "message", "state_digest", "state_bytes", "sealed_attempt")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEALED_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    analysis: str
    run: bytes
    round: int
    spec: _spec_pb2.Spec
    purpose: _study_pb2.Purpose
    state: _containers.RepeatedCompositeFieldContainer[_values_pb2.NamedArray]
    participants: _containers.RepeatedScalarFieldContainer[str]
    deadline: int
    requester: str
    message: AppMessage
    state_digest: bytes
    state_bytes: int
    sealed_attempt: int
    def __init__(self, study_digest: _Optional[bytes] = ..., analysis: _Optional[str] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., spec: _Optional[_Union[_spec_pb2.Spec, _Mapping]] = ..., purpose: _Optional[_Union[_study_pb2.Purpose, str]] = ..., state: _Optional[_Iterable[_Union[_values_pb2.NamedArray, _Mapping]]] = ..., participants: _Optional[_Iterable[str]] = ..., deadline: _Optional[int] = ..., requester: _Optional[str] = ..., message: _Optional[_Union[AppMessage, _Mapping]] = ..., state_digest: _Optional[bytes] = ..., state_bytes: _Optional[int] = ..., sealed_attempt: _Optional[int] = ...) -> None: ...

class AppMessage(_message.Message):
    __slots__ = ("type", "config")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    type: str
    config: _containers.RepeatedCompositeFieldContainer[_spec_pb2.Option]
    def __init__(self, type: _Optional[str] = ..., config: _Optional[_Iterable[_Union[_spec_pb2.Option, _Mapping]]] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("arrays",)
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    arrays: _containers.RepeatedCompositeFieldContainer[_values_pb2.NamedArray]
    def __init__(self, arrays: _Optional[_Iterable[_Union[_values_pb2.NamedArray, _Mapping]]] = ...) -> None: ...

class PrivacySpent(_message.Message):
    __slots__ = ("rho", "rho_total", "rho_budget", "epsilon_total", "delta", "accountant")
    RHO_FIELD_NUMBER: _ClassVar[int]
    RHO_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RHO_BUDGET_FIELD_NUMBER: _ClassVar[int]
    EPSILON_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTANT_FIELD_NUMBER: _ClassVar[int]
    rho: float
    rho_total: float
    rho_budget: float
    epsilon_total: float
    delta: float
    accountant: str
    def __init__(self, rho: _Optional[float] = ..., rho_total: _Optional[float] = ..., rho_budget: _Optional[float] = ..., epsilon_total: _Optional[float] = ..., delta: _Optional[float] = ..., accountant: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("field", "label", "value", "withheld_by")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_BY_FIELD_NUMBER: _ClassVar[int]
    field: str
    label: str
    value: _values_pb2.Array
    withheld_by: str
    def __init__(self, field: _Optional[str] = ..., label: _Optional[str] = ..., value: _Optional[_Union[_values_pb2.Array, _Mapping]] = ..., withheld_by: _Optional[str] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("task", "node", "country", "items", "notes", "policy_digest", "dataset_digest", "software", "padding", "privacy", "reference", "counts_rounded_to", "ages_up_to")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_ROUNDED_TO_FIELD_NUMBER: _ClassVar[int]
    AGES_UP_TO_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    country: str
    items: _containers.RepeatedCompositeFieldContainer[Item]
    notes: _containers.RepeatedScalarFieldContainer[str]
    policy_digest: bytes
    dataset_digest: bytes
    software: str
    padding: _containers.RepeatedScalarFieldContainer[bytes]
    privacy: PrivacySpent
    reference: str
    counts_rounded_to: int
    ages_up_to: float
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., country: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ..., policy_digest: _Optional[bytes] = ..., dataset_digest: _Optional[bytes] = ..., software: _Optional[str] = ..., padding: _Optional[_Iterable[bytes]] = ..., privacy: _Optional[_Union[PrivacySpent, _Mapping]] = ..., reference: _Optional[str] = ..., counts_rounded_to: _Optional[int] = ..., ages_up_to: _Optional[float] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("task", "node", "country", "code", "rule", "field", "remedy", "padding")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    country: str
    code: str
    rule: str
    field: str
    remedy: str
    padding: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., country: _Optional[str] = ..., code: _Optional[str] = ..., rule: _Optional[str] = ..., field: _Optional[str] = ..., remedy: _Optional[str] = ..., padding: _Optional[_Iterable[bytes]] = ...) -> None: ...
