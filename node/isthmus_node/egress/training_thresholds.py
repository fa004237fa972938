"""The numbers of the policy that hold for the training of models; `thresholds.py` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from isthmus_node.egress.auditor_thresholds import Number, Pair

# As the fields of a `Key`: rule in words, what is tighter, public, trial, committee, source, rule where it is off, and
# the number at which it is off.
Row = tuple[str, str, Pair, Pair, Pair, str, str, Number]

# A norm beyond which no number could leave anyway: what is cut to it is not cut.
NOT_CUT = 1e300

OF_TRAINING: Mapping[str, Row] = MappingProxyType(
    {
        "update_persons": (
            "a model is trained on {} or more persons of a country",
            "larger",
            (50, 20),
            (50, 20),
            (50, 20),
            "as histogram_persons, published: what a model was trained on shows in it",
            "",
            False,
        ),
        "batch_persons": (
            "each step of a training is taken on {} or more persons at once",
            "larger",
            (50, 20),
            (20, 5),
            (20, 5),
            "rows were rebuilt from steps on 1 to 8 persons: Zhu et al. 2019; on up to 100: Geiping et al. 2020",
            "",
            False,
        ),
        "update_contributors": (
            "each round of a training is over {} or more countries",
            "larger",
            (3, 2),
            (2, 2),
            (2, 2),
            "sealed sums ask for 3; of a round over one country the model made is that country's own",
            "",
            False,
        ),
        "update_parameters_per_person": (
            "a trained model has no more than {} numbers a person of a country",
            "smaller",
            (1.0, 10.0),
            (1.0, 10000.0),
            (1.0, 10000.0),
            "1: fewer numbers than persons hold no row of each; networks for images have thousands",
            "",
            False,
        ),
        "update_norm": (
            "the change that training makes to a model is cut to a norm of {}",
            "smaller",
            (NOT_CUT, NOT_CUT),
            (NOT_CUT, NOT_CUT),
            (NOT_CUT, NOT_CUT),
            "clipping: Abadi et al. 2016, McMahan et al. 2018; a site chooses the norm by the model",
            "the change that training makes to a model is not cut",
            NOT_CUT,
        ),
        "update_noise": (
            "normal noise of {} times that norm is added to each number of a model",
            "larger",
            (0.0, 0.0),
            (0.0, 0.0),
            (0.0, 0.0),
            "Gaussian mechanism, rho = 2 / (this number)^2 a round: Bun and Steinke 2016, proposition 1.6",
            "no noise is added to a model: of no person is it promised that nothing can be told from it",
            0.0,
        ),
        "privacy_budget": (
            "all models with noise from the same persons or dataset spend {} (rho) or less together",
            "smaller",
            (1.0, 2.63),
            (1.0, 10.0),
            (1.0, 10.0),
            "rho 1 is epsilon 8.4 at delta 1e-6; 2.63: United States census 2020, Abowd et al. 2022",
            "",
            False,
        ),
        "metric_persons": (
            "a model's measure is over {} or more persons of a country",
            "larger",
            (50, 20),
            (20, 10),
            (20, 10),
            "as histogram_persons",
            "",
            False,
        ),
        "metric_digits": (
            "a model's measure leaves with {} digits or fewer",
            "smaller",
            (3, 4),
            (4, 6),
            (4, 6),
            "a mean in full tells the last person's value to whoever knows the others'; papers print 2 or 3",
            "",
            False,
        ),
        "examples_rounding": (
            "counts that come with a model are rounded to multiples of {}",
            "larger",
            (1, 1),
            (1, 1),
            (1, 1),
            "OpenSAFELY rounds counts to 5; models are weighted by these counts, so 1 keeps their mean exact",
            "counts that come with a model leave as they are",
            1,
        ),
    }
)
