"""Reads a study that a person wrote as TOML, and makes the document that is signed and that custodians approve."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from isthmus.errors import ConfigError, UsageError
from isthmus.v1 import study_pb2
from isthmus_client.formula import Dictionary
from isthmus_client.requests import by_country, request
from isthmus_client.written import (
    MethodName,
    Name,
    Written,
    WrittenAsked,
    WrittenEvents,
    WrittenStrategy,
    WrittenTraining,
)
from isthmus_methods.codec import spec_to_message
from isthmus_methods.registry import find_procedure

CountryCode = Annotated[str, Field(pattern="^[A-Z]{2}$")]  # ISO 3166
VariableName = Annotated[str, Field(min_length=1, max_length=63)]
PurposeWord = Literal["feasibility", "publication", "trial analysis", "closed committee"]
TypeWord = Literal["numeric", "integer", "factor", "text", "date"]
RoleWord = Literal["identifier", "quasi-identifier", "treatment arm", "unblinding", "country", "genomic", "age"]
RecipientWord = Literal["statistician", "sponsor", "committee", "authority", "public"]


class WrittenVariable(Written):
    type: TypeWord
    label: str = ""
    unit: str = ""
    levels: list[str] = Field(default_factory=list)
    minimum: float | int | None = None
    maximum: float | int | None = None
    roles: list[RoleWord] = Field(default_factory=list)
    grid: Annotated[float | int, Field(gt=0)] | None = None
    may_be_missing: bool = False


class WrittenDataset(Written):
    name: Name
    label: str = ""
    subject: str = ""
    one_row_a_subject: bool = False
    variables: dict[VariableName, WrittenVariable]


class WrittenAnalysis(WrittenAsked):
    """One analysis of the plan."""

    name: Name
    method: MethodName
    title: str = ""
    purpose: PurposeWord = "trial analysis"
    # Who receives this result, by the part they play; empty: as the study says.
    recipient_roles: list[RecipientWord] = Field(default_factory=list)


class WrittenStudy(Written):
    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    title: Annotated[str, Field(min_length=1)]
    rationale: Annotated[str, Field(min_length=1)]
    recipients: Annotated[list[str], Field(min_length=1)]
    # The same by the part they play: a site's policy may ask more for some, or give them nothing.
    recipient_roles: list[RecipientWord] = Field(default_factory=list)
    # Where they are: sites count the persons behind what leaves by these.
    recipient_countries: list[CountryCode] = Field(default_factory=list)
    data_cut: str = ""
    by_country: bool = False
    # "sealed": the coordinator sees the sum over all participants, and no country's own.
    mode: Literal["open", "sealed"] = "open"
    exploratory_purpose: PurposeWord = "trial analysis"
    # Names of nodes in the order in which sums are taken; empty: all on the roster, in its order.
    participants: list[Name] = Field(default_factory=list)
    dataset: Annotated[list[WrittenDataset], Field(min_length=1)]
    plan: list[WrittenAnalysis] = Field(default_factory=list)


T = TypeVar("T", bound=BaseModel)


def read_toml(path: Path, shape: type[T]) -> T:
    """A TOML file that a person wrote, in the shape it must have.

    Raises
    ------
    ConfigError
        ``FILE_MISSING``, ``NOT_TOML``, ``UNKNOWN_KEY`` with the nearest known one, ``BAD_VALUE``.
    """
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "FILE_MISSING", f"{path} cannot be read: {error.strerror or 'input/output error'}", "check the name"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("NOT_TOML", f"{path} is not TOML: {error}", "correct the line it names") from error
    try:
        return shape.model_validate(written)
    except ValidationError as error:
        raise _explained(path, error, shape) from error


def _explained(path: Path, error: ValidationError, shape: type[BaseModel]) -> ConfigError:
    found = error.errors(include_url=False)
    # a misspelt key is also a missing one: the misspelling is what to say
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    # names of keys and places in lists only: pydantic also names the validators it went through
    where = ".".join(str(part) for part in first["loc"] if str(part).isidentifier() or isinstance(part, int))
    where = where or "the file"
    if first["type"] == "extra_forbidden":
        known = _keys_beside(shape, first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return ConfigError(
            "UNKNOWN_KEY",
            f"{path}: there is no key {where}; rule: unknown keys are errors",
            f"did you mean {near[0]}?" if near else f"the keys here are: {', '.join(known)}",
        )
    if first["type"] == "missing":
        return ConfigError("KEY_MISSING", f"{path}: {where} is missing", f"write {first['loc'][-1]} = ...")
    return ConfigError(
        "BAD_VALUE", f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}", "correct the value"
    )


def _keys_beside(shape: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Keys of the table in which an unknown key was found."""
    inner: Mapping[str, type[BaseModel]] = {
        "dataset": WrittenDataset,
        "plan": WrittenAnalysis,
        "variables": WrittenVariable,
        "events": WrittenEvents,
        "training": WrittenTraining,
        "strategy": WrittenStrategy,
        "wraps": WrittenStrategy,
    }
    for part in location[:-1]:
        shape = inner.get(str(part), shape)
    return list(shape.model_fields)


def study_from_toml(path: Path, participants: Sequence[study_pb2.Participant]) -> study_pb2.Study:
    """The study a TOML file describes, with the nodes on the roster as participants.

    Parameters
    ----------
    path
        The file; its keys are those of `WrittenStudy`.
    participants
        The nodes on the coordinator's roster, with their keys.

    Raises
    ------
    ConfigError
        Where the file is not as it must be, or names a node that is not on the roster.
    UsageError
        Where a formula, a filter or a setting of the plan is wrong; the message names the analysis.
    """
    written = read_toml(path, WrittenStudy)
    study = study_pb2.Study(
        name=written.name,
        version=written.version,
        title=written.title,
        rationale=written.rationale,
        recipients=written.recipients,
        recipient_roles=recipients_of(written.recipient_roles, "the study"),
        recipient_countries=sorted(set(written.recipient_countries)),
        data_cut=written.data_cut,
        by_country=written.by_country,
        mode=_upper(written.mode),
        exploratory_purpose=purpose_of(written.exploratory_purpose),
        participants=_chosen(written, participants),
    )
    for dataset in written.dataset:
        study.datasets.append(_dataset(dataset))
    _only_once([d.name for d in study.datasets], "dataset")
    for analysis in written.plan:
        try:
            study.plan.append(_analysis(analysis, study))
        except UsageError as error:
            raise UsageError(error.code, f"analysis {analysis.name}: {error.message}", error.remedy) from error
    _only_once([a.name for a in study.plan], "analysis")
    return study


def purpose_of(word: str) -> str:
    """The contract's name of a purpose written in words, e.g. ``trial analysis``."""
    return _upper(word)


def recipients_of(words: Sequence[str], where: str) -> list[str]:
    """The contract's names of the parts that recipients play, e.g. ``authority``; `ConfigError` where one is twice."""
    _only_once(words, f"recipient role of {where}:")
    return [_upper(word) for word in words]


def missing_country_of(word: str) -> str:
    """The contract's name of what to do about a missing country: ``wait``, ``fail``, ``go on without``.

    Raises
    ------
    UsageError
        ``BAD_OPTION`` for any other word.
    """
    name = _upper(word)
    if name not in ("WAIT", "FAIL", "GO_ON_WITHOUT"):
        raise UsageError("BAD_OPTION", f"missing_country cannot be {word!r}", "choose from: wait, fail, go on without")
    return name


def _upper(words: str) -> str:
    return words.upper().replace(" ", "_").replace("-", "_")


def _chosen(written: WrittenStudy, participants: Sequence[study_pb2.Participant]) -> list[study_pb2.Participant]:
    known = {p.node: p for p in participants}
    missing = [name for name in written.participants if name not in known]
    if missing:
        raise ConfigError(
            "UNKNOWN_PARTICIPANT",
            f"the study names nodes that are not on the roster: {', '.join(missing)}",
            f"on the roster are: {', '.join(known) or 'none yet'}; let the others join first",
        )
    _only_once(written.participants, "participant")
    chosen = [known[name] for name in written.participants or known]
    if not chosen:
        raise ConfigError(
            "NO_PARTICIPANTS", "no node is on the roster yet", "let the countries' nodes join, then propose the study"
        )
    _only_once([p.country for p in chosen], "country")
    return chosen


def _only_once(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ConfigError("TWICE", f"{what} {twice[0]} stands in the study twice", "give each its own name")


def _dataset(written: WrittenDataset) -> study_pb2.Dataset:
    dataset = study_pb2.Dataset(
        name=written.name,
        label=written.label,
        subject=written.subject,
        one_row_a_subject=written.one_row_a_subject,
    )
    if written.subject and written.subject not in written.variables:
        raise ConfigError(
            "UNKNOWN_VARIABLE",
            f"dataset {written.name}: its subject {written.subject} is not among its variables",
            "declare the variable, with the role identifier",
        )
    for name, variable in written.variables.items():
        message = study_pb2.Variable(
            name=name,
            label=variable.label,
            type=variable.type.upper(),
            unit=variable.unit,
            levels=variable.levels,
            minimum=variable.minimum,
            maximum=variable.maximum,
            grid=variable.grid,
            may_be_missing=variable.may_be_missing,
            roles=[_upper(r) for r in variable.roles],
        )
        if variable.type == "factor" and not variable.levels and "country" not in variable.roles:
            raise ConfigError("BAD_VALUE", f"{name} is a factor without levels", "list its levels, the reference first")
        _only_once(variable.levels, f"level of {name}")
        dataset.variables.append(message)
    return dataset


def dictionary_of(study: study_pb2.Study, dataset: str | None = None) -> Dictionary:
    """The dictionary of a dataset by name; None: of the only one.

    Raises
    ------
    UsageError
        ``UNKNOWN_DATASET``, or ``WHICH_DATASET`` where there are several.
    """
    names = [d.name for d in study.datasets]
    if not dataset:
        if len(names) == 1:
            return Dictionary.of(study.datasets[0])
        raise UsageError("WHICH_DATASET", f"study {study.name} has several datasets", f"name one: {', '.join(names)}")
    if dataset not in names:
        raise UsageError(
            "UNKNOWN_DATASET", f"study {study.name} has no dataset {dataset!r}", f"name one of: {', '.join(names)}"
        )
    return Dictionary.of(study.datasets[names.index(dataset)])


def _analysis(written: WrittenAnalysis, study: study_pb2.Study) -> study_pb2.Analysis:
    events = written.events.asked() if written.events is not None else None
    spec = request(
        written.method,
        dictionary_of(study, written.dataset),
        formula=written.formula or None,
        roles=written.all_roles(),
        where=written.where or None,
        references=written.references,
        options=by_country(find_procedure(written.method), written.by, written.options),
        events=(dictionary_of(study, events.dataset), events) if events is not None else None,
        training=written.training.plan(len(study.participants)) if written.training is not None else None,
    )
    return study_pb2.Analysis(
        name=written.name,
        title=written.title,
        spec=spec_to_message(spec),
        purpose=purpose_of(written.purpose),
        missing_country=missing_country_of(written.missing_country),
        deadline_seconds=written.deadline_seconds,
        recipients=recipients_of(written.recipient_roles, f"analysis {written.name}"),
    )
