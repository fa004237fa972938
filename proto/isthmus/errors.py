"""Every error a person can meet, and the one table from error to exit code to gRPC status.

::

    IsthmusError(code, message, remedy)
    ├── UsageError            2   the command or call was written wrongly
    ├── ConfigError          10   a configuration file or policy is not as it must be
    ├── DataError            11   the data are not what the dictionary says
    │   └── MethodError      11   the data do not allow this estimate
    ├── Refused              12   a gate, a policy or a person said no
    ├── WaitingForApproval   13   a person has to decide first
    ├── LinkError            14   the other side cannot be reached
    ├── AuthenticationError  15   the other side is not who it must be, or does not accept us
    ├── VersionError         16   the two sides are too far apart
    └── CountriesMissing     17   some countries did not take part

Anything else that escapes is a bug: exit code 1. A message says what happened and which rule; the remedy says what
to do. Neither ever holds a row's value or a count the gate withheld.
"""

from typing import ClassVar


class IsthmusError(Exception):
    """An error with a fixed code, a message for people and a remedy."""

    exit_code: ClassVar[int] = 1
    # Name of the grpc.StatusCode, kept as text so that this module needs no grpc.
    grpc_status: ClassVar[str] = "INTERNAL"

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(code, message, remedy)
        self.code = code
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]\n  -> {self.remedy}"


class UsageError(IsthmusError):
    exit_code = 2
    grpc_status = "INVALID_ARGUMENT"


class ConfigError(IsthmusError):
    exit_code = 10
    grpc_status = "FAILED_PRECONDITION"


class DataError(IsthmusError):
    exit_code = 11
    grpc_status = "FAILED_PRECONDITION"


class MethodError(DataError):
    pass


class Refused(IsthmusError):
    exit_code = 12
    grpc_status = "PERMISSION_DENIED"


class WaitingForApproval(IsthmusError):
    exit_code = 13
    grpc_status = "FAILED_PRECONDITION"


class LinkError(IsthmusError):
    exit_code = 14
    grpc_status = "UNAVAILABLE"


class AuthenticationError(IsthmusError):
    exit_code = 15
    grpc_status = "UNAUTHENTICATED"


class VersionError(IsthmusError):
    exit_code = 16
    grpc_status = "FAILED_PRECONDITION"


class CountriesMissing(IsthmusError):
    exit_code = 17
    grpc_status = "ABORTED"


INTERRUPTED = 130

_BY_EXIT_CODE: dict[int, type[IsthmusError]] = {
    cls.exit_code: cls
    for cls in (
        UsageError,
        ConfigError,
        DataError,
        Refused,
        WaitingForApproval,
        LinkError,
        AuthenticationError,
        VersionError,
        CountriesMissing,
    )
}


def from_exit_code(exit_code: int, code: str, message: str, remedy: str) -> IsthmusError:
    """Rebuild the error another process reported."""
    return _BY_EXIT_CODE.get(exit_code, IsthmusError)(code, message, remedy)
