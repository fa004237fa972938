"""Regional consistency of a multi-regional trial (ICH E17): is the effect the same from region to region?

What leaves a country is one coefficient, its variance and its counts, as for the meta-analysis. Regions are the
countries, or groups of them that the request fixes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Answer,
    Array,
    Block,
    Contributions,
    Done,
    OptionRule,
    Partial,
    Role,
    Spec,
    State,
)
from isthmus_methods.parts.countries import shrinkage
from isthmus_methods.parts.countries.country_studies import CountryStudies, Given
from isthmus_methods.parts.countries.qualitative_interaction import gail_simon
from isthmus_methods.parts.countries.regional_criteria import Asked, criteria, overall
from isthmus_methods.parts.inference import Z95
from isthmus_methods.parts.regression.glm_family import family_of

LOWER, HIGHER = "lower", "higher"
# Of log ratios: 0.5 is a substantial spread between regions (Rover et al. 2021, Res. Synth. Methods 12, 448-474).
TAU_SCALE_OF_LOG_RATIOS = 0.5
# Scale of the flat prior's end, and of the other half-normal priors, in scales of the prior.
FLAT_UPPER = 8.0
OTHER_SCALES = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read once."""

    regions: Mapping[str, tuple[str, ...]]  # countries of the regions that it names
    benefit: float  # 1: larger effects are better, -1: smaller ones
    asked: Asked
    tau2: str
    tau_scale: float | None  # of the half-normal prior; None: no Bayes


class RegionalConsistency(CountryStudies):
    """Methods 1 and 2, Quan's criteria, qualitative interaction, and shrunken effects of countries or regions."""

    name: ClassVar[str] = "regional_consistency"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Regional consistency"
    roles: ClassVar[Mapping[str, Role]] = {name: role for name, role in CountryStudies.roles.items() if name != "by"}
    options: ClassVar[Mapping[str, OptionRule]] = {
        **CountryStudies.options,
        "regions": OptionRule("groups of countries as texts EastAsia=CN+JP+KR; none: every country by itself", ()),
        "benefit": OptionRule("which effects are better; none: lower for cox", "", ("", LOWER, HIGHER)),
        "pi": OptionRule("share of the overall effect that a region should keep", 0.5),
        "bound": OptionRule("effect that every region should reach, benefit positive", 0.0),
        "lower_bound": OptionRule("what every region's lower limit should exceed, benefit positive", 0.0),
        "lower_level": OptionRule("one-sided level of these limits", 0.025),
        "interaction_level": OptionRule("level of the test of treatment by region", 0.1),
        "tau2": OptionRule(
            "between-region variance of the empirical Bayes estimates", "REML", ("REML", "DL", "PM", "ML")
        ),
        "tau_scale": OptionRule(
            "scale of the half-normal prior of tau; 0: 0.5 for log ratios, otherwise no Bayes", 0.0
        ),
    }

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        plan_of(spec)  # a request that cannot be answered ends before anything leaves
        return super().fold(block, spec, state, local)

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan, given = plan_of(spec), self.given(contributions, spec)
        regions = _regions(plan, given.names)
        names = tuple(regions)
        y, v = _pooled(given, regions)
        said = list(given.caveats)
        answer: dict[str, Answer] = {
            **given.about,
            "benefit": HIGHER if plan.benefit > 0 else LOWER,
            "overall": overall(y, v),
            "countries": _effects(given.names, given.y, given.v),
            "regions": _effects(names, y, v),
            "countries_of_regions": {name: list(inside) for name, inside in regions.items()},
            **criteria(names, plan.benefit * y, v, plan.asked),
            "gail_simon": gail_simon(plan.benefit * y, v),
            "empirical_bayes": shrinkage.empirical_bayes(names, y, v, plan.tau2),
            "james_stein": shrinkage.james_stein(names, y, v),
        }
        if plan.tau_scale is None:
            said.append("Bayes: left out, the scale of the effect has no customary prior; give tau_scale")
            answer |= {"bayes": None, "bayes_sensitivity": None}
        else:
            first = shrinkage.half_normal(plan.tau_scale, v)
            others = [shrinkage.half_normal(k * plan.tau_scale, v) for k in OTHER_SCALES]
            others.append(shrinkage.flat(FLAT_UPPER * plan.tau_scale, v))
            found = {
                prior.name: shrinkage.Posterior.of(y, v, prior).answer(names, plan.asked.pi, plan.benefit)
                for prior in (first, *others)
            }
            answer |= {"bayes": found[first.name], "bayes_sensitivity": {p.name: found[p.name] for p in others}}
        without = [name for name, inside in plan.regions.items() if name not in regions and inside]
        if without:
            said.append(f"{', '.join(without)}: left out, no country of the region gave an estimate")
        return Done(answer, tuple(said))


def plan_of(spec: Spec) -> Plan:
    """The request, read.

    Raises
    ------
    UsageError
        ``WRONG_OPTION``, ``WRONG_REGIONS``.
    """
    kind = str(spec.options.get("estimate", "cox"))
    options = {name: spec.options.get(name, rule.default) for name, rule in RegionalConsistency.options.items()}
    benefit = str(options["benefit"]) or (LOWER if kind == "cox" else "")
    if not benefit:
        raise UsageError(
            "WRONG_OPTION",
            f"whether a higher or a lower effect is the better one cannot be told from estimate {kind}",
            'say benefit = "higher" or "lower"',
        )
    pi = _number(options["pi"], "pi", 0.0, 1.0, "from 0 to below 1")
    lower_level = _number(options["lower_level"], "lower_level", 1e-9, 1.0, "between 0 and 1")
    interaction_level = _number(options["interaction_level"], "interaction_level", 1e-9, 1.0, "between 0 and 1")
    ratio = _log_ratio(kind, options)
    scale = _number(options["tau_scale"], "tau_scale", 0.0, math.inf, "0 or more")
    return Plan(
        _named(spec),
        1.0 if benefit == HIGHER else -1.0,
        Asked(
            pi,
            _number(options["bound"], "bound", -math.inf, math.inf, "a number"),
            _number(options["lower_bound"], "lower_bound", -math.inf, math.inf, "a number"),
            lower_level,
            interaction_level,
            ratio and benefit == LOWER,  # 1 - ratio is a reduction
        ),
        str(options["tau2"]),
        scale or (TAU_SCALE_OF_LOG_RATIOS if ratio else None),
    )


def _log_ratio(kind: str, options: Mapping[str, Any]) -> bool:
    """Whether the estimate is the log of a ratio of hazards, odds, rates or means."""
    if kind in ("cox", "log_odds_ratio"):
        return True
    return kind == "glm" and family_of(str(options["family"]), str(options["link"])).link in ("log", "logit")


def _number(value: object, name: str, low: float, high: float, rule: str) -> float:
    """A number from `low` to below `high`."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not (low <= number < high and math.isfinite(number)):
        raise UsageError("WRONG_OPTION", f"{name} {value!r} is not {rule}", f"give {name} as {rule}")
    return number


def _named(spec: Spec) -> dict[str, tuple[str, ...]]:
    """Countries of each region that the request names."""
    texts = spec.options.get("regions", ())
    regions: dict[str, tuple[str, ...]] = {}
    for text in (texts,) if isinstance(texts, str) else texts if isinstance(texts, tuple) else (texts,):
        name, _, rest = str(text).partition("=")
        inside = tuple(part.strip() for part in rest.split("+") if part.strip())
        if not name.strip() or not inside or name.strip() in regions:
            raise _wrong(f"{text!r} is no region of its own")
        regions[name.strip()] = inside
    every = [country for inside in regions.values() for country in inside]
    twice = sorted({country for country in every if every.count(country) > 1})
    unknown = [country for country in every if spec.countries and country not in spec.countries]
    # a country that stands alone is a region with its own name
    clash = [name for name in regions if name in spec.countries and name not in every]
    if twice or unknown or clash:
        wrong = f"{', '.join(twice)} in two regions" if twice else f"{', '.join(unknown or clash)}"
        why = "" if twice else (" is no country of the study" if unknown else " is a region and a country outside it")
        raise _wrong(wrong + why)
    return regions


def _wrong(what: str) -> UsageError:
    return UsageError(
        "WRONG_REGIONS", f"regions: {what}", "write each as EastAsia=CN+JP+KR, a country in one of them at most"
    )


def _regions(plan: Plan, countries: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Regions with the countries that gave an estimate: those named, then every other country by itself."""
    named = {name: tuple(c for c in inside if c in countries) for name, inside in plan.regions.items()}
    inside = {country for members in plan.regions.values() for country in members}
    alone = {country: (country,) for country in countries if country not in inside}
    return {name: members for name, members in (*named.items(), *alone.items()) if members}


def _pooled(given: Given, regions: Mapping[str, tuple[str, ...]]) -> tuple[Array, Array]:
    """Inverse-variance mean of each region's countries and its variance, (S,) each."""
    at = {name: k for k, name in enumerate(given.names)}
    y, v = [], []
    for members in regions.values():
        here = [at[country] for country in members]
        weights = 1.0 / given.v[here]
        y.append(float(weights @ given.y[here] / weights.sum()))
        v.append(1.0 / float(weights.sum()))
    return np.array(y), np.array(v)


def _effects(names: tuple[str, ...], y: Array, v: Array) -> dict[str, Answer]:
    """Each estimate with its limits and its share of the information."""
    total = float((1.0 / v).sum())
    return {
        name: {
            "estimate": a,
            "se": math.sqrt(b),
            "ci95_lower": a - Z95 * math.sqrt(b),
            "ci95_upper": a + Z95 * math.sqrt(b),
            "information_fraction": 1.0 / (b * total),
        }
        for name, a, b in zip(names, y.tolist(), v.tolist(), strict=True)
    }
