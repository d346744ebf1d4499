"""Pauses of an account: the request that tries out an ended one, and refusals that go on."""

from __future__ import annotations

import itertools
import time

import pytest

from cometbot.channels.base import OutgoingRequest
from cometbot.context import Context
from cometbot.delivery import Backoff, Delivery, SendPolicy
from cometbot.errors import OutcomeUnknown, RateLimited, Rejected
from cometbot.store.tables import pauses

from .conftest import Harness, wait_until


@pytest.mark.parametrize("error", [OutcomeUnknown("500", status=500), Rejected("empty", code="ERR_EMPTY_MESSAGE_TEXT")])
def test_trial_that_fails_for_its_own_fault_ends_the_throttle(harness: Harness, error: Exception) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"

    harness.channel.faults = [RateLimited(retry_after=0.3), error]
    delivery = harness.start_process(policy=SendPolicy(timeout=60.0, retry_backoff=Backoff(0.1, 0.1)))
    harness.enqueue(delivery, "limited", user="maria")
    wait_until(lambda: is_paused(delivery))
    began = time.monotonic()
    harness.enqueue(delivery, "waits", user="tom")

    harness.channel.wait_for(lambda: len(harness.channel.requests) >= 3)
    wait_until(lambda: not is_paused(delivery))
    assert time.monotonic() - began < 30.0, "the others waited for as long as a request may take"


def is_paused(delivery: Delivery) -> bool:
    with delivery.database.read() as connection:
        return connection.execute(pauses.select()).first() is not None


def test_successful_trial_does_not_end_a_newer_throttle(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    key = harness.channel.conversation(harness.bot, user="maria").key
    with delivery.database.write() as connection:
        delivery.store.throttles.set(connection, key, -1.0, "429")
        assert delivery.store.throttles.acquire(connection, key, 8.0).is_trial
        delivery.store.throttles.set(connection, key, 60.0, "429 to another")
        delivery.store.throttles.clear(connection, key)
        assert delivery.store.throttles.acquire(connection, key, 8.0).seconds > 50


def test_rate_limits_without_retry_after_back_off(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"

    tried: list[float] = []

    def refuse(sending: OutgoingRequest) -> None:
        tried.append(time.monotonic())
        raise RateLimited("429", retry_after=0.0)

    harness.channel.faults = [refuse, refuse, refuse]
    policy = SendPolicy(timeout=60.0, rate_limit_backoff=Backoff(0.2, 60.0, jitter=0.0))
    delivery = harness.start_process(policy=policy)
    harness.enqueue(delivery, "hello")
    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])

    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert waits[0] >= 0.2
    assert waits[1] >= 0.4
    wait_until(lambda: not is_paused(delivery))


def test_rate_limits_during_a_throttle_do_not_count(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    key, store = harness.channel.conversation(harness.bot, user="maria").key, delivery.store
    with delivery.database.write() as connection:
        for seconds in (60.0, 1.0, 1.0):
            store.throttles.set(connection, key, seconds, "429", is_rate_limited=True)
        assert store.throttles.count_rate_limits(connection, key) == 1
        assert store.throttles.acquire(connection, key, 8.0).seconds > 50


def test_rate_limits_are_counted_from_trial_to_trial(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    key, store = harness.channel.conversation(harness.bot, user="maria").key, delivery.store
    with delivery.database.write() as connection:
        assert store.throttles.count_rate_limits(connection, key) == 0
        for count in (1, 2, 3):
            store.throttles.set(connection, key, -1.0, "429", is_rate_limited=True)
            assert store.throttles.count_rate_limits(connection, key) == count
            assert store.throttles.acquire(connection, key, 8.0).is_trial
        store.throttles.set(connection, key, 60.0, "not a refusal")
        assert store.throttles.count_rate_limits(connection, key) == 0
        store.throttles.set(connection, key, 60.0, "429", is_rate_limited=True)
    assert is_paused(delivery)
