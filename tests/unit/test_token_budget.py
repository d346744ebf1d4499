from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from cometbot import Bot
from cometbot.errors import RegistrationError
from cometbot.token_budget import TokenBudget, describe_seconds


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "limit", "period"),
    [
        ("200k/day", 200_000, "day"),
        ("1.5M/month", 1_500_000, "month"),
        ("5000/hour", 5000, "hour"),
        (" 10 K / Week ", 10_000, "week"),
        ("0.001k/day", 1, "day"),
        ("1000000m/day", 10**12, "day"),
    ],
)
def test_budget_is_parsed(text: str, limit: int, period: str) -> None:
    assert TokenBudget.parse(text) == TokenBudget(limit, period)
    assert Bot("shop", token_budget=text).token_budget == TokenBudget(limit, period)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "200k",
            "200k/year",
            "/day",
            "k/day",
            "-5/day",
            "0/day",
            "0.5/day",
            "1.0005k/day",
            "1e3/day",
            "5,000/day",
        ),
        *("5000001m/day", "200g/day", "200k/day/user", "٢/day", "1.0000001M/day", 200_000, 1.5, True, ["200k/day"]),
    ],
)
def test_wrong_budget_is_refused_with_what_is_expected(text: Any) -> None:
    with pytest.raises(RegistrationError, match='token_budget: expected whole tokens a period, such as "200k/day"'):
        Bot("shop", token_budget=text)


@pytest.mark.parametrize(
    ("period", "name", "end"),
    [
        ("hour", "hour:2026-11-30T23", "2026-12-01T00:00"),
        ("day", "day:2026-11-30T00", "2026-12-01T00:00"),
        ("week", "week:2026-11-30T00", "2026-12-07T00:00"),
        ("month", "month:2026-11-01T00", "2026-12-01T00:00"),
    ],
)
def test_window_is_a_period_of_utc(period: str, name: str, end: str) -> None:
    budget = TokenBudget(1, period)
    window = budget.window(at("2026-11-30T23:59:59"))
    assert (window.name, window.ends_at.timestamp()) == (name, at(end))
    assert budget.window(at(end)).name != name


@pytest.mark.parametrize(("month", "end"), [("2026-12", "2027-01"), ("2028-02", "2028-03"), ("2026-01", "2026-02")])
def test_months_have_their_lengths(month: str, end: str) -> None:
    for day in ("01T00:00", "28T23:59"):
        assert TokenBudget(1, "month").window(at(f"{month}-{day}")).ends_at.timestamp() == at(f"{end}-01")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "in 1 minute"),
        (60, "in 1 minute"),
        (61, "in 2 minutes"),
        (3540, "in 59 minutes"),
        (3541, "in 1 hour"),
        (3601, "in 2 hours"),
        (47 * 3600, "in 47 hours"),
        (47 * 3600 + 1, "in 2 days"),
        (29 * 86400 + 1, "in 30 days"),
    ],
)
def test_time_ahead_is_rounded_up(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text
