from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Record(_message.Message):
    __slots__ = ("sequence", "previous", "recorded_at", "actor", "event", "study", "study_digest", "analysis", "run", "round", "task", "policy_digest", "dataset_digest", "payload_digest", "payload_bytes", "words", "purpose", "document")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    previous: bytes
    recorded_at: int
    actor: str
    event: str
    study: str
    study_digest: bytes
    analysis: str
    run: bytes
    round: int
    task: bytes
    policy_digest: bytes
    dataset_digest: bytes
    payload_digest: bytes
    payload_bytes: int
    words: str
    purpose: str
    document: bytes
    def __init__(self, sequence: _Optional[int] = ..., previous: _Optional[bytes] = ..., recorded_at: _Optional[int] = ..., actor: _Optional[str] = ..., event: _Optional[str] = ..., study: _Optional[str] = ..., study_digest: _Optional[bytes] = ..., analysis: _Optional[str] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., task: _Optional[bytes] = ..., policy_digest: _Optional[bytes] = ..., dataset_digest: _Optional[bytes] = ..., payload_digest: _Optional[bytes] = ..., payload_bytes: _Optional[int] = ..., words: _Optional[str] = ..., purpose: _Optional[str] = ..., document: _Optional[bytes] = ...) -> None: ...

class JoinToken(_message.Message):
    __slots__ = ("address", "authority", "certificate", "key", "secret", "role", "name", "country", "expires_at")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    address: str
    authority: bytes
    certificate: bytes
    key: bytes
    secret: bytes
    role: str
    name: str
    country: str
    expires_at: int
    def __init__(self, address: _Optional[str] = ..., authority: _Optional[bytes] = ..., certificate: _Optional[bytes] = ..., key: _Optional[bytes] = ..., secret: _Optional[bytes] = ..., role: _Optional[str] = ..., name: _Optional[str] = ..., country: _Optional[str] = ..., expires_at: _Optional[int] = ...) -> None: ...
