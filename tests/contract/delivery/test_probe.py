"""The send that tries out an ended pause: whatever the platform says to it but "wait", the others need not wait on."""

from __future__ import annotations

import time

import pytest

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
