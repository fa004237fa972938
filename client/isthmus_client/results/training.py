"""The result of a training: curves by round, the evaluation on persons held out, privacy spent, the model itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from isthmus.errors import UsageError
from isthmus_client.results.fit import Fit, plain
from isthmus_client.results.scores import Band, Measured, Scores
from isthmus_client.results.tree import Tree, count, has, not_there, numbers, tree
from isthmus_client.training.card import CARD_VERSION, EVALUATION, LIMITS, evaluation_cells
from isthmus_client.training.explaining import outcome_words, predicted
from isthmus_client.training.model import Array, Model, save
from isthmus_client.training.strategies import written
from isthmus_methods.contract import TrainingPlan, coefficient_names
from isthmus_methods.request import written_predicate
from isthmus_methods.training import SCORE_STEPS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TRAIN, EVALUATE = "train", "evaluate"
ALL = "all countries"
# Lists of a round that are no measure of the app.
_NO_MEASURE = ("round", "examples")


class TrainingFit(Fit):
    """A trained model and how it became so. ``curves()``, ``evaluation()``, ``calibration()``, ``save(folder)``."""

    method: ClassVar[str] = "training"
    _weights: Mapping[str, Array] | None = None

    @property
    def plan(self) -> TrainingPlan:
        """What was asked: app, strategy, rounds, settings."""
        if self.spec.training is None:
            raise not_there("training plan")
        return self.spec.training

    @property
    def countries(self) -> tuple[str, ...]:
        """Countries whose own numbers are in the result; none where the study does not let them be shown."""
        return tuple(tree(self.answer, "by_country")) if has(self.answer, "by_country") else ()

    @property
    def parameters(self) -> int:
        """Numbers of the model."""
        return count(self.answer, "parameters") or 0

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the model's serialised state, in hexadecimal digits: what the coordinator has to hand over."""
        return str(self.answer.get("digest") or "")

    # ------------------------------------------------------------------ rounds

    def measures(self) -> tuple[str, ...]:
        """Names of the app's measures, in the order in which they first stand in the result."""
        found: dict[str, None] = {}
        for phase in (TRAIN, EVALUATE):
            found |= dict.fromkeys(key for key in _lists(self.answer, phase) if key not in _NO_MEASURE)
        return tuple(found)

    def curves(self) -> pd.DataFrame:
        """One row a round, phase and country: ``round, phase, country, examples``, and a column a measure.

        `phase` is "train", on the rows that were trained on, or "evaluate", on those held out; a measure of all
        countries is their mean weighted by examples.
        """
        import pandas as pd

        parts = [
            pd.DataFrame({"country": country, "phase": phase, **lists})
            for country, answer in self._whose().items()
            for phase in (TRAIN, EVALUATE)
            if (lists := _lists(answer, phase))
        ]
        columns = ["round", "phase", "country", "examples", *self.measures()]
        if not parts:
            return pd.DataFrame(columns=columns)
        return pd.concat(parts, ignore_index=True).reindex(columns=columns)

    def rounds(self) -> pd.DataFrame:
        """One row a round, over all countries: every measure in training and in evaluation."""
        import pandas as pd

        found: dict[str, pd.Series] = {}
        for phase in (TRAIN, EVALUATE):
            lists = _lists(self.answer, phase)
            index = pd.Index([int(r) for r in lists.pop("round", []) if r is not None], name="round")
            found |= {f"{phase}: {name}": pd.Series(values, index=index) for name, values in lists.items()}
        return pd.DataFrame(found)

    # ------------------------------------------------------------------ evaluation

    @cached_property
    def scores(self) -> Mapping[str, Scores]:
        """Held-out rows by predicted probability and outcome in the last evaluation: of all countries, and of each."""
        found = {name: Scores.of(answer) for name, answer in self._whose().items()}
        return {name: scores for name, scores in found.items() if scores is not None}

    def evaluation(self) -> pd.DataFrame:
        """One row for all countries and one a country: rows held out, AUC, calibration in the large, Brier score.

        ``auc`` with its standard error and 95 % limits; ``_least`` and ``_most`` of a measure are what the cells of
        predicted probability allow. Empty where no scores left the countries.
        """
        import pandas as pd

        return pd.DataFrame(self._evaluations()).set_index("held out in") if self.scores else pd.DataFrame()

    def _evaluations(self) -> list[dict[str, Any]]:
        return [{"held out in": name, **_evaluated(scores)} for name, scores in self.scores.items()]

    def remarks(self) -> tuple[str, ...]:
        """Sentences about how close the evaluation is."""
        if not self.scores:
            return ()
        widest = max((auc.most - auc.least for s in self.scores.values() if (auc := s.auc()) is not None), default=0.0)
        return (
            "AUC is the share of pairs, one of each outcome, in which the one with the outcome is predicted higher"
            " (Mann and Whitney 1947); its standard error is Hanley and McNeil's (1982, equation 1). Predictions leave"
            f" a country counted in cells of at least 1/{SCORE_STEPS}: pairs within a cell count one half. They leave"
            f" AUC open by at most {widest:.3g} (auc_least to auc_most).",
            "Brier score and observed over expected take each prediction in the middle of its cell; least and most are"
            " at its ends.",
            "The evaluation has no noise added; it is judged by each country's gate as counts are.",
        )

    def calibration(self, country: str = ALL) -> pd.DataFrame:
        """Predicted against observed in bands of predicted probability: rows, means, 95 % limits (Wilson 1927)."""
        import pandas as pd

        columns = [f.name for f in dataclasses.fields(Band)]
        bands = self.scores[country].calibration() if country in self.scores else ()
        return pd.DataFrame([dataclasses.asdict(band) for band in bands], columns=columns)

    # ------------------------------------------------------------------ privacy

    def privacy(self) -> pd.DataFrame:
        """One row a country that added noise: zCDP of this run, of the dataset so far, and what its policy allows."""
        import pandas as pd

        return pd.DataFrame.from_dict(self._privacy(), orient="index").rename_axis("country")

    def _privacy(self) -> dict[str, dict[str, float | str]]:
        return {
            c.country: {
                "rho": c.privacy.rho,
                "rho_total": c.privacy.rho_total,
                "rho_budget": c.privacy.rho_budget,
                "epsilon_total": c.privacy.epsilon_total,
                "delta": c.privacy.delta,
                "accountant": c.privacy.accountant,
            }
            for c in self.result.contributions
            if c.HasField("privacy")
        }

    # ------------------------------------------------------------------ the model

    def take(self, weights: Mapping[str, Array]) -> None:
        """Keep the weights that belong to this result."""
        self._weights = weights

    @property
    def model(self) -> Model:
        """The trained model.

        Raises
        ------
        UsageError
            ``NO_WEIGHTS`` where the result was read from a file that holds none.
        """
        if self._weights is None:
            raise UsageError(
                "NO_WEIGHTS",
                "the weights are not beside this result",
                f'get both: study.attach("{self.result.run.hex()}")',
            )
        return Model(self._weights, self.spec, self.card())

    def save(self, folder: str | Path) -> Path:
        """Write ``weights.npz``, ``model-card.json`` and ``model-card.md`` in a folder, for `training.load`."""
        return save(self.model, Path(folder))

    def card(self) -> dict[str, Any]:
        """What a reader of the model has to know, as plain values."""
        from google.protobuf.json_format import MessageToDict

        p, plan = self.provenance(), self.plan
        outcome = self.spec.role("outcome")[0]
        weights = self._weights or {}
        dictionary = next(d for d in self.study.datasets if d.name == self.spec.dataset)
        return {
            "schema_version": CARD_VERSION,
            "title": self.title,
            "app": {"name": plan.app.name, "version": plan.app.version, "digest": plan.app.digest.hex()},
            "strategy": written(plan.strategy),
            "rounds": plan.rounds,
            "held_out": plan.held_out,
            "seed": plan.seed,
            "settings": dict(sorted(plan.settings.items())),
            "formula": self.formula or None,
            "outcome": {"predicted": predicted(self.spec), "levels": list(self.spec.levels(outcome))},
            "predictors": list(coefficient_names(self.spec)),
            "rows": written_predicate(self.spec.where) if self.spec.where is not None else None,
            "study": {"name": p.study, "version": p.study_version, "digest": p.study_digest, "title": self.study.title},
            "analysis": p.analysis or None,
            "purpose": p.purpose,
            "run": p.run,
            "ended_at": p.ended_at.isoformat() if p.ended_at else None,
            "software": p.software,
            "dataset": self.spec.dataset,
            "countries": [
                {
                    "country": c.country,
                    "node": c.node,
                    "state": c.state,
                    "releases": c.releases,
                    "bytes": c.bytes,
                    "withheld": list(c.withheld),
                    "policy_digest": c.policy_digest,
                    "dataset_digest": c.dataset_digest,
                    "software": c.software,
                }
                for c in p.contributions
            ],
            "privacy": [{"country": country, **values} for country, values in self._privacy().items()],
            "evaluation": self._evaluations(),
            "evaluation_notes": list(self.remarks()),
            "caveats": list(self.caveats),
            "limits": list(LIMITS),
            "parameters": self.parameters,
            "weights": {
                "state_digest": self.weights_digest,
                "arrays": [
                    {"name": name, "shape": list(array.shape), "type": str(array.dtype)}
                    for name, array in weights.items()
                ],
            },
            "participants": [participant.country for participant in self.study.participants],
            "request": MessageToDict(self.result.spec, preserving_proto_field_name=True),
            "dictionary": MessageToDict(dictionary, preserving_proto_field_name=True),
        }

    # ------------------------------------------------------------------ ways to show it

    def _title(self) -> str:
        return f"Model of {outcome_words(self.spec)}: {self.plan.app.name}, trained by {self.plan.strategy.name}"

    def call(self) -> str:
        from isthmus_client.r_code import r_formula

        plan = self.plan
        parts = [self.formula or r_formula(self.spec), f'app="{plan.app.name}"', f"strategy={written(plan.strategy)}"]
        parts += [f"rounds={plan.rounds}", f"held_out={plan.held_out:g}", f"seed={plan.seed}"]
        parts += [f"settings={dict(plan.settings)}"] if plan.settings else []
        return f"train({', '.join(parts)})"

    def tables(self) -> dict[str, pd.DataFrame]:
        import pandas as pd

        found = {}
        if self.scores:
            rows = [evaluation_cells(row) for row in self._evaluations()]
            found["Evaluation on persons held out"] = pd.DataFrame(rows, columns=EVALUATION).set_index(EVALUATION[0])
            bands = self.calibration()
            bands.insert(0, "band", [f"{b.lower:g} to {b.upper:g}" for b in bands.itertuples()])
            found["Calibration, all countries"] = bands.drop(columns=["lower", "upper"]).set_index("band")
        if self._privacy():
            found["Privacy spent"] = self.privacy()
        return found | {"Rounds": self.rounds()}

    def figures(self) -> Sequence[tuple[Figure, str]]:
        from isthmus_client.plots.training import calibration_figure, curves_figure

        found = []
        if self.measures():
            said = f"Measures by round: {', '.join(self.measures())}; in training and on persons held out"
            found.append((curves_figure(self.curves(), self.measures(), ALL), said))
        if self.scores:
            found.append((calibration_figure(self.calibration(), self.scores[ALL]), "Predicted against observed"))
        return found

    def paragraph(self) -> str:
        plan = self.plan
        held = f"; {100 * plan.held_out:g} % of the persons of each country were held out" if plan.held_out else ""
        return (
            f"A model ({plan.app.name}, version {plan.app.version}; {self.parameters:,} parameters) was trained by"
            f" {plan.strategy.name} in {plan.rounds} rounds: in each, every country's node trained the current weights"
            f" on its own rows, and the coordinator combined the weights that left{held}. What the model depends on"
            " besides the rows are seed, settings and the number of rounds."
        )

    def as_dict(self) -> dict[str, object]:
        more = {"evaluation": self.evaluation(), "privacy": self.privacy()}
        return {**super().as_dict(), **{name: plain_records(frame) for name, frame in more.items()}}

    def _whose(self) -> dict[str, Tree]:
        """The answer of all countries, and each country's own where it may be shown."""
        own = {country: tree(self.answer, "by_country", country) for country in self.countries}
        return {ALL: self.answer, **own}


def plain_records(frame: pd.DataFrame) -> object:
    """A frame as records, infinities as text."""
    records: Any = frame.reset_index().astype(object).where(frame.reset_index().notna(), None).to_dict("records")
    return plain(records)


def _evaluated(scores: Scores) -> dict[str, float | int | None]:
    auc, brier, ratio = scores.auc(), scores.brier(), scores.observed_to_expected()
    lower, upper = (auc.limits if auc is not None else None) or (None, None)
    found: dict[str, float | int | None] = {"rows": scores.n, "with outcome": scores.events}
    found |= _written("auc", auc) | {"auc_se": auc.se if auc else None, "auc_lower": lower, "auc_upper": upper}
    return found | _written("brier", brier) | _written("observed/expected", ratio)


def _written(name: str, measured: Measured | None) -> dict[str, float | int | None]:
    if measured is None:
        return {name: None, f"{name}_least": None, f"{name}_most": None}
    # predictions that may all be 0 leave the ratio without a largest value
    most = measured.most if math.isfinite(measured.most) else None
    return {name: measured.estimate, f"{name}_least": measured.least, f"{name}_most": most}


def _lists(answer: Tree, phase: str) -> dict[str, list[float | None]]:
    """The lists of a phase by name, all of one length; empty where it had no round."""
    if not has(answer, phase):
        return {}
    found = {name: numbers(answer, phase, name) for name in tree(answer, phase)}
    if len({len(values) for values in found.values()}) > 1 or (found and "round" not in found):
        raise not_there(f"{phase} as lists of one length")
    if any(number is None or not float(number).is_integer() for number in found.get("round", [])):
        raise not_there(f"{phase}/round as whole numbers")
    return found if found.get("round") else {}
