"""Periodic tasks of a process, by a clock of the tests."""

from __future__ import annotations

from itertools import pairwise

from cometbot.delivery.worker import SWEEP_INTERVAL, PeriodicTask
from cometbot.errors import StoreUnavailable

DETECTION_LIMIT = 2.0
"""Seconds until a process without requests notices a lost database: each sweep checks the files before it reads."""


def test_sweeps_come_within_two_seconds() -> None:
    now, seen = 0.0, []
    duty = PeriodicTask(SWEEP_INTERVAL, lambda: seen.append(now), clock=lambda: now)
    while now < 120.0:
        duty.run_if_due()
        now += 0.01
    assert max(later - earlier for earlier, later in pairwise(seen)) < DETECTION_LIMIT


def test_failed_sweep_is_repeated() -> None:
    now, calls = 0.0, []

    def fail() -> None:
        calls.append(now)
        raise StoreUnavailable("the disk is full", "full")

    duty = PeriodicTask(SWEEP_INTERVAL, fail, clock=lambda: now)
    while now < 2.0:
        duty.run_if_due()
        now += 0.6  # the next time is 0.9 to 1.1 s after the last
    assert calls == [0.0, 1.2]
