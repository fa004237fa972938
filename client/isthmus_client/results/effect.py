"""What results about one coefficient estimated in each country share: its name, and what kind of effect it is."""

from __future__ import annotations

from isthmus_client.r_code import r_formula
from isthmus_client.results.fit import Fit
from isthmus_methods.contract import column_name

# What the exponential of a coefficient is, by the family of the outcome.
RATIOS = {"binomial": "odds ratio", "poisson": "rate ratio", "quasipoisson": "rate ratio", "gamma": "ratio of means"}
CALLS = {"cox": "coxph", "glm": "glm", "linear_model": "lm", "log_odds_ratio": "log odds ratio"}


class EffectFit(Fit):
    """A result about one coefficient that each country estimates."""

    @property
    def coefficient(self) -> str:
        """Name of the coefficient."""
        named = self.answer.get("coefficient") or self.spec.options.get("coefficient") or ""
        return str(named)

    @property
    def estimate(self) -> str:
        """What each country estimates: ``cox``, ``glm``, ``linear_model`` or ``log_odds_ratio``."""
        return str(self.spec.options.get("estimate", "cox"))

    @property
    def is_ratio(self) -> bool:
        """Whether estimates are logarithms of ratios."""
        return self.measure != "difference"

    @property
    def measure(self) -> str:
        """What the effect is: ``hazard ratio``, ``odds ratio``, ..., ``difference``."""
        if self.estimate == "glm":
            return RATIOS.get(str(self.spec.options.get("family", "binomial")), "difference")
        return {"cox": "hazard ratio", "log_odds_ratio": "odds ratio"}.get(self.estimate, "difference")

    @property
    def short_measure(self) -> str:
        """Name of a column with the ratio: ``hr``, ``or``, ``ratio``."""
        return {"hazard ratio": "hr", "odds ratio": "or"}.get(self.measure, "ratio")

    @property
    def favours(self) -> tuple[str, str] | None:
        """What lies on either side of a ratio of 1, where the coefficient compares two levels of a factor."""
        if not self.is_ratio:
            return None
        variable, _, level = self.coefficient.partition("=")
        for term in self.spec.terms:
            column = term.columns[0]
            if len(term.columns) == 1 and column_name(column) == variable and level in self.spec.levels(column):
                reference = self.spec.levels(column)[0]
                return f"favours {variable}={level}", f"favours {variable}={reference}"
        return None

    def model(self, where: str) -> str:
        """How the coefficient was estimated: ``coxph(...) in each country``."""
        if self.estimate == "log_odds_ratio":
            return f"log odds ratio in {where}"
        return f"{CALLS.get(self.estimate, self.estimate)}({self.formula or r_formula(self.spec)}) in {where}"
