"""What the node tells the coordinator of its policy, so that analyses can be planned with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from isthmus.v1 import study_pb2
from isthmus_methods.contract import Kind
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.thresholds import KEYS, Limits
from isthmus_trust.documents import LIMITS, canonical
from isthmus_trust.identity import IdentityKey

_MODELS = (Kind.CROSS_PRODUCT, Kind.SCORE, Kind.INFORMATION, Kind.ESTIMATE)
# The kinds of fields that the gate asks a threshold of; one that is not here is told as one of every run.
OF_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "cell_persons": (Kind.COUNT,),
    "count_rounding": (Kind.COUNT,),
    "sum_persons": (Kind.SUM, *_MODELS),
    "two_largest_share": (Kind.SUM, *_MODELS),
    "remainder_share": (Kind.SUM, *_MODELS),
    "residual_df": _MODELS,
    "parameters_per_person": _MODELS,
    "parameters_per_event": _MODELS,
    "level_persons": (*_MODELS, Kind.RISK_SETS),
    "effective_persons": (*_MODELS, Kind.RISK_SETS),
    "leverage": _MODELS,
    "predictor": (*_MODELS, Kind.RISK_SETS),
    "table_persons": (Kind.EVENTS, Kind.HAZARD, Kind.RISK_SETS),
    "leavers_per_step": (Kind.EVENTS, Kind.HAZARD),
    "at_risk": (Kind.EVENTS,),
    "hazard_at_risk": (Kind.HAZARD,),
    "risk_set_persons": (Kind.RISK_SETS,),
    "risk_set_leavers": (Kind.RISK_SETS,),
    "histogram_persons": (Kind.HISTOGRAM,),
    "bin_persons": (Kind.HISTOGRAM,),
    "update_persons": (Kind.UPDATE,),
    "batch_persons": (Kind.UPDATE,),
    "update_contributors": (Kind.UPDATE,),
    "update_parameters_per_person": (Kind.UPDATE,),
    "update_norm": (Kind.UPDATE,),
    "update_noise": (Kind.UPDATE,),
    "privacy_budget": (Kind.UPDATE,),
    "metric_persons": (Kind.METRIC,),
    "metric_digits": (Kind.METRIC,),
    "examples_rounding": (Kind.UPDATE,),
}


def stated_limits(
    policy: Policy, node: str, identity: IdentityKey, open_datasets: Sequence[str] = ()
) -> study_pb2.Signed:
    """A policy's thresholds by purpose and recipient, signed with the node's key.

    Names of variables that the site keeps in are not in it, nor are reasons: what a study may ask for is answered when
    it is asked.
    """
    stated = study_pb2.StatedLimits(
        node=node,
        policy_digest=policy.digest,
        preset=policy.preset,
        purposes=_purposes(policy),
        asks_each_run=policy.runs == "ask",
        holds_outputs=policy.outputs == "ask",
        missing_permits=policy.permits.missing,
        open_datasets=sorted(open_datasets),
        exploratory=policy.exploratory,
        refused_roles=sorted(policy.refused_roles),  # type: ignore[arg-type]  # numbers of the contract's enum
    )
    return identity.sign(LIMITS, canonical(stated))


def _purposes(policy: Policy) -> Iterator[study_pb2.PurposeLimits]:
    for purpose, limits in sorted(policy.limits.items()):
        if purpose == study_pb2.CLOSED_COMMITTEE:
            continue  # nothing leaves for it
        named = policy.recipients.get(purpose, {study_pb2.RECIPIENT_UNSPECIFIED: limits})
        for recipient, own in sorted(named.items()):
            yield study_pb2.PurposeLimits(
                purpose=purpose,  # type: ignore[arg-type]  # a number of the contract's enum
                recipient=recipient,  # type: ignore[arg-type]
                thresholds=_thresholds(own),
            )


def _thresholds(limits: Limits) -> Iterator[study_pb2.Threshold]:
    for name, key in KEYS.items():
        yield study_pb2.Threshold(
            name=name,
            value=float(getattr(limits, name)),
            smaller_is_tighter=key.tighter != "larger",
            rule=limits.rule(name),
            kinds=[kind.value for kind in OF_KINDS.get(name, ())],
        )
