"""What was said is stored before it is sent, sent in order, repeated only where nobody can know, and never against
the platform's word."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.delivery import Backoff, SendPolicy
from cometbot.errors import MessageError, RateLimited, Rejected, StoreBusy, Uncertain, Unreachable
from cometbot.messages import Text
from cometbot.store.tables import conversations, mailbox, outbox, pauses
from cometbot.testing.channel import EVERYTHING, FakeChannel

from .conftest import World, wait_until


def echo(world: World) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"


def rows(delivery: Any, table: Any = outbox) -> list[Any]:
    with delivery.database.read() as connection:
        return list(connection.execute(table.select().order_by(next(iter(table.primary_key)))))


def test_a_held_reply_stops_its_conversation_and_no_other(world: World) -> None:
    echo(world)
    world.channel.faults = [Uncertain("500")]
    delivery = world.process(policy=SendPolicy(timeout=0.2, backoff=Backoff(4.0, 4.0, 0.0)))
    world.say(delivery, "first", user="maria")
    wait_until(lambda: world.channel.requests)
    world.say(delivery, "second", user="maria")
    world.say(delivery, "elsewhere", user="tom")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo elsewhere"])
    world.channel.wait_for(lambda: len(world.channel.said) == 3)
    assert world.channel.texts("helpdesk_user_maria") == ["echo first", "echo second"]


def test_a_held_reply_holds_no_thread(world: World) -> None:
    echo(world)
    world.channel.faults = [Uncertain("500"), Uncertain("500")]
    delivery = world.process(threads=1, policy=SendPolicy(timeout=0.2, backoff=Backoff(90.0, 90.0, 0.0)))
    for user in ("a", "b"):
        world.say(delivery, "held", user=user)
    wait_until(lambda: len(world.channel.requests) == 2)
    world.say(delivery, "free", user="c")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo free"])


def test_a_rate_limit_pauses_the_account_in_all_processes_and_nothing_is_doubled(world: World) -> None:
    echo(world)
    first, second = world.process(), world.process()
    world.channel.faults = [RateLimited(retry_after=0.5)]
    world.say(first, "limited", user="maria")
    wait_until(lambda: rows(first, pauses))
    began = time.monotonic()
    world.say(second, "waits too", user="tom")

    world.channel.wait_for(lambda: len(world.channel.said) == 2)
    assert time.monotonic() - began > 0.3
    assert len(world.channel.requests) == 3
    wait_until(lambda: rows(first, pauses) == [])


def test_rate_limit_without_a_wait_pauses_for_the_throttle(world: World) -> None:
    echo(world)
    delivery = world.process(policy=SendPolicy(throttle=Backoff(first=60.0, most=60.0)))
    world.channel.faults = [RateLimited(retry_after=0.0)]
    world.say(delivery, "limited", user="maria")
    wait_until(lambda: rows(delivery, pauses))
    [pause] = rows(delivery, pauses)
    assert pause.until - delivery.database.clock() > 20


def test_when_a_pause_ends_one_send_tries_before_the_others(world: World) -> None:
    echo(world)
    delivery = world.process(threads=8, policy=SendPolicy(timeout=30.0))
    world.channel.faults = [RateLimited(retry_after=0.3)]
    world.say(delivery, "limited", user="u0")
    wait_until(lambda: rows(delivery, pauses))
    for number in range(1, 6):
        world.say(delivery, "waits", user=f"u{number}")
    waiting = threading.Event()
    world.channel.faults = [lambda sending: waiting.wait(30) and None]
    wait_until(lambda: len(world.channel.requests) >= 2)
    time.sleep(0.2)

    assert len(world.channel.requests) == 2, "the others wait for what becomes of the probe"
    waiting.set()
    world.channel.wait_for(lambda: len(world.channel.said) == 6)


def test_a_refused_connection_is_tried_again_and_not_doubled(world: World) -> None:
    echo(world)
    world.channel.faults = [Unreachable("refused"), Unreachable("refused")]
    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])


def test_an_answer_that_was_lost_is_looked_for_before_the_reply_is_sent_again(world: World) -> None:
    echo(world)
    world.channel.faults = [world.channel.lose_answer(Uncertain("time-out", down=True))]
    delivery = world.process()
    world.say(delivery, "hello")

    wait_until(lambda: rows(delivery) and rows(delivery)[0].state == "sent")
    assert world.channel.texts() == ["echo hello"]
    assert len(world.channel.requests) == 1


def test_a_reply_that_did_not_arrive_is_sent_again(world: World) -> None:
    echo(world)
    world.channel.faults = [Uncertain("500")]
    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])
    assert len(world.channel.requests) == 2


def test_a_reply_whose_sender_died_is_looked_for_first_and_not_before_the_request_can_be_over(world: World) -> None:
    echo(world)
    looked: list[float] = []
    find = world.channel.find
    world.channel.find = lambda sending, timeout: (looked.append(time.monotonic()), find(sending, timeout=timeout))[1]  # type: ignore[method-assign]
    delivery = world.process(start=False, policy=SendPolicy(timeout=0.6))
    world.say(delivery, "hello")
    began = time.monotonic()
    _crash_while_sending(world, delivery, arrived=True)
    delivery.start()

    wait_until(lambda: rows(delivery)[0].state == "sent")
    assert world.channel.texts() == ["echo hello"]
    assert looked[0] - began > 0.5


def _crash_while_sending(world: World, delivery: Any, *, arrived: bool) -> None:
    """Leave the database as a process leaves it that dies between "sending" and the answer."""
    incoming = world.channel.incoming(world.bot, "hello")
    operation_payload = world.channel.render(_operation(incoming.conversation, "echo hello"))
    with delivery.database.write() as connection:
        lane = str(incoming.conversation.key)
        delivery.store.leases.claim(connection, lane, world.dead_process(delivery.database))
        connection.execute(mailbox.update().values(state="done"))
        from cometbot.delivery.outbox import Draft

        [reply] = delivery.store.outbox.add(connection, [Draft("m1", 0, 0, lane, operation_payload)], "sending")
    if arrived:
        from cometbot.channels.base import Sending

        world.channel.act(Sending(incoming.conversation, reply.client_id, reply.body))


def _operation(conversation: Any, text: str) -> Any:
    from cometbot.messages import Operation

    return Operation(conversation=conversation, message=Text(text))


def test_where_nobody_can_look_a_reply_in_flight_at_a_crash_is_sent_again(world: World) -> None:
    world.channel.capabilities = Capabilities_without_look_up()
    echo(world)
    delivery = world.process(start=False)
    world.say(delivery, "hello")
    _crash_while_sending(world, delivery, arrived=True)
    delivery.start()

    wait_until(lambda: rows(delivery)[0].state == "sent")
    assert world.channel.texts() == ["echo hello", "echo hello"]


def Capabilities_without_look_up() -> Any:
    from dataclasses import replace

    return replace(EVERYTHING, look_up=False)


def test_a_refusal_is_a_dead_letter_with_its_code_and_does_not_hold_the_conversation(world: World) -> None:
    echo(world)
    world.channel.faults = [Rejected("no such user", code="ERR_UID_NOT_FOUND", status=404)]
    delivery = world.process()
    world.say(delivery, "first", id="1")
    world.say(delivery, "second", id="2")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo second"])
    [letter] = delivery.dead_letters.list()
    assert letter.is_reply
    assert letter.error == "ERR_UID_NOT_FOUND: no such user"


def test_a_reply_that_fails_too_often_is_a_dead_letter(world: World) -> None:
    echo(world)
    world.channel.faults = [Uncertain("500")] * 3
    delivery = world.process(policy=SendPolicy(timeout=0.2, tries=3, backoff=Backoff(0.01, 0.01)))
    world.say(delivery, "hello")

    wait_until(lambda: delivery.dead_letters.list())
    assert "tried 3 times" in delivery.dead_letters.list()[0].error


def test_a_reply_that_is_too_old_is_a_dead_letter(world: World) -> None:
    echo(world)
    world.channel.faults = [Uncertain("500")]
    delivery = world.process(policy=SendPolicy(timeout=0.2, age=0.1, backoff=Backoff(0.2, 0.2)))
    world.say(delivery, "hello")

    wait_until(lambda: delivery.dead_letters.list())
    assert "not sent within" in delivery.dead_letters.list()[0].error


def test_a_dead_reply_that_is_retried_is_sent_and_can_be_discarded_no_more(world: World) -> None:
    echo(world)
    world.channel.faults = [Rejected("no", code="ERR_X")]
    delivery = world.process()
    world.say(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())
    [letter] = delivery.dead_letters.list()

    assert delivery.retry(letter.id)
    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])
    assert delivery.dead_letters.list() == []
    assert not delivery.retry(letter.id)
    assert not delivery.dead_letters.discard(letter.id)


def test_a_dead_message_that_is_retried_does_not_say_again_what_it_had_said(world: World) -> None:
    mended: list[bool] = []

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        ctx.reply("working on it")
        if not mended:
            raise ValueError("broken")
        return "done"

    @world.bot.error(ValueError)
    def explain(ctx: Context, error: ValueError) -> str:
        ctx.reply("that went wrong")
        return "somebody will look"

    delivery = world.process()
    world.say(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())
    mended.append(True)

    assert delivery.retry(delivery.dead_letters.list()[0].id)
    world.channel.wait_for(lambda: "done" in world.channel.texts())
    assert world.channel.texts() == ["working on it", "that went wrong", "somebody will look", "done"]


def test_a_message_that_hung_and_is_retried_says_what_it_says_now(world: World) -> None:
    let_go = threading.Event()

    @world.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> str:
        let_go.wait(60)
        return "now"

    delivery = world.process()
    world.say(delivery, "hang")
    wait_until(lambda: delivery.dead_letters.list())
    let_go.set()

    assert delivery.retry(delivery.dead_letters.list()[0].id)
    world.channel.wait_for(lambda: world.channel.texts() == [world.bot.error_text, "now"])


def test_a_discarded_dead_letter_is_gone(world: World) -> None:
    delivery = world.process()

    @world.bot.fallback
    def fail(ctx: Context) -> None:
        raise ValueError("broken")

    world.say(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())
    name = delivery.dead_letters.list()[0].id

    assert delivery.dead_letters.discard(name)
    assert delivery.dead_letters.list() == []
    assert delivery.dead_letters.get(name) is None
    assert delivery.dead_letters.get("nonsense") is None


def test_a_handler_that_runs_again_says_what_it_said_the_first_time(world: World) -> None:
    """First write wins: a second run that would answer something else does not mix two answers."""
    runs: list[int] = []

    @world.bot.message("dice", retries=1)
    def dice(ctx: Context) -> str:
        runs.append(1)
        sent = ctx.reply(f"throw {len(runs)}")
        assert sent.id
        if len(runs) == 1:
            raise ValueError("interrupted")
        return f"again {len(runs)}"

    delivery = world.process()
    world.say(delivery, "dice")

    world.channel.wait_for(lambda: len(world.channel.said) == 2)
    assert world.channel.texts() == ["throw 1", "again 2"]


def test_a_reply_in_the_middle_of_a_handler_arrives_before_the_handler_ends(world: World) -> None:
    let_go = threading.Event()

    @world.bot.fallback
    def slow(ctx: Context) -> str:
        ctx.reply("working")
        let_go.wait(60)
        return "done"

    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == ["working"])
    let_go.set()
    world.channel.wait_for(lambda: world.channel.texts() == ["working", "done"])


def test_replies_behind_a_held_one_wait_and_keep_their_order(world: World) -> None:
    ids: list[str | None] = []

    @world.bot.fallback
    def talk(ctx: Context) -> list[str]:
        for text in ("one", "two"):
            ids.append(ctx.reply(text).id)
        return ["three", "four"]

    world.channel.faults = [RateLimited(retry_after=0.1)]
    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: len(world.channel.said) == 4)
    assert world.channel.texts() == ["one", "two", "three", "four"]
    assert ids == [None, None]


def test_edits_and_deletions_follow_the_message_even_if_it_had_to_wait(world: World) -> None:
    @world.bot.fallback
    def talk(ctx: Context) -> None:
        first = ctx.reply("first draft")
        second = ctx.reply("never mind")
        first.edit("final")
        second.delete()

    world.channel.faults = [RateLimited(retry_after=0.1)]
    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == ["final"])


def test_a_long_text_is_split_before_it_is_stored_and_arrives_in_order(world: World) -> None:
    whole = " ".join(f"word{number}" for number in range(2000))

    @world.bot.fallback
    def talk(ctx: Context) -> str:
        return whole

    world.channel.faults = [None, Uncertain("500")]
    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: len(world.channel.said) == len(rows(delivery)) > 3)
    assert " ".join(world.channel.texts()) == whole


def test_a_message_to_another_conversation_is_sent_by_that_conversations_lane(world: World) -> None:
    lanes: list[str] = []
    send = world.channel.send

    def watch(sending: Any, *, timeout: float) -> str:
        with delivery.database.read() as connection:
            token = connection.execute(
                conversations.select().where(conversations.c.lane == str(sending.conversation.key))
            ).one()
        lanes.append(f"{sending.conversation.id} {'held' if token.token else 'free'}")
        return send(sending, timeout=timeout)

    world.channel.send = watch  # type: ignore[method-assign]

    @world.bot.fallback
    def forward(ctx: Context) -> str:
        ctx.send("a customer needs help", to=ctx.conversation_with(group="team"))
        return "somebody will come"

    delivery = world.process()
    world.say(delivery, "help")

    world.channel.wait_for(lambda: len(world.channel.said) == 2)
    assert sorted(lanes) == ["group_team held", "helpdesk_user_maria held"]
    assert world.channel.texts("group_team") == ["a customer needs help"]


def test_bot_send_from_a_process_that_handles_nothing_arrives(world: World) -> None:
    world.process()
    script = world.process(start=False)
    script.send(world.bot, Text("Your order is out."), user="maria")

    world.channel.wait_for(lambda: world.channel.texts() == ["Your order is out."])


def test_bot_send_of_a_message_that_cannot_be_said_raises_and_stores_nothing(world: World) -> None:
    class Strict(FakeChannel):
        def render(self, operation: Any) -> Any:
            raise MessageError("too long for this platform")

    world.channel = Strict()
    delivery = world.process(start=False)
    with pytest.raises(MessageError, match="too long"):
        delivery.send(world.bot, Text("x"), user="maria")
    assert rows(delivery) == []


def test_an_answer_that_its_platform_would_never_take_makes_a_dead_letter_and_tells_the_user(world: World) -> None:
    class Strict(FakeChannel):
        def render(self, operation: Any) -> Any:
            if operation.message.to_text() == "too long":
                raise MessageError("a text has at most 5 characters here")
            return super().render(operation)

    world.channel = Strict()

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return "too long"

    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == [world.bot.error_text])
    assert "at most 5 characters" in delivery.dead_letters.list()[0].error


def test_state_is_stored_with_the_answer_and_counters_add_up_over_conversations(world: World) -> None:
    @world.bot.fallback
    def count(ctx: Context) -> str:
        ctx.state["seen"] = [*ctx.state.get("seen", []), ctx.text]
        ctx.user_state.increment("total")
        return f"{len(ctx.state['seen'])}"

    first, second = world.process(), world.process()
    for number in range(20):
        (first, second)[number % 2].put(world.channel.incoming(world.bot, "x", user="maria", group=f"g{number % 4}"))
    world.channel.wait_for(lambda: len(world.channel.said) == 20, timeout=20)

    with first.database.read() as connection:
        stored = first.store.state.load(connection, "user", "fake/test/helpdesk/maria")
    assert stored["total"] == "20"
    assert world.channel.texts("group_g0") == ["1", "2", "3", "4", "5"]


def test_a_pause_is_not_shared_between_accounts(world: World) -> None:
    bot = Bot("helpdesk")
    other = FakeChannel(account="other")
    echo(world)
    limited = world.process()
    world.channel.faults = [RateLimited(retry_after=30)]
    world.say(limited, "limited")
    wait_until(lambda: rows(limited, pauses))
    wait = limited.store.pauses.wait
    with limited.database.write() as connection:
        assert wait(connection, world.channel.conversation(bot, user="x").key, 1.0).seconds > 20
        assert wait(connection, other.conversation(bot, user="x").key, 1.0).seconds == 0


def test_no_request_begins_when_the_lease_cannot_be_shown_to_hold(world: World) -> None:
    """A process that was stopped for longer than its lease, between storing its answer and sending it, notices
    before it sends."""
    echo(world)
    delivery = world.process()
    crew: Any = delivery._crew
    sender = crew._equipment.sender
    send_all, ended = sender.send_all, threading.Event()

    def send_all_after_a_pause(lease: Any, attempts: Any) -> Any:
        with delivery.database.write() as connection:
            connection.execute(conversations.update().values(token="taken by another"))
        crew._process._seen = float("-inf")
        try:
            return send_all(lease, attempts)
        finally:
            ended.set()

    sender.send_all = send_all_after_a_pause
    world.say(delivery, "hello")

    assert ended.wait(60)
    assert world.channel.requests == []


def test_when_the_platform_says_that_nothing_is_left_the_account_pauses_before_it_is_refused(world: World) -> None:
    echo(world)
    left = [0.4]
    world.channel.cooldown = lambda: left.pop() if left else 0.0  # type: ignore[method-assign]
    delivery = world.process()
    world.say(delivery, "last one", user="maria")
    wait_until(lambda: rows(delivery, pauses))
    began = time.monotonic()
    world.say(delivery, "waits", user="tom")

    world.channel.wait_for(lambda: len(world.channel.said) == 2)
    assert time.monotonic() - began > 0.2


def test_a_commit_that_the_database_does_not_take_is_repeated_and_the_handler_does_not_run_again(world: World) -> None:
    runs: list[int] = []

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        runs.append(1)
        fail_next_commits(delivery, 2)
        return "once"

    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == ["once"])
    assert runs == [1]


def test_a_commit_whose_success_is_not_known_is_repeated_without_doubling_anything(world: World) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        ctx.user_state.increment("total")
        fail_next_commits(delivery, 1, after=True)
        return "once"

    delivery = world.process()
    world.say(delivery, "hello")

    world.channel.wait_for(lambda: world.channel.texts() == ["once"])
    wait_until(lambda: rows(delivery)[0].state == "sent")
    with delivery.database.read() as connection:
        assert delivery.store.state.load(connection, "user", "fake/test/helpdesk/maria") == {"total": "1"}
    assert len(rows(delivery)) == 1


def fail_next_commits(delivery: Any, times: int, *, after: bool = False) -> None:
    """Let the next durable writes fail: before they are stored, or after, as when the connection breaks at the
    commit."""
    write, left = delivery.database.write, [times]

    @contextmanager
    def broken_write(*, durable: bool = True, timeout: float | None = None) -> Iterator[Any]:
        fails = durable and timeout is None and left[0] > 0
        left[0] -= fails
        if fails and not after:
            raise StoreBusy("disk full")
        with write(durable=durable, timeout=timeout) as connection:
            yield connection
        if fails:
            raise StoreBusy("connection lost")

    delivery.database.write = broken_write


def test_a_dead_reply_that_had_arrived_after_all_is_not_said_again_when_it_is_retried(world: World) -> None:
    echo(world)
    world.channel.faults = [world.channel.lose_answer(Uncertain("500"))]
    delivery = world.process(policy=SendPolicy(timeout=0.2, tries=1))
    world.say(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())

    assert delivery.retry(delivery.dead_letters.list()[0].id)
    wait_until(lambda: rows(delivery)[0].state == "sent")
    assert world.channel.texts() == ["echo hello"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Unreachable("CometChat could not be reached"), "CometChat could not be reached"),
        (RateLimited("slow down", retry_after=0.1), "slow down"),
        (Uncertain("500", status=500), "500"),
    ],
)
def test_a_reply_that_waits_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture, fault: Exception, reason: str
) -> None:
    echo(world)
    world.channel.faults = [fault] * 3
    fast = Backoff(0.05, 0.05, 0.0)
    delivery = world.process(policy=SendPolicy(timeout=0.2, backoff=fast, outage=fast, throttle=fast))
    with caplog.at_level("INFO", "cometbot.delivery.sending"):
        world.say(delivery, "hello")
        world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])
        wait_until(lambda: "that waited" in caplog.text)

    (waiting,) = [record for record in caplog.records if record.levelname == "WARNING" and "waits" in record.message]
    assert reason in waiting.message
    assert "next attempt in" in waiting.message
    assert "(attempt 1)" in waiting.message
