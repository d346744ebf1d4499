"""Events that another client of the CLI took."""

from __future__ import annotations

import logging

import pytest

from cometbot.channels.simplex.lost_events import LostEvents
from cometbot.channels.simplex.settling import SETTLING


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lost(clock: Clock) -> LostEvents:
    lost = LostEvents(clock)
    lost.begin()
    clock.now += SETTLING
    lost.report()
    return lost


def test_several_lost_events_are_reported_once(lost: LostEvents, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        lost.add_found(number)
    lost.add_heard(4)
    lost.report()
    lost.report()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "another client is connected to the SimpleX CLI" in record.getMessage()
    assert "3 events" in record.getMessage()


def test_events_on_their_way_are_not_lost(lost: LostEvents, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3, 5, 6, 7):
        lost.add_found(number)
    for number in (1, 2, 4):
        lost.add_heard(number)
    lost.report()
    assert caplog.records == []


def test_events_of_a_broken_connection_are_not_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lost = LostEvents(clock)
    lost.begin()
    for number in (1, 2, 3):
        lost.add_found(number)
    lost.add_heard(4)
    lost.report()
    clock.now += SETTLING
    lost.report()
    lost.report()
    assert caplog.records == []


def test_a_new_connection_starts_anew(lost: LostEvents, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        lost.add_found(number)
    lost.add_heard(4)
    lost.begin()
    clock.now += SETTLING
    lost.report()
    lost.report()
    assert caplog.records == []
