"""Meta-analysis: each country estimates the effect from its own rows alone, the coordinator combines the estimates.

What leaves a country is one coefficient, its variance, and the number of rows, with and without an event where the
outcome is one. Studies are the countries, or the levels of a factor that each lie within one country.
"""

from __future__ import annotations

from typing import ClassVar

from isthmus_methods.contract import Contributions, Done, Spec, State
from isthmus_methods.parts.countries.country_studies import CountryStudies
from isthmus_methods.parts.countries.random_effects import meta_analysis


class MetaAnalysis(CountryStudies):
    """Fixed-effect and random-effects meta-analysis of a coefficient estimated in each country."""

    name: ClassVar[str] = "meta_analysis"
    version: ClassVar[int] = 2
    title: ClassVar[str] = "Meta-analysis of per-country estimates"

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        given = self.given(contributions, spec)
        return Done({**meta_analysis(given.names, given.y, given.v), **given.about}, given.caveats)
