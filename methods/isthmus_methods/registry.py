"""The index of methods: a literal list. A node runs what stands here and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from isthmus.errors import UsageError
from isthmus_methods.anova import Anova
from isthmus_methods.cmh import Cmh
from isthmus_methods.contract import Method, Procedure
from isthmus_methods.cox import Cox
from isthmus_methods.crosstab import Crosstab
from isthmus_methods.cumulative_incidence import CumulativeIncidence
from isthmus_methods.fine_gray import FineGray
from isthmus_methods.gee import Gee
from isthmus_methods.glm import Glm
from isthmus_methods.interaction import Interaction
from isthmus_methods.iptw import Iptw
from isthmus_methods.kaplan_meier import KaplanMeier
from isthmus_methods.linear_model import LinearModel
from isthmus_methods.lmm import Lmm
from isthmus_methods.log_rank import LogRank
from isthmus_methods.meta_analysis import MetaAnalysis
from isthmus_methods.mmrm import Mmrm
from isthmus_methods.negative_binomial import NegativeBinomial
from isthmus_methods.ordinal import Ordinal
from isthmus_methods.regional_consistency import RegionalConsistency
from isthmus_methods.safety import Safety
from isthmus_methods.t_test import PairedTTest, TTest
from isthmus_methods.table_one import TableOne
from isthmus_methods.training import Training
from isthmus_methods.validate import nearest

P = TypeVar("P", bound=Procedure)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        TableOne(),
        TTest(),
        PairedTTest(),
        Anova(),
        KaplanMeier(),
        LogRank(),
        Cox(),
        MetaAnalysis(),
        RegionalConsistency(),
        Ordinal(),
        Gee(),
        Crosstab(),
        Cmh(),
        Safety(),
        LinearModel(),
        Glm(),
        NegativeBinomial(),
        Iptw(),
        CumulativeIncidence(),
        FineGray(),
        Mmrm(),
        Lmm(),
        Interaction(),
    )
}

# All that a request may name: the methods, and the training of models, whose halves are an app and a strategy.
PROCEDURES: dict[str, Procedure] = {**METHODS, Training.name: Training()}


def find(name: str, version: int | None = None) -> Method:
    """The method of that name; `UsageError` where there is none, or only another version."""
    return _found(name, version, METHODS)


def find_procedure(name: str, version: int | None = None) -> Procedure:
    """As `find`, over all that a request may name."""
    return _found(name, version, PROCEDURES)


def _found(name: str, version: int | None, known: Mapping[str, P]) -> P:
    method = known.get(name)
    if method is None:
        raise UsageError(
            "UNKNOWN_METHOD",
            f"there is no method {name!r}{nearest(name, known)}",
            f"the methods are: {', '.join(known)}",
        )
    if version is not None and version != method.version:
        raise UsageError(
            "METHOD_VERSION",
            f"method {name} is here in version {method.version}, asked for is version {version}",
            "run the same release of isthmus at the coordinator and at the sites",
        )
    return method
