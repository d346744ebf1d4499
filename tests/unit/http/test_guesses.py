from __future__ import annotations

from cometbot.http.guesses import OF_ADDRESS, OF_ALL, Guesses


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_address_that_guesses_often_waits_and_others_do_not() -> None:
    clock = Clock()
    guesses = Guesses(clock=clock)
    for _ in range(OF_ADDRESS):
        assert guesses.wait("a") == 0
        guesses.count_wrong("a")
    assert 1.9 < guesses.wait("a") <= 2
    assert guesses.wait("b") == 0
    clock.now += 2.1
    assert guesses.wait("a") == 0


def test_guesses_from_many_addresses_slow_down_only_these() -> None:
    guesses = Guesses(clock=Clock())
    for number in range(OF_ALL):
        guesses.count_wrong(f"a{number}")
    assert guesses.wait("a7") > 0
    assert guesses.wait("fresh") == 0


def test_address_is_forgotten_after_a_while() -> None:
    clock = Clock()
    guesses = Guesses(clock=clock)
    for number in range(OF_ALL):
        guesses.count_wrong(f"a{number}")
    clock.now += 2.1
    assert guesses.wait("a7") == 0
