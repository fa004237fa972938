"""The policy that is in force now: the file that the custodian signed last, read again whenever it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from isthmus_methods.registry import METHODS
from isthmus_node.custodian.adoption import Adopted, Adoptions
from isthmus_node.egress.policy import Policy, policy_text


class PolicyInForce:
    """The site's policy, read again whenever it changes: the file, and that the custodian signed it.

    Parameters
    ----------
    path
        policy.toml
    adoptions
        What the custodian signed.
    journaled
        The largest number of a policy that was in force by the journal, and its digest.
    changed
        Told of each new policy, before it is used.
    """

    def __init__(
        self,
        path: Path,
        adoptions: Adoptions,
        journaled: Callable[[], tuple[int, bytes]],
        changed: Callable[[Policy, Adopted], None] = lambda _policy, _adopted: None,
    ) -> None:
        self._path = path
        self._adoptions = adoptions
        self._journaled = journaled
        self._changed = changed
        self._stamp: tuple[int, ...] | None = None
        self._looked: tuple[int, ...] | None = None
        self._policy: Policy | None = None
        self.digest = b""  # of the policy found when it was last asked for; empty: none was in force
        # asked by the thread that works and by the one that greets
        self._lock = threading.Lock()

    def __call__(self) -> Policy:
        """The policy in force; `ConfigError` where there is none that can be read and is signed."""
        with self._lock:
            return self._in_force()

    def changed(self) -> bool:
        """Whether it is worth asking again: costs two looks at the disk."""
        return self._now_stamp() != self._looked

    def _now_stamp(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino, self._adoptions.stamp()

    def _in_force(self) -> Policy:
        stamp = self._looked = self._now_stamp()
        if self._policy is None or stamp is None or stamp != self._stamp:
            # a policy that is not in force is not replaced by the one before it
            self._policy, self.digest = None, b""
            text = policy_text(self._path)
            policy = Policy.read(text, METHODS, self._path)
            self._changed(policy, self._adoptions.check(text.encode(), policy, self._journaled()))
            self._policy, self._stamp, self.digest = policy, stamp, policy.digest
        return self._policy
