"""What was taken in is handled once, in order, and survives whoever handled it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.delivery.conversation_runner import ConversationRunner
from cometbot.delivery.outbox_sink import OutboxReplySink
from cometbot.delivery.running_handlers import HandlerRun
from cometbot.errors import StoreBusy
from cometbot.store.mailbox import MAX_CRASH_COUNT
from cometbot.store.tables import conversations, mailbox, outbox, processes

from .conftest import Harness, wait_until


def echo(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"


def test_a_message_is_answered_once(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process()

    assert harness.enqueue(delivery, "hello", id="1")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])


def test_five_redeliveries_at_once_are_stored_and_answered_once(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process()
    results: list[bool] = []
    barrier = threading.Barrier(5)

    def redeliver() -> None:
        barrier.wait()
        results.append(harness.enqueue(delivery, "hello", id="1"))

    threads = [threading.Thread(target=redeliver) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.enqueue(delivery, "later", id="2")

    harness.channel.wait_for(lambda: "echo later" in harness.channel.texts())
    assert sorted(results) == [False, False, False, False, True]
    assert harness.channel.texts() == ["echo hello", "echo later"]


def test_same_event_for_another_bot_is_a_new_message(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    other = Bot("sales")

    assert harness.enqueue(delivery, "hello", id="1")
    assert not harness.enqueue(delivery, "hello", id="1")
    assert delivery.enqueue(harness.channel.incoming(other, "hello", id="1"))


def test_conversations_run_in_parallel_and_each_in_order(harness: Harness) -> None:
    lock, running, max_parallel = threading.Lock(), set(), [0]

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        with lock:
            assert ctx.conversation.id not in running, "two messages of one conversation at once"
            running.add(ctx.conversation.id)
            max_parallel[0] = max(max_parallel[0], len(running))
        time.sleep(0.002)
        with lock:
            running.discard(ctx.conversation.id)
        return ctx.text

    first, second = harness.start_process(), harness.start_process()
    users = [f"u{n}" for n in range(10)]
    for number in range(10):
        for user in users:
            harness.enqueue((first, second)[number % 2], str(number), user=user)

    harness.channel.wait_for(lambda: len(harness.channel.said) == 100)
    for user in users:
        assert harness.channel.texts(f"helpdesk_user_{user}") == [str(number) for number in range(10)]
    assert max_parallel[0] > 1


def test_a_slow_handler_does_not_hold_up_other_conversations(harness: Harness) -> None:
    release = threading.Event()

    @harness.bot.message("slow")
    def slow(ctx: Context) -> str:
        release.wait(60)
        return "slow done"

    echo(harness)
    delivery = harness.start_process()
    harness.enqueue(delivery, "slow", user="maria")
    began = time.monotonic()
    harness.enqueue(delivery, "quick", user="tom")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo quick"])
    assert time.monotonic() - began < 30
    release.set()
    harness.channel.wait_for(lambda: "slow done" in harness.channel.texts())


def test_busy_conversation_yields_to_others(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(start=False)
    for number in range(50):
        harness.enqueue(delivery, f"flood {number}", user="loud")
    harness.enqueue(delivery, "one question", user="quiet")

    delivery.stop()
    alone = harness.start_process(threads=1)
    assert alone.is_running

    harness.channel.wait_for(lambda: len(harness.channel.said) == 51)
    place = harness.channel.texts().index("echo one question")
    assert place < 45, "the quiet conversation had to wait for all of the loud one"


def test_lost_notification_is_found_by_the_sweep(harness: Harness) -> None:
    echo(harness)
    silent = harness.start_process(start=False)
    silent.notify = lambda conversation_key: None  # type: ignore[method-assign]
    harness.start_process()
    harness.enqueue(silent, "forgotten")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo forgotten"])


def test_message_stored_during_release_is_not_lost(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is put at the very moment that the runner is about to find its mailbox empty."""
    echo(harness)
    delivery = harness.start_process()
    store = delivery.store

    def deliver_more() -> None:
        try:
            harness.enqueue(delivery, "more")
        except StoreBusy:  # as a platform does that is told to come again
            deliver_more()

    def say_more(answer: Any) -> Any:
        if len(harness.channel.said) < 20 and threading.current_thread() is not threading.main_thread():
            thread = threading.Thread(target=deliver_more)
            thread.start()
            thread.join(0.05)  # before the commit, where nothing keeps it from being put
        return answer

    assert delivery._workers.existing is not None
    fast_path = getattr(delivery._workers.existing._transactions, "fast_path", None)
    release_idle = store.leases.release_idle
    monkeypatch.setattr(store.leases, "release_idle", lambda *given: say_more(None) or release_idle(*given))
    if fast_path is not None:
        advance = fast_path.advance
        monkeypatch.setattr(fast_path, "advance", lambda *given, **more: say_more(None) or advance(*given, **more))
    harness.enqueue(delivery, "first")

    harness.channel.wait_for(lambda: len(harness.channel.said) >= 20, timeout=60)


def test_messages_of_a_dead_process_are_taken_over(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "hello", id="1")
    with delivery.database.write() as connection:
        conversation_key = str(harness.channel.conversation(harness.bot, user="maria").key)
        lease = delivery.store.leases.claim(connection, conversation_key, harness.make_dead_process(delivery.database))
        assert lease is not None
    delivery.start()

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])


def test_crash_after_a_message_counts_for_the_next_one_only(
    harness: Harness,
) -> None:
    """The end of a message and the beginning of the next are one commit: that one counts a crash, the first does not
    run again."""
    echo(harness)
    delivery = harness.start_process(start=False)
    for text in ("first", "second"):
        harness.enqueue(delivery, text, id=text)
    conversation_key = str(harness.channel.conversation(harness.bot, user="maria").key)
    with delivery.database.write() as connection:
        assert delivery.store.leases.claim(connection, conversation_key, harness.make_dead_process(delivery.database))
        first = delivery.store.mailbox.start_oldest(connection, conversation_key)
        assert first is not None
    with delivery.database.write() as connection:
        assert delivery.store.mailbox.end(connection, first, "done", "answer")
        second = delivery.store.mailbox.start_oldest(connection, conversation_key)
        assert second is not None
    assert (second.attempts, second.crash_count, second.is_rerun) == (0, 0, False)
    with delivery.database.write() as connection:
        assert delivery.store.mailbox.start_oldest(connection, conversation_key) is None, (
            "what was begun is not begun again at once"
        )
        found = delivery.store.mailbox.get_oldest(connection, conversation_key)
    assert found is not None
    assert (found.crash_count, found.is_rerun) == (1, True)
    delivery.start()

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo second"])
    with delivery.database.read() as connection:
        rows = connection.execute(sa.select(mailbox.c.state, mailbox.c.attempts).order_by(mailbox.c.seq)).all()
    assert [tuple(row) for row in rows] == [("done", 1), ("done", 2)]


def test_live_lease_of_another_process_is_respected(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "hello", id="1")
    conversation_key = str(harness.channel.conversation(harness.bot, user="maria").key)
    with delivery.database.write() as connection:
        values = {"token": "other", "lease_until": delivery.database.clock() + 60, "handles": True, "address": ""}
        connection.execute(processes.insert(), values)
        assert delivery.store.leases.claim(connection, conversation_key, "other") is not None
        assert delivery.store.leases.claim(connection, conversation_key, "mine") is None
        assert delivery.store.leases.find_abandoned(connection, ["helpdesk"], ["fake"]) == []


def test_fifth_crash_makes_a_dead_letter(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "poison", id="1")
    harness.enqueue(delivery, "fine", id="2")
    with delivery.database.write() as connection:
        crashed = mailbox.update().where(mailbox.c.event_key == "message:1")
        connection.execute(crashed.values(state="running", attempts=MAX_CRASH_COUNT))
    delivery.start()

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo fine"])
    [letter] = delivery.dead_letters.list()
    assert letter.event == "message:1"
    assert "died 5 times" in letter.error


def test_a_start_is_counted_before_the_handler_runs(harness: Harness) -> None:
    seen: list[int] = []

    @harness.bot.fallback
    def count(ctx: Context) -> None:
        with delivery.database.read() as connection:
            seen.append(connection.execute(mailbox.select()).one().attempts)

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    wait_until(lambda: seen)

    assert seen == [1]


def test_handler_timeout_makes_a_dead_letter(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cometbot.delivery")
    release = threading.Event()

    @harness.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> str:
        release.wait(60)
        return "too late"

    echo(harness)
    delivery = harness.start_process(threads=1)
    harness.enqueue(delivery, "hang", id="1")
    harness.enqueue(delivery, "next", id="2")

    harness.channel.wait_for(lambda: "echo next" in harness.channel.texts())
    [letter] = delivery.dead_letters.list()
    assert "did not end within 0.2 s" in letter.error
    assert harness.channel.texts() == [harness.bot.error_text, "echo next"]
    release.set()
    harness.enqueue(delivery, "last", id="3")
    harness.channel.wait_for(lambda: "echo last" in harness.channel.texts())
    wait_until(lambda: "a handler ended after its message had been given up" in caplog.text)
    assert "another worker" not in caplog.text
    assert "too late" not in harness.channel.texts()


def test_handler_that_ends_at_its_timeout_counts_as_done(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    release, next_began, next_may_end = threading.Event(), threading.Event(), threading.Event()
    runs: list[str] = []
    given_up: list[bool] = []
    close = OutboxReplySink.close

    def give_up_late(sink: OutboxReplySink) -> None:
        release.set()
        assert next_began.wait(60)
        close(sink)

    abandon_handler = ConversationRunner.abandon_handler

    def watch(runner: ConversationRunner, run: HandlerRun) -> bool:
        given_up.append(abandon_handler(runner, run))
        return given_up[-1]

    monkeypatch.setattr(OutboxReplySink, "close", give_up_late)
    monkeypatch.setattr(ConversationRunner, "abandon_handler", watch)

    @harness.bot.message("slow", timeout=0.2)
    def slow(ctx: Context) -> None:
        release.wait(60)

    @harness.bot.message("next")
    def advance(ctx: Context) -> str:
        runs.append(ctx.text)
        next_began.set()
        next_may_end.wait(60)
        return "echo next"

    delivery = harness.start_process()
    harness.enqueue(delivery, "slow", id="1")
    harness.enqueue(delivery, "next", id="2")
    try:
        wait_until(lambda: given_up)
    finally:
        next_may_end.set()
    wait_until(lambda: delivery.is_idle)
    assert (given_up, runs, harness.channel.texts()) == ([False], ["next"], ["echo next"])
    assert delivery.dead_letters.list() == []


def test_reply_after_the_timeout_raises_lease_lost(harness: Harness) -> None:
    release, raised = threading.Event(), []

    @harness.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> None:
        release.wait(60)
        try:
            ctx.reply("from the grave")
        except Exception as error:
            raised.append(type(error).__name__)
            raise

    delivery = harness.start_process(threads=2)
    harness.enqueue(delivery, "hang")
    wait_until(lambda: delivery.dead_letters.list())
    release.set()
    wait_until(lambda: raised)

    assert raised == ["LeaseLost"]
    assert "from the grave" not in harness.channel.texts()


def test_too_many_stuck_handlers_make_the_process_unready(harness: Harness) -> None:
    release = threading.Event()

    @harness.bot.fallback
    def hang(ctx: Context) -> None:
        release.wait(60)

    delivery = harness.start_process(threads=2, handler_timeout=0.2)
    for user in ("a", "b"):
        harness.enqueue(delivery, "hang", user=user)

    wait_until(lambda: len(delivery.dead_letters.list()) == 2)
    wait_until(lambda: any(check.name == "handlers" and not check.ok for check in delivery.checks()))
    release.set()
    wait_until(lambda: all(check.ok for check in delivery.checks()))


def test_stop_waits_for_the_running_handler(harness: Harness) -> None:
    started, release = threading.Event(), threading.Event()

    @harness.bot.fallback
    def slow(ctx: Context) -> str:
        started.set()
        release.wait(60)
        return f"echo {ctx.text}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "first", id="1")
    harness.enqueue(delivery, "second", id="2")
    assert started.wait(60)
    engine: Any = delivery._workers.existing._engine if delivery._workers.existing else None
    stopper = threading.Thread(target=delivery.stop, args=(10,))
    stopper.start()
    wait_until(lambda: engine._shutdown.is_set())
    release.set()
    stopper.join()

    assert harness.channel.texts() == ["echo first"]
    harness.start_process()
    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo first", "echo second"])


def test_stopping_does_not_wait_longer_than_its_limit(harness: Harness) -> None:
    started, release = threading.Event(), threading.Event()

    @harness.bot.fallback
    def hang(ctx: Context) -> None:
        started.set()
        release.wait(60)

    delivery = harness.start_process()
    harness.enqueue(delivery, "hang")
    assert started.wait(60)
    began = time.monotonic()
    delivery.stop(0.2)
    release.set()

    assert time.monotonic() - began < 30


def test_message_that_does_not_parse_is_a_dead_letter(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "old", id="1")
    harness.enqueue(delivery, "new", id="2")
    with delivery.database.write() as connection:
        connection.execute(mailbox.update().where(mailbox.c.event_key == "message:1").values(body=b"{}"))
    delivery.start()

    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo new"])
    [letter] = delivery.dead_letters.list()
    assert "PayloadError" in letter.error


def test_runner_without_its_lease_stores_nothing(harness: Harness) -> None:
    delivery = harness.start_process()

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        with delivery.database.write() as connection:
            connection.execute(conversations.update().values(token="stolen", process="thief"))
            values = {"token": "thief", "lease_until": delivery.database.clock() + 60, "handles": True, "address": ""}
            connection.execute(processes.insert(), values)
        return "must not be said"

    harness.enqueue(delivery, "hello")
    wait_until(lambda: _row(delivery).token == "stolen")
    worker = delivery._workers.existing
    assert worker is not None
    worker._runner.process_conversation("fake/test/helpdesk/helpdesk_user_maria")

    assert harness.channel.texts() == []
    with delivery.database.read() as connection:
        assert connection.execute(mailbox.select()).one().state == "running"


def test_what_ended_long_ago_is_purged_and_what_waits_never(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    for number in range(3):
        harness.enqueue(delivery, "hello", id=str(number))
    with delivery.database.write() as connection:
        long_ago = delivery.database.clock() - 8 * 86400
        connection.execute(mailbox.update().where(mailbox.c.seq == 1).values(state="done", ended_at=long_ago))
        connection.execute(mailbox.update().where(mailbox.c.seq == 2).values(state="dead", ended_at=long_ago))
        connection.execute(mailbox.update().where(mailbox.c.seq == 3).values(received_at=long_ago))

    assert delivery.purge() == 1
    assert not harness.enqueue(delivery, "hello", id="2")
    assert harness.enqueue(delivery, "hello", id="0"), "a redelivery after the purge is a new message"


def test_retry_after_purge_repeats_no_reply(harness: Harness) -> None:
    is_fixed = threading.Event()

    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.reply("received")
        if not is_fixed.is_set():
            raise RuntimeError("not yet")
        ctx.reply("done")

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello", id="1")
    wait_until(lambda: delivery.is_idle and delivery.dead_letters.list())
    said = harness.channel.texts()
    assert said[0] == "received"
    with delivery.database.write() as connection:
        connection.execute(outbox.update().values(ended_at=delivery.database.clock() - 8 * 86400))

    delivery.purge()
    is_fixed.set()
    assert delivery.retry(delivery.dead_letters.list()[0].id)
    wait_until(lambda: delivery.is_idle)
    assert harness.channel.texts() == [*said, "done"]


def test_replies_of_a_discarded_event_are_purged(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.reply("received")
        raise RuntimeError("for good")

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello", id="1")
    wait_until(lambda: delivery.is_idle and delivery.dead_letters.list())
    assert delivery.dead_letters.discard(delivery.dead_letters.list()[0].id)
    with delivery.database.write() as connection:
        long_ago = delivery.database.clock() - 8 * 86400
        for table in (mailbox, outbox):
            connection.execute(table.update().values(ended_at=long_ago))

    def is_purged() -> bool:
        # The first purge of the process itself may be running; then this one does nothing.
        delivery.purge()
        with delivery.database.read() as connection:
            return connection.execute(outbox.select()).all() == []

    wait_until(is_purged)


@pytest.mark.parametrize("is_async", [False, True])
def test_handler_error_makes_a_dead_letter_and_an_error_reply(harness: Harness, is_async: bool) -> None:
    def fail(ctx: Context) -> None:
        ctx.state["touched"] = True
        ctx.reply("so far so good")
        raise ValueError("no such order")

    async def fail_later(ctx: Context) -> None:
        fail(ctx)

    harness.bot.message("fail")(fail_later if is_async else fail)

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return f"touched: {'touched' in ctx.state}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "fail", id="1")
    harness.enqueue(delivery, "next", id="2")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 3)
    assert harness.channel.texts() == ["so far so good", harness.bot.error_text, "touched: False"]
    [letter] = delivery.dead_letters.list()
    assert "ValueError: no such order" in letter.error
    assert letter.handler.endswith("fail_later" if is_async else "fail")


def test_retry_keeps_the_order_of_the_conversation(harness: Harness) -> None:
    tries: list[int] = []

    @harness.bot.message("flaky", retries=2)
    def flaky(ctx: Context) -> str:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("not yet")
        return "at last"

    echo(harness)
    delivery = harness.start_process()
    harness.enqueue(delivery, "flaky", id="1")
    harness.enqueue(delivery, "next", id="2")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert harness.channel.texts() == ["at last", "echo next"]
    assert delivery.dead_letters.list() == []


def test_a_conversation_with_nothing_to_do_is_left_alone(harness: Harness) -> None:
    echo(harness)
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    harness.channel.wait_for(lambda: harness.channel.texts() == ["echo hello"])

    # A second wake may take the conversation once more, and find nothing.
    wait_until(lambda: _is_released(_row(delivery)) and delivery.is_idle)


def _is_released(row: Any) -> bool:
    return (row.token, row.mail, row.due_at) == (None, False, None)


def _row(delivery: Any) -> Any:
    with delivery.database.read() as connection:
        return connection.execute(conversations.select()).one()


def test_messages_of_a_crash_are_retried_one_at_a_time(harness: Harness) -> None:
    guard = threading.Lock()
    at_work: set[str] = set()
    together: list[set[str]] = []
    has_other = threading.Event()

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        if ctx.text == "new":
            has_other.set()
            return "re: new"
        with guard:
            at_work.add(ctx.sender.uid)
            together.append(set(at_work))
        assert has_other.wait(60), "a message that has done nothing waits for one that may have"
        with guard:
            at_work.discard(ctx.sender.uid)
        return f"re: {ctx.sender.uid}"

    delivery = harness.start_process(start=False)
    users = ["ann", "ben", "cem"]
    for user in users:
        harness.enqueue(delivery, "old", user=user)
    with delivery.database.write() as connection:
        connection.execute(mailbox.update().values(state="running", attempts=1))
    delivery.start()

    def have_all_had_their_turn() -> bool:
        with delivery.database.read() as connection:
            given_way = connection.execute(conversations.select().where(conversations.c.due_at.is_not(None))).all()
        return len(at_work) + len(given_way) == len(users)

    wait_until(have_all_had_their_turn)
    harness.enqueue(delivery, "new", user="dora")

    harness.channel.wait_for(lambda: len(harness.channel.said) == 4)
    assert [len(others) for others in together] == [1, 1, 1]
    assert delivery.dead_letters.list() == []
