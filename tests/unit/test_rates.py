"""How rates are written, and where their periods begin and end."""

from __future__ import annotations

import pytest

from cometbot.errors import RegistrationError
from cometbot.rates import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/minute", Rate(20, "minute")),
        (" 100 / Hour ", Rate(100, "hour")),
        ("1/day", Rate(1, "day")),
        ("1000000/day", Rate(1_000_000, "day")),
    ],
)
def test_rate_is_parsed(text: str, rate: Rate) -> None:
    assert Rate.parse(text, "user_limit") == rate


@pytest.mark.parametrize(
    "text", ["", "20", "0/minute", "-1/minute", "1.5/minute", "20/second", "1000001/day", "20/minutes", 20, None]
)
def test_other_rates_are_refused(text: object) -> None:
    with pytest.raises(RegistrationError, match=r'user_limit: expected a number a period, such as "20/minute"'):
        Rate.parse(text, "user_limit")


def test_window_covers_its_period() -> None:
    rate = Rate(20, "minute")
    window = rate.window(120.0)
    assert (window.ends_at, window.seconds) == (180.0, 60.0)
    assert rate.window(179.9) == window
    assert rate.window(180.0).name != window.name
    assert Rate(20, "hour").window(120.0).name != window.name
