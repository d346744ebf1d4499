"""How often somebody may do something."""

from __future__ import annotations

import pytest

from cometbot.http.errors import HttpError
from cometbot.http.rate_limiter import (
    MAX_FAILURES_IN_ALL,
    MAX_FAILURES_PER_ADDRESS,
    BruteForceGuard,
    RateLimiter,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_so_many_times_at_once_and_then_at_an_even_pace(clock: Clock) -> None:
    rates = RateLimiter(3, 60, clock=clock)

    assert [rates.acquire("maria") for _ in range(4)] == [0, 0, 0, pytest.approx(20)]
    clock.now += 19
    assert rates.acquire("maria") == pytest.approx(1)
    clock.now += 1
    assert rates.acquire("maria") == 0
    assert rates.acquire("maria") == pytest.approx(20)


def test_refused_calls_and_other_keys_do_not_count(clock: Clock) -> None:
    rates = RateLimiter(1, 10, clock=clock)

    assert rates.acquire("maria") == 0
    assert [rates.acquire("maria") for _ in range(5)] == [pytest.approx(10)] * 5
    assert rates.acquire("tom") == 0
    clock.now += 10
    assert rates.acquire("maria") == 0


def test_idle_key_gets_at_most_the_limit(clock: Clock) -> None:
    rates = RateLimiter(2, 10, clock=clock)
    rates.acquire("maria")
    clock.now += 10_000

    assert [rates.acquire("maria") for _ in range(3)] == [0, 0, pytest.approx(5)]


def test_several_times_at_once_wait_for_all_of_them(clock: Clock) -> None:
    rates = RateLimiter(10, 10, clock=clock)

    assert rates.acquire("maria", count=8) == 0
    assert rates.acquire("maria", count=8) == pytest.approx(6)


def test_get_wait_counts_nothing(clock: Clock) -> None:
    rates = RateLimiter(1, 10, clock=clock)

    assert [rates.get_wait("maria") for _ in range(3)] == [0, 0, 0]
    rates.acquire("maria")
    assert rates.get_wait("maria") == pytest.approx(10)
    assert RateLimiter(0, 10, clock=clock).get_wait("maria") == 0


def test_without_a_limit_everything_passes(clock: Clock) -> None:
    rates = RateLimiter(0, 60, clock=clock)

    assert [rates.acquire("maria") for _ in range(1000)] == [0] * 1000


def test_number_of_keys_is_bounded(clock: Clock) -> None:
    rates = RateLimiter(1, 10, max_keys=100, clock=clock)
    for number in range(500):
        rates.acquire(f"user{number}")

    assert len(rates._buckets) <= 100
    assert rates.acquire("user499") > 0


def test_idle_keys_are_removed(clock: Clock) -> None:
    rates = RateLimiter(1, 10, clock=clock)
    for number in range(2000):
        rates.acquire(f"user{number}")
    clock.now += 11
    rates.acquire("maria")

    assert len(rates._buckets) == 1


def test_check_refuses_with_the_wait_in_whole_seconds(clock: Clock) -> None:
    rates = RateLimiter(1, 10, clock=clock)
    rates.check("maria", "Too many requests")
    with pytest.raises(HttpError, match="Too many requests") as caught:
        rates.check("maria", "Too many requests")
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "10"})


def test_only_address_with_many_failures_waits(clock: Clock) -> None:
    guesses = BruteForceGuard(clock=clock)
    for _ in range(MAX_FAILURES_PER_ADDRESS):
        assert guesses.get_wait("a") == 0
        guesses.count_failure("a")
    assert 1.9 < guesses.get_wait("a") <= 2
    assert guesses.get_wait("b") == 0
    clock.now += 2.1
    assert guesses.get_wait("a") == 0


def test_failures_of_many_addresses_slow_only_these(clock: Clock) -> None:
    guesses = BruteForceGuard(clock=clock)
    for number in range(MAX_FAILURES_IN_ALL):
        guesses.count_failure(f"a{number}")
    assert guesses.get_wait("a7") > 0
    assert guesses.get_wait("fresh") == 0


def test_address_is_forgotten_after_a_while(clock: Clock) -> None:
    guesses = BruteForceGuard(clock=clock)
    for number in range(MAX_FAILURES_IN_ALL):
        guesses.count_failure(f"a{number}")
    clock.now += 2.1
    assert guesses.get_wait("a7") == 0
