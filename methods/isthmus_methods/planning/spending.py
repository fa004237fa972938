"""Alpha spending functions: how much of the type I error may be used up to an information fraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus.errors import UsageError
from isthmus_methods.contract import Array


@dataclass(frozen=True, slots=True)
class Spending:
    """A spending function: `spent(t, alpha)` gives the cumulative one-sided error (looks,) at fractions t (looks,)."""

    name: str
    spent: Callable[[Array, float], Array]


def _obrien_fleming(t: Array, alpha: float) -> Array:
    spent: Array = 2.0 * special.ndtr(special.ndtri(alpha / 2.0) / np.sqrt(t))
    return spent


def _pocock(t: Array, alpha: float) -> Array:
    spent: Array = alpha * np.log1p((np.e - 1.0) * t)
    return spent


OBRIEN_FLEMING = Spending("OBF_LanDeMets", _obrien_fleming)
"""alpha*(t) = 2 (1 - Phi(z_{1-alpha/2} / sqrt t)). Source: Lan & DeMets (1983), Biometrika 70, 659-663."""

POCOCK = Spending("Pocock_LanDeMets", _pocock)
"""alpha*(t) = alpha log(1 + (e - 1) t). Source: Lan & DeMets (1983), Biometrika 70, 659-663."""


def hwang_shih_decani(gamma: float) -> Spending:
    """alpha*(t) = alpha (1 - exp(-gamma t)) / (1 - exp(-gamma)); alpha t for gamma = 0.

    Negative `gamma` spends late (-4 is near O'Brien-Fleming), positive early (1 is near Pocock).

    Source: Hwang, Shih & DeCani (1990), Statist. Med. 9, 1439-1445.
    """

    def spent(t: Array, alpha: float) -> Array:
        return alpha * t if gamma == 0.0 else alpha * np.expm1(-gamma * t) / np.expm1(-gamma)

    sign = "minus" if gamma < 0 else ""
    return Spending(f"HwangShihDeCani_gamma_{sign}{abs(gamma):g}", spent)


def power_family(rho: float) -> Spending:
    """alpha*(t) = alpha t^rho, rho > 0.

    Source: Kim & DeMets (1987), Biometrika 74, 149-154.

    Raises
    ------
    UsageError
        ``BAD_DESIGN`` where rho is not positive.
    """
    if not rho > 0:
        raise UsageError("BAD_DESIGN", f"the power of a spending function is {rho:g}, not positive", "give rho > 0")

    def spent(t: Array, alpha: float) -> Array:
        result: Array = alpha * t**rho
        return result

    return Spending(f"power_{rho:g}", spent)
