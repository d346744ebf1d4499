"""How often somebody may do something."""

from __future__ import annotations

import pytest

from cometbot.http.rates import Rates


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_so_many_times_at_once_and_then_at_an_even_pace(clock: Clock) -> None:
    rates = Rates(3, 60, clock=clock)

    assert [rates.wait("maria") for _ in range(4)] == [0, 0, 0, pytest.approx(20)]
    clock.now += 19
    assert rates.wait("maria") == pytest.approx(1)
    clock.now += 1
    assert rates.wait("maria") == 0
    assert rates.wait("maria") == pytest.approx(20)


def test_what_was_refused_does_not_count_and_others_do_not_matter(clock: Clock) -> None:
    rates = Rates(1, 10, clock=clock)

    assert rates.wait("maria") == 0
    assert [rates.wait("maria") for _ in range(5)] == [pytest.approx(10)] * 5
    assert rates.wait("tom") == 0
    clock.now += 10
    assert rates.wait("maria") == 0


def test_who_rests_gets_no_more_than_the_limit(clock: Clock) -> None:
    rates = Rates(2, 10, clock=clock)
    rates.wait("maria")
    clock.now += 10_000

    assert [rates.wait("maria") for _ in range(3)] == [0, 0, pytest.approx(5)]


def test_several_times_at_once_wait_for_all_of_them(clock: Clock) -> None:
    rates = Rates(10, 10, clock=clock)

    assert rates.wait("maria", times=8) == 0
    assert rates.wait("maria", times=8) == pytest.approx(6)


def test_a_look_counts_nothing(clock: Clock) -> None:
    rates = Rates(1, 10, clock=clock)

    assert [rates.peek("maria") for _ in range(3)] == [0, 0, 0]
    rates.wait("maria")
    assert rates.peek("maria") == pytest.approx(10)
    assert Rates(0, 10, clock=clock).peek("maria") == 0


def test_without_a_limit_everything_passes(clock: Clock) -> None:
    rates = Rates(0, 60, clock=clock)

    assert [rates.wait("maria") for _ in range(1000)] == [0] * 1000


def test_it_remembers_no_more_than_it_may(clock: Clock) -> None:
    rates = Rates(1, 10, most=100, clock=clock)
    for number in range(500):
        rates.wait(f"user{number}")

    assert len(rates._buckets) <= 100
    assert rates.wait("user499") > 0


def test_who_has_rested_is_forgotten(clock: Clock) -> None:
    rates = Rates(1, 10, clock=clock)
    for number in range(2000):
        rates.wait(f"user{number}")
    clock.now += 11
    rates.wait("maria")

    assert len(rates._buckets) == 1
