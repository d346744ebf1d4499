from __future__ import annotations

import pytest

from cometbot.store import clock
from cometbot.store.clock import ServerClock

NOBODY = float("-inf")


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds since the machine started, in a list of one."""
    seconds = [100.0]
    monkeypatch.setattr(clock, "seconds_since_boot", lambda: seconds[0])
    return seconds


@pytest.fixture
def server_clock(boot: list[float]) -> ServerClock:
    """A clock that has read 5000 from its server."""
    made = ServerClock()
    made.synchronize(5000.0, NOBODY)
    return made


def test_clock_advances_from_the_servers_time(server_clock: ServerClock, boot: list[float]) -> None:
    boot[0] += 7
    assert server_clock() == 5007.0


def test_small_difference_is_adopted_in_both_directions(server_clock: ServerClock, boot: list[float]) -> None:
    boot[0] += 5
    server_clock.synchronize(5004.75, NOBODY)
    assert server_clock() == 5004.75
    server_clock.synchronize(5005.25, NOBODY)
    assert server_clock() == 5005.25


def test_server_clock_set_back_is_not_followed(server_clock: ServerClock, boot: list[float]) -> None:
    for seconds in (5, 10, 15):
        boot[0] += 5
        server_clock.synchronize(5000.0 + seconds - 3600, NOBODY)
        assert server_clock() == 5000.0 + seconds


def test_a_server_that_gets_its_hour_back_is_followed_as_before(server_clock: ServerClock, boot: list[float]) -> None:
    server_clock.synchronize(1400.0, NOBODY)
    server_clock.synchronize(5000.0, NOBODY)
    boot[0] += 5
    server_clock.synchronize(5004.5, NOBODY)
    assert server_clock() == 5004.5


def test_server_clock_set_forward_is_followed(server_clock: ServerClock, boot: list[float]) -> None:
    boot[0] += 5
    server_clock.synchronize(8605.0, NOBODY)
    assert server_clock() == 8605.0


def test_a_reading_that_came_late_does_no_harm_that_stays(server_clock: ServerClock, boot: list[float]) -> None:
    boot[0] += 4
    server_clock.synchronize(5001.0, NOBODY)
    assert server_clock() == 5004.0
    server_clock.synchronize(5004.0, NOBODY)
    boot[0] += 1
    server_clock.synchronize(5005.0, NOBODY)
    assert server_clock() == 5005.0


def test_a_new_process_is_as_far_as_the_signs_of_life_of_others(boot: list[float]) -> None:
    made = ServerClock()
    made.synchronize(1400.0, 4998.0)
    assert made() == 4998.0
    boot[0] += 2
    made.synchronize(1402.0, 5001.0)
    assert made() == 5001.0
