"""A channel whose connection one process holds: others handle its messages and only write the outbox, the owner alone
sends; and what a process has no channel or bot for, it leaves alone."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import pytest

from cometbot.bot import Bot
from cometbot.channels.base import Sending
from cometbot.context import Context
from cometbot.delivery import Backoff, Delivery, SendPolicy
from cometbot.errors import LeaseLost, RateLimited, Uncertain
from cometbot.store.tables import conversations, outbox
from cometbot.testing.channel import EVERYTHING, FakeChannel

from .conftest import World, wait_until


class Owner(FakeChannel):
    """The channel where its connection is."""

    has_owner: ClassVar[bool] = True


class Elsewhere(FakeChannel):
    """The same channel in a process without the connection."""

    has_owner: ClassVar[bool] = True
    sends = False  # type: ignore[assignment]

    def send(self, sending: Sending, *, timeout: float) -> str:
        raise AssertionError("only the owner sends")

    def sketch(self, conversation: Any, message_id: str, text: str) -> None:
        raise AssertionError("only the owner sends")


class Other(FakeChannel):
    """A channel under another name."""

    name: ClassVar[str] = "other"


@pytest.fixture
def owner(world: World) -> Owner:
    world.channel = owner = Owner()
    return owner


def echo(world: World, handled_by: list[str] | None = None) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        if handled_by is not None:
            handled_by.append(ctx.text)
        return f"echo {ctx.text}"


def rows(delivery: Delivery) -> list[Any]:
    with delivery.database.read() as connection:
        return list(connection.execute(outbox.select().order_by(outbox.c.id)))


def lanes(delivery: Delivery) -> list[Any]:
    with delivery.database.read() as connection:
        return list(connection.execute(conversations.select()))


def test_where_no_owner_runs_a_message_is_handled_and_its_reply_waits_for_the_owner(world: World, owner: Owner) -> None:
    echo(world)
    elsewhere = world.process(channels=[Elsewhere()])
    world.say(elsewhere, "hello")

    wait_until(lambda: [row.state for row in rows(elsewhere)] == ["ready"])
    wait_until(lambda: [row.token for row in lanes(elsewhere)] == [None])
    world.process(handles=False)
    owner.wait_for(lambda: owner.texts() == ["echo hello"])


def test_an_owner_that_does_not_handle_sends_what_others_handle_in_order(world: World, owner: Owner) -> None:
    echo(world)
    holder = world.process(handles=False)
    world.process(channels=[Elsewhere()])
    world.process(channels=[Elsewhere()])
    for number in range(12):
        world.say(holder, f"{number}", user=f"u{number % 3}")

    owner.wait_for(lambda: len(owner.said) == 12, timeout=30)
    for user in range(3):
        expected = [f"echo {number}" for number in range(12) if number % 3 == user]
        assert owner.texts(f"helpdesk_user_u{user}") == expected


def test_an_owner_that_does_not_handle_leaves_messages_to_others(world: World, owner: Owner) -> None:
    handled: list[str] = []
    echo(world, handled)
    holder = world.process(handles=False)
    world.say(holder, "hello")
    world.bot.connect(holder)
    world.bot.send(user="tom", text="It sends what is there to send.")
    owner.wait_for(lambda: owner.texts() == ["It sends what is there to send."])

    time.sleep(1.5)  # more than a sweep
    assert handled == []
    world.process(channels=[Elsewhere()])
    owner.wait_for(lambda: "echo hello" in owner.texts())


def test_an_owner_may_handle_and_send_beside_others(world: World, owner: Owner) -> None:
    echo(world)
    holder = world.process()
    world.process(channels=[Elsewhere()])
    for number in range(20):
        world.say(holder, f"{number}", user=f"u{number % 5}")

    owner.wait_for(lambda: len(owner.said) == 20, timeout=30)
    assert owner.texts("helpdesk_user_u3") == ["echo 3", "echo 8", "echo 13", "echo 18"]


def test_what_a_handler_elsewhere_says_keeps_its_order_and_its_edits_find_their_message(
    world: World, owner: Owner
) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        sent = ctx.reply("working")
        assert sent.id is None
        sent.edit("done")
        ctx.react("👍")
        return "goodbye"

    world.process(handles=False)
    elsewhere = world.process(channels=[Elsewhere()])
    world.say(elsewhere, "hello")

    owner.wait_for(lambda: owner.texts() == ["done", "goodbye"])
    assert owner.said[0].versions == ("working", "done")


def test_a_stream_elsewhere_becomes_one_message(world: World, owner: Owner) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.stream(["one ", "two ", "three"])

    world.process(handles=False)
    elsewhere = world.process(channels=[Elsewhere()])
    assert EVERYTHING.stream_interval is not None
    world.say(elsewhere, "hello")

    owner.wait_for(lambda: bool(owner.said))
    assert [said.versions for said in owner.said] == [("one two three",)]


def test_a_handler_elsewhere_says_something_in_another_conversation_through_the_owner(
    world: World, owner: Owner
) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> None:
        world.bot.send(user="tom", text="Maria wrote.")
        ctx.send("Maria wrote too.", to=owner.conversation(world.bot, user="tina"))

    world.process(handles=False)
    elsewhere = world.process(channels=[Elsewhere()])
    world.bot.connect(elsewhere)
    world.say(elsewhere, "hello")

    owner.wait_for(lambda: len(owner.said) == 2)
    assert owner.texts("helpdesk_user_tom") == ["Maria wrote."]
    assert owner.texts("helpdesk_user_tina") == ["Maria wrote too."]


def test_a_held_reply_of_the_owner_holds_the_messages_handled_elsewhere(world: World, owner: Owner) -> None:
    said_before: dict[str, list[str]] = {}

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        said_before[ctx.text] = owner.texts()
        return f"echo {ctx.text}"

    owner.faults = [Uncertain("500")]
    holder = world.process(handles=False, policy=SendPolicy(timeout=0.2, backoff=Backoff(1.0, 1.0, 0.0)))
    world.process(channels=[Elsewhere()])
    world.say(holder, "first")
    wait_until(lambda: owner.requests)
    world.say(holder, "second")

    owner.wait_for(lambda: owner.texts() == ["echo first", "echo second"])
    assert said_before == {"first": [], "second": ["echo first"]}


def test_a_pause_of_the_owner_ends_for_all_its_conversations(world: World, owner: Owner) -> None:
    echo(world)
    owner.faults = [RateLimited(retry_after=0.5)]
    holder = world.process(handles=False)
    world.process(channels=[Elsewhere()])
    for user in ("a", "b", "c"):
        world.say(holder, "hello", user=user)

    owner.wait_for(lambda: len(owner.said) == 3)


def test_a_handler_elsewhere_that_passes_its_deadline_apologises_through_the_owner(world: World, owner: Owner) -> None:
    ended = threading.Event()

    @world.bot.message("slow", timeout=0.2)
    def slow(ctx: Context) -> None:
        ended.wait(60)

    world.process(handles=False)
    elsewhere = world.process(channels=[Elsewhere()])
    world.say(elsewhere, "slow")
    try:
        owner.wait_for(lambda: owner.texts() == [world.bot.error_text])
    finally:
        ended.set()


def test_a_reply_that_its_owner_was_sending_when_it_died_is_looked_for_by_the_next_owner(
    world: World, owner: Owner
) -> None:
    echo(world)
    owner.faults = [owner.lose_answer(LeaseLost())]
    first = world.process(handles=False)
    world.process(channels=[Elsewhere()])
    world.say(first, "hello")
    wait_until(lambda: [row.state for row in rows(first)] == ["sending"])
    first.stop(1)
    second = world.process(handles=False)

    wait_until(lambda: [row.state for row in rows(second)] == ["sent"])
    assert owner.texts() == ["echo hello"]


def test_conversations_of_a_channel_that_a_process_does_not_have_are_left_alone(world: World) -> None:
    handled: list[str] = []
    echo(world, handled)
    other = Other()
    without = world.process()
    storing = world.process(start=False, channels=[other])
    assert storing.put(other.incoming(world.bot, "for the other channel"))
    without.wake(str(lanes(storing)[0].lane))
    world.say(without, "for this channel")
    world.channel.wait_for(lambda: world.channel.texts() == ["echo for this channel"])
    time.sleep(1.3)  # more than a sweep

    assert handled == ["for this channel"]
    assert [row.token for row in lanes(storing)] == [None, None]
    world.process(channels=[other])
    other.wait_for(lambda: other.texts() == ["echo for the other channel"])


def test_conversations_of_a_bot_that_a_process_does_not_have_are_left_alone(world: World) -> None:
    echo(world)
    stranger = Bot("stranger")
    running = world.process()
    assert running.put(world.channel.incoming(stranger, "for another bot"))
    world.say(running, "for this bot")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo for this bot"])
    [lane] = [row for row in lanes(running) if row.bot == "stranger"]
    assert (lane.token, bool(lane.mail)) == (None, True)


def test_a_process_that_does_not_handle_is_no_worker_that_readiness_counts(world: World, owner: Owner) -> None:
    holder = world.process(handles=False)
    with holder.database.read() as connection:
        assert holder.store.leases.count_alive(connection) == 0
    world.process(channels=[Elsewhere()])
    with holder.database.read() as connection:
        assert holder.store.leases.count_alive(connection) == 1


def test_a_channel_without_an_owner_is_not_sent_to_by_a_process_that_does_not_handle(world: World) -> None:
    echo(world)
    idle = world.process(handles=False)
    world.say(idle, "hello")
    world.bot.connect(idle)
    world.bot.send(user="tom", text="Waits too.")
    time.sleep(1.3)  # more than a sweep

    assert world.channel.requests == []
    world.process()
    world.channel.wait_for(lambda: sorted(world.channel.texts()) == ["Waits too.", "echo hello"])
