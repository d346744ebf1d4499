"""A clock that does not jump, and that all processes of one machine read alike.

Leases and due times are compared across processes and across restarts, so neither the wall clock (set back by an
hour, and a lease
lasts an hour longer) nor a process's own monotonic clock (starts anywhere) will do. This one runs with the machine's
boot clock and is set to the wall clock once a boot; what it was set by is kept in the database.
"""

from __future__ import annotations

import time
from pathlib import Path

LEASE_TTL = 15.0
"""Seconds that a process's leases last from its last sign of life."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What tells this boot of the machine from any other; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def seconds_since_boot() -> float:
    """Seconds since the machine started, sleep included; never set back."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # pragma: no cover - not on Linux


class Clock:
    """Unix seconds that go on evenly: ``seconds_since_boot()`` plus an offset that is the same for a whole boot."""

    def __init__(self, offset: float | None = None) -> None:
        self.offset = time.time() - seconds_since_boot() if offset is None else offset

    def __call__(self) -> float:
        return seconds_since_boot() + self.offset


class ServerClock:
    """This machine's boot clock, set by the clock of a server that many machines share, and never set back.

    A server whose clock is set back by an hour would have the leases of the dead last for that hour, and replies wait
    for it: from then on this clock is ahead of the server's by what that lost, until the server has it again. One
    that is set forward takes everybody along.
    """

    JUMP_THRESHOLD = 1.0
    """Seconds by which two readings may differ before the server's clock must have been set."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._correction = 0.0
        self._is_synchronized = False

    def __call__(self) -> float:
        return self._clock()

    def synchronize(self, server: float, least: float) -> None:
        """Go on from what the server's clock showed just now; ``least``: so far others have seen the time come."""
        local_time = self._clock()
        if self._is_synchronized and abs(server + self._correction - local_time) > self.JUMP_THRESHOLD:
            self._correction = max(0.0, local_time - server)
        now = max(server + self._correction, least)
        self._clock, self._correction, self._is_synchronized = Clock(now - seconds_since_boot()), now - server, True
