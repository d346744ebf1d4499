"""A clock that does not jump, and that all processes of one machine read alike.

Leases and due times are compared across processes and across restarts, so neither the wall clock (set back by an
hour, and a lease
lasts an hour longer) nor a process's own monotonic clock (starts anywhere) will do. This one runs with the machine's
boot clock and is set to the wall clock once a boot; what it was set by is kept in the database.
"""

from __future__ import annotations

import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What tells this boot of the machine from any other; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def since_boot() -> float:
    """Seconds since the machine started, sleep included; never set back."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # pragma: no cover - not on Linux


class Clock:
    """Unix seconds that go on evenly: ``since_boot()`` plus an offset that is the same for a whole boot."""

    def __init__(self, offset: float | None = None) -> None:
        self.offset = time.time() - since_boot() if offset is None else offset

    def __call__(self) -> float:
        return since_boot() + self.offset
