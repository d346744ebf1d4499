"""Pauses of an account: the request that tries out an ended one, and refusals that go on."""

from __future__ import annotations

import itertools
import time

import pytest

from cometbot.channels.base import Sending
from cometbot.context import Context
from cometbot.delivery import Backoff, Delivery, SendPolicy
from cometbot.errors import RateLimited, Rejected, Uncertain
from cometbot.store.tables import pauses

from .conftest import World, wait_until


@pytest.mark.parametrize("error", [Uncertain("500", status=500), Rejected("empty", code="ERR_EMPTY_MESSAGE_TEXT")])
def test_a_probe_that_fails_for_its_own_fault_lets_the_others_go_on_at_once(world: World, error: Exception) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"

    world.channel.faults = [RateLimited(retry_after=0.3), error]
    delivery = world.process(policy=SendPolicy(timeout=60.0, backoff=Backoff(0.1, 0.1)))
    world.say(delivery, "limited", user="maria")
    wait_until(lambda: is_paused(delivery))
    began = time.monotonic()
    world.say(delivery, "waits", user="tom")

    world.channel.wait_for(lambda: len(world.channel.requests) >= 3)
    wait_until(lambda: not is_paused(delivery))
    assert time.monotonic() - began < 30.0, "the others waited for as long as a request may take"


def is_paused(delivery: Delivery) -> bool:
    with delivery.database.read() as connection:
        return connection.execute(pauses.select()).first() is not None


def test_a_good_probe_does_not_end_a_pause_that_another_process_was_told_of_meanwhile(world: World) -> None:
    delivery = world.process(start=False)
    key = world.channel.conversation(world.bot, user="maria").key
    with delivery.database.write() as connection:
        delivery.store.pauses.set(connection, key, -1.0, "429")
        assert delivery.store.pauses.wait(connection, key, 8.0).probing
        delivery.store.pauses.set(connection, key, 60.0, "429 to another")
        delivery.store.pauses.clear(connection, key)
        assert delivery.store.pauses.wait(connection, key, 8.0).seconds > 50


def test_refusals_that_name_no_wait_are_answered_by_growing_pauses(world: World) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"

    tried: list[float] = []

    def refuse(sending: Sending) -> None:
        tried.append(time.monotonic())
        raise RateLimited("429", retry_after=0.0)

    world.channel.faults = [refuse, refuse, refuse]
    policy = SendPolicy(timeout=60.0, throttle=Backoff(0.2, 60.0, jitter=0.0))
    delivery = world.process(policy=policy)
    world.say(delivery, "hello")
    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])

    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert waits[0] >= 0.2
    assert waits[1] >= 0.4
    wait_until(lambda: not is_paused(delivery))


def test_refusals_during_a_pause_neither_count_nor_shorten_it(world: World) -> None:
    delivery = world.process(start=False)
    key, store = world.channel.conversation(world.bot, user="maria").key, delivery.store
    with delivery.database.write() as connection:
        for seconds in (60.0, 1.0, 1.0):
            store.pauses.set(connection, key, seconds, "429", is_refusal=True)
        assert store.pauses.refusals(connection, key) == 1
        assert store.pauses.wait(connection, key, 8.0).seconds > 50


def test_refusals_are_counted_from_trial_to_trial(world: World) -> None:
    delivery = world.process(start=False)
    key, store = world.channel.conversation(world.bot, user="maria").key, delivery.store
    with delivery.database.write() as connection:
        assert store.pauses.refusals(connection, key) == 0
        for count in (1, 2, 3):
            store.pauses.set(connection, key, -1.0, "429", is_refusal=True)
            assert store.pauses.refusals(connection, key) == count
            assert store.pauses.wait(connection, key, 8.0).probing
        store.pauses.set(connection, key, 60.0, "not a refusal")
        assert store.pauses.refusals(connection, key) == 0
        store.pauses.set(connection, key, 60.0, "429", is_refusal=True)
    assert is_paused(delivery)
