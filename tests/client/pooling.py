"""Results as a coordinator would send them: answers computed by the methods themselves over the example's rows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_client.proposal import study_from_toml
from isthmus_client.requests import request
from isthmus_methods.codec import answer_to_message, spec_from_message, spec_to_message
from isthmus_methods.contract import Spec
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import find
from isthmus_node.compute import blocks
from isthmus_node.sources import Source, read, typed

HERE = Path(__file__).parent
ROWS = HERE.parents[1] / "examples/breast-cancer/data"
COUNTRIES = ("NL", "BE", "DE", "AT")
DEADLINE = "did not answer before the deadline"


def participants(countries: Collection[str] = COUNTRIES) -> list[study_pb2.Participant]:
    return [
        study_pb2.Participant(
            node=c.lower(),
            country=c,
            identity_key=hashlib.sha256(c.encode()).digest(),
            custodian_key=hashlib.sha256(c.lower().encode()).digest(),
        )
        for c in countries
    ]


@cache
def breast_cancer() -> study_pb2.Study:
    return study_from_toml(HERE / "breast-cancer.toml", participants())


def pooled(spec: Spec, study: study_pb2.Study, analysis: str = "", without: Collection[str] = ()) -> analyst_pb2.Result:
    """The result of a request over the example's rows, with the contributions a coordinator would note."""
    message = spec_to_message(spec)
    bound = spec_from_message(message, study)
    method = find(bound.method)
    dataset = study.datasets[0]
    rows = {
        c: blocks(bound, typed(read(Source(str(ROWS / f"{c}.csv"))), dataset, c), method)
        for c in COUNTRIES
        if c not in without
    }
    done, rounds = pool_in_process(method, rows, bound)
    result = analyst_pb2.Result(
        run=hashlib.sha256(message.SerializeToString(deterministic=True)).digest()[:16],
        study=study.name,
        study_version=study.version,
        study_digest=hashlib.sha256(study.SerializeToString(deterministic=True)).digest(),
        analysis=analysis,
        spec=message,
        purpose=study_pb2.TRIAL_ANALYSIS,
        state="done",
        answer=answer_to_message(done.answer),
        exact=not done.caveats and not without,
        caveats=list(done.caveats),
        rounds=rounds,
        software="0.1.0",
        started_at=1_795_000_000_000_000_000,
        ended_at=1_795_000_002_500_000_000,
    )
    for k, c in enumerate(COUNTRIES):
        contribution = result.contributions.add(node=c.lower(), country=c, software="0.1.0")
        if c in without:
            contribution.state = "missing"
            contribution.failure.code = "DEADLINE"
            contribution.failure.message = DEADLINE
            result.caveats.append(f"{c} is not in this result: {DEADLINE} [DEADLINE].")
            continue
        contribution.state = "contributed"
        contribution.releases, contribution.bytes = rounds, 4000 + 137 * k
        contribution.policy_digest = hashlib.sha256(b"policy " + c.encode()).digest()
        contribution.dataset_digest = hashlib.sha256(b"dataset " + c.encode()).digest()
    return result


@cache
def planned(name: str) -> analyst_pb2.Result:
    """The result of an analysis of the example's plan."""
    study = breast_cancer()
    analysis = next(a for a in study.plan if a.name == name)
    return pooled(spec_from_message(analysis.spec, study), study, name)


@cache
def asked(method: str, formula: str, *, where: str = "", without: tuple[str, ...] = (), **options: object) -> (
    analyst_pb2.Result
):  # fmt: skip
    """The result of a formula that is not in the plan."""
    from isthmus_client.formula import Dictionary

    study = breast_cancer()
    spec = request(method, Dictionary.of(study.datasets[0]), formula=formula, where=where or None, options=options)
    return pooled(spec, study, without=without)


@cache
def tabulated(*variables: str, arm: str = "hormon") -> analyst_pb2.Result:
    from isthmus_client.formula import Dictionary

    study = breast_cancer()
    spec = request(
        "table_one",
        Dictionary.of(study.datasets[0]),
        roles={"variables": variables, "arm": arm},
        options={"by_country": True},
    )
    return pooled(spec, study)
