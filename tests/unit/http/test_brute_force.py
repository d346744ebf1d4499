from __future__ import annotations

from cometbot.http.brute_force import MAX_FAILURES_IN_ALL, MAX_FAILURES_PER_ADDRESS, BruteForceGuard


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_only_address_with_many_failures_waits() -> None:
    clock = Clock()
    guesses = BruteForceGuard(clock=clock)
    for _ in range(MAX_FAILURES_PER_ADDRESS):
        assert guesses.get_wait("a") == 0
        guesses.count_failure("a")
    assert 1.9 < guesses.get_wait("a") <= 2
    assert guesses.get_wait("b") == 0
    clock.now += 2.1
    assert guesses.get_wait("a") == 0


def test_failures_of_many_addresses_slow_only_these() -> None:
    guesses = BruteForceGuard(clock=Clock())
    for number in range(MAX_FAILURES_IN_ALL):
        guesses.count_failure(f"a{number}")
    assert guesses.get_wait("a7") > 0
    assert guesses.get_wait("fresh") == 0


def test_address_is_forgotten_after_a_while() -> None:
    clock = Clock()
    guesses = BruteForceGuard(clock=clock)
    for number in range(MAX_FAILURES_IN_ALL):
        guesses.count_failure(f"a{number}")
    clock.now += 2.1
    assert guesses.get_wait("a7") == 0
