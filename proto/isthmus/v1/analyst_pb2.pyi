from isthmus.v1 import spec_pb2 as _spec_pb2
from isthmus.v1 import study_pb2 as _study_pb2
from isthmus.v1 import summary_pb2 as _summary_pb2
from isthmus.v1 import values_pb2 as _values_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListStudiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStudiesReply(_message.Message):
    __slots__ = ("studies",)
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[StudyLine]
    def __init__(self, studies: _Optional[_Iterable[_Union[StudyLine, _Mapping]]] = ...) -> None: ...

class StudyLine(_message.Message):
    __slots__ = ("name", "version", "title", "digest", "approved", "participants")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    APPROVED_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    title: str
    digest: bytes
    approved: int
    participants: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., title: _Optional[str] = ..., digest: _Optional[bytes] = ..., approved: _Optional[int] = ..., participants: _Optional[int] = ...) -> None: ...

class GetStudyRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetStudyReply(_message.Message):
    __slots__ = ("study", "digest", "sites")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    study: _study_pb2.Signed
    digest: bytes
    sites: _containers.RepeatedCompositeFieldContainer[Site]
    def __init__(self, study: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ..., digest: _Optional[bytes] = ..., sites: _Optional[_Iterable[_Union[Site, _Mapping]]] = ...) -> None: ...

class Site(_message.Message):
    __slots__ = ("node", "country", "attached", "decision", "last_contact", "software", "datasets", "certificate_expires")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    LAST_CONTACT_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_EXPIRES_FIELD_NUMBER: _ClassVar[int]
    node: str
    country: str
    attached: bool
    decision: str
    last_contact: int
    software: str
    datasets: _containers.RepeatedScalarFieldContainer[str]
    certificate_expires: int
    def __init__(self, node: _Optional[str] = ..., country: _Optional[str] = ..., attached: _Optional[bool] = ..., decision: _Optional[str] = ..., last_contact: _Optional[int] = ..., software: _Optional[str] = ..., datasets: _Optional[_Iterable[str]] = ..., certificate_expires: _Optional[int] = ...) -> None: ...

class ProposeStudyRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: _study_pb2.Signed
    def __init__(self, study: _Optional[_Union[_study_pb2.Signed, _Mapping]] = ...) -> None: ...

class ProposeStudyReply(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class ListParticipantsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListParticipantsReply(_message.Message):
    __slots__ = ("participants",)
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    participants: _containers.RepeatedCompositeFieldContainer[_study_pb2.Participant]
    def __init__(self, participants: _Optional[_Iterable[_Union[_study_pb2.Participant, _Mapping]]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("study_digest", "planned", "exploratory")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    EXPLORATORY_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    planned: str
    exploratory: _study_pb2.Analysis
    def __init__(self, study_digest: _Optional[bytes] = ..., planned: _Optional[str] = ..., exploratory: _Optional[_Union[_study_pb2.Analysis, _Mapping]] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    def __init__(self, run: _Optional[bytes] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    def __init__(self, run: _Optional[bytes] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("state", "round", "countries", "measure", "measured")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    COUNTRIES_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    state: str
    round: int
    countries: _containers.RepeatedCompositeFieldContainer[CountryProgress]
    measure: str
    measured: float
    def __init__(self, state: _Optional[str] = ..., round: _Optional[int] = ..., countries: _Optional[_Iterable[_Union[CountryProgress, _Mapping]]] = ..., measure: _Optional[str] = ..., measured: _Optional[float] = ...) -> None: ...

class CountryProgress(_message.Message):
    __slots__ = ("node", "country", "state", "bytes")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    node: str
    country: str
    state: str
    bytes: int
    def __init__(self, node: _Optional[str] = ..., country: _Optional[str] = ..., state: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class GetResultRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    def __init__(self, run: _Optional[bytes] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    def __init__(self, run: _Optional[bytes] = ...) -> None: ...

class ModelPart(_message.Message):
    __slots__ = ("part",)
    PART_FIELD_NUMBER: _ClassVar[int]
    part: bytes
    def __init__(self, part: _Optional[bytes] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("run", "study", "study_version", "study_digest", "analysis", "spec", "purpose", "state", "answer", "exact", "caveats", "contributions", "rounds", "failure", "software", "started_at", "ended_at", "sealed")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    STUDY_VERSION_FIELD_NUMBER: _ClassVar[int]
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    CAVEATS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    study: str
    study_version: int
    study_digest: bytes
    analysis: str
    spec: _spec_pb2.Spec
    purpose: _study_pb2.Purpose
    state: str
    answer: _values_pb2.Value
    exact: bool
    caveats: _containers.RepeatedScalarFieldContainer[str]
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    rounds: int
    failure: Failure
    software: str
    started_at: int
    ended_at: int
    sealed: _containers.RepeatedCompositeFieldContainer[SealedRound]
    def __init__(self, run: _Optional[bytes] = ..., study: _Optional[str] = ..., study_version: _Optional[int] = ..., study_digest: _Optional[bytes] = ..., analysis: _Optional[str] = ..., spec: _Optional[_Union[_spec_pb2.Spec, _Mapping]] = ..., purpose: _Optional[_Union[_study_pb2.Purpose, str]] = ..., state: _Optional[str] = ..., answer: _Optional[_Union[_values_pb2.Value, _Mapping]] = ..., exact: _Optional[bool] = ..., caveats: _Optional[_Iterable[str]] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., rounds: _Optional[int] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., software: _Optional[str] = ..., started_at: _Optional[int] = ..., ended_at: _Optional[int] = ..., sealed: _Optional[_Iterable[_Union[SealedRound, _Mapping]]] = ...) -> None: ...

class SealedRound(_message.Message):
    __slots__ = ("transcript", "list")
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    transcript: bytes
    list: bytes
    def __init__(self, transcript: _Optional[bytes] = ..., list: _Optional[bytes] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("node", "country", "state", "releases", "bytes", "policy_digest", "dataset_digest", "software", "withheld", "failure", "privacy", "reference")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    node: str
    country: str
    state: str
    releases: int
    bytes: int
    policy_digest: bytes
    dataset_digest: bytes
    software: str
    withheld: _containers.RepeatedScalarFieldContainer[str]
    failure: Failure
    privacy: _summary_pb2.PrivacySpent
    reference: str
    def __init__(self, node: _Optional[str] = ..., country: _Optional[str] = ..., state: _Optional[str] = ..., releases: _Optional[int] = ..., bytes: _Optional[int] = ..., policy_digest: _Optional[bytes] = ..., dataset_digest: _Optional[bytes] = ..., software: _Optional[str] = ..., withheld: _Optional[_Iterable[str]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., privacy: _Optional[_Union[_summary_pb2.PrivacySpent, _Mapping]] = ..., reference: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "remedy", "exit_code")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    remedy: str
    exit_code: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., remedy: _Optional[str] = ..., exit_code: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("study_digest", "analysis")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    analysis: _study_pb2.Analysis
    def __init__(self, study_digest: _Optional[bytes] = ..., analysis: _Optional[_Union[_study_pb2.Analysis, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("rounds_least", "rounds_most", "fields", "in_plan", "outstanding", "by_country", "limits", "refusing", "unknown", "asking", "holding", "sealed")
    ROUNDS_LEAST_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_MOST_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    IN_PLAN_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    BY_COUNTRY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    REFUSING_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    ASKING_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    rounds_least: int
    rounds_most: int
    fields: _containers.RepeatedCompositeFieldContainer[ExplainedField]
    in_plan: bool
    outstanding: _containers.RepeatedScalarFieldContainer[str]
    by_country: bool
    limits: _containers.RepeatedCompositeFieldContainer[ExplainedLimit]
    refusing: _containers.RepeatedCompositeFieldContainer[ExplainedRefusal]
    unknown: _containers.RepeatedScalarFieldContainer[str]
    asking: _containers.RepeatedScalarFieldContainer[str]
    holding: _containers.RepeatedScalarFieldContainer[str]
    sealed: bool
    def __init__(self, rounds_least: _Optional[int] = ..., rounds_most: _Optional[int] = ..., fields: _Optional[_Iterable[_Union[ExplainedField, _Mapping]]] = ..., in_plan: _Optional[bool] = ..., outstanding: _Optional[_Iterable[str]] = ..., by_country: _Optional[bool] = ..., limits: _Optional[_Iterable[_Union[ExplainedLimit, _Mapping]]] = ..., refusing: _Optional[_Iterable[_Union[ExplainedRefusal, _Mapping]]] = ..., unknown: _Optional[_Iterable[str]] = ..., asking: _Optional[_Iterable[str]] = ..., holding: _Optional[_Iterable[str]] = ..., sealed: _Optional[bool] = ...) -> None: ...

class ExplainedLimit(_message.Message):
    __slots__ = ("name", "rule", "countries", "agreed", "presets")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    COUNTRIES_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    name: str
    rule: str
    countries: _containers.RepeatedScalarFieldContainer[str]
    agreed: bool
    presets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., rule: _Optional[str] = ..., countries: _Optional[_Iterable[str]] = ..., agreed: _Optional[bool] = ..., presets: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainedRefusal(_message.Message):
    __slots__ = ("country", "reason")
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    country: str
    reason: str
    def __init__(self, country: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ExplainedField(_message.Message):
    __slots__ = ("field", "kind", "unit", "about", "size")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    field: str
    kind: str
    unit: str
    about: str
    size: str
    def __init__(self, field: _Optional[str] = ..., kind: _Optional[str] = ..., unit: _Optional[str] = ..., about: _Optional[str] = ..., size: _Optional[str] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    def __init__(self, run: _Optional[bytes] = ...) -> None: ...

class CancelReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
