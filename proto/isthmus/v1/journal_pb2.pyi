from isthmus.v1 import study_pb2 as _study_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Record(_message.Message):
    __slots__ = ("sequence", "previous", "recorded_at", "actor", "event", "study", "study_digest", "analysis", "run", "round", "task", "policy_digest", "dataset_digest", "payload_digest", "payload_bytes", "words", "purpose", "document", "dataset", "auditor_digest", "privacy", "persons_digest", "clear_digest", "receipt")
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
    DATASET_FIELD_NUMBER: _ClassVar[int]
    AUDITOR_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    PERSONS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CLEAR_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
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
    dataset: str
    auditor_digest: bytes
    privacy: bytes
    persons_digest: bytes
    clear_digest: bytes
    receipt: bytes
    def __init__(self, sequence: _Optional[int] = ..., previous: _Optional[bytes] = ..., recorded_at: _Optional[int] = ..., actor: _Optional[str] = ..., event: _Optional[str] = ..., study: _Optional[str] = ..., study_digest: _Optional[bytes] = ..., analysis: _Optional[str] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., task: _Optional[bytes] = ..., policy_digest: _Optional[bytes] = ..., dataset_digest: _Optional[bytes] = ..., payload_digest: _Optional[bytes] = ..., payload_bytes: _Optional[int] = ..., words: _Optional[str] = ..., purpose: _Optional[str] = ..., document: _Optional[bytes] = ..., dataset: _Optional[str] = ..., auditor_digest: _Optional[bytes] = ..., privacy: _Optional[bytes] = ..., persons_digest: _Optional[bytes] = ..., clear_digest: _Optional[bytes] = ..., receipt: _Optional[bytes] = ...) -> None: ...

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

class Checkpoint(_message.Message):
    __slots__ = ("node", "tree_size", "root", "made_at")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    node: str
    tree_size: int
    root: bytes
    made_at: int
    def __init__(self, node: _Optional[str] = ..., tree_size: _Optional[int] = ..., root: _Optional[bytes] = ..., made_at: _Optional[int] = ...) -> None: ...

class Consistency(_message.Message):
    __slots__ = ("checkpoint", "from_size", "hashes")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FROM_SIZE_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    from_size: int
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, checkpoint: _Optional[bytes] = ..., from_size: _Optional[int] = ..., hashes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Cosignature(_message.Message):
    __slots__ = ("checkpoint", "witness", "follows", "seen_at")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    WITNESS_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    witness: str
    follows: int
    seen_at: int
    def __init__(self, checkpoint: _Optional[bytes] = ..., witness: _Optional[str] = ..., follows: _Optional[int] = ..., seen_at: _Optional[int] = ...) -> None: ...

class Witnessed(_message.Message):
    __slots__ = ("checkpoint", "cosignatures", "refused", "refused_proof", "refused_code", "refused_at")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_PROOF_FIELD_NUMBER: _ClassVar[int]
    REFUSED_CODE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_AT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _study_pb2.Signed
    cosignatures: _containers.RepeatedCompositeFieldContainer[_study_pb2.Signed]
    refused: _study_pb2.Signed
    refused_proof: _study_pb2.Signed
    refused_code: str
    refused_at: int
    def __init__(self, checkpoint: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., cosignatures: _Optional[_Iterable[_Union[_study_pb2.Signed, _Mapping]]] = ..., refused: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., refused_proof: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., refused_code: _Optional[str] = ..., refused_at: _Optional[int] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("coordinator", "nodes")
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    coordinator: str
    nodes: _containers.RepeatedCompositeFieldContainer[RosterNode]
    def __init__(self, coordinator: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[RosterNode, _Mapping]]] = ...) -> None: ...

class RosterNode(_message.Message):
    __slots__ = ("name", "country", "identity_key", "custodian_key", "revoked")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    CUSTODIAN_KEY_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    name: str
    country: str
    identity_key: bytes
    custodian_key: bytes
    revoked: bool
    def __init__(self, name: _Optional[str] = ..., country: _Optional[str] = ..., identity_key: _Optional[bytes] = ..., custodian_key: _Optional[bytes] = ..., revoked: _Optional[bool] = ...) -> None: ...
