from __future__ import annotations

import pytest

from cometbot.delivery import SendPolicy


@pytest.mark.parametrize("refusals", [0, 1, 5, 10_000])
def test_least_wait_after_a_refusal_doubles_up_to_a_minute(refusals: int) -> None:
    wait = SendPolicy().rate_limit_backoff.delay(refusals)
    least = min(60.0, 2.0 ** min(refusals, 10))
    assert least <= wait <= least * 1.25
