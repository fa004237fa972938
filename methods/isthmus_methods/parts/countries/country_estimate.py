"""The index of estimates that a country can make on its own, for the meta-analysis."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_methods.parts.countries.cox_estimate import CoxEstimate
from isthmus_methods.parts.countries.estimated import CountryEstimate
from isthmus_methods.parts.countries.glm_estimate import GlmEstimate, LinearEstimate
from isthmus_methods.parts.countries.odds_ratio_estimate import OddsRatioEstimate

KINDS: Mapping[str, CountryEstimate] = {
    kind.name: kind for kind in (CoxEstimate(), GlmEstimate(), LinearEstimate(), OddsRatioEstimate())
}
