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
from cometbot.errors import StoreBusy
from cometbot.store.leases import Lease
from cometbot.store.tables import conversations

from .conftest import Harness, wait_until


class Outage:
    """A database that says of the writes for which ``is_on`` is true that it could not do them.

    Those of ``group_commit`` and ``autocommit`` are done all the same, as where the connection breaks before the
    answer. ``is_on`` is asked with what they returned, and with "durable write" or "relaxed write" for the others.
    """

    def __init__(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on: Callable[[object], bool] = lambda returned: False
        self.failures = 0
        database = delivery.database
        group_commit, autocommit, write = database.group_commit, database.autocommit, database.write

        def unsure_group_commit(work: Callable[[Any], Any], **options: Any) -> Any:
            returned = group_commit(work, **options)
            self._fail_if_on(returned)
            return returned

        def unsure_autocommit(work: Callable[[Any], Any], **options: Any) -> Any:
            returned = autocommit(work, **options)
            self._fail_if_on(returned)
            return returned

        @contextmanager
        def refusing_write(**options: Any) -> Iterator[Any]:
            self._fail_if_on("durable write" if options.get("durable", True) else "relaxed write")
            with write(**options) as connection:
                yield connection

        monkeypatch.setattr(database, "group_commit", unsure_group_commit)
        monkeypatch.setattr(database, "autocommit", unsure_autocommit)
        monkeypatch.setattr(database, "write", refusing_write)

    def _fail_if_on(self, returned: object) -> None:
        if threading.current_thread() is not threading.main_thread() and self.is_on(returned):
            self.failures += 1
            raise StoreBusy("the connection broke")

    def fail_once(self, condition: Callable[[object], bool]) -> None:
        """Strike the first write of which ``condition`` of what it returned is true."""
        self.is_on = lambda returned: not self.failures and condition(returned)


def is_claim(returned: object) -> bool:
    return isinstance(returned, tuple) and isinstance(returned[0], Lease)


def test_claim_with_a_lost_answer_is_released(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.bot.fallback(lambda ctx: "yes")
    delivery = harness.start_process()
    outage = Outage(delivery, monkeypatch)
    outage.fail_once(is_claim)
    harness.enqueue(delivery, "hi")
    wait_until(lambda: harness.channel.texts() == ["yes"])
    assert outage.failures == 1


def test_failed_release_does_not_block_the_conversation(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.bot.fallback(lambda ctx: "yes")
    delivery = harness.start_process()
    outage = Outage(delivery, monkeypatch)
    failures: list[str] = []

    def fail_once(*given: object, app: str) -> None:
        if not failures:
            failures.append("once")
            conversation_key = threading.current_thread().name
            outage.fail_once(
                lambda returned: returned == "relaxed write" and threading.current_thread().name == conversation_key
            )
            raise RuntimeError("unforeseen")

    monkeypatch.setattr(delivery.observer, "handled", fail_once)
    harness.enqueue(delivery, "hi")
    wait_until(lambda: outage.failures == 1)
    harness.enqueue(delivery, "ho")
    wait_until(lambda: harness.channel.texts() == ["yes", "yes"], 20)


def test_handler_timeout_is_stored_when_the_database_is_back(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    began, end = threading.Event(), threading.Event()

    @harness.bot.message("hang", timeout=0.2)
    def hang(ctx: Any) -> None:
        began.set()
        end.wait(60)

    harness.bot.fallback(lambda ctx: "yes")
    delivery = harness.start_process()
    outage = Outage(delivery, monkeypatch)
    try:
        harness.enqueue(delivery, "hang")
        assert began.wait(60)
        keeper = "cometbot-maintenance"
        outage.fail_once(lambda returned: returned == "durable write" and threading.current_thread().name == keeper)
        wait_until(lambda: outage.failures == 1)
        harness.enqueue(delivery, "hi")
        wait_until(lambda: harness.channel.texts()[-1:] == ["yes"])
    finally:
        end.set()
    [letter] = delivery.dead_letters.list()
    assert "did not end within 0.2 s" in letter.error


def test_handler_is_not_rerun_after_a_long_database_outage(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[float] = []
    delivery = harness.start_process()
    outage = Outage(delivery, monkeypatch)
    assert delivery._workers.existing is not None
    process = delivery._workers.existing._process

    @harness.bot.fallback
    def answer(ctx: Any) -> str:
        runs.append(time.monotonic())
        monkeypatch.setattr(process, "lease_time_left", lambda: -1.0)
        outage.is_on = lambda returned: not str(returned).endswith("write") and outage.failures < 5
        return "yes"

    harness.enqueue(delivery, "hi")
    wait_until(lambda: outage.failures == 5)
    monkeypatch.undo()
    wait_until(lambda: harness.channel.texts() == ["yes"])
    assert len(runs) == 1


def test_stuck_conversation_is_counted_and_logged(
    harness: Harness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "hi")
    assert delivery.backlog()["helpdesk"].stuck == 0
    monkeypatch.setattr("cometbot.delivery.delivery.STUCK_TIMEOUT", 0.2)
    wait_until(lambda: delivery.backlog()["helpdesk"].stuck == 1)
    delivery.log_backlog()
    assert "no process works on 1 conversations" in caplog.text
    harness.bot.fallback(lambda ctx: "yes")
    worker = harness.start_process()
    wait_until(lambda: worker.is_idle)
    assert delivery.backlog()["helpdesk"].stuck == 0
    caplog.clear()
    delivery.log_backlog()
    # The worker's own statistics may be logged at this moment, in a thread of their own.
    assert [record for record in caplog.records if record.threadName == "MainThread"] == []


def _has_delayed_conversation(delivery: Delivery) -> bool:
    with delivery.database.read() as connection:
        return connection.execute(conversations.select().where(conversations.c.due_at.is_not(None))).first() is not None


def test_leased_or_delayed_conversation_is_not_stuck(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometbot.delivery.delivery.STUCK_TIMEOUT", 0.1)
    began, may_continue = threading.Event(), threading.Event()

    @harness.bot.message("work")
    def work(ctx: Any) -> None:
        began.set()
        assert may_continue.wait(60)

    @harness.bot.message("later", retries=1)
    def later(ctx: Any) -> None:
        raise ValueError("not yet")

    delivery = harness.start_process()
    try:
        harness.enqueue(delivery, "work", user="maria")
        harness.enqueue(delivery, "later", user="paul")
        assert began.wait(60)
        wait_until(lambda: _has_delayed_conversation(delivery))
        time.sleep(0.3)
        assert delivery.backlog()["helpdesk"].stuck == 0
    finally:
        may_continue.set()


def test_reply_survives_a_database_outage_before_it_is_sent(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = harness.start_process()
    assert delivery._workers.existing is not None
    process, heartbeat = delivery._workers.existing._process, delivery._workers.existing._process.heartbeat
    refused: list[str] = []

    def refuse_once() -> None:
        if not refused and threading.current_thread().name == "cometbot-runner":
            refused.append("once")
            raise StoreBusy("the connection broke")
        heartbeat()

    monkeypatch.setattr(process, "heartbeat", refuse_once)

    @harness.bot.fallback
    def answer(ctx: Any) -> str:
        monkeypatch.setattr(process, "_last_heartbeat", float("-inf"))
        return "yes"

    harness.enqueue(delivery, "hi")
    wait_until(lambda: harness.channel.texts() == ["yes"], 20)
    assert refused == ["once"]
    assert delivery.dead_letters.list() == []


def test_send_is_retried_when_the_channels_database_is_down(harness: Harness) -> None:
    harness.bot.fallback(lambda ctx: "yes")
    harness.channel.faults.append(StoreBusy("the database is away"))
    delivery = harness.start_process()
    harness.enqueue(delivery, "hi")
    wait_until(lambda: harness.channel.texts() == ["yes"], 20)
    assert delivery.dead_letters.list() == []


def test_failed_state_read_is_retried(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    @harness.bot.fallback
    def count(ctx: Any) -> str:
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        return str(ctx.state["n"])

    delivery = harness.start_process()
    load, refused = delivery.store.state.load, iter([True, True])

    def refuse(*given: Any) -> Any:
        if next(refused, False):
            raise StoreBusy("the database is away")
        return load(*given)

    monkeypatch.setattr(delivery.store.state, "load", refuse)
    harness.enqueue(delivery, "hi")
    wait_until(lambda: harness.channel.texts() == ["1"])
    assert delivery.dead_letters.list() == []


def test_parse_is_retried_when_the_database_is_down(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.bot.fallback(lambda ctx: "yes")
    parse, refused = harness.channel.parse, iter([True])

    def refuse(incoming: Any) -> Any:
        if next(refused, False):
            raise StoreBusy("the database is away")
        return parse(incoming)

    monkeypatch.setattr(harness.channel, "parse", refuse)
    delivery = harness.start_process()
    harness.enqueue(delivery, "hi")
    wait_until(lambda: harness.channel.texts() == ["yes"])
    assert delivery.dead_letters.list() == []


def test_release_lost_in_a_database_crash_is_repeated(harness: Harness) -> None:
    harness.bot.fallback(lambda ctx: "yes")
    delivery = harness.start_process()
    harness.enqueue(delivery, "hi")
    wait_until(lambda: delivery.is_idle)
    assert delivery._workers.existing is not None
    mine = delivery._workers.existing._process.token
    with delivery.database.write() as connection:
        connection.execute(sa.update(conversations).values(token="forgotten", process=mine))
    harness.enqueue(delivery, "ho")
    wait_until(lambda: harness.channel.texts() == ["yes", "yes"], 20)
