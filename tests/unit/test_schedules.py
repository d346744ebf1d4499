"""When jobs run: intervals, cron lines on the days when clocks change, and single times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cometbot.errors import BotError, RegistrationError
from cometbot.schedules import At, Every, Schedule, make_at, make_cron, make_every, parse_schedule, to_due_time

BERLIN = ZoneInfo("Europe/Berlin")


def in_berlin(*numbers: int, fold: int = 0) -> float:
    return datetime(*numbers, tzinfo=BERLIN, fold=fold).timestamp()  # type: ignore[arg-type, misc]


def times(schedule: Schedule, start: float, count: int, zone: Any = BERLIN) -> list[str]:
    def follow() -> Any:
        now: float | None = start
        while now is not None:
            now = schedule.next_after(now)
            if now is not None:
                yield datetime.fromtimestamp(now, zone).strftime("%m-%d %H:%M:%S %z")

    return list(islice(follow(), count))


def test_interval_counts_from_1970() -> None:
    every = make_every("5m")
    assert every.next_after(1_700_000_000.0) == 1_700_000_100.0
    assert every.next_after(1_700_000_100.0) == 1_700_000_400.0
    assert every.next_after(1_700_000_099.999) == 1_700_000_100.0


@pytest.mark.parametrize("wrong", ["0s", 0.5, 1.5, "500d", "often", None, True, timedelta(milliseconds=1500)])
def test_wrong_interval_is_refused(wrong: Any) -> None:
    with pytest.raises(RegistrationError, match="every: expected"):
        make_every(wrong)


def test_cron_line_means_the_clocks_of_its_zone() -> None:
    line = make_cron("0 9 * * 1-5", "Europe/Berlin")
    assert times(line, in_berlin(2026, 3, 27, 9, 0), 2) == ["03-30 09:00:00 +0200", "03-31 09:00:00 +0200"]
    assert times(line, in_berlin(2026, 3, 27, 8, 59), 1) == ["03-27 09:00:00 +0100"]


def test_time_that_is_left_out_in_spring_is_the_next_one() -> None:
    line = make_cron("30 2 * * *", "Europe/Berlin")
    assert times(line, in_berlin(2026, 3, 28, 3, 0), 2) == ["03-29 03:00:00 +0200", "03-30 02:30:00 +0200"]


def test_time_that_comes_twice_in_autumn_counts_once() -> None:
    line = make_cron("30 2 * * *", "Europe/Berlin")
    assert times(line, in_berlin(2026, 10, 24, 3, 0), 2) == ["10-25 02:30:00 +0200", "10-26 02:30:00 +0100"]
    between = in_berlin(2026, 10, 25, 2, 15, fold=1)
    assert times(line, between, 1) == ["10-26 02:30:00 +0100"]


def test_line_with_a_star_follows_the_time_that_passes() -> None:
    line = make_cron("*/30 * * * *", "Europe/Berlin")
    assert times(line, in_berlin(2026, 10, 25, 1, 45), 5) == [
        "10-25 02:00:00 +0200",
        "10-25 02:30:00 +0200",
        "10-25 02:00:00 +0100",
        "10-25 02:30:00 +0100",
        "10-25 03:00:00 +0100",
    ]
    assert times(line, in_berlin(2026, 3, 29, 1, 15), 3) == [
        "03-29 01:30:00 +0100",
        "03-29 03:00:00 +0200",
        "03-29 03:30:00 +0200",
    ]


def test_two_lines_meet_in_the_hour_that_is_left_out_and_run_once_each() -> None:
    line = make_cron("0,30 2 * * *", "Europe/Berlin")
    assert times(line, in_berlin(2026, 3, 28, 12, 0), 3) == [
        "03-29 03:00:00 +0200",
        "03-30 02:00:00 +0200",
        "03-30 02:30:00 +0200",
    ]


@pytest.mark.parametrize(
    ("line", "zone", "words"),
    [
        ("", "UTC", "five fields"),
        ("0 9 * *", "UTC", "five fields"),
        ("0 0 9 * * *", "UTC", "five fields"),
        (None, "UTC", "five fields"),
        (5, "UTC", "five fields"),
        ("60 9 * * *", "UTC", "bad minute"),
        ("0 24 * * *", "UTC", "bad hour"),
        ("0 9 * * 1-", "UTC", "bad day-of-week"),
        ("0 9 * * MO", "UTC", "bad day-of-week"),
        ("*/0 * * * *", "UTC", "bad minute"),
        ("0 9 30 2 *", "UTC", "day-of-month"),
        ("0 9 * * *", "Europe/Bonn", "tz: expected"),
        ("0 9 * * *", "", "tz: expected"),
        ("0 9 * * *", "../etc/passwd", "tz: expected"),
        ("0 9 * * *", None, "tz: expected"),
        ("0 9 * * *", "Europe", "tz: expected"),
    ],
)
def test_wrong_line_or_zone_is_refused(line: Any, zone: Any, words: str) -> None:
    with pytest.raises(RegistrationError, match=words):
        make_cron(line, zone)


@pytest.mark.parametrize(
    "schedule", [Every(300), make_cron("0  9 * * 1-5", "Europe/Berlin"), At(1_700_000_000.25), At(-1.0)]
)
def test_stored_schedule_is_read_again(schedule: Schedule) -> None:
    assert parse_schedule(schedule.spec) == schedule


def test_single_time_comes_once() -> None:
    at = make_at(datetime(2027, 1, 1, tzinfo=timezone.utc))
    assert at.next_after(0.0) == 1_798_761_600.0
    assert at.next_after(1_798_761_600.0) is None


@pytest.mark.parametrize("wrong", [datetime(2027, 1, 1), "2h", 5, None])
def test_single_time_needs_a_zone(wrong: Any) -> None:
    with pytest.raises(BotError, match="with a zone"):
        make_at(wrong)


@pytest.mark.parametrize("wrong", [datetime.min, datetime.max])
def test_time_at_the_end_of_the_calendar_is_an_error(wrong: datetime) -> None:
    with pytest.raises(BotError, match="at: expected a time in the years 2 to 9998, got"):
        make_at(wrong.replace(tzinfo=timezone(timedelta(hours=-12))))


def test_duration_counts_on_the_clock_that_does_not_jump() -> None:
    due = to_due_time("2h", "later", 1000.0)
    assert (due.at, due.on_wall_clock) == (8200.0, False)
    due = to_due_time(datetime(2027, 1, 1, tzinfo=timezone.utc), "later", 1000.0)
    assert (due.at, due.on_wall_clock) == (1_798_761_600.0, True)
