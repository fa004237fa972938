"""Planning a trial: group-sequential designs, regional consistency (ICH E17), sample size by region. No data."""

from isthmus_methods.planning.consistency import (
    Probability,
    every_region,
    fraction_for_ikeda_bretz,
    fraction_for_method_1,
    fraction_for_method_2,
    ikeda_bretz,
    method_1,
    method_2,
    no_interaction,
)
from isthmus_methods.planning.endpoints import Endpoint, Trial, continuous, log_hazard_ratio, risk_difference
from isthmus_methods.planning.group_sequential import (
    Crossing,
    Design,
    Look,
    conditional_power,
    crossing,
    design,
    drift_for_power,
    inflation_factor,
    power,
    predictive_power,
)
from isthmus_methods.planning.hazard_ratio import method_1_hazard_ratio
from isthmus_methods.planning.sample_size import Option, Point, SizePoint, fraction_curve, options, size_curve
from isthmus_methods.planning.spending import OBRIEN_FLEMING, POCOCK, Spending, hwang_shih_decani, power_family

__all__ = [
    "OBRIEN_FLEMING",
    "POCOCK",
    "Crossing",
    "Design",
    "Endpoint",
    "Look",
    "Option",
    "Point",
    "Probability",
    "SizePoint",
    "Spending",
    "Trial",
    "conditional_power",
    "continuous",
    "crossing",
    "design",
    "drift_for_power",
    "every_region",
    "fraction_curve",
    "fraction_for_ikeda_bretz",
    "fraction_for_method_1",
    "fraction_for_method_2",
    "hwang_shih_decani",
    "ikeda_bretz",
    "inflation_factor",
    "log_hazard_ratio",
    "method_1",
    "method_1_hazard_ratio",
    "method_2",
    "no_interaction",
    "options",
    "power",
    "power_family",
    "predictive_power",
    "risk_difference",
    "size_curve",
]
