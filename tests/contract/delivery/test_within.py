"""Taking in and saying within a transaction of the caller's: stored together with it, or not at all."""

from __future__ import annotations

import pytest

from cometbot import Context
from cometbot.bot import Bot
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.messages import Operation, Text
from cometbot.models import Conversation
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.testing.channel import FakeChannel
from tests.contract.delivery.conftest import World, wait_until

OTHER = Conversation("fake", "https://example.com:443", "helpdesk", "hook of c1", "c1")


def payload(world: World, text: str) -> dict[str, object]:
    """A rendered request of the fake channel."""
    return world.channel.render(Operation(conversation=OTHER, message=Text(text)))[0]


def answer(world: World) -> None:
    @world.bot.message("hi")
    def greet(ctx: Context) -> str:
        return "Hello!"


def test_what_is_taken_in_within_a_transaction_is_handled_after_it(world: World) -> None:
    answer(world)
    delivery = world.process()
    incoming = world.channel.incoming(world.bot, "hi")

    def work(transaction: Transaction) -> bool:
        return delivery.put_within(transaction, incoming)

    assert delivery.database.together(work, timeout=ACK_TIMEOUT), "somebody has to be woken"
    delivery.wake(str(incoming.conversation.key))
    world.channel.wait_for(lambda: world.channel.texts() == ["Hello!"])
    assert not delivery.database.together(work), "it is known already"


def test_a_transaction_that_fails_takes_nothing_in_and_says_nothing(world: World) -> None:
    delivery = world.process(start=False)

    def fail() -> None:
        with delivery.database.write() as transaction:
            delivery.put_within(transaction, world.channel.incoming(world.bot, "hi", id="1"))
            delivery.say_within(transaction, OTHER, [payload(world, "told")])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert delivery.is_idle
    assert delivery.put(world.channel.incoming(world.bot, "hi", id="1")), "it is new"


def test_what_is_said_within_a_transaction_goes_out_in_its_order(world: World) -> None:
    delivery = world.process()
    for texts in (["1", "2"], ["3"]):
        with delivery.database.write() as transaction:
            needs_wake = delivery.say_within(transaction, OTHER, [payload(world, text) for text in texts])
        if needs_wake:
            delivery.wake(str(OTHER.key), to_send=True)
    world.channel.wait_for(lambda: world.channel.texts() == ["1", "2", "3"])


def test_nothing_is_said_twice_under_one_event(world: World) -> None:
    delivery = world.process(start=False)
    with delivery.database.write() as transaction:
        assert delivery.say_within(transaction, OTHER, [payload(world, "once")], event="message 7")
        assert not delivery.say_within(transaction, OTHER, [payload(world, "twice")], event="message 7")
    world.process()
    world.channel.wait_for(lambda: world.channel.texts() == ["once"])
    wait_until(lambda: delivery.is_idle)
    assert world.channel.texts() == ["once"]


def test_nothing_is_said_by_a_channel_that_is_not_here(world: World) -> None:
    delivery = world.process(start=False)
    nowhere = Conversation("nowhere", "a", "helpdesk", "c", "c")
    with pytest.raises(BotError, match="no channel 'nowhere'"), delivery.database.write() as transaction:
        delivery.say_within(transaction, nowhere, [{}])


def test_a_message_that_nobody_was_woken_for_is_found(world: World) -> None:
    answer(world)
    delivery = world.process()
    with delivery.database.write() as transaction:
        delivery.put_within(transaction, world.channel.incoming(world.bot, "hi"))
    world.channel.wait_for(lambda: world.channel.texts() == ["Hello!"])


class Hooks(FakeChannel):
    """A channel with something to send in the name of bots that are not served."""

    name = "hooks"

    def own_bots(self) -> list[Bot]:
        return [Bot("elsewhere")]


def test_what_a_channel_has_to_say_for_bots_of_its_own_is_sent(world: World) -> None:
    hooks = Hooks()
    delivery = Delivery([world.bot], [world.channel, hooks], world.url)
    where = Conversation("hooks", "test", "elsewhere", "c", "c")
    try:
        delivery.start()
        assert list(delivery.bots) == ["helpdesk"]
        assert set(delivery.bots_at_work) == {"helpdesk", "elsewhere"}
        with delivery.database.write() as transaction:
            needs_wake = delivery.say_within(transaction, where, [payload(world, "told")])
        assert needs_wake
        delivery.wake(str(where.key), to_send=True)
        hooks.wait_for(lambda: hooks.texts() == ["told"])
    finally:
        delivery.stop(5)
        delivery.close()
