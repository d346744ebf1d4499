"""Leases that end sooner, for tests that wait for the end of a lease and are not about how long it is."""

from __future__ import annotations

import os


def shorten_leases(seconds: float) -> None:
    """Set how long the leases of this process last. They are renewed eight times meanwhile: a machine may be busy."""
    from cometbot.delivery import worker
    from cometbot.store import leases, postgresql

    leases.LEASE_TTL = postgresql.LEASE_TTL = seconds
    worker.HEARTBEAT_INTERVAL = seconds / 8


if "COMETBOT_TEST_LEASES" in os.environ:
    shorten_leases(float(os.environ["COMETBOT_TEST_LEASES"]))
