"""Inverse probability weighting inside a country: weights from the pooled propensity model, and what they balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Again,
    Array,
    BinSupport,
    Block,
    Booleans,
    Design,
    Integers,
    Item,
    Spec,
    State,
    Summary,
    coefficient_names,
)
from isthmus_methods.parts.model_support import ROWS
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.regression.glm_sums import WHOLE, predictor
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    RestsOn,
    centred_rows,
    heaviest_row,
    model_support,
    rest_on,
    support_of_nobody,
)
from isthmus_methods.parts.weighting.iptw_plan import ARMS, UNWEIGHTED, Plan

# Cells of the histogram of propensities: whole multiples of this.
FINENESS = 2.0**-50


def treated_rows(block: Block, plan: Plan, spec: Spec) -> Booleans:
    """Rows of the treated arm, (n,)."""
    rows: Booleans = block.codes("treatment") == spec.levels(spec.role("treatment")[0]).index(plan.treated)
    return rows


def propensity_block(block: Block, plan: Plan, spec: Spec) -> Block:
    """The rows of the propensity model: 1 for the treated, 0 for the others."""

    def build() -> Block:
        outcome = treated_rows(block, plan, spec).astype(np.float64)
        return replace(block, columns={"outcome": (outcome,)}, levels={"outcome": ((),)}, _kept={})

    return block.memo("propensity rows", build)


@dataclass(frozen=True, slots=True)
class Weighted:
    """The rows that are weighted: those within the bounds of the propensity."""

    block: Block  # of the propensity model
    treated: Booleans
    propensity: Array
    other: Array  # 1 - propensity, exact near 1
    time: Array
    event: Array

    def times(self) -> dict[str, tuple[Array, ...]]:
        """As the columns of a block."""
        return {"time": (self.time,), "event": (self.event,)}

    def pick(self, kept: Booleans) -> Weighted:
        """Some of the rows."""
        return Weighted(
            picked(self.block, kept),
            self.treated[kept],
            self.propensity[kept],
            self.other[kept],
            self.time[kept],
            self.event[kept],
        )


def weighted_rows(block: Block, plan: Plan, spec: Spec, state: State) -> Weighted:
    """The rows with their propensity. Raises `MethodError` where the state has no propensity model."""
    beta, centre, terms = state.get("beta"), state.get("centre"), plan.glm.terms
    if beta is None or centre is None or beta.shape != (terms.p,) or centre.shape != (terms.p - 1,):
        raise wrong_state()
    if not np.all(np.isfinite(beta)) or not np.all(np.isfinite(centre)):
        raise wrong_state()

    def build() -> Weighted:
        own = propensity_block(block, plan, spec)
        eta = predictor(own, plan.propensity, centred_rows(own), plan.glm.models[WHOLE], beta, centre)
        e, other = special.expit(eta), special.expit(-eta)
        times = block.numbers("time"), block.numbers("event")
        every = Weighted(own, treated_rows(block, plan, spec), e, other, *times)
        kept = (e >= plan.trim[0]) & (e <= plan.trim[1])
        return every if kept.all() else every.pick(kept)

    return block.memo(f"weighted rows {beta.tobytes()!r}", build)


def picked(block: Block, kept: Booleans) -> Block:
    """Some of the rows as a block of their own."""
    design = block.design
    return Block(
        block.country,
        int(kept.sum()),
        {role: tuple(values[kept] for values in arrays) for role, arrays in block.columns.items()},
        block.levels,
        block.subject[kept],
        None
        if design is None
        else Design(
            np.ascontiguousarray(design.matrix[kept]),
            design.names,
            {name: codes[kept] for name, codes in design.level_codes.items()},
        ),
        rows_selected=int(kept.sum()),
        persons_selected=len(np.unique(block.subject[kept])),
    )


def weights_of(rows: Weighted, weighting: str, share: float, largest: float) -> Array:
    """Each row's weight, (n,).

    Parameters
    ----------
    weighting : ``ate`` 1/e and 1/(1-e); ``stabilised`` p/e and (1-p)/(1-e); ``att`` 1 and e/(1-e).
    share : p, of the treated among all rows.
    largest : weights beyond it are set to it; 0: none is.

    Source: Rosenbaum (1987), JASA 82, 387-394; Robins, Hernan & Brumback (2000), Epidemiology 11, 550-560.
    """
    e, other = rows.propensity, rows.other
    with np.errstate(divide="ignore"):
        if weighting == "att":
            weights = np.where(rows.treated, 1.0, e / other)
        else:
            p, q = (share, 1.0 - share) if weighting == "stabilised" else (1.0, 1.0)
            weights = np.where(rows.treated, p / e, q / other)
    if not np.all(np.isfinite(weights)):
        raise MethodError(
            "NO_OVERLAP",
            "some propensity is 0 or 1 to the last digit, so a weight is infinite",
            "fit fewer terms in the propensity model, or trim",
        )
    return np.minimum(weights, largest) if largest > 0 else weights


def share_of(state: State) -> float:
    """p, the share of the treated, from the state."""
    share = state.get("share")
    if share is None or share.shape != (1,) or not 0.0 < float(share[0]) < 1.0:
        raise wrong_state()
    return float(share[0])


def cox_rows(plan: Plan, spec: Spec, state: State, weighting: str, request: Spec) -> Callable[[Block], Block]:
    """The rows of a Cox model of treatment alone, with their weights."""

    def rows(block: Block) -> Block:
        known = weighted_rows(block, plan, spec, state)

        def build() -> Block:
            columns = known.times()
            if weighting != UNWEIGHTED:
                columns["weights"] = (weights_of(known, weighting, share_of(state), plan.truncate),)
            names = coefficient_names(request)
            codes = {names[0].rpartition("=")[0]: known.treated.astype(np.int64)}
            return Block(
                block.country,
                known.block.rows,
                columns,
                dict.fromkeys(columns, ((),)),
                known.block.subject,
                Design(known.treated.astype(np.float64)[:, None], names, codes),
                rows_selected=known.block.rows,
                persons_selected=len(np.unique(known.block.subject)),
            )

        return known.block.memo(f"{weighting} rows", build)

    return rows


# --------------------------------------------------------------------------- balance


@dataclass(frozen=True, slots=True)
class ArmSums:
    """Sums of one arm's rows: unweighted, then of each weighting. Adds."""

    rests: tuple[RestsOn, ...]
    plain: Array  # rows, sum of e, z, z^2; z = columns about their pooled means
    weighted: Array  # (weightings, 2 + q): w and w^2 about the weighting's centre, w z
    cell_of: tuple[Integers, Integers]  # place and person of each row

    def __add__(self, other: ArmSums, /) -> ArmSums:
        return ArmSums(
            tuple(a + b for a, b in zip(self.rests, other.rests, strict=True)),
            self.plain + other.plain,
            self.weighted + other.weighted,
            (
                np.concatenate([self.cell_of[0], other.cell_of[0]]),
                np.concatenate([self.cell_of[1], other.cell_of[1]]),
            ),
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """Both arms, and the heaviest persons once these are known. Adds."""

    arms: tuple[ArmSums, ...] = ()
    heaviest: tuple[tuple[HeaviestRow, ...], ...] = ()

    def __add__(self, other: Balance, /) -> Balance:
        return Balance(
            tuple(a + b for a, b in zip(self.arms, other.arms, strict=True)),
            tuple(
                tuple(a + b for a, b in zip(mine, theirs, strict=True))
                for mine, theirs in zip(self.heaviest, other.heaviest, strict=True)
            ),
        )


def centres(weighting: str, share: float) -> tuple[float, float]:
    """About what the weights of control and treated lie: their mean under a perfect model."""
    if weighting == "ate":
        return 1.0 / (1.0 - share), 1.0 / share
    return (1.0, 1.0) if weighting == "stabilised" else (share / (1.0 - share), 1.0)


class BalanceHalf:
    """How the arms' covariates and weights are distributed: sums by arm, and a histogram of the propensity."""

    def __init__(self, plan: Plan, spec: Spec, common: State) -> None:
        self._plan, self._spec, self._state = plan, spec, common

    def _arms(self, block: Block) -> list[tuple[Block, Weighted, list[Array]]]:
        rows = weighted_rows(block, self._plan, self._spec, self._state)
        share = share_of(self._state)

        def build() -> list[tuple[Block, Weighted, list[Array]]]:
            made = []
            for arm in (False, True):
                own = rows.pick(rows.treated == arm)
                weights = [weights_of(own, name, share, self._plan.truncate) for name in self._plan.weightings]
                made.append((own.block, own, weights))
            return made

        return rows.block.memo("arms", build)

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Balance:
        request, share = self._plan.propensity, share_of(self._state)
        if isinstance(local, Balance):
            return Balance(
                tuple(local.arms),
                tuple(
                    tuple(heaviest_row(own, rests, w) for rests, w in zip(known.rests, [None, *weights], strict=True))
                    for (own, _, weights), known in zip(self._arms(block), local.arms, strict=True)
                ),
            )
        arms = []
        for k, (own, rows, weights) in enumerate(self._arms(block)):
            z = (own.design.matrix if own.design is not None else np.zeros((own.rows, 0))) - self._state["centre"]
            plain = np.concatenate([[float(own.rows), rows.propensity.sum()], z.sum(axis=0), (z * z).sum(axis=0)])
            weighted = []
            for name, w in zip(self._plan.weightings, weights, strict=True):
                off = w - centres(name, share)[k]
                weighted.append(np.concatenate([[off.sum(), float(off @ off)], w @ z]))
            rests = tuple(rest_on(own, request, w) for w in (None, *weights))
            places = np.rint(rows.propensity / FINENESS).astype(np.int64)
            arms.append(ArmSums(rests, plain, np.stack(weighted), (places, own.subject)))
        return Balance(tuple(arms))

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan, p = self._plan, self._plan.glm.terms.p
        if isinstance(partial, Balance) and not partial.heaviest:
            return Again(partial)
        items: list[Item] = []
        for k, arm in enumerate(ARMS):
            supports = [support_of_nobody(plan.propensity, p)] * (1 + len(plan.weightings))
            plain, weighted = np.zeros(2 * p), np.zeros((len(plan.weightings), 1 + p))
            places = subject = np.zeros(0, dtype=np.int64)
            if isinstance(local, Balance):
                known = local.arms[k]
                if known.rests[0].used.rows[ROWS]:
                    supports = [
                        model_support(rests, heavy, plan.propensity, p)
                        for rests, heavy in zip(known.rests, partial.heaviest[k], strict=True)
                    ]
                plain, weighted = known.plain, known.weighted
                places, subject = known.cell_of
            items.append(Item("balance", plain, supports[0], arm))
            items += [
                Item("weighted_balance", values, support, f"{name} {arm}")
                for name, values, support in zip(plan.weightings, weighted, supports[1:], strict=True)
            ]
            items.append(_histogram(places, subject, arm))
        return Summary(tuple(items))


def _histogram(places: Integers, subject: Integers, arm: str) -> Item:
    """The cells of the propensity that anybody is in."""
    cells, counts = np.unique(places, return_counts=True)
    width = int(subject.max(initial=0)) + 1
    pairs = np.unique(np.searchsorted(cells, places) * width + subject)
    persons = np.bincount(pairs // width, minlength=len(cells)).astype(np.int64)
    total = len(np.unique(subject))
    value = np.column_stack([cells, counts]).astype(np.int64)
    return Item("propensity", value, BinSupport(persons, total), arm)
