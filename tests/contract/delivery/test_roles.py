"""A channel whose connection one process holds: others handle its messages and only write the outbox, the owner alone
sends; and what a process has no channel or bot for, it leaves alone."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import pytest

from cometbot.bot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.context import Context
from cometbot.delivery import Backoff, Delivery, SendPolicy
from cometbot.errors import LeaseLost, OutcomeUnknown, RateLimited
from cometbot.store.tables import conversations, outbox
from cometbot.testing.fake_channel import EVERYTHING, FakeChannel

from .conftest import Harness, wait_until


class OwnerChannel(FakeChannel):
    """The channel where its connection is."""

    has_single_sender: ClassVar[bool] = True


class RemoteChannel(FakeChannel):
    """The same channel in a process without the connection."""

    has_single_sender: ClassVar[bool] = True
    can_send = False  # type: ignore[assignment]

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        raise AssertionError("only the owner sends")

    def preview(self, conversation: Any, message_id: str, text: str) -> None:
        raise AssertionError("only the owner sends")


class OtherChannel(FakeChannel):
    """A channel under another name."""

    name: ClassVar[str] = "other"


class AppChannel(FakeChannel):
    """The channel of one app, whose account is that of its name."""

    def __init__(self, app: str) -> None:
        super().__init__(account=f"account-of-{app}")
        self.app = app


@pytest.fixture
def owner(harness: Harness) -> OwnerChannel:
    harness.channel = owner = OwnerChannel()
    return owner


def echo(harness: Harness, handled_by: list[str] | None = None) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        if handled_by is not None:
            handled_by.append(ctx.text)
        return f"echo {ctx.text}"


def list_replies(delivery: Delivery) -> list[Any]:
    with delivery.database.read() as connection:
        return list(connection.execute(outbox.select().order_by(outbox.c.id)))


def list_conversations(delivery: Delivery) -> list[Any]:
    with delivery.database.read() as connection:
        return list(connection.execute(conversations.select()))


def test_reply_waits_for_the_owner_of_the_connection(harness: Harness, owner: OwnerChannel) -> None:
    echo(harness)
    elsewhere = harness.start_process(channels=[RemoteChannel()])
    harness.enqueue(elsewhere, "hello")

    wait_until(lambda: [row.state for row in list_replies(elsewhere)] == ["ready"])
    wait_until(lambda: [row.token for row in list_conversations(elsewhere)] == [None])
    harness.start_process(handles=False)
    owner.wait_for(lambda: owner.texts() == ["echo hello"])


def test_owner_sends_replies_of_other_processes_in_order(harness: Harness, owner: OwnerChannel) -> None:
    echo(harness)
    holder = harness.start_process(handles=False)
    harness.start_process(channels=[RemoteChannel()])
    harness.start_process(channels=[RemoteChannel()])
    for number in range(12):
        harness.enqueue(holder, f"{number}", user=f"u{number % 3}")

    owner.wait_for(lambda: len(owner.said) == 12, timeout=30)
    for user in range(3):
        expected = [f"echo {number}" for number in range(12) if number % 3 == user]
        assert owner.texts(f"helpdesk_user_u{user}") == expected


def test_owner_without_handlers_leaves_messages_to_others(harness: Harness, owner: OwnerChannel) -> None:
    handled: list[str] = []
    echo(harness, handled)
    holder = harness.start_process(handles=False)
    harness.enqueue(holder, "hello")
    harness.bot.connect(holder)
    harness.bot.send(user="tom", text="It sends what is there to send.")
    owner.wait_for(lambda: owner.texts() == ["It sends what is there to send."])

    time.sleep(1.5)  # more than a sweep
    assert handled == []
    harness.start_process(channels=[RemoteChannel()])
    owner.wait_for(lambda: "echo hello" in owner.texts())


def test_an_owner_may_handle_and_send_beside_others(harness: Harness, owner: OwnerChannel) -> None:
    echo(harness)
    holder = harness.start_process()
    harness.start_process(channels=[RemoteChannel()])
    for number in range(20):
        harness.enqueue(holder, f"{number}", user=f"u{number % 5}")

    owner.wait_for(lambda: len(owner.said) == 20, timeout=30)
    assert owner.texts("helpdesk_user_u3") == ["echo 3", "echo 8", "echo 13", "echo 18"]


def test_replies_and_edits_through_the_owner_keep_their_order(harness: Harness, owner: OwnerChannel) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        sent = ctx.reply("working")
        assert sent.id is None
        sent.edit("done")
        ctx.react("👍")
        return "goodbye"

    harness.start_process(handles=False)
    elsewhere = harness.start_process(channels=[RemoteChannel()])
    harness.enqueue(elsewhere, "hello")

    owner.wait_for(lambda: owner.texts() == ["done", "goodbye"])
    assert owner.said[0].versions == ("working", "done")


def test_a_stream_elsewhere_becomes_one_message(harness: Harness, owner: OwnerChannel) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.stream(["one ", "two ", "three"])

    harness.start_process(handles=False)
    elsewhere = harness.start_process(channels=[RemoteChannel()])
    assert EVERYTHING.stream_interval is not None
    harness.enqueue(elsewhere, "hello")

    owner.wait_for(lambda: bool(owner.said))
    assert [said.versions for said in owner.said] == [("one two three",)]


def test_message_to_another_conversation_goes_through_the_owner(harness: Harness, owner: OwnerChannel) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        harness.bot.send(user="tom", text="Maria wrote.")
        ctx.send("Maria wrote too.", to=owner.conversation(harness.bot, user="tina"))

    harness.start_process(handles=False)
    elsewhere = harness.start_process(channels=[RemoteChannel()])
    harness.bot.connect(elsewhere)
    harness.enqueue(elsewhere, "hello")

    owner.wait_for(lambda: len(owner.said) == 2)
    assert owner.texts("helpdesk_user_tom") == ["Maria wrote."]
    assert owner.texts("helpdesk_user_tina") == ["Maria wrote too."]


def test_held_reply_of_the_owner_blocks_its_conversation(harness: Harness, owner: OwnerChannel) -> None:
    said_before: dict[str, list[str]] = {}

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        said_before[ctx.text] = owner.texts()
        return f"echo {ctx.text}"

    owner.faults = [OutcomeUnknown("500")]
    holder = harness.start_process(handles=False, policy=SendPolicy(timeout=0.2, retry_backoff=Backoff(1.0, 1.0, 0.0)))
    harness.start_process(channels=[RemoteChannel()])
    harness.enqueue(holder, "first")
    wait_until(lambda: owner.requests)
    harness.enqueue(holder, "second")

    owner.wait_for(lambda: owner.texts() == ["echo first", "echo second"])
    assert said_before == {"first": [], "second": ["echo first"]}


def test_throttle_of_the_owner_ends_for_all_conversations(harness: Harness, owner: OwnerChannel) -> None:
    echo(harness)
    owner.faults = [RateLimited(retry_after=0.5)]
    holder = harness.start_process(handles=False)
    harness.start_process(channels=[RemoteChannel()])
    for user in ("a", "b", "c"):
        harness.enqueue(holder, "hello", user=user)

    owner.wait_for(lambda: len(owner.said) == 3)


def test_error_reply_after_a_timeout_goes_through_the_owner(harness: Harness, owner: OwnerChannel) -> None:
    ended = threading.Event()

    @harness.bot.message("slow", timeout=0.2)
    def slow(ctx: Context) -> None:
        ended.wait(60)

    harness.start_process(handles=False)
    elsewhere = harness.start_process(channels=[RemoteChannel()])
    harness.enqueue(elsewhere, "slow")
    try:
        owner.wait_for(lambda: owner.texts() == [harness.bot.error_text])
    finally:
        ended.set()


def test_reply_of_a_dead_owner_is_verified_by_the_next_owner(harness: Harness, owner: OwnerChannel) -> None:
    echo(harness)
    owner.faults = [owner.lose_answer(LeaseLost())]
    first = harness.start_process(handles=False)
    harness.start_process(channels=[RemoteChannel()])
    harness.enqueue(first, "hello")
    wait_until(lambda: [row.state for row in list_replies(first)] == ["sending"])
    first.stop(1)
    second = harness.start_process(handles=False)

    wait_until(lambda: [row.state for row in list_replies(second)] == ["sent"])
    assert owner.texts() == ["echo hello"]


def test_conversations_of_an_unknown_channel_are_left_alone(harness: Harness) -> None:
    handled: list[str] = []
    echo(harness, handled)
    other = OtherChannel()
    without = harness.start_process()
    storing = harness.start_process(start=False, channels=[other])
    assert storing.enqueue(other.incoming(harness.bot, "for the other channel"))
    without.notify(str(list_conversations(storing)[0].conversation_key))
    harness.enqueue(without, "for this channel")
    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo for this channel"])
    time.sleep(1.3)  # more than a sweep

    assert handled == ["for this channel"]
    assert [row.token for row in list_conversations(storing)] == [None, None]
    harness.start_process(channels=[other])
    other.wait_for(lambda: other.texts() == ["echo for the other channel"])


def test_conversations_of_an_unknown_bot_are_left_alone(harness: Harness) -> None:
    echo(harness)
    stranger = Bot("stranger")
    running = harness.start_process()
    assert running.enqueue(harness.channel.incoming(stranger, "for another bot"))
    harness.enqueue(running, "for this bot")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo for this bot"])
    [conversation_row] = [row for row in list_conversations(running) if row.bot == "stranger"]
    assert (conversation_row.token, bool(conversation_row.mail)) == (None, True)


def test_process_without_handlers_is_not_counted_as_alive(harness: Harness, owner: OwnerChannel) -> None:
    holder = harness.start_process(handles=False)
    with holder.database.read() as connection:
        assert holder.store.leases.count_alive(connection) == 0
    harness.start_process(channels=[RemoteChannel()])
    with holder.database.read() as connection:
        assert holder.store.leases.count_alive(connection) == 1


def test_process_without_handlers_sends_only_to_owned_channels(harness: Harness) -> None:
    echo(harness)
    idle = harness.start_process(handles=False)
    harness.enqueue(idle, "hello")
    harness.bot.connect(idle)
    harness.bot.send(user="tom", text="Waits too.")
    time.sleep(1.3)  # more than a sweep

    assert harness.channel.requests == []
    harness.start_process()
    harness.channel.wait_for(lambda: sorted(harness.channel.texts()) == ["Waits too.", "echo hello"])


def test_each_app_gets_its_own_replies_from_one_process(harness: Harness) -> None:
    echo(harness)
    eu, us = AppChannel("eu"), AppChannel("us")
    process = harness.start_process(channels=[eu, us])
    for channel in (eu, us):
        harness.enqueue(process, channel.app, channel=channel, id="1")

    for channel in (eu, us):
        channel.wait_for(lambda channel=channel: channel.texts() == [f"echo {channel.app}"])


def test_app_that_a_process_does_not_have_is_left_to_others(harness: Harness) -> None:
    handled: list[str] = []
    echo(harness, handled)
    eu, us = AppChannel("eu"), AppChannel("us")
    process = harness.start_process(channels=[eu])
    harness.enqueue(process, "to us", channel=us)
    harness.enqueue(process, "to eu", channel=eu)
    eu.wait_for(lambda: eu.texts() == ["echo to eu"])

    time.sleep(1.5)  # more than a sweep
    assert handled == ["to eu"]
    with process.database.read() as connection:
        found = process.store.leases.find_abandoned(connection, ["helpdesk"], ["fake"], accounts={"fake": {"x"}})
    assert found == []
    process.stop()
    harness.start_process(channels=[eu, us])
    us.wait_for(lambda: us.texts() == ["echo to us"])
    assert eu.texts() == ["echo to eu"]


def test_throttle_of_one_app_does_not_delay_another(harness: Harness) -> None:
    echo(harness)
    eu, us = AppChannel("eu"), AppChannel("us")
    eu.faults.append(RateLimited("too many", retry_after=2.0))
    process = harness.start_process(channels=[eu, us])
    harness.enqueue(process, "first", channel=eu)
    wait_until(lambda: [row.state for row in list_replies(process)] == ["held"])
    for number in range(3):
        harness.enqueue(process, f"{number}", channel=us, user=f"u{number}")

    us.wait_for(lambda: len(us.said) == 3)
    assert eu.said == []
    eu.wait_for(lambda: eu.texts() == ["echo first"])
