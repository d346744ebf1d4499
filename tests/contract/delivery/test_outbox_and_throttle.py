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
from cometbot.errors import MessageError, OutcomeUnknown, RateLimited, Rejected, StoreBusy, Unreachable
from cometbot.messages import Text
from cometbot.store.tables import conversations, mailbox, outbox, pauses
from cometbot.testing.fake_channel import EVERYTHING, FakeChannel

from .conftest import Harness, wait_until


def echo(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"


def rows(delivery: Any, table: Any = outbox) -> list[Any]:
    with delivery.database.read() as connection:
        return list(connection.execute(table.select().order_by(next(iter(table.primary_key)))))


def test_a_held_reply_stops_its_conversation_and_no_other(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [OutcomeUnknown("500")]
    delivery = harness.start_process(policy=SendPolicy(timeout=0.2, retry_backoff=Backoff(4.0, 4.0, 0.0)))
    harness.enqueue(delivery, "first", user="maria")
    wait_until(lambda: harness.channel.requests)
    harness.enqueue(delivery, "second", user="maria")
    harness.enqueue(delivery, "elsewhere", user="tom")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo elsewhere"])
    harness.channel.wait_for(lambda: len(harness.channel.said) == 3)
    assert harness.channel.texts("helpdesk_user_maria") == ["echo first", "echo second"]


def test_a_held_reply_holds_no_thread(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [OutcomeUnknown("500"), OutcomeUnknown("500")]
    delivery = harness.start_process(threads=1, policy=SendPolicy(timeout=0.2, retry_backoff=Backoff(90.0, 90.0, 0.0)))
    for user in ("a", "b"):
        harness.enqueue(delivery, "held", user=user)
    wait_until(lambda: len(harness.channel.requests) == 2)
    harness.enqueue(delivery, "free", user="c")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo free"])


def test_rate_limit_throttles_the_account_in_all_processes(harness: Harness) -> None:
    echo(harness)
    first, second = harness.start_process(), harness.start_process()
    harness.channel.faults = [RateLimited(retry_after=0.5)]
    harness.enqueue(first, "limited", user="maria")
    wait_until(lambda: rows(first, pauses))
    began = time.monotonic()
    harness.enqueue(second, "waits too", user="tom")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert time.monotonic() - began > 0.3
    assert len(harness.channel.requests) == 3
    wait_until(lambda: rows(first, pauses) == [])


def test_rate_limit_without_retry_after_uses_the_backoff(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(policy=SendPolicy(rate_limit_backoff=Backoff(initial=60.0, maximum=60.0)))
    harness.channel.faults = [RateLimited(retry_after=0.0)]
    harness.enqueue(delivery, "limited", user="maria")
    wait_until(lambda: rows(delivery, pauses))
    [pause] = rows(delivery, pauses)
    assert pause.until - delivery.database.clock() > 20


def test_one_trial_request_is_sent_when_a_throttle_ends(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(threads=8, policy=SendPolicy(timeout=30.0))
    harness.channel.faults = [RateLimited(retry_after=0.3)]
    harness.enqueue(delivery, "limited", user="u0")
    wait_until(lambda: rows(delivery, pauses))
    for number in range(1, 6):
        harness.enqueue(delivery, "waits", user=f"u{number}")
    waiting = threading.Event()
    harness.channel.faults = [lambda sending: waiting.wait(30) and None]
    wait_until(lambda: len(harness.channel.requests) >= 2)
    time.sleep(0.2)

    assert len(harness.channel.requests) == 2, "the others wait for what becomes of the probe"
    waiting.set()
    harness.channel.wait_for(lambda: len(harness.channel.said) == 6)


def test_a_refused_connection_is_tried_again_and_not_doubled(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [Unreachable("refused"), Unreachable("refused")]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])


def test_reply_with_a_lost_answer_is_verified_before_resending(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [harness.channel.lose_answer(OutcomeUnknown("time-out", down=True))]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    wait_until(lambda: rows(delivery) and rows(delivery)[0].state == "sent")
    assert harness.channel.texts() == ["echo hello"]
    assert len(harness.channel.requests) == 1


def test_a_reply_that_did_not_arrive_is_sent_again(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [OutcomeUnknown("500")]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])
    assert len(harness.channel.requests) == 2


def test_reply_of_a_dead_sender_is_verified_after_its_timeout(harness: Harness) -> None:
    echo(harness)
    verified_at: list[float] = []
    find = harness.channel.find_sent
    harness.channel.find_sent = lambda sending, timeout: (
        verified_at.append(time.monotonic()),
        find(sending, timeout=timeout),
    )[1]  # type: ignore[method-assign]
    delivery = harness.start_process(start=False, policy=SendPolicy(timeout=0.6))
    harness.enqueue(delivery, "hello")
    began = time.monotonic()
    _crash_while_sending(harness, delivery, arrived=True)
    delivery.start()

    wait_until(lambda: rows(delivery)[0].state == "sent")
    assert harness.channel.texts() == ["echo hello"]
    assert verified_at[0] - began > 0.5


def _crash_while_sending(harness: Harness, delivery: Any, *, arrived: bool) -> None:
    """Leave the database as a process leaves it that dies between "sending" and the answer."""
    incoming = harness.channel.incoming(harness.bot, "hello")
    operation_payload = harness.channel.render(_operation(incoming.conversation, "echo hello"))
    with delivery.database.write() as connection:
        conversation_key = str(incoming.conversation.key)
        delivery.store.leases.claim(connection, conversation_key, harness.make_dead_process(delivery.database))
        connection.execute(mailbox.update().values(state="done"))
        from cometbot.store.outbox import Draft

        [reply] = delivery.store.outbox.add(
            connection, [Draft("m1", 0, 0, incoming.conversation, operation_payload)], "sending"
        )
    if arrived:
        from cometbot.channels.base import OutgoingRequest

        harness.channel.perform(OutgoingRequest(incoming.conversation, reply.client_id, reply.body))


def _operation(conversation: Any, text: str) -> Any:
    from cometbot.messages import Operation

    return Operation(conversation=conversation, message=Text(text))


def test_reply_in_flight_at_a_crash_is_resent_without_look_up(harness: Harness) -> None:
    harness.channel.capabilities = capabilities_without_look_up()
    echo(harness)
    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "hello")
    _crash_while_sending(harness, delivery, arrived=True)
    delivery.start()

    wait_until(lambda: rows(delivery)[0].state == "sent")
    assert harness.channel.texts() == ["echo hello", "echo hello"]


def capabilities_without_look_up() -> Any:
    from dataclasses import replace

    return replace(EVERYTHING, look_up=False)


def test_rejected_reply_is_a_dead_letter_with_its_code(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [Rejected("no such user", code="ERR_UID_NOT_FOUND", status=404)]
    delivery = harness.start_process()
    harness.enqueue(delivery, "first", id="1")
    harness.enqueue(delivery, "second", id="2")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo second"])
    [letter] = delivery.dead_letters.list()
    assert letter.is_reply
    assert letter.error == "ERR_UID_NOT_FOUND: no such user"


def test_a_reply_that_fails_too_often_is_a_dead_letter(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [OutcomeUnknown("500")] * 3
    delivery = harness.start_process(policy=SendPolicy(timeout=0.2, max_attempts=3, retry_backoff=Backoff(0.01, 0.01)))
    harness.enqueue(delivery, "hello")

    wait_until(lambda: delivery.dead_letters.list())
    assert "tried 3 times" in delivery.dead_letters.list()[0].error


def test_a_reply_that_is_too_old_is_a_dead_letter(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [OutcomeUnknown("500")]
    delivery = harness.start_process(policy=SendPolicy(timeout=0.2, max_age=0.1, retry_backoff=Backoff(0.2, 0.2)))
    harness.enqueue(delivery, "hello")

    wait_until(lambda: delivery.dead_letters.list())
    assert "not sent within" in delivery.dead_letters.list()[0].error


def test_retried_dead_reply_is_sent_and_gone_from_the_list(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [Rejected("no", code="ERR_X")]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())
    [letter] = delivery.dead_letters.list()

    assert delivery.retry(letter.id)
    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])
    assert delivery.dead_letters.list() == []
    assert not delivery.retry(letter.id)
    assert not delivery.dead_letters.discard(letter.id)


def test_retried_message_does_not_repeat_its_replies(harness: Harness) -> None:
    fixed: list[bool] = []

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        ctx.reply("working on it")
        if not fixed:
            raise ValueError("broken")
        return "done"

    @harness.bot.error(ValueError)
    def explain(ctx: Context, error: ValueError) -> str:
        ctx.reply("that went wrong")
        return "somebody will look"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())
    fixed.append(True)

    assert delivery.retry(delivery.dead_letters.list()[0].id)
    harness.channel.wait_for(lambda: "done" in harness.channel.texts())
    assert harness.channel.texts() == ["working on it", "that went wrong", "somebody will look", "done"]


def test_retried_message_after_a_timeout_sends_its_new_reply(harness: Harness) -> None:
    release = threading.Event()

    @harness.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> str:
        release.wait(60)
        return "now"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hang")
    wait_until(lambda: delivery.dead_letters.list())
    release.set()

    assert delivery.retry(delivery.dead_letters.list()[0].id)
    harness.channel.wait_for(lambda: harness.channel.texts() == [harness.bot.error_text, "now"])


def test_a_discarded_dead_letter_is_gone(harness: Harness) -> None:
    delivery = harness.start_process()

    @harness.bot.fallback
    def fail(ctx: Context) -> None:
        raise ValueError("broken")

    harness.enqueue(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())
    name = delivery.dead_letters.list()[0].id

    assert delivery.dead_letters.discard(name)
    assert delivery.dead_letters.list() == []
    assert delivery.dead_letters.get(name) is None
    assert delivery.dead_letters.get("nonsense") is None


def test_rerun_keeps_the_reply_of_the_first_run(harness: Harness) -> None:
    """First write wins: a second run that would answer something else does not mix two answers."""
    runs: list[int] = []

    @harness.bot.message("dice", retries=1)
    def dice(ctx: Context) -> str:
        runs.append(1)
        sent = ctx.reply(f"throw {len(runs)}")
        assert sent.id
        if len(runs) == 1:
            raise ValueError("interrupted")
        return f"again {len(runs)}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "dice")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert harness.channel.texts() == ["throw 1", "again 2"]


def test_reply_is_sent_before_the_handler_ends(harness: Harness) -> None:
    release = threading.Event()

    @harness.bot.fallback
    def slow(ctx: Context) -> str:
        ctx.reply("working")
        release.wait(60)
        return "done"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["working"])
    release.set()
    harness.channel.wait_for(lambda: harness.channel.texts() == ["working", "done"])


def test_replies_behind_a_held_one_wait_and_keep_their_order(harness: Harness) -> None:
    ids: list[str | None] = []

    @harness.bot.fallback
    def talk(ctx: Context) -> list[str]:
        for text in ("one", "two"):
            ids.append(ctx.reply(text).id)
        return ["three", "four"]

    harness.channel.faults = [RateLimited(retry_after=0.1)]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 4)
    assert harness.channel.texts() == ["one", "two", "three", "four"]
    assert ids == [None, None]


def test_edits_and_deletions_wait_for_their_message(harness: Harness) -> None:
    @harness.bot.fallback
    def talk(ctx: Context) -> None:
        first = ctx.reply("first draft")
        second = ctx.reply("never mind")
        first.edit("final")
        second.delete()

    harness.channel.faults = [RateLimited(retry_after=0.1)]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["final"])


def test_long_text_is_split_and_arrives_in_order(harness: Harness) -> None:
    whole = " ".join(f"word{number}" for number in range(2000))

    @harness.bot.fallback
    def talk(ctx: Context) -> str:
        return whole

    harness.channel.faults = [None, OutcomeUnknown("500")]
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: len(harness.channel.said) == len(rows(delivery)) > 3)
    assert " ".join(harness.channel.texts()) == whole


def test_message_to_another_conversation_uses_its_lease(harness: Harness) -> None:
    leases: list[str] = []
    send = harness.channel.send

    def watch(sending: Any, *, timeout: float) -> str:
        with delivery.database.read() as connection:
            token = connection.execute(
                conversations.select().where(conversations.c.conversation_key == str(sending.conversation.key))
            ).one()
        leases.append(f"{sending.conversation.id} {'held' if token.token else 'free'}")
        return send(sending, timeout=timeout)

    harness.channel.send = watch  # type: ignore[method-assign]

    @harness.bot.fallback
    def forward(ctx: Context) -> str:
        ctx.send("a customer needs help", to=ctx.conversation_with(group="team"))
        return "somebody will come"

    delivery = harness.start_process()
    harness.enqueue(delivery, "help")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert sorted(leases) == ["group_team held", "helpdesk_user_maria held"]
    assert harness.channel.texts("group_team") == ["a customer needs help"]


def test_bot_send_from_a_process_that_handles_nothing_arrives(harness: Harness) -> None:
    harness.start_process()
    script = harness.start_process(start=False)
    script.send(harness.bot, Text("Your order is out."), user="maria")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["Your order is out."])


def test_bot_send_of_an_invalid_message_raises(harness: Harness) -> None:
    class Strict(FakeChannel):
        def render(self, operation: Any) -> Any:
            raise MessageError("too long for this platform")

    harness.channel = Strict()
    delivery = harness.start_process(start=False)
    with pytest.raises(MessageError, match="too long"):
        delivery.send(harness.bot, Text("x"), user="maria")
    assert rows(delivery) == []


def test_invalid_reply_makes_a_dead_letter_and_an_error_reply(harness: Harness) -> None:
    class Strict(FakeChannel):
        def render(self, operation: Any) -> Any:
            if operation.message.to_text() == "too long":
                raise MessageError("a text has at most 5 characters here")
            return super().render(operation)

    harness.channel = Strict()

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return "too long"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == [harness.bot.error_text])
    assert "at most 5 characters" in delivery.dead_letters.list()[0].error


def test_state_is_stored_with_the_reply_and_counters_add_up(harness: Harness) -> None:
    @harness.bot.fallback
    def count(ctx: Context) -> str:
        ctx.state["seen"] = [*ctx.state.get("seen", []), ctx.text]
        ctx.user_state.increment("total")
        return f"{len(ctx.state['seen'])}"

    first, second = harness.start_process(), harness.start_process()
    for number in range(20):
        (first, second)[number % 2].enqueue(
            harness.channel.incoming(harness.bot, "x", user="maria", group=f"g{number % 4}")
        )
    harness.channel.wait_for(lambda: len(harness.channel.said) == 20, timeout=20)

    with first.database.read() as connection:
        stored = first.store.state.load(connection, "user", "fake/test/helpdesk/maria")
    assert stored["total"] == "20"
    assert harness.channel.texts("group_g0") == ["1", "2", "3", "4", "5"]


def test_throttle_is_not_shared_between_accounts(harness: Harness) -> None:
    bot = Bot("helpdesk")
    other = FakeChannel(account="other")
    echo(harness)
    limited = harness.start_process()
    harness.channel.faults = [RateLimited(retry_after=30)]
    harness.enqueue(limited, "limited")
    wait_until(lambda: rows(limited, pauses))
    wait = limited.store.throttles.acquire
    with limited.database.write() as connection:
        assert wait(connection, harness.channel.conversation(bot, user="x").key, 1.0).seconds > 20
        assert wait(connection, other.conversation(bot, user="x").key, 1.0).seconds == 0


def test_nothing_is_sent_under_an_expired_lease(harness: Harness) -> None:
    """A process that was stopped for longer than its lease, between storing its answer and sending it, notices
    before it sends."""
    echo(harness)
    delivery = harness.start_process()
    worker: Any = delivery._workers.existing
    sender = worker._runner._sender
    send_all, ended = sender.send_all, threading.Event()

    def send_all_after_a_pause(lease: Any, attempts: Any) -> Any:
        with delivery.database.write() as connection:
            connection.execute(conversations.update().values(token="taken by another"))
        worker._process._last_heartbeat = float("-inf")
        try:
            return send_all(lease, attempts)
        finally:
            ended.set()

    sender.send_all = send_all_after_a_pause
    harness.enqueue(delivery, "hello")

    assert ended.wait(60)
    assert harness.channel.requests == []


def test_cooldown_of_the_platform_throttles_the_account(harness: Harness) -> None:
    echo(harness)
    cooldowns = [0.4]
    harness.channel.cooldown = lambda: cooldowns.pop() if cooldowns else 0.0  # type: ignore[method-assign]
    delivery = harness.start_process()
    harness.enqueue(delivery, "last one", user="maria")
    wait_until(lambda: rows(delivery, pauses))
    began = time.monotonic()
    harness.enqueue(delivery, "waits", user="tom")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert time.monotonic() - began > 0.2


def test_refused_commit_is_retried_without_the_handler(harness: Harness) -> None:
    runs: list[int] = []

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        runs.append(1)
        fail_next_commits(delivery, 2)
        return "once"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["once"])
    assert runs == [1]


def test_commit_with_unknown_outcome_is_retried_safely(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        ctx.user_state.increment("total")
        fail_next_commits(delivery, 1, after=True)
        return "once"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["once"])
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


def test_retried_dead_reply_that_had_arrived_is_not_resent(harness: Harness) -> None:
    echo(harness)
    harness.channel.faults = [harness.channel.lose_answer(OutcomeUnknown("500"))]
    delivery = harness.start_process(policy=SendPolicy(timeout=0.2, max_attempts=1))
    harness.enqueue(delivery, "hello")
    wait_until(lambda: delivery.dead_letters.list())

    assert delivery.retry(delivery.dead_letters.list()[0].id)
    wait_until(lambda: rows(delivery)[0].state == "sent")
    assert harness.channel.texts() == ["echo hello"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Unreachable("CometChat could not be reached"), "CometChat could not be reached"),
        (RateLimited("slow down", retry_after=0.1), "slow down"),
        (OutcomeUnknown("500", status=500), "500"),
    ],
)
def test_a_reply_that_waits_is_logged_once(
    harness: Harness, caplog: pytest.LogCaptureFixture, fault: Exception, reason: str
) -> None:
    echo(harness)
    harness.channel.faults = [fault] * 3
    fast = Backoff(0.05, 0.05, 0.0)
    delivery = harness.start_process(
        policy=SendPolicy(timeout=0.2, retry_backoff=fast, outage_backoff=fast, rate_limit_backoff=fast)
    )
    with caplog.at_level("INFO", "cometbot.delivery.sending"):
        harness.enqueue(delivery, "hello")
        harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])
        wait_until(lambda: "that waited" in caplog.text)

    (waiting,) = [record for record in caplog.records if record.levelname == "WARNING" and "waits" in record.message]
    assert reason in waiting.message
    assert "next attempt in" in waiting.message
    assert "(attempt 1)" in waiting.message
