"""The size of the next batch of a purge."""

from __future__ import annotations

import pytest

from cometbot.store.purge import MAX_BATCH_ROWS, MIN_BATCH_ROWS, TARGET_BATCH_SECONDS, next_batch_limit


@pytest.mark.parametrize(
    ("limit", "seconds", "expected"),
    [
        (100, TARGET_BATCH_SECONDS, 100),
        (100, TARGET_BATCH_SECONDS * 2, 50),
        (100, TARGET_BATCH_SECONDS / 100, 200),
        (100, 0.0, 200),
        (400, TARGET_BATCH_SECONDS / 4, MAX_BATCH_ROWS),
        (20, 5.0, MIN_BATCH_ROWS),
    ],
)
def test_next_batch_fits_the_time_of_the_last(limit: int, seconds: float, expected: int) -> None:
    assert next_batch_limit(limit, seconds) == expected
