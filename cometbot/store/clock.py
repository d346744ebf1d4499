"""A clock that does not jump, and that reads the same in all processes of one machine.

Leases and due times are compared across processes and across restarts. The wall clock does not suit: if it is set back
by an hour, a lease lasts an hour longer. A process's own monotonic clock does not suit either, because it may start at
any value. This clock runs with the machine's boot clock and is set to the wall clock once per boot; the offset is
stored in the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

LEASE_TTL = 15.0
"""Seconds that a process's leases last after its last heartbeat."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the id of this boot of the machine, or "" if the system does not provide one."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


seconds_since_boot: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Returns the seconds since the machine started, sleep included; never set back."""


class ServerClock:
    """The boot clock of this machine, set by the clock of a server that many machines share, and never set back.

    If the server's clock is set back by an hour, leases of dead processes would last for that hour, and replies would
    wait for it. Therefore this clock then stays ahead of the server's by the lost time, until the server's clock is set
    forward again. If the server's clock is set forward, this clock follows.
    """

    JUMP_THRESHOLD = 1.0
    """Difference of two readings, in seconds, from which the server's clock must have been set."""

    def __init__(self) -> None:
        self._offset = time.time() - seconds_since_boot()
        self._correction = 0.0
        self._is_synchronized = False

    def __call__(self) -> float:
        return seconds_since_boot() + self._offset

    def synchronize(self, server: float, least: float) -> None:
        """Set this clock by ``server``, the server's current time.

        ``least`` is the latest time that other processes have reached; the clock is set to at least that.
        """
        local_time = self()
        if self._is_synchronized and abs(server + self._correction - local_time) > self.JUMP_THRESHOLD:
            self._correction = max(0.0, local_time - server)
        now = max(server + self._correction, least)
        self._offset, self._correction, self._is_synchronized = now - seconds_since_boot(), now - server, True
