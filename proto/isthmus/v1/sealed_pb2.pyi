from isthmus.v1 import study_pb2 as _study_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SealedField(_message.Message):
    __slots__ = ("field", "label", "shape", "whole", "withheld_by")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_BY_FIELD_NUMBER: _ClassVar[int]
    field: str
    label: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    whole: bool
    withheld_by: str
    def __init__(self, field: _Optional[str] = ..., label: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., whole: _Optional[bool] = ..., withheld_by: _Optional[str] = ...) -> None: ...

class SealedLayout(_message.Message):
    __slots__ = ("fields", "counts_rounded_to", "ages_up_to")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_ROUNDED_TO_FIELD_NUMBER: _ClassVar[int]
    AGES_UP_TO_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[SealedField]
    counts_rounded_to: int
    ages_up_to: float
    def __init__(self, fields: _Optional[_Iterable[_Union[SealedField, _Mapping]]] = ..., counts_rounded_to: _Optional[int] = ..., ages_up_to: _Optional[float] = ...) -> None: ...

class SealedKeys(_message.Message):
    __slots__ = ("task", "node", "key", "layout")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    key: bytes
    layout: bytes
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., key: _Optional[bytes] = ..., layout: _Optional[bytes] = ...) -> None: ...

class SealedAgreement(_message.Message):
    __slots__ = ("task", "node", "transcript")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    transcript: bytes
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., transcript: _Optional[bytes] = ...) -> None: ...

class SealedShare(_message.Message):
    __slots__ = ("task", "node", "country", "transcript", "vector", "policy_digest", "dataset_digest", "software", "layout", "commitment", "reference")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    country: str
    transcript: bytes
    vector: bytes
    policy_digest: bytes
    dataset_digest: bytes
    software: str
    layout: SealedLayout
    commitment: bytes
    reference: str
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., country: _Optional[str] = ..., transcript: _Optional[bytes] = ..., vector: _Optional[bytes] = ..., policy_digest: _Optional[bytes] = ..., dataset_digest: _Optional[bytes] = ..., software: _Optional[str] = ..., layout: _Optional[_Union[SealedLayout, _Mapping]] = ..., commitment: _Optional[bytes] = ..., reference: _Optional[str] = ...) -> None: ...

class SealedList(_message.Message):
    __slots__ = ("task", "node", "list")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    list: bytes
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., list: _Optional[bytes] = ...) -> None: ...

class SealedReveal(_message.Message):
    __slots__ = ("task", "node", "list", "seed")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    node: str
    list: bytes
    seed: bytes
    def __init__(self, task: _Optional[bytes] = ..., node: _Optional[str] = ..., list: _Optional[bytes] = ..., seed: _Optional[bytes] = ...) -> None: ...

class SealedWord(_message.Message):
    __slots__ = ("task", "word", "code")
    TASK_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    word: _study_pb2.Signed
    code: str
    def __init__(self, task: _Optional[bytes] = ..., word: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., code: _Optional[str] = ...) -> None: ...

class SealedStep(_message.Message):
    __slots__ = ("task", "words")
    TASK_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    words: _containers.RepeatedCompositeFieldContainer[_study_pb2.Signed]
    def __init__(self, task: _Optional[bytes] = ..., words: _Optional[_Iterable[_Union[_study_pb2.Signed, _Mapping]]] = ...) -> None: ...

class SealedAnswer(_message.Message):
    __slots__ = ("share", "reveal")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    REVEAL_FIELD_NUMBER: _ClassVar[int]
    share: _study_pb2.Signed
    reveal: _study_pb2.Signed
    def __init__(self, share: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., reveal: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...

class SealedReceipt(_message.Message):
    __slots__ = ("agreements", "lists", "reveals", "total")
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    REVEALS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    agreements: _containers.RepeatedCompositeFieldContainer[_study_pb2.Signed]
    lists: _containers.RepeatedCompositeFieldContainer[_study_pb2.Signed]
    reveals: _containers.RepeatedCompositeFieldContainer[_study_pb2.Signed]
    total: bytes
    def __init__(self, agreements: _Optional[_Iterable[_Union[_study_pb2.Signed, _Mapping]]] = ..., lists: _Optional[_Iterable[_Union[_study_pb2.Signed, _Mapping]]] = ..., reveals: _Optional[_Iterable[_Union[_study_pb2.Signed, _Mapping]]] = ..., total: _Optional[bytes] = ...) -> None: ...
