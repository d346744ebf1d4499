"""Events that another client of the CLI took."""

from __future__ import annotations

import logging

import pytest

from cometbot.channels.simplex.lost_events import LostEventDetector
from cometbot.channels.simplex.recovery import RECOVERY_PERIOD


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lost(clock: Clock) -> LostEventDetector:
    lost = LostEventDetector(clock)
    lost.reset()
    clock.now += RECOVERY_PERIOD
    lost.log_lost_events()
    return lost


def test_several_lost_events_are_reported_once(lost: LostEventDetector, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        lost.add_fetched(number)
    lost.add_delivered(4)
    lost.log_lost_events()
    lost.log_lost_events()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "another client is connected to the SimpleX CLI" in record.getMessage()
    assert "3 events" in record.getMessage()


def test_events_on_their_way_are_not_lost(lost: LostEventDetector, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3, 5, 6, 7):
        lost.add_fetched(number)
    for number in (1, 2, 4):
        lost.add_delivered(number)
    lost.log_lost_events()
    assert caplog.records == []


def test_events_of_a_broken_connection_are_not_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lost = LostEventDetector(clock)
    lost.reset()
    for number in (1, 2, 3):
        lost.add_fetched(number)
    lost.add_delivered(4)
    lost.log_lost_events()
    clock.now += RECOVERY_PERIOD
    lost.log_lost_events()
    lost.log_lost_events()
    assert caplog.records == []


def test_a_new_connection_starts_anew(lost: LostEventDetector, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        lost.add_fetched(number)
    lost.add_delivered(4)
    lost.reset()
    clock.now += RECOVERY_PERIOD
    lost.log_lost_events()
    lost.log_lost_events()
    assert caplog.records == []
