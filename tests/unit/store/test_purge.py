"""The size of the next batch of a purge."""

from __future__ import annotations

import pytest

from cometbot.store.purge import BATCH_TIME, MAX_ROWS, MIN_ROWS, next_limit


@pytest.mark.parametrize(
    ("limit", "seconds", "expected"),
    [
        (100, BATCH_TIME, 100),
        (100, BATCH_TIME * 2, 50),
        (100, BATCH_TIME / 100, 200),
        (100, 0.0, 200),
        (400, BATCH_TIME / 4, MAX_ROWS),
        (20, 5.0, MIN_ROWS),
    ],
)
def test_next_batch_fits_the_time_of_the_last(limit: int, seconds: float, expected: int) -> None:
    assert next_limit(limit, seconds) == expected
