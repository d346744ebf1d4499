"""What was taken in is handled once, in order, and survives whoever handled it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.delivery import crew
from cometbot.delivery.lane import Equipment, abandon, work_through
from cometbot.delivery.mailbox import MAX_CRASHES
from cometbot.delivery.outlet import LaneOutlet
from cometbot.delivery.running import Run
from cometbot.errors import StoreBusy
from cometbot.store.tables import conversations, mailbox, outbox, processes

from .conftest import World, wait_until


def echo(world: World) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return f"echo {ctx.text}"


def test_a_message_is_answered_once(world: World) -> None:
    echo(world)
    delivery = world.process()

    assert world.say(delivery, "hello", id="1")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])


def test_five_redeliveries_at_once_are_stored_and_answered_once(world: World) -> None:
    echo(world)
    delivery = world.process()
    results: list[bool] = []
    barrier = threading.Barrier(5)

    def redeliver() -> None:
        barrier.wait()
        results.append(world.say(delivery, "hello", id="1"))

    threads = [threading.Thread(target=redeliver) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.say(delivery, "later", id="2")

    world.channel.wait_for(lambda: "echo later" in world.channel.texts())
    assert sorted(results) == [False, False, False, False, True]
    assert world.channel.texts() == ["echo hello", "echo later"]


def test_the_same_event_in_another_bots_mailbox_is_another_message(world: World) -> None:
    delivery = world.process(start=False)
    other = Bot("sales")

    assert world.say(delivery, "hello", id="1")
    assert not world.say(delivery, "hello", id="1")
    assert delivery.put(world.channel.incoming(other, "hello", id="1"))


def test_messages_of_one_conversation_are_answered_in_order_and_conversations_side_by_side(world: World) -> None:
    lock, running, most = threading.Lock(), set(), [0]

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        with lock:
            assert ctx.conversation.id not in running, "two messages of one conversation at once"
            running.add(ctx.conversation.id)
            most[0] = max(most[0], len(running))
        time.sleep(0.002)
        with lock:
            running.discard(ctx.conversation.id)
        return ctx.text

    first, second = world.process(), world.process()
    users = [f"u{n}" for n in range(10)]
    for number in range(10):
        for user in users:
            world.say((first, second)[number % 2], str(number), user=user)

    world.channel.wait_for(lambda: len(world.channel.said) == 100)
    for user in users:
        assert world.channel.texts(f"helpdesk_user_{user}") == [str(number) for number in range(10)]
    assert most[0] > 1


def test_a_slow_handler_does_not_hold_up_other_conversations(world: World) -> None:
    let_go = threading.Event()

    @world.bot.message("slow")
    def slow(ctx: Context) -> str:
        let_go.wait(60)
        return "slow done"

    echo(world)
    delivery = world.process()
    world.say(delivery, "slow", user="maria")
    began = time.monotonic()
    world.say(delivery, "quick", user="tom")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo quick"])
    assert time.monotonic() - began < 30
    let_go.set()
    world.channel.wait_for(lambda: "slow done" in world.channel.texts())


def test_a_lane_gives_way_after_its_share(world: World) -> None:
    echo(world)
    delivery = world.process(start=False)
    for number in range(50):
        world.say(delivery, f"flood {number}", user="loud")
    world.say(delivery, "one question", user="quiet")

    delivery.stop()
    alone = world.process(threads=1)
    assert alone.is_running

    world.channel.wait_for(lambda: len(world.channel.said) == 51)
    place = world.channel.texts().index("echo one question")
    assert place < 45, "the quiet conversation had to wait for all of the loud one"


def test_mail_that_nobody_was_told_of_is_found_by_the_sweep(world: World) -> None:
    echo(world)
    silent = world.process(start=False)
    silent.wake = lambda lane: None  # type: ignore[method-assign]
    world.process()
    world.say(silent, "forgotten")

    world.channel.wait_for(lambda: world.channel.texts() == ["echo forgotten"])


def test_mail_that_comes_while_the_lane_looks_for_more_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message is put at the very moment that the lane is about to find its mailbox empty."""
    echo(world)
    delivery = world.process()
    store = delivery.store

    def deliver_more() -> None:
        try:
            world.say(delivery, "more")
        except StoreBusy:  # as a platform does that is told to come again
            deliver_more()

    def say_more(answer: Any) -> Any:
        if len(world.channel.said) < 20 and threading.current_thread() is not threading.main_thread():
            thread = threading.Thread(target=deliver_more)
            thread.start()
            thread.join(0.05)  # before the commit, where nothing keeps it from being put
        return answer

    head, go_on = store.mailbox.head, store.chains.go_on if store.chains else None
    monkeypatch.setattr(store.mailbox, "head", lambda *given: found if (found := head(*given)) else say_more(found))
    if go_on is not None:
        monkeypatch.setattr(store.chains, "go_on", lambda *given, **more: say_more(None) or go_on(*given, **more))
    world.say(delivery, "first")

    world.channel.wait_for(lambda: len(world.channel.said) >= 20, timeout=60)


def test_mail_of_a_process_that_died_goes_on_when_its_lease_has_run_out(world: World) -> None:
    echo(world)
    delivery = world.process(start=False)
    world.say(delivery, "hello", id="1")
    with delivery.database.write() as connection:
        lane = str(world.channel.conversation(world.bot, user="maria").key)
        lease = delivery.store.leases.claim(connection, lane, world.dead_process(delivery.database))
        assert lease is not None
    delivery.start()

    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])


def test_a_process_that_dies_between_a_message_and_the_next_that_it_began_has_handled_the_first_alone(
    world: World,
) -> None:
    """The end of a message and the beginning of the next are one commit: that one counts a crash, the first does not
    run again."""
    echo(world)
    delivery = world.process(start=False)
    for text in ("first", "second"):
        world.say(delivery, text, id=text)
    lane = str(world.channel.conversation(world.bot, user="maria").key)
    with delivery.database.write() as connection:
        assert delivery.store.leases.claim(connection, lane, world.dead_process(delivery.database))
        first = delivery.store.mailbox.take(connection, lane)
        assert first is not None
    with delivery.database.write() as connection:
        assert delivery.store.mailbox.done(connection, first, "answer")
        second = delivery.store.mailbox.take(connection, lane)
        assert second is not None
    assert (second.attempts, second.crashes, second.is_rerun) == (0, 0, False)
    with delivery.database.write() as connection:
        assert delivery.store.mailbox.take(connection, lane) is None, "what was begun is not begun again at once"
        found = delivery.store.mailbox.head(connection, lane)
    assert found is not None
    assert (found.crashes, found.is_rerun) == (1, True)
    delivery.start()

    world.channel.wait_for(lambda: world.channel.texts() == ["echo second"])
    with delivery.database.read() as connection:
        rows = connection.execute(sa.select(mailbox.c.state, mailbox.c.attempts).order_by(mailbox.c.seq)).all()
    assert [tuple(row) for row in rows] == [("done", 1), ("done", 2)]


def test_mail_under_a_live_lease_of_another_process_is_left_alone(world: World) -> None:
    echo(world)
    delivery = world.process(start=False)
    world.say(delivery, "hello", id="1")
    lane = str(world.channel.conversation(world.bot, user="maria").key)
    with delivery.database.write() as connection:
        values = {"token": "other", "lease_until": delivery.database.clock() + 60, "handles": True, "address": ""}
        connection.execute(processes.insert(), values)
        assert delivery.store.leases.claim(connection, lane, "other") is not None
        assert delivery.store.leases.claim(connection, lane, "mine") is None
        assert delivery.store.leases.forgotten(connection, ["helpdesk"], ["fake"]) == []


def test_a_message_that_ends_its_process_five_times_is_a_dead_letter_and_the_next_is_handled(world: World) -> None:
    echo(world)
    delivery = world.process(start=False)
    world.say(delivery, "poison", id="1")
    world.say(delivery, "fine", id="2")
    with delivery.database.write() as connection:
        crashed = mailbox.update().where(mailbox.c.event_key == "message:1")
        connection.execute(crashed.values(state="running", attempts=MAX_CRASHES))
    delivery.start()

    world.channel.wait_for(lambda: world.channel.texts() == ["echo fine"])
    [letter] = delivery.dead_letters.list()
    assert letter.event == "message:1"
    assert "died 5 times" in letter.error


def test_a_start_is_counted_before_the_handler_runs(world: World) -> None:
    seen: list[int] = []

    @world.bot.fallback
    def count(ctx: Context) -> None:
        with delivery.database.read() as connection:
            seen.append(connection.execute(mailbox.select()).one().attempts)

    delivery = world.process()
    world.say(delivery, "hello")
    wait_until(lambda: seen)

    assert seen == [1]


def test_a_handler_past_its_deadline_is_given_up_and_the_conversation_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cometbot.delivery")
    let_go = threading.Event()

    @world.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> str:
        let_go.wait(60)
        return "too late"

    echo(world)
    delivery = world.process(threads=1)
    world.say(delivery, "hang", id="1")
    world.say(delivery, "next", id="2")

    world.channel.wait_for(lambda: "echo next" in world.channel.texts())
    [letter] = delivery.dead_letters.list()
    assert "did not end within 0.2 s" in letter.error
    assert world.channel.texts() == [world.bot.error_text, "echo next"]
    let_go.set()
    world.say(delivery, "last", id="3")
    world.channel.wait_for(lambda: "echo last" in world.channel.texts())
    wait_until(lambda: "a handler ended whose message had been given up" in caplog.text)
    assert "another worker" not in caplog.text
    assert "too late" not in world.channel.texts()


def test_a_handler_that_ends_just_when_it_is_given_up_has_ended_and_the_next_message_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, next_began, next_may_end = threading.Event(), threading.Event(), threading.Event()
    runs: list[str] = []
    given_up: list[bool] = []
    give_up = LaneOutlet.give_up

    def give_up_late(outlet: LaneOutlet) -> None:
        let_go.set()
        assert next_began.wait(60)
        give_up(outlet)

    def watch(equipment: Equipment, run: Run) -> bool:
        given_up.append(abandon(equipment, run))
        return given_up[-1]

    monkeypatch.setattr(LaneOutlet, "give_up", give_up_late)
    monkeypatch.setattr(crew, "abandon", watch)

    @world.bot.message("slow", timeout=0.2)
    def slow(ctx: Context) -> None:
        let_go.wait(60)

    @world.bot.message("next")
    def go_on(ctx: Context) -> str:
        runs.append(ctx.text)
        next_began.set()
        next_may_end.wait(60)
        return "echo next"

    delivery = world.process()
    world.say(delivery, "slow", id="1")
    world.say(delivery, "next", id="2")
    try:
        wait_until(lambda: given_up)
    finally:
        next_may_end.set()
    wait_until(lambda: delivery.is_idle)
    assert (given_up, runs, world.channel.texts()) == ([False], ["next"], ["echo next"])
    assert delivery.dead_letters.list() == []


def test_what_a_hung_handler_says_afterwards_is_not_said(world: World) -> None:
    let_go, raised = threading.Event(), []

    @world.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> None:
        let_go.wait(60)
        try:
            ctx.reply("from the grave")
        except Exception as error:
            raised.append(type(error).__name__)
            raise

    delivery = world.process(threads=2)
    world.say(delivery, "hang")
    wait_until(lambda: delivery.dead_letters.list())
    let_go.set()
    wait_until(lambda: raised)

    assert raised == ["LeaseLost"]
    assert "from the grave" not in world.channel.texts()


def test_too_many_stuck_handlers_make_the_process_unready(world: World) -> None:
    let_go = threading.Event()

    @world.bot.fallback
    def hang(ctx: Context) -> None:
        let_go.wait(60)

    delivery = world.process(threads=2, handler_timeout=0.2)
    for user in ("a", "b"):
        world.say(delivery, "hang", user=user)

    wait_until(lambda: len(delivery.dead_letters.list()) == 2)
    wait_until(lambda: any(check.name == "handlers" and not check.ok for check in delivery.checks()))
    let_go.set()
    wait_until(lambda: all(check.ok for check in delivery.checks()))


def test_stopping_lets_the_running_handler_end_and_keeps_the_rest(world: World) -> None:
    started, let_go = threading.Event(), threading.Event()

    @world.bot.fallback
    def slow(ctx: Context) -> str:
        started.set()
        let_go.wait(60)
        return f"echo {ctx.text}"

    delivery = world.process()
    world.say(delivery, "first", id="1")
    world.say(delivery, "second", id="2")
    assert started.wait(60)
    engine: Any = delivery._crew._engine if delivery._crew else None
    stopper = threading.Thread(target=delivery.stop, args=(10,))
    stopper.start()
    wait_until(lambda: engine._stopping)
    let_go.set()
    stopper.join()

    assert world.channel.texts() == ["echo first"]
    world.process()
    world.channel.wait_for(lambda: world.channel.texts() == ["echo first", "echo second"])


def test_stopping_does_not_wait_longer_than_its_limit(world: World) -> None:
    started, let_go = threading.Event(), threading.Event()

    @world.bot.fallback
    def hang(ctx: Context) -> None:
        started.set()
        let_go.wait(60)

    delivery = world.process()
    world.say(delivery, "hang")
    assert started.wait(60)
    began = time.monotonic()
    delivery.stop(0.2)
    let_go.set()

    assert time.monotonic() - began < 30


def test_a_message_that_does_not_parse_any_more_is_a_dead_letter_and_the_next_is_handled(world: World) -> None:
    echo(world)
    delivery = world.process(start=False)
    world.say(delivery, "old", id="1")
    world.say(delivery, "new", id="2")
    with delivery.database.write() as connection:
        connection.execute(mailbox.update().where(mailbox.c.event_key == "message:1").values(body=b"{}"))
    delivery.start()

    world.channel.wait_for(lambda: world.channel.texts() == ["echo new"])
    [letter] = delivery.dead_letters.list()
    assert "PayloadError" in letter.error


def test_a_lane_whose_lease_was_taken_stores_nothing_more(world: World) -> None:
    delivery = world.process()

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        with delivery.database.write() as connection:
            connection.execute(conversations.update().values(token="stolen", process="thief"))
            values = {"token": "thief", "lease_until": delivery.database.clock() + 60, "handles": True, "address": ""}
            connection.execute(processes.insert(), values)
        return "must not be said"

    world.say(delivery, "hello")
    wait_until(lambda: _row(delivery).token == "stolen")
    crew = delivery._crew
    assert crew is not None
    work_through(crew._equipment, "fake/test/helpdesk/helpdesk_user_maria")

    assert world.channel.texts() == []
    with delivery.database.read() as connection:
        assert connection.execute(mailbox.select()).one().state == "running"


def test_what_ended_long_ago_is_purged_and_what_waits_never(world: World) -> None:
    delivery = world.process(start=False)
    for number in range(3):
        world.say(delivery, "hello", id=str(number))
    with delivery.database.write() as connection:
        long_ago = delivery.database.clock() - 8 * 86400
        connection.execute(mailbox.update().where(mailbox.c.seq == 1).values(state="done", ended_at=long_ago))
        connection.execute(mailbox.update().where(mailbox.c.seq == 2).values(state="dead", ended_at=long_ago))
        connection.execute(mailbox.update().where(mailbox.c.seq == 3).values(received_at=long_ago))

    assert delivery.purge() == 1
    assert not world.say(delivery, "hello", id="2")
    assert world.say(delivery, "hello", id="0"), "a redelivery after the purge is a new message"


def test_retry_after_purge_repeats_no_reply(world: World) -> None:
    is_mended = threading.Event()

    @world.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.reply("received")
        if not is_mended.is_set():
            raise RuntimeError("not yet")
        ctx.reply("done")

    delivery = world.process()
    world.say(delivery, "hello", id="1")
    wait_until(lambda: delivery.is_idle and delivery.dead_letters.list())
    said = world.channel.texts()
    assert said[0] == "received"
    with delivery.database.write() as connection:
        connection.execute(outbox.update().values(ended_at=delivery.database.clock() - 8 * 86400))

    delivery.purge()
    is_mended.set()
    assert delivery.retry(delivery.dead_letters.list()[0].id)
    wait_until(lambda: delivery.is_idle)
    assert world.channel.texts() == [*said, "done"]


def test_replies_of_a_discarded_event_are_purged(world: World) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.reply("received")
        raise RuntimeError("for good")

    delivery = world.process()
    world.say(delivery, "hello", id="1")
    wait_until(lambda: delivery.is_idle and delivery.dead_letters.list())
    assert delivery.dead_letters.discard(delivery.dead_letters.list()[0].id)
    with delivery.database.write() as connection:
        long_ago = delivery.database.clock() - 8 * 86400
        for table in (mailbox, outbox):
            connection.execute(table.update().values(ended_at=long_ago))

    delivery.purge()
    with delivery.database.read() as connection:
        assert connection.execute(outbox.select()).all() == []


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_raises_leaves_a_dead_letter_tells_the_user_and_the_next_message_is_handled(
    world: World, is_async: bool
) -> None:
    def fail(ctx: Context) -> None:
        ctx.state["touched"] = True
        ctx.reply("so far so good")
        raise ValueError("no such order")

    async def fail_later(ctx: Context) -> None:
        fail(ctx)

    world.bot.message("fail")(fail_later if is_async else fail)

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return f"touched: {'touched' in ctx.state}"

    delivery = world.process()
    world.say(delivery, "fail", id="1")
    world.say(delivery, "next", id="2")

    world.channel.wait_for(lambda: len(world.channel.said) == 3)
    assert world.channel.texts() == ["so far so good", world.bot.error_text, "touched: False"]
    [letter] = delivery.dead_letters.list()
    assert "ValueError: no such order" in letter.error
    assert letter.handler.endswith("fail_later" if is_async else "fail")


def test_a_handler_that_asks_for_retries_gets_them_in_its_place_in_the_order(world: World) -> None:
    tries: list[int] = []

    @world.bot.message("flaky", retries=2)
    def flaky(ctx: Context) -> str:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("not yet")
        return "at last"

    echo(world)
    delivery = world.process()
    world.say(delivery, "flaky", id="1")
    world.say(delivery, "next", id="2")

    world.channel.wait_for(lambda: len(world.channel.said) == 2)
    assert world.channel.texts() == ["at last", "echo next"]
    assert delivery.dead_letters.list() == []


def test_a_conversation_with_nothing_to_do_is_left_alone(world: World) -> None:
    echo(world)
    delivery = world.process()
    world.say(delivery, "hello")
    world.channel.wait_for(lambda: world.channel.texts() == ["echo hello"])

    # A second wake may take the conversation once more, and find nothing.
    wait_until(lambda: _left_alone(_row(delivery)) and delivery.is_idle)


def _left_alone(row: Any) -> bool:
    return (row.token, row.mail, row.due_at) == (None, False, None)


def _row(delivery: Any) -> Any:
    with delivery.database.read() as connection:
        return connection.execute(conversations.select()).one()


def test_what_was_handled_when_a_process_died_is_handled_one_at_a_time_and_beside_the_rest(world: World) -> None:
    guard = threading.Lock()
    at_work: set[str] = set()
    together: list[set[str]] = []
    has_other = threading.Event()

    @world.bot.fallback
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

    delivery = world.process(start=False)
    users = ["ann", "ben", "cem"]
    for user in users:
        world.say(delivery, "old", user=user)
    with delivery.database.write() as connection:
        connection.execute(mailbox.update().values(state="running", attempts=1))
    delivery.start()

    def have_all_had_their_turn() -> bool:
        with delivery.database.read() as connection:
            given_way = connection.execute(conversations.select().where(conversations.c.due_at.is_not(None))).all()
        return len(at_work) + len(given_way) == len(users)

    wait_until(have_all_had_their_turn)
    world.say(delivery, "new", user="dora")

    world.channel.wait_for(lambda: len(world.channel.said) == 4)
    assert [len(others) for others in together] == [1, 1, 1]
    assert delivery.dead_letters.list() == []
