from __future__ import annotations

import pytest

from cometbot.store import clock
from cometbot.store.clock import FollowedClock

NOBODY = float("-inf")


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds since the machine started, in a list of one."""
    seconds = [100.0]
    monkeypatch.setattr(clock, "since_boot", lambda: seconds[0])
    return seconds


@pytest.fixture
def followed(boot: list[float]) -> FollowedClock:
    """A clock that has read 5000 from its server."""
    made = FollowedClock()
    made.follow(5000.0, NOBODY)
    return made


def test_it_shows_what_the_server_showed_and_goes_on_with_this_machines_time(
    followed: FollowedClock, boot: list[float]
) -> None:
    boot[0] += 7
    assert followed() == 5007.0


def test_a_small_difference_is_taken_over_in_either_direction(followed: FollowedClock, boot: list[float]) -> None:
    boot[0] += 5
    followed.follow(5004.75, NOBODY)
    assert followed() == 5004.75
    followed.follow(5005.25, NOBODY)
    assert followed() == 5005.25


def test_a_server_that_is_set_back_by_an_hour_does_not_set_it_back(followed: FollowedClock, boot: list[float]) -> None:
    for seconds in (5, 10, 15):
        boot[0] += 5
        followed.follow(5000.0 + seconds - 3600, NOBODY)
        assert followed() == 5000.0 + seconds


def test_a_server_that_gets_its_hour_back_is_followed_as_before(followed: FollowedClock, boot: list[float]) -> None:
    followed.follow(1400.0, NOBODY)
    followed.follow(5000.0, NOBODY)
    boot[0] += 5
    followed.follow(5004.5, NOBODY)
    assert followed() == 5004.5


def test_a_server_that_is_set_forward_takes_it_along(followed: FollowedClock, boot: list[float]) -> None:
    boot[0] += 5
    followed.follow(8605.0, NOBODY)
    assert followed() == 8605.0


def test_a_reading_that_came_late_does_no_harm_that_stays(followed: FollowedClock, boot: list[float]) -> None:
    boot[0] += 4
    followed.follow(5001.0, NOBODY)
    assert followed() == 5004.0
    followed.follow(5004.0, NOBODY)
    boot[0] += 1
    followed.follow(5005.0, NOBODY)
    assert followed() == 5005.0


def test_a_new_process_is_as_far_as_the_signs_of_life_of_others(boot: list[float]) -> None:
    made = FollowedClock()
    made.follow(1400.0, 4998.0)
    assert made() == 4998.0
    boot[0] += 2
    made.follow(1402.0, 5001.0)
    assert made() == 5001.0
