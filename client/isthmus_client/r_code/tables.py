"""R's calls about counts by arm."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, country_variable, r_column
from isthmus_methods.contract import Column, Indicator, Spec
from isthmus_methods.request import written_name, written_number, written_predicate, written_text


def _column(column: Column) -> str:
    """A column of the data frame `d`; a condition as it is."""
    return written_predicate(column.predicate) if isinstance(column, Indicator) else r_column(column)


def _event(spec: Spec, role: str) -> str:
    """Whether the event happened, as a factor whose first level is the event."""
    column = spec.role(role)[0]
    event = str(spec.options.get("event", ""))
    value = written_text(event) if spec.levels(column) else event or "1"
    happened = _column(column) if isinstance(column, Indicator) else f"{_column(column)} == {value}"
    return f"factor({happened}, levels = c(TRUE, FALSE))"


def _arms(spec: Spec, role: str) -> str:
    levels = ", ".join(written_text(str(spec.options[name])) for name in ("treated", "control"))
    return f"factor({_column(spec.role(role)[0])}, levels = c({levels}))"


def _crosstab(spec: Spec, rows: str) -> list[str]:
    if not spec.options.get("treated"):
        table = f"x <- with({rows}, table({_column(spec.role('row')[0])}, {_column(spec.role('column')[0])}))"
        lines = [table, "x <- x[rowSums(x) > 0, colSums(x) > 0]", "chisq.test(x, correct = FALSE)"]
        return [*lines, *(["fisher.test(x, workspace = 2e7)"] if spec.options.get("fisher") is True else [])]
    return [
        f"x <- with({rows}, table({_arms(spec, 'row')}, {_event(spec, 'column')}))",
        "chisq.test(x, correct = FALSE); chisq.test(x); fisher.test(x)",
        "apply(x, 1, function(k) prop.test(k[1], sum(k), correct = FALSE)$conf.int)  # Wilson",
        "apply(x, 1, function(k) binom.test(k[1], sum(k))$conf.int)  # Clopper-Pearson",
    ]


def _cmh(spec: Spec, rows: str) -> list[str]:
    strata = [_column(column) for column in spec.role("strata")]
    country = written_name(country_variable(spec))
    if not strata or (spec.options.get("stratify_by_country") is True and country not in strata):
        strata.insert(0, country)
    within = strata[0] if len(strata) == 1 else f"interaction({', '.join(strata)})"
    if not spec.options.get("treated"):
        arm, outcome = (f"droplevels(factor({_column(spec.role(role)[0])}))" for role in ("arm", "outcome"))
        return [f"mantelhaen.test(with({rows}, table({arm}, {outcome}, droplevels(factor({within})))))"]
    return [
        f"x <- with({rows}, table({_arms(spec, 'arm')}, {_event(spec, 'outcome')}, {within}))",
        "x <- x[, , apply(x, 3, sum) > 0]",
        "mantelhaen.test(x, correct = FALSE); mantelhaen.test(x)",
        'metafor::rma.mh(measure = "OR", ai = x[1, 1, ], bi = x[1, 2, ], ci = x[2, 1, ], di = x[2, 2, ])  # RR, RD too',
        "vcd::woolf_test(x)",
    ]


def _safety(spec: Spec, rows: str) -> list[str]:
    events = spec.events
    if events is None:
        return []
    chosen = "events" if events.where is None else f"subset(events, {written_predicate(events.where)})"
    arm, exposure = (r_column(spec.role(role)[0]) for role in ("arm", "exposure"))
    person, of_event = written_name(spec.subject), written_name(events.subject)
    per = spec.options.get("rate_per", 36525.0)
    return [
        f"# events: the rows of dataset {events.dataset} of all countries, one below the other",
        f"s <- {rows}; e <- {chosen}; e <- e[e${of_event} %in% s${person}, ]",
        f"n <- table(s${arm}); days <- tapply(s${exposure}, s${arm}, sum)",
        "# subjects with any event; of a class or a term the same with its part of e",
        f"x <- table(s${arm}[s${person} %in% e${of_event}])",
        f"k <- table(s${arm}[match(e${of_event}, s${person})])",
        "Map(function(x, n) binom.test(x, n)$conf.int, x, n)",
        f"Map(function(k, t) poisson.test(k, t)$conf.int * {written_number(float(str(per)))}, k, days)",
    ]


CALLS: Mapping[str, Call] = {"crosstab": _crosstab, "cmh": _cmh, "safety": _safety}
