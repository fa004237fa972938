"""What a policy meant when it was signed, read back from its canonical form: for comparing, never for judging."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from isthmus_node.egress.pace import Pace
from isthmus_node.egress.permits import Permits
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.thresholds import KEYS, PURPOSES, RECIPIENTS, VARIABLE_ROLES, Limits
from isthmus_node.egress.training_policy import training_of_form
from isthmus_trust.documents import digest


def past_policy(canonical: bytes) -> Policy:
    """The policy of a canonical form, which may be of another release.

    A threshold that release did not know was not asked, so it stands at what lets everything through. What this release
    does not know any more is left out.
    """
    form: Mapping[str, Any] = json.loads(canonical)
    recipients = form.get("recipient", {})
    return Policy(
        limits={PURPOSES[name]: _limits(own) for name, own in form["purpose"].items() if name in PURPOSES},
        recipients={
            PURPOSES[name]: {RECIPIENTS[part]: _limits(own) for part, own in to.items() if part in RECIPIENTS}
            for name, to in recipients.items()
            if name in PURPOSES
        },
        methods=None if form["methods"] is None else frozenset(form["methods"]),
        exploratory=form["exploratory"],
        runs=form.get("runs", "allow"),
        outputs=form.get("outputs", "allow"),
        reruns=form.get("reruns", "ask"),
        refused_roles=frozenset(VARIABLE_ROLES[r] for r in form.get("refuse_roles", ()) if r in VARIABLE_ROLES),
        refused_variables=frozenset(form.get("refuse", ())),
        preset=form.get("preset", ""),
        pace=_pace(form.get("pace", {})),
        permits=_permits(form.get("permits", {})),
        training=training_of_form(form.get("training", {})),
        canonical=canonical,
        digest=digest(canonical),
    )


def _permits(own: Mapping[str, Any]) -> Permits:
    named = {field.name: own[field.name] for field in fields(Permits) if field.name in own}
    return Permits(**{**named, "asked": tuple(named.get("asked", ()))})


def _pace(own: Mapping[str, Any]) -> Pace:
    unasked = Pace(slot_seconds=0.0, of_requester=sys.maxsize, of_study=sys.maxsize, days=0)
    return replace(unasked, **{field.name: own[field.name] for field in fields(Pace) if field.name in own})


def _limits(own: Mapping[str, Any]) -> Limits:
    unasked = {"larger": 0, "smaller": math.inf, "false": True}
    return Limits(
        **{
            # a number may stand for nothing being asked
            name: own.get(name, unasked[key.tighter] if key.off is False else key.off)
            for name, key in KEYS.items()
        }
    )
