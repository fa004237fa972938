from isthmus.v1 import sealed_pb2 as _sealed_pb2
from isthmus.v1 import study_pb2 as _study_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnrolRequest(_message.Message):
    __slots__ = ("software", "secret", "certificate_request", "identity_key", "custodian_key", "identity_proof", "custodian_proof")
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    CUSTODIAN_KEY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_PROOF_FIELD_NUMBER: _ClassVar[int]
    CUSTODIAN_PROOF_FIELD_NUMBER: _ClassVar[int]
    software: str
    secret: bytes
    certificate_request: bytes
    identity_key: bytes
    custodian_key: bytes
    identity_proof: bytes
    custodian_proof: bytes
    def __init__(self, software: _Optional[str] = ..., secret: _Optional[bytes] = ..., certificate_request: _Optional[bytes] = ..., identity_key: _Optional[bytes] = ..., custodian_key: _Optional[bytes] = ..., identity_proof: _Optional[bytes] = ..., custodian_proof: _Optional[bytes] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("certificate_request", "identity_proof")
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_PROOF_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    identity_proof: bytes
    def __init__(self, certificate_request: _Optional[bytes] = ..., identity_proof: _Optional[bytes] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("certificate_chain", "authority", "coordinator_key", "software")
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_KEY_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    certificate_chain: bytes
    authority: bytes
    coordinator_key: bytes
    software: str
    def __init__(self, certificate_chain: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., coordinator_key: _Optional[bytes] = ..., software: _Optional[str] = ...) -> None: ...

class NodeMessage(_message.Message):
    __slots__ = ("hello", "heartbeat", "waits", "sealed")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    waits: Waits
    sealed: _sealed_pb2.SealedWord
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., waits: _Optional[_Union[Waits, _Mapping]] = ..., sealed: _Optional[_Union[_sealed_pb2.SealedWord, _Mapping]] = ...) -> None: ...

class Waits(_message.Message):
    __slots__ = ("task", "code")
    TASK_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    code: str
    def __init__(self, task: _Optional[bytes] = ..., code: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("software", "methods", "datasets", "limits", "witnesses")
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_FIELD_NUMBER: _ClassVar[int]
    software: str
    methods: _containers.RepeatedScalarFieldContainer[str]
    datasets: _containers.RepeatedScalarFieldContainer[str]
    limits: _study_pb2.Signed
    witnesses: bool
    def __init__(self, software: _Optional[str] = ..., methods: _Optional[_Iterable[str]] = ..., datasets: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., witnesses: _Optional[bool] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("waiting",)
    WAITING_FIELD_NUMBER: _ClassVar[int]
    waiting: int
    def __init__(self, waiting: _Optional[int] = ...) -> None: ...

class CoordinatorMessage(_message.Message):
    __slots__ = ("welcome", "study", "task", "withdrawal", "heartbeat", "run_ended", "for_witness", "witness_said", "sealed")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RUN_ENDED_FIELD_NUMBER: _ClassVar[int]
    FOR_WITNESS_FIELD_NUMBER: _ClassVar[int]
    WITNESS_SAID_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    study: _study_pb2.Signed
    task: _study_pb2.Signed
    withdrawal: Withdrawal
    heartbeat: Heartbeat
    run_ended: RunEnded
    for_witness: ForWitness
    witness_said: WitnessSaid
    sealed: _sealed_pb2.SealedStep
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., study: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., task: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., run_ended: _Optional[_Union[RunEnded, _Mapping]] = ..., for_witness: _Optional[_Union[ForWitness, _Mapping]] = ..., witness_said: _Optional[_Union[WitnessSaid, _Mapping]] = ..., sealed: _Optional[_Union[_sealed_pb2.SealedStep, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("software", "coordinator")
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    software: str
    coordinator: str
    def __init__(self, software: _Optional[str] = ..., coordinator: _Optional[str] = ...) -> None: ...

class Withdrawal(_message.Message):
    __slots__ = ("task", "reason")
    TASK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    reason: str
    def __init__(self, task: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class SubmissionChunk(_message.Message):
    __slots__ = ("task", "total_bytes", "part")
    TASK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    total_bytes: int
    part: bytes
    def __init__(self, task: _Optional[bytes] = ..., total_bytes: _Optional[int] = ..., part: _Optional[bytes] = ...) -> None: ...

class FetchStateRequest(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: bytes
    def __init__(self, task: _Optional[bytes] = ...) -> None: ...

class StatePart(_message.Message):
    __slots__ = ("part",)
    PART_FIELD_NUMBER: _ClassVar[int]
    part: bytes
    def __init__(self, part: _Optional[bytes] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: _study_pb2.Signed
    def __init__(self, decision: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("digest", "task")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    task: _study_pb2.Signed
    def __init__(self, digest: _Optional[bytes] = ..., task: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...

class RunEnded(_message.Message):
    __slots__ = ("run", "given")
    RUN_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    given: bool
    def __init__(self, run: _Optional[bytes] = ..., given: _Optional[bool] = ...) -> None: ...

class WitnessRequest(_message.Message):
    __slots__ = ("checkpoint", "proofs", "roster")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _study_pb2.Signed
    proofs: _containers.RepeatedCompositeFieldContainer[_study_pb2.Signed]
    roster: bytes
    def __init__(self, checkpoint: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., proofs: _Optional[_Iterable[_Union[_study_pb2.Signed, _Mapping]]] = ..., roster: _Optional[bytes] = ...) -> None: ...

class WitnessReply(_message.Message):
    __slots__ = ("said", "wanted", "roster")
    SAID_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    said: _containers.RepeatedCompositeFieldContainer[WitnessSaid]
    wanted: _containers.RepeatedScalarFieldContainer[int]
    roster: _study_pb2.Signed
    def __init__(self, said: _Optional[_Iterable[_Union[WitnessSaid, _Mapping]]] = ..., wanted: _Optional[_Iterable[int]] = ..., roster: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...

class ForWitness(_message.Message):
    __slots__ = ("checkpoint", "proof")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _study_pb2.Signed
    proof: _study_pb2.Signed
    def __init__(self, checkpoint: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., proof: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...

class CosignRequest(_message.Message):
    __slots__ = ("said",)
    SAID_FIELD_NUMBER: _ClassVar[int]
    said: WitnessSaid
    def __init__(self, said: _Optional[_Union[WitnessSaid, _Mapping]] = ...) -> None: ...

class WitnessSaid(_message.Message):
    __slots__ = ("checkpoint", "witness", "cosignature", "code", "seen")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    WITNESS_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    witness: str
    cosignature: _study_pb2.Signed
    code: str
    seen: _study_pb2.Signed
    def __init__(self, checkpoint: _Optional[bytes] = ..., witness: _Optional[str] = ..., cosignature: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., code: _Optional[str] = ..., seen: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...
