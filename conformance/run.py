"""Runs a case: a network of real processes, one node a country, the plan through the public client."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError as TookTooLong
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.case import Case, Step
from conformance.compare import Comparison, compare, expected_of
from conformance.step import Context
from conformance.steps import ways
from conformance.study import study_toml
from isthmus.errors import IsthmusError
from isthmus.v1 import study_pb2
from isthmus_client.plan import Plan
from isthmus_client.proposal import study_from_toml
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Sandbox
from isthmus_client.study import Study

STUDY = "CONFORMANCE"
# Seconds that all steps of one case may take together.
LIMIT = 900.0


@dataclass(slots=True)
class Outcome:
    """What came of a case."""

    case: Case
    answer: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)
    seconds: float = 0.0
    bytes_out: int = 0
    compared: Comparison = field(default_factory=Comparison)


def run_case(case: Case, home: Path, limit: float = LIMIT) -> Outcome:
    """Follow a case's plan over nodes and hold the answer against R's.

    Parameters
    ----------
    case
        The case.
    home
        An empty folder for the network's keys, journals and logs. Every process is ended before this returns.
    limit
        Seconds that its steps may take together; one that is not done by then is an error.
    """
    started = time.monotonic()
    outcome = Outcome(case)
    if any(step["method"] in ways() and step["table"] for step in case.plan):
        with Sandbox(home, name="conformance") as box:
            set_up(box, case.countries)
            register(box, case)
            follow_plan(box, outcome, STUDY, limit)
    else:
        alone = Context(case, Study(None, study_pb2.Study(), b""))  # type: ignore[arg-type]
        _follow(outcome, alone, _asked(outcome, alone), limit)
    outcome.seconds = time.monotonic() - started
    outcome.compared = compare(outcome.answer, expected_of(case), case.tolerances)
    return outcome


def set_up(box: Sandbox, countries: Sequence[str]) -> None:
    """A coordinator, a node a country, the analyst."""
    box.init_coordinator()
    box.start_coordinator()
    box.join({f"n{k}": country for k, country in enumerate(countries, start=1)})
    box.login("statistician")
    box.start_nodes(box.countries)


def nodes_of(box: Sandbox, case: Case) -> dict[str, str]:
    """Node of each country of the case, in the case's order."""
    nodes = {country: node for node, country in box.countries.items()}
    return {country: nodes[country] for country in case.countries}


def register(box: Sandbox, case: Case) -> None:
    """Each country registers its file of each table."""
    nodes = nodes_of(box, case)
    for table in case.tables.values():
        box.at_each_node(
            {
                nodes[country]: ("data", "add", str(path), "--dataset", case.dataset(table.name), "--open-data")
                for country, path in table.files.items()
            }
        )


def follow_plan(box: Sandbox, outcome: Outcome, name: str, limit: float = LIMIT, form: str = "") -> Context:
    """Propose the case's study with the whole plan, let every custodian approve it, run it and collect the answer.

    Parameters
    ----------
    box
        A network with a node in each country of the case, the rows registered.
    outcome
        Of the case; gets the answer, errors, caveats and bytes.
    name
        Of the study.
    form
        Ending of the datasets' names.

    Returns
    -------
    Context
        With the fits of every step.
    """
    case = outcome.case
    nodes = nodes_of(box, case)
    with box.connect() as connection:
        path = box.home / f"{name}.toml"
        path.write_text(study_toml(case, name, nodes, form), encoding="utf-8")
        message = study_from_toml(path, connection.participants())
        asked = _asked(outcome, Context(case, Study(connection, message, b""), form=form))
        for k, plan in enumerate(p for plans in asked.values() for p in plans):
            for j, step in enumerate(plan.steps):
                if all(step.analysis.spec != analysis.spec for analysis in message.plan):
                    message.plan.append(step.analysis)
                    message.plan[-1].name = f"a{k}-{j}"
        connection.propose(message)
        box.approve(name, nodes.values(), "conformance")
        context = Context(case, connection.study(name), form=form)
        approved = _asked(Outcome(case), context)  # what could not be asked is said already
        for plan in (p for plans in approved.values() for p in plans):
            plan.start()
        _follow(outcome, context, approved, limit)
    return context


def _asked(outcome: Outcome, context: Context) -> dict[int, list[Plan]]:
    """The analyses of each step that can be asked for; why the others cannot goes to the outcome."""
    found: dict[int, list[Plan]] = {}
    for k, step in enumerate(context.case.plan):
        way = ways().get(step["method"])
        if way is None:
            outcome.errors.append(f"{'/'.join(step['at'])}: no way to follow {step['method']} yet")
            continue
        try:
            found[k] = list(way.asks(step, context))
        except Exception as error:  # noqa: BLE001 - one step's error is that step's
            outcome.errors.append(f"{'/'.join(step['at'])}: {_said(error)}")
    return found


def _follow(outcome: Outcome, context: Context, asked: Mapping[int, Sequence[Plan]], limit: float) -> None:
    """Collect the answers of the steps, each in its place."""
    until = time.monotonic() + limit
    seen: set[str] = set()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for k, step in enumerate(context.case.plan):
            if k not in asked:
                continue
            try:
                fits = [_fit(pool, plan, until) for plan in asked[k]]
                outcome.bytes_out += _bytes(fits, seen)
                outcome.caveats += [f"{'/'.join(step['at'])}: {c}" for fit in fits for c in fit.caveats]
                context.fits[tuple(step["at"])] = tuple(fits)
                answer = ways()[step["method"]].answer(step, fits, context)
                _place(outcome.answer, step, _renamed(answer, context.names(step)))
            except Exception as error:  # noqa: BLE001 - one step's error is that step's
                outcome.errors.append(f"{'/'.join(step['at'])}: {_said(error)}")


def _fit(pool: ThreadPoolExecutor, plan: Plan, until: float) -> Fit:
    running = pool.submit(plan.run, progress=False)
    try:
        return running.result(timeout=max(0.0, until - time.monotonic()))
    except TookTooLong:
        plan.cancel()
        raise


def _said(error: Exception) -> str:
    text = f"{error.code}: {error.message}" if isinstance(error, IsthmusError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _bytes(fits: Sequence[Fit], seen: set[str]) -> int:
    """Bytes that left the countries in runs not counted yet."""
    total = 0
    for fit in (f for main in fits for f in (main, *main.beside)):
        provenance = fit.provenance()
        if provenance.run not in seen:
            seen.add(provenance.run)
            total += sum(c.bytes for c in provenance.contributions)
    return total


def _renamed(answer: Any, names: Mapping[str, str]) -> Any:
    """The answer with the plan's own names of derived columns."""
    if isinstance(answer, Mapping):
        return {_rename(str(key), names): _renamed(value, names) for key, value in answer.items()}
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        return [_renamed(value, names) for value in answer]
    return _rename(answer, names) if isinstance(answer, str) else answer


def _rename(text: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        text = text.replace(ours, theirs)
    return text


def _place(tree: dict[str, Any], step: Step, answer: Mapping[str, Any]) -> None:
    """Put a step's answer where it stands, those keys of it that the step keeps."""
    kept = {k: v for k, v in answer.items() if not step.get("keep") or k in step["keep"]}
    for key in step["at"]:
        tree = tree.setdefault(key, {})
    _merge(tree, kept)


def _merge(tree: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value
