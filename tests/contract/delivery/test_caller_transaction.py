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
from cometbot.testing.fake_channel import FakeChannel
from tests.contract.delivery.conftest import Harness, wait_until

OTHER = Conversation("fake", "https://example.com:443", "helpdesk", "hook of c1", "c1")


def render_payload(harness: Harness, text: str) -> dict[str, object]:
    """A rendered request of the fake channel."""
    return harness.channel.render(Operation(conversation=OTHER, message=Text(text)))[0]


def add_greeting(harness: Harness) -> None:
    @harness.bot.message("hi")
    def greet(ctx: Context) -> str:
        return "Hello!"


def test_event_of_callers_transaction_is_handled_after_commit(harness: Harness) -> None:
    add_greeting(harness)
    delivery = harness.start_process()
    incoming = harness.channel.incoming(harness.bot, "hi")

    def work(transaction: Transaction) -> bool:
        return delivery.enqueue_in(transaction, incoming)

    assert delivery.database.group_commit(work, timeout=ACK_TIMEOUT), "somebody has to be woken"
    delivery.notify(str(incoming.conversation.key))
    harness.channel.wait_for(lambda: harness.channel.texts() == ["Hello!"])
    assert not delivery.database.group_commit(work), "it is known already"


def test_failed_transaction_stores_no_event_and_no_request(harness: Harness) -> None:
    delivery = harness.start_process(start=False)

    def fail() -> None:
        with delivery.database.write() as transaction:
            delivery.enqueue_in(transaction, harness.channel.incoming(harness.bot, "hi", id="1"))
            delivery.enqueue_outgoing_in(transaction, OTHER, [render_payload(harness, "told")])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert delivery.is_idle
    assert delivery.enqueue(harness.channel.incoming(harness.bot, "hi", id="1")), "it is new"


def test_requests_of_callers_transactions_are_sent_in_order(harness: Harness) -> None:
    delivery = harness.start_process()
    for texts in (["1", "2"], ["3"]):
        with delivery.database.write() as transaction:
            needs_notify = delivery.enqueue_outgoing_in(
                transaction, OTHER, [render_payload(harness, text) for text in texts]
            )
        if needs_notify:
            delivery.notify(str(OTHER.key), to_send=True)
    harness.channel.wait_for(lambda: harness.channel.texts() == ["1", "2", "3"])


def test_outgoing_event_is_stored_once(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    with delivery.database.write() as transaction:
        assert delivery.enqueue_outgoing_in(transaction, OTHER, [render_payload(harness, "once")], event="message 7")
        assert not delivery.enqueue_outgoing_in(
            transaction, OTHER, [render_payload(harness, "twice")], event="message 7"
        )
    harness.start_process()
    harness.channel.wait_for(lambda: harness.channel.texts() == ["once"])
    wait_until(lambda: delivery.is_idle)
    assert harness.channel.texts() == ["once"]


def test_outgoing_for_an_unknown_channel_raises(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    nowhere = Conversation("nowhere", "a", "helpdesk", "c", "c")
    with (
        pytest.raises(BotError, match="channel 'nowhere' is not configured here"),
        delivery.database.write() as transaction,
    ):
        delivery.enqueue_outgoing_in(transaction, nowhere, [{}])


def test_message_without_notification_is_found_by_the_sweep(harness: Harness) -> None:
    add_greeting(harness)
    delivery = harness.start_process()
    with delivery.database.write() as transaction:
        delivery.enqueue_in(transaction, harness.channel.incoming(harness.bot, "hi"))
    harness.channel.wait_for(lambda: harness.channel.texts() == ["Hello!"])


class OwnBotChannel(FakeChannel):
    """A channel with something to send in the name of bots that are not served."""

    name = "hooks"

    def internal_bots(self) -> list[Bot]:
        return [Bot("elsewhere")]


def test_requests_of_a_channels_own_bots_are_sent(harness: Harness) -> None:
    hooks = OwnBotChannel()
    delivery = Delivery([harness.bot], [harness.channel, hooks], harness.url)
    where = Conversation("hooks", "test", "elsewhere", "c", "c")
    try:
        delivery.start()
        assert list(delivery.bots) == ["helpdesk"]
        assert set(delivery.active_bots) == {"helpdesk", "elsewhere"}
        with delivery.database.write() as transaction:
            needs_notify = delivery.enqueue_outgoing_in(transaction, where, [render_payload(harness, "told")])
        assert needs_notify
        delivery.notify(str(where.key), to_send=True)
        hooks.wait_for(lambda: hooks.texts() == ["told"])
    finally:
        delivery.stop(5)
        delivery.close()
