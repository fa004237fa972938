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
    __slots__ = ("study_digest", "analysis", "run", "round", "spec", "purpose", "state", "participants", "deadline", "requester")
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
    def __init__(self, study_digest: _Optional[bytes] = ..., analysis: _Optional[str] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., spec: _Optional[_Union[_spec_pb2.Spec, _Mapping]] = ..., purpose: _Optional[_Union[_study_pb2.Purpose, str]] = ..., state: _Optional[_Iterable[_Union[_values_pb2.NamedArray, _Mapping]]] = ..., participants: _Optional[_Iterable[str]] = ..., deadline: _Optional[int] = ..., requester: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("task", "node", "country", "items", "notes", "policy_digest", "dataset_digest", "software", "padding")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    country: str
    items: _containers.RepeatedCompositeFieldContainer[Item]
    notes: _containers.RepeatedScalarFieldContainer[str]
    policy_digest: bytes
    dataset_digest: bytes
    software: str
    padding: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., country: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ..., policy_digest: _Optional[bytes] = ..., dataset_digest: _Optional[bytes] = ..., software: _Optional[str] = ..., padding: _Optional[_Iterable[bytes]] = ...) -> None: ...

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
