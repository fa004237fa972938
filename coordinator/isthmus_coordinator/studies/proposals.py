"""Whether a proposed study can be put before the sites: complete, consistent, among members of the roster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from isthmus.errors import Refused, UsageError
from isthmus.v1 import study_pb2
from isthmus_coordinator.roster.members import Member
from isthmus_methods.adding import check_adds
from isthmus_methods.codec import spec_from_message
from isthmus_methods.contract import Procedure, Scope, Spec
from isthmus_methods.validate import check_spec
from isthmus_trust.bounds import check_spec as check_spec_bounds
from isthmus_trust.certificates import Role
from isthmus_trust.roster import State
from isthmus_trust.sealed import FEWEST

# Gives the method of a name and version, or raises `UsageError`.
FindMethod = Callable[[str, int | None], Procedure]

MAX_NAME = 128
MAX_VERSION = 1_000_000
MAX_DEADLINE = 366 * 24 * 3600


def check_study(study: study_pb2.Study, find_member: Callable[[str], Member | None], find_method: FindMethod) -> None:
    """Raise unless the study can be decided on as it stands.

    Parameters
    ----------
    study
        As proposed.
    find_member
        Looks a node up on the roster.
    find_method
        Looks a method up in the index.

    Raises
    ------
    UsageError
        ``STUDY_INCOMPLETE``, ``STUDY_INCONSISTENT``, ``NOT_A_PARTICIPANT``, or what `check_spec` says of an analysis.
    Refused
        ``BY_COUNTRY_NOT_ALLOWED``, ``SEALED_FEW``, ``SEALED_GOES_ON``, and what `check_adds` says of a sealed study's.
    """
    if not _is_name(study.name) or not 1 <= study.version <= MAX_VERSION:
        raise _incomplete(f"it needs a printable name of at most {MAX_NAME} characters and a version from 1")
    if not study.participants or not study.datasets:
        raise _incomplete("it needs at least one participant and one dataset")
    _unique("participant", (p.node for p in study.participants))
    _unique("country", (p.country for p in study.participants))
    _unique("dataset", (d.name for d in study.datasets))
    _unique("analysis", (a.name for a in study.plan))
    _check_mode(study)
    for participant in study.participants:
        _check_participant(participant, find_member(participant.node))
    for dataset in study.datasets:
        _check_dataset(dataset)
    for analysis in study.plan:
        check_analysis(analysis, study, find_method, planned=True)


def check_analysis(
    analysis: study_pb2.Analysis, study: study_pb2.Study, find_method: FindMethod, *, planned: bool
) -> tuple[Spec, Procedure]:
    """The analysis as a request bound to the dictionary, and its method, if both fit; errors as `check_study`."""
    if planned and not _is_name(analysis.name):
        raise _incomplete(f"every analysis of the plan needs a printable name of at most {MAX_NAME} characters")
    if analysis.deadline_seconds > MAX_DEADLINE:
        raise _inconsistent(f"the deadline of {analysis.name!r} is more than {MAX_DEADLINE} seconds for one round")
    purpose = analysis.purpose if planned else study.exploratory_purpose
    if purpose not in study_pb2.Purpose.values() or purpose == study_pb2.PURPOSE_UNSPECIFIED:
        if planned:
            raise _incomplete(f"analysis {analysis.name!r} needs a purpose")
        raise Refused(
            "EXPLORATORY_NOT_ALLOWED",
            f"study {study.name} version {study.version} gives no purpose to analyses that are not in its plan; "
            "rule: then none is run",
            "run an analysis of the plan, or propose a new version of the study",
        )
    for role in (*analysis.recipients, *study.recipient_roles):
        if role not in study_pb2.Recipient.values() or role == study_pb2.RECIPIENT_UNSPECIFIED:
            raise _incomplete("a recipient's role is one of those of the contract")
    missing = analysis.missing_country
    if missing not in study_pb2.MissingCountry.values() or missing == study_pb2.MISSING_COUNTRY_UNSPECIFIED:
        raise _incomplete(f"analysis {analysis.name!r} must say what happens where a country is missing")
    check_spec_bounds(analysis.spec)
    spec = spec_from_message(analysis.spec, study)
    method = find_method(spec.method, spec.version)
    check_spec(spec, method)
    if method.scope(spec) is Scope.BY_COUNTRY and not study.by_country:
        raise Refused(
            "BY_COUNTRY_NOT_ALLOWED",
            f"method {method.name} with these settings shows results by country, "
            f"and study {study.name} version {study.version} does not let them be shown",
            "ask for the total, or propose a version of the study in which results by country may be shown",
        )
    if study.mode == study_pb2.SEALED:
        if missing == study_pb2.GO_ON_WITHOUT:
            raise Refused(
                "SEALED_GOES_ON",
                f"analysis {analysis.name!r} of a sealed study would go on without a country; "
                "rule: the difference of two sums is not to be one country's own",
                "have it wait or fail where a country is missing; a version of the study without it is for its "
                "custodians to approve",
            )
        check_adds(spec, method)
    return spec, method


def _check_mode(study: study_pb2.Study) -> None:
    """A sealed study is over countries enough, and shows nothing by country."""
    if study.mode not in study_pb2.Mode.values():
        raise _incomplete("its mode is one of those of the contract")
    if study.mode != study_pb2.SEALED:
        return
    if study.by_country:
        raise _inconsistent("it is sealed, and says that results by country may be shown")
    if len(study.participants) < FEWEST:
        raise Refused(
            "SEALED_FEW",
            f"a sealed study has {len(study.participants)} participants; rule: at least {FEWEST}, because of two "
            "each knows the other's numbers",
            "propose it with more countries, or in open mode",
        )


def _check_participant(participant: study_pb2.Participant, member: Member | None) -> None:
    if member is None or member.entry.role is not Role.NODE or member.entry.state is not State.ACTIVE:
        raise UsageError(
            "NOT_A_PARTICIPANT",
            f"{participant.node!r} is no active node on the roster",
            "take participants from the coordinator's list",
        )
    entry = member.entry
    ours = (entry.country, entry.identity_key, entry.custodian_key)
    if ours != (participant.country, participant.identity_key, participant.custodian_key):
        raise UsageError(
            "NOT_A_PARTICIPANT",
            f"country or keys of {participant.node!r} are not those of the roster",
            "take participants from the coordinator's list",
        )


def _check_dataset(dataset: study_pb2.Dataset) -> None:
    _unique(f"variable of {dataset.name}", (v.name for v in dataset.variables))
    names = {v.name for v in dataset.variables}
    if not dataset.subject and not dataset.one_row_a_subject:
        raise _inconsistent(
            f"dataset {dataset.name!r} names no subject variable and does not say one_row_a_subject: "
            "persons could not be told from rows"
        )
    if dataset.subject and dataset.subject not in names:
        raise _inconsistent(
            f"dataset {dataset.name!r} counts persons by {dataset.subject!r}, which is not one of its variables"
        )
    for variable in dataset.variables:
        if variable.type not in study_pb2.Variable.Type.values() or not variable.type:
            raise _incomplete(f"variable {variable.name!r} of {dataset.name} needs a type")
        if variable.type == study_pb2.Variable.FACTOR and not variable.levels:
            raise _incomplete(f"factor {variable.name!r} of {dataset.name} needs its levels")
        _unique(f"level of {variable.name}", variable.levels)
        both = variable.HasField("minimum") and variable.HasField("maximum")
        if both and variable.minimum > variable.maximum:
            raise _inconsistent(f"the range of {variable.name!r} ends before it begins")
        if variable.HasField("grid") and not variable.grid > 0.0:
            raise _inconsistent(f"the time grid of {variable.name!r} is not positive")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def _unique(what: str, names: Iterable[str]) -> None:
    counted = Counter(names)
    twice = [name for name, n in counted.items() if n > 1]
    if twice:
        raise _inconsistent(f"{what} {twice[0]!r} stands twice")
    if "" in counted:
        raise _incomplete(f"a {what} without a name")


def _incomplete(what: str) -> UsageError:
    return UsageError("STUDY_INCOMPLETE", f"the study is not complete: {what}", "complete it and propose it again")


def _inconsistent(what: str) -> UsageError:
    return UsageError("STUDY_INCONSISTENT", f"the study contradicts itself: {what}", "correct it and propose it again")
