from __future__ import annotations

from cometbot.backoff import Backoff


def test_delay_doubles_to_the_maximum() -> None:
    backoff = Backoff(initial=1.0, maximum=60.0, jitter=0.0)
    assert [backoff.delay(failures) for failures in (0, 1, 2, 5, 6, 10_000)] == [1, 2, 4, 32, 60, 60]


def test_jitter_adds_at_most_its_fraction() -> None:
    delays = {Backoff(initial=1.0, jitter=0.5).delay(1) for _ in range(100)}
    assert len(delays) > 50
    assert 2.0 <= min(delays) <= max(delays) <= 3.0
