"""The command with which a custodian unlocks a study after a run of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.command import say
from isthmus.errors import UsageError
from isthmus_node.commands.common import HomeOption, JsonOption, QuietOption, decisions_of, joined_config_of, show

if TYPE_CHECKING:
    from isthmus_node.config import NodeConfig
    from isthmus_node.custodian.locks import Lock


def locks_of(config: NodeConfig) -> list[Lock]:
    """What is locked at this node now."""
    from isthmus_node.custodian.locks import Locks

    return Locks(config.home.refusals, decisions_of(config)).locked()


def unlock(
    study: Annotated[str, typer.Argument(help="Name of the locked study, as `status` shows it.")],
    requester: Annotated[str, typer.Option("--requester", help="Only for this requester.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")] = "",
    home: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Unlock a study that a run of refusals has locked; refusals are counted anew. Signed with the custodian's key.

    STUDY is the name as `status` shows it. Look at the refusals first: isthmus-node journal show.
    """
    from isthmus_node.custodian.decisions import UNLOCK
    from isthmus_node.custodian.locks import lock_digest
    from isthmus_trust.identity import IdentityKey

    config = joined_config_of(home)
    locked = [lock for lock in locks_of(config) if lock.study == study and requester in ("", lock.requester)]
    if not locked:
        names = ", ".join(lock.words for lock in locks_of(config)) or "nothing"
        raise UsageError("NOT_LOCKED", f"study {study[:80]!r} is not locked here; locked: {names}", "see status")
    key = IdentityKey.load(config.custodian_key)
    decisions_of(config).make(key, lock_digest(study, requester), approved=True, reason=reason, context=UNLOCK)
    words = [lock.words for lock in locked]
    show(json, {"unlocked": words}, lambda: say(*(f"unlocked: {line}" for line in words)), quiet)
