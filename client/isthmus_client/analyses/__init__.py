"""The analyses that a study can be asked for by a call of their own: a module a family."""

from __future__ import annotations

from isthmus_client.analyses.causal import Causal
from isthmus_client.analyses.competing import Competing
from isthmus_client.analyses.descriptive import Descriptive
from isthmus_client.analyses.generalised import Generalised
from isthmus_client.analyses.interaction import Interactions
from isthmus_client.analyses.linear import Linear
from isthmus_client.analyses.meta import Meta
from isthmus_client.analyses.mixed import Mixed
from isthmus_client.analyses.regression import Regression
from isthmus_client.analyses.survival import Survival
from isthmus_client.analyses.tables import Tables
from isthmus_client.analyses.training import Trains


class Analyses(
    Descriptive,
    Linear,
    Tables,
    Survival,
    Competing,
    Regression,
    Generalised,
    Causal,
    Meta,
    Interactions,
    Mixed,
    Trains,
):
    """All natural calls. `Study.ask`, which they are made of, takes any method."""
