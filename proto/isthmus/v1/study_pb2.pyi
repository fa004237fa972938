from isthmus.v1 import spec_pb2 as _spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Purpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PURPOSE_UNSPECIFIED: _ClassVar[Purpose]
    FEASIBILITY: _ClassVar[Purpose]
    PUBLICATION: _ClassVar[Purpose]
    TRIAL_ANALYSIS: _ClassVar[Purpose]
    CLOSED_COMMITTEE: _ClassVar[Purpose]

class Recipient(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECIPIENT_UNSPECIFIED: _ClassVar[Recipient]
    STATISTICIAN: _ClassVar[Recipient]
    SPONSOR: _ClassVar[Recipient]
    COMMITTEE: _ClassVar[Recipient]
    AUTHORITY: _ClassVar[Recipient]
    PUBLIC: _ClassVar[Recipient]

class MissingCountry(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISSING_COUNTRY_UNSPECIFIED: _ClassVar[MissingCountry]
    WAIT: _ClassVar[MissingCountry]
    FAIL: _ClassVar[MissingCountry]
    GO_ON_WITHOUT: _ClassVar[MissingCountry]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPEN: _ClassVar[Mode]
    SEALED: _ClassVar[Mode]
PURPOSE_UNSPECIFIED: Purpose
FEASIBILITY: Purpose
PUBLICATION: Purpose
TRIAL_ANALYSIS: Purpose
CLOSED_COMMITTEE: Purpose
RECIPIENT_UNSPECIFIED: Recipient
STATISTICIAN: Recipient
SPONSOR: Recipient
COMMITTEE: Recipient
AUTHORITY: Recipient
PUBLIC: Recipient
MISSING_COUNTRY_UNSPECIFIED: MissingCountry
WAIT: MissingCountry
FAIL: MissingCountry
GO_ON_WITHOUT: MissingCountry
OPEN: Mode
SEALED: Mode

class Signed(_message.Message):
    __slots__ = ("context", "body", "public_key", "signature")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    context: str
    body: bytes
    public_key: bytes
    signature: bytes
    def __init__(self, context: _Optional[str] = ..., body: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Variable(_message.Message):
    __slots__ = ("name", "label", "type", "unit", "levels", "minimum", "maximum", "roles", "grid", "may_be_missing")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[Variable.Type]
        NUMERIC: _ClassVar[Variable.Type]
        INTEGER: _ClassVar[Variable.Type]
        FACTOR: _ClassVar[Variable.Type]
        TEXT: _ClassVar[Variable.Type]
        DATE: _ClassVar[Variable.Type]
    TYPE_UNSPECIFIED: Variable.Type
    NUMERIC: Variable.Type
    INTEGER: Variable.Type
    FACTOR: Variable.Type
    TEXT: Variable.Type
    DATE: Variable.Type
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Variable.Role]
        IDENTIFIER: _ClassVar[Variable.Role]
        QUASI_IDENTIFIER: _ClassVar[Variable.Role]
        TREATMENT_ARM: _ClassVar[Variable.Role]
        UNBLINDING: _ClassVar[Variable.Role]
        COUNTRY: _ClassVar[Variable.Role]
        GENOMIC: _ClassVar[Variable.Role]
        AGE: _ClassVar[Variable.Role]
    ROLE_UNSPECIFIED: Variable.Role
    IDENTIFIER: Variable.Role
    QUASI_IDENTIFIER: Variable.Role
    TREATMENT_ARM: Variable.Role
    UNBLINDING: Variable.Role
    COUNTRY: Variable.Role
    GENOMIC: Variable.Role
    AGE: Variable.Role
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    MAY_BE_MISSING_FIELD_NUMBER: _ClassVar[int]
    name: str
    label: str
    type: Variable.Type
    unit: str
    levels: _containers.RepeatedScalarFieldContainer[str]
    minimum: float
    maximum: float
    roles: _containers.RepeatedScalarFieldContainer[Variable.Role]
    grid: float
    may_be_missing: bool
    def __init__(self, name: _Optional[str] = ..., label: _Optional[str] = ..., type: _Optional[_Union[Variable.Type, str]] = ..., unit: _Optional[str] = ..., levels: _Optional[_Iterable[str]] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., roles: _Optional[_Iterable[_Union[Variable.Role, str]]] = ..., grid: _Optional[float] = ..., may_be_missing: _Optional[bool] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("name", "label", "subject", "variables", "one_row_a_subject")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    ONE_ROW_A_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    name: str
    label: str
    subject: str
    variables: _containers.RepeatedCompositeFieldContainer[Variable]
    one_row_a_subject: bool
    def __init__(self, name: _Optional[str] = ..., label: _Optional[str] = ..., subject: _Optional[str] = ..., variables: _Optional[_Iterable[_Union[Variable, _Mapping]]] = ..., one_row_a_subject: _Optional[bool] = ...) -> None: ...

class Participant(_message.Message):
    __slots__ = ("node", "country", "identity_key", "custodian_key")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    CUSTODIAN_KEY_FIELD_NUMBER: _ClassVar[int]
    node: str
    country: str
    identity_key: bytes
    custodian_key: bytes
    def __init__(self, node: _Optional[str] = ..., country: _Optional[str] = ..., identity_key: _Optional[bytes] = ..., custodian_key: _Optional[bytes] = ...) -> None: ...

class Analysis(_message.Message):
    __slots__ = ("name", "title", "spec", "purpose", "missing_country", "deadline_seconds", "recipients")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    MISSING_COUNTRY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    title: str
    spec: _spec_pb2.Spec
    purpose: Purpose
    missing_country: MissingCountry
    deadline_seconds: int
    recipients: _containers.RepeatedScalarFieldContainer[Recipient]
    def __init__(self, name: _Optional[str] = ..., title: _Optional[str] = ..., spec: _Optional[_Union[_spec_pb2.Spec, _Mapping]] = ..., purpose: _Optional[_Union[Purpose, str]] = ..., missing_country: _Optional[_Union[MissingCountry, str]] = ..., deadline_seconds: _Optional[int] = ..., recipients: _Optional[_Iterable[_Union[Recipient, str]]] = ...) -> None: ...

class Study(_message.Message):
    __slots__ = ("name", "version", "title", "rationale", "recipients", "datasets", "participants", "plan", "by_country", "data_cut", "exploratory_purpose", "recipient_roles", "recipient_countries", "mode")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    BY_COUNTRY_FIELD_NUMBER: _ClassVar[int]
    DATA_CUT_FIELD_NUMBER: _ClassVar[int]
    EXPLORATORY_PURPOSE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_ROLES_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_COUNTRIES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    title: str
    rationale: str
    recipients: _containers.RepeatedScalarFieldContainer[str]
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    participants: _containers.RepeatedCompositeFieldContainer[Participant]
    plan: _containers.RepeatedCompositeFieldContainer[Analysis]
    by_country: bool
    data_cut: str
    exploratory_purpose: Purpose
    recipient_roles: _containers.RepeatedScalarFieldContainer[Recipient]
    recipient_countries: _containers.RepeatedScalarFieldContainer[str]
    mode: Mode
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., title: _Optional[str] = ..., rationale: _Optional[str] = ..., recipients: _Optional[_Iterable[str]] = ..., datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ..., participants: _Optional[_Iterable[_Union[Participant, _Mapping]]] = ..., plan: _Optional[_Iterable[_Union[Analysis, _Mapping]]] = ..., by_country: _Optional[bool] = ..., data_cut: _Optional[str] = ..., exploratory_purpose: _Optional[_Union[Purpose, str]] = ..., recipient_roles: _Optional[_Iterable[_Union[Recipient, str]]] = ..., recipient_countries: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[Mode, str]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("study_digest", "node", "approved", "decided_at", "reason")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    APPROVED_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    node: str
    approved: bool
    decided_at: int
    reason: str
    def __init__(self, study_digest: _Optional[bytes] = ..., node: _Optional[str] = ..., approved: _Optional[bool] = ..., decided_at: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class AdoptedPolicy(_message.Message):
    __slots__ = ("node", "serial", "text", "digest", "adopted_at", "reason")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    node: str
    serial: int
    text: bytes
    digest: bytes
    adopted_at: int
    reason: str
    def __init__(self, node: _Optional[str] = ..., serial: _Optional[int] = ..., text: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., adopted_at: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class StatedLimits(_message.Message):
    __slots__ = ("node", "policy_digest", "preset", "purposes", "asks_each_run", "exploratory", "refused_roles", "holds_outputs", "missing_permits", "open_datasets")
    NODE_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    PURPOSES_FIELD_NUMBER: _ClassVar[int]
    ASKS_EACH_RUN_FIELD_NUMBER: _ClassVar[int]
    EXPLORATORY_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ROLES_FIELD_NUMBER: _ClassVar[int]
    HOLDS_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_PERMITS_FIELD_NUMBER: _ClassVar[int]
    OPEN_DATASETS_FIELD_NUMBER: _ClassVar[int]
    node: str
    policy_digest: bytes
    preset: str
    purposes: _containers.RepeatedCompositeFieldContainer[PurposeLimits]
    asks_each_run: bool
    exploratory: str
    refused_roles: _containers.RepeatedScalarFieldContainer[Variable.Role]
    holds_outputs: bool
    missing_permits: _containers.RepeatedScalarFieldContainer[str]
    open_datasets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node: _Optional[str] = ..., policy_digest: _Optional[bytes] = ..., preset: _Optional[str] = ..., purposes: _Optional[_Iterable[_Union[PurposeLimits, _Mapping]]] = ..., asks_each_run: _Optional[bool] = ..., exploratory: _Optional[str] = ..., refused_roles: _Optional[_Iterable[_Union[Variable.Role, str]]] = ..., holds_outputs: _Optional[bool] = ..., missing_permits: _Optional[_Iterable[str]] = ..., open_datasets: _Optional[_Iterable[str]] = ...) -> None: ...

class PurposeLimits(_message.Message):
    __slots__ = ("purpose", "recipient", "thresholds")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    purpose: Purpose
    recipient: Recipient
    thresholds: _containers.RepeatedCompositeFieldContainer[Threshold]
    def __init__(self, purpose: _Optional[_Union[Purpose, str]] = ..., recipient: _Optional[_Union[Recipient, str]] = ..., thresholds: _Optional[_Iterable[_Union[Threshold, _Mapping]]] = ...) -> None: ...

class Threshold(_message.Message):
    __slots__ = ("name", "value", "smaller_is_tighter", "rule", "kinds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SMALLER_IS_TIGHTER_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    smaller_is_tighter: bool
    rule: str
    kinds: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., smaller_is_tighter: _Optional[bool] = ..., rule: _Optional[str] = ..., kinds: _Optional[_Iterable[str]] = ...) -> None: ...
