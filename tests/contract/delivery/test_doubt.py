"""A database that does not say what became of a write: no conversation is held by nobody, no handler runs again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.delivery import Delivery
from cometbot.delivery.leases import Lease
from cometbot.errors import StoreBusy
from cometbot.store.tables import conversations

from .conftest import World, wait_until


class Outage:
    """A database that says of the writes for which ``is_on`` is true that it could not do them.

    Those of ``together`` and ``single`` are done all the same, as where the connection breaks before the answer.
    ``is_on`` is asked with what they returned, and with "durable write" or "relaxed write" for the others.
    """

    def __init__(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on: Callable[[object], bool] = lambda returned: False
        self.hits = 0
        database = delivery.database
        together, single, write = database.together, database.single, database.write

        def unsure_together(work: Callable[[Any], Any], **options: Any) -> Any:
            returned = together(work, **options)
            self._strike(returned)
            return returned

        def unsure_single(work: Callable[[Any], Any], **options: Any) -> Any:
            returned = single(work, **options)
            self._strike(returned)
            return returned

        @contextmanager
        def refusing_write(**options: Any) -> Iterator[Any]:
            self._strike("durable write" if options.get("durable", True) else "relaxed write")
            with write(**options) as connection:
                yield connection

        monkeypatch.setattr(database, "together", unsure_together)
        monkeypatch.setattr(database, "single", unsure_single)
        monkeypatch.setattr(database, "write", refusing_write)

    def _strike(self, returned: object) -> None:
        if threading.current_thread() is not threading.main_thread() and self.is_on(returned):
            self.hits += 1
            raise StoreBusy("the connection broke")

    def once(self, condition: Callable[[object], bool]) -> None:
        """Strike the first write of which ``condition`` of what it returned is true."""
        self.is_on = lambda returned: not self.hits and condition(returned)


def is_claim(returned: object) -> bool:
    return isinstance(returned, tuple) and isinstance(returned[0], Lease)


def test_a_claim_whose_answer_was_lost_does_not_hold_its_conversation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bot.fallback(lambda ctx: "yes")
    delivery = world.process()
    outage = Outage(delivery, monkeypatch)
    outage.once(is_claim)
    world.say(delivery, "hi")
    wait_until(lambda: world.channel.texts() == ["yes"])
    assert outage.hits == 1


def test_a_lane_that_failed_and_could_not_give_its_conversation_back_does_not_hold_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bot.fallback(lambda ctx: "yes")
    delivery = world.process()
    outage = Outage(delivery, monkeypatch)
    failures: list[str] = []

    def fail_once(*given: object) -> None:
        if not failures:
            failures.append("once")
            lane = threading.current_thread().name
            outage.once(lambda returned: returned == "relaxed write" and threading.current_thread().name == lane)
            raise RuntimeError("unforeseen")

    monkeypatch.setattr(delivery.observer, "handled", fail_once)
    world.say(delivery, "hi")
    wait_until(lambda: outage.hits == 1)
    world.say(delivery, "ho")
    wait_until(lambda: world.channel.texts() == ["yes", "yes"], 20)


def test_a_handler_past_its_deadline_is_given_up_when_the_database_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, end = threading.Event(), threading.Event()

    @world.bot.message("hang", timeout=0.2)
    def hang(ctx: Any) -> None:
        began.set()
        end.wait(60)

    world.bot.fallback(lambda ctx: "yes")
    delivery = world.process()
    outage = Outage(delivery, monkeypatch)
    try:
        world.say(delivery, "hang")
        assert began.wait(60)
        keeper = "cometbot-keeper"
        outage.once(lambda returned: returned == "durable write" and threading.current_thread().name == keeper)
        wait_until(lambda: outage.hits == 1)
        world.say(delivery, "hi")
        wait_until(lambda: world.channel.texts()[-1:] == ["yes"])
    finally:
        end.set()
    [letter] = delivery.dead_letters.list()
    assert "did not end within 0.2 s" in letter.error


def test_a_handler_is_not_run_again_because_the_database_was_away_for_longer_than_a_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[float] = []
    delivery = world.process()
    outage = Outage(delivery, monkeypatch)
    assert delivery._crew is not None
    process = delivery._crew._process

    @world.bot.fallback
    def answer(ctx: Any) -> str:
        runs.append(time.monotonic())
        monkeypatch.setattr(process, "remaining", lambda: -1.0)
        outage.is_on = lambda returned: not str(returned).endswith("write") and outage.hits < 5
        return "yes"

    world.say(delivery, "hi")
    wait_until(lambda: outage.hits == 5)
    monkeypatch.undo()
    wait_until(lambda: world.channel.texts() == ["yes"])
    assert len(runs) == 1


def test_a_conversation_that_nobody_works_on_is_counted_as_stuck_and_told_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = world.process(start=False)
    world.say(delivery, "hi")
    assert delivery.backlog()["helpdesk"].stuck == 0
    monkeypatch.setattr("cometbot.delivery.delivery.STUCK", 0.2)
    wait_until(lambda: delivery.backlog()["helpdesk"].stuck == 1)
    delivery.log_backlog()
    assert "messages wait long: 1 conversations have nobody at work on them" in caplog.text
    world.bot.fallback(lambda ctx: "yes")
    worker = world.process()
    wait_until(lambda: worker.is_idle)
    assert delivery.backlog()["helpdesk"].stuck == 0
    caplog.clear()
    delivery.log_backlog()
    assert caplog.text == ""


def test_a_conversation_under_a_live_lease_or_with_a_later_time_is_not_stuck(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometbot.delivery.delivery.STUCK", 0.1)
    began, go_on = threading.Event(), threading.Event()

    @world.bot.message("work")
    def work(ctx: Any) -> None:
        began.set()
        assert go_on.wait(60)

    @world.bot.message("later", retries=1)
    def later(ctx: Any) -> None:
        raise ValueError("not yet")

    delivery = world.process()
    try:
        world.say(delivery, "work", user="maria")
        world.say(delivery, "later", user="paul")
        assert began.wait(60)
        time.sleep(0.3)
        assert delivery.backlog()["helpdesk"].stuck == 0
    finally:
        go_on.set()


def test_a_reply_is_not_given_up_because_the_database_was_away_before_it_was_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = world.process()
    assert delivery._crew is not None
    process, beat = delivery._crew._process, delivery._crew._process.beat
    refused: list[str] = []

    def refuse_once() -> None:
        if not refused and threading.current_thread().name == "cometbot-lane":
            refused.append("once")
            raise StoreBusy("the connection broke")
        beat()

    monkeypatch.setattr(process, "beat", refuse_once)

    @world.bot.fallback
    def answer(ctx: Any) -> str:
        monkeypatch.setattr(process, "_seen", float("-inf"))
        return "yes"

    world.say(delivery, "hi")
    wait_until(lambda: world.channel.texts() == ["yes"], 20)
    assert refused == ["once"]
    assert delivery.dead_letters.list() == []


def test_a_channel_whose_database_is_away_is_tried_again(world: World) -> None:
    world.bot.fallback(lambda ctx: "yes")
    world.channel.faults.append(StoreBusy("the database is away"))
    delivery = world.process()
    world.say(delivery, "hi")
    wait_until(lambda: world.channel.texts() == ["yes"], 20)
    assert delivery.dead_letters.list() == []


def test_state_that_cannot_be_read_now_is_waited_for_and_no_reason_to_give_up_a_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @world.bot.fallback
    def count(ctx: Any) -> str:
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        return str(ctx.state["n"])

    delivery = world.process()
    load, refused = delivery.store.state.load, iter([True, True])

    def refuse(*given: Any) -> Any:
        if next(refused, False):
            raise StoreBusy("the database is away")
        return load(*given)

    monkeypatch.setattr(delivery.store.state, "load", refuse)
    world.say(delivery, "hi")
    wait_until(lambda: world.channel.texts() == ["1"])
    assert delivery.dead_letters.list() == []


def test_a_message_that_its_channel_cannot_complete_without_the_database_is_handled_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bot.fallback(lambda ctx: "yes")
    parse, refused = world.channel.parse, iter([True])

    def refuse(incoming: Any) -> Any:
        if next(refused, False):
            raise StoreBusy("the database is away")
        return parse(incoming)

    monkeypatch.setattr(world.channel, "parse", refuse)
    delivery = world.process()
    world.say(delivery, "hi")
    wait_until(lambda: world.channel.texts() == ["yes"])
    assert delivery.dead_letters.list() == []


def test_a_release_that_the_database_forgot_in_a_crash_does_not_hold_its_conversation(world: World) -> None:
    world.bot.fallback(lambda ctx: "yes")
    delivery = world.process()
    world.say(delivery, "hi")
    wait_until(lambda: delivery.is_idle)
    assert delivery._crew is not None
    mine = delivery._crew._process.token
    with delivery.database.write() as connection:
        connection.execute(sa.update(conversations).values(token="forgotten", process=mine))
    world.say(delivery, "ho")
    wait_until(lambda: world.channel.texts() == ["yes", "yes"], 20)
