"""What may be asked in a sealed study: methods whose pooled half needs the sum over the countries and nothing else."""

from __future__ import annotations

from isthmus.errors import Refused
from isthmus_methods.contract import Kind, Procedure, Scope, Spec
from isthmus_methods.variables import used_variables

# Each country has the same numbers in the same places, so that they can be added without being told apart. The cells
# of a histogram are those that anybody is in, a hazard and a country's own estimate are no sums over persons.
ADDING = frozenset(Kind) - {Kind.HISTOGRAM, Kind.HAZARD, Kind.ESTIMATE, Kind.UPDATE, Kind.METRIC}
# Why a field of another kind is not in a sealed answer.
DOES_NOT_ADD = "DOES_NOT_ADD"
# Who is said to have sent what was added up before anybody saw it.
TOGETHER = "the countries together"
# The others look at each country's summary, or at fields that are no sums. A test holds each of these against itself.
SEALED_METHODS = frozenset(
    {
        "table_one",
        "t_test",
        "paired_t_test",
        "anova",
        "kaplan_meier",
        "log_rank",
        "cox",
        "ordinal",
        "gee",
        "crosstab",
        "linear_model",
        "glm",
        "negative_binomial",
        "iptw",
        "cumulative_incidence",
        "fine_gray",
    }
)


def check_adds(spec: Spec, method: Procedure) -> None:
    """Raise unless a request can be answered by a sum over countries that tells of none of them.

    Raises
    ------
    Refused
        ``SEALED_METHOD`` where the method, with these settings, needs more than the sum; ``SEALED_COUNTRY`` where the
        request names the country, so that a part of the sum would be one country's own.
    """
    if method.name not in SEALED_METHODS or method.scope(spec) is not Scope.TOTAL:
        raise Refused(
            "SEALED_METHOD",
            f"method {method.name} with these settings needs each country's own numbers; "
            "rule: in a sealed study the coordinator sees the sum over the countries only",
            f"ask without results by country, use one of {', '.join(sorted(SEALED_METHODS))}, "
            "or propose a version of the study in open mode",
        )
    whole = (spec, spec.events) if spec.events is not None else (spec,)
    if any(part.is_country(name) for part in whole for name in used_variables(part)):
        raise Refused(
            "SEALED_COUNTRY",
            "the request names the variable that says the country; "
            "rule: in a sealed study no part of the sum is one country's own",
            "leave the country out of filter, roles and terms",
        )
