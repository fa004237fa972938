"""Word to the service manager (systemd): ready, alive, stopping. Nothing happens where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks the notify protocol of `sd_notify(3)`: lines of ``KEY=value`` in a datagram to ``NOTIFY_SOCKET``."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._address = env.get("NOTIFY_SOCKET", "")
        microseconds = env.get("WATCHDOG_USEC", "")
        own = env.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        # half the time the manager allows, as sd_watchdog_enabled(3) advises
        self.alive_seconds = int(microseconds) / 2e6 if microseconds.isdecimal() and own else None

    def say(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; a manager that does not listen is no reason to stop."""
        if not self._address:
            return
        # an abstract socket is written with @ and begins with a zero byte
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto("\n".join(lines).encode("utf-8"), address)

    def ready(self, status: str) -> None:
        self.say("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        self.say("WATCHDOG=1")

    def still_starting(self, seconds: float, status: str) -> None:
        """Ask for more time before the manager gives up on the start."""
        self.say(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", f"STATUS={status}")

    def stopping(self) -> None:
        self.say("STOPPING=1")
