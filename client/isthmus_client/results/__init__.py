"""Results as a statistician reads them: printed as R prints, as data frames, figures and a page."""

from __future__ import annotations

from isthmus_client.results.anova import AnovaFit
from isthmus_client.results.competing import CumulativeIncidenceFit, FineGrayFit
from isthmus_client.results.cox import CoxFit
from isthmus_client.results.fit import Fit
from isthmus_client.results.gee import GeeFit
from isthmus_client.results.glm import GlmFit, NegativeBinomialFit
from isthmus_client.results.interaction import InteractionFit
from isthmus_client.results.iptw import IptwFit
from isthmus_client.results.kaplan_meier import KmFit
from isthmus_client.results.linear_model import LmFit
from isthmus_client.results.lmm import LmmFit
from isthmus_client.results.log_rank import LogRankFit
from isthmus_client.results.meta_analysis import MetaFit
from isthmus_client.results.mmrm import MmrmFit
from isthmus_client.results.ordinal import OrdinalFit
from isthmus_client.results.provenance import Provenance
from isthmus_client.results.regional_consistency import RegionalFit
from isthmus_client.results.safety import SafetyFit
from isthmus_client.results.t_test import PairedTTestFit, TTestFit
from isthmus_client.results.table_one import TableOneFit
from isthmus_client.results.tables import CmhFit, CrosstabFit
from isthmus_client.results.training import TrainingFit

CLASSES: dict[str, type[Fit]] = {
    kind.method: kind
    for kind in (
        CmhFit,
        CrosstabFit,
        SafetyFit,
        AnovaFit,
        CoxFit,
        CumulativeIncidenceFit,
        FineGrayFit,
        GeeFit,
        GlmFit,
        InteractionFit,
        IptwFit,
        KmFit,
        LmmFit,
        LmFit,
        LogRankFit,
        MetaFit,
        NegativeBinomialFit,
        MmrmFit,
        OrdinalFit,
        RegionalFit,
        PairedTTestFit,
        TTestFit,
        TableOneFit,
        TrainingFit,
    )
}

__all__ = [
    "CLASSES",
    "AnovaFit",
    "CmhFit",
    "CoxFit",
    "CrosstabFit",
    "CumulativeIncidenceFit",
    "FineGrayFit",
    "Fit",
    "GeeFit",
    "GlmFit",
    "InteractionFit",
    "IptwFit",
    "KmFit",
    "LmFit",
    "LmmFit",
    "LogRankFit",
    "MetaFit",
    "MmrmFit",
    "NegativeBinomialFit",
    "OrdinalFit",
    "PairedTTestFit",
    "Provenance",
    "RegionalFit",
    "SafetyFit",
    "TTestFit",
    "TableOneFit",
    "TrainingFit",
]
