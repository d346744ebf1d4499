"""Stop a handler that runs: with ``/stop``, which is answered beside it, and with a newer message."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Tool, ToolCall, Turn
from cometbot.bot import NOTHING_TO_STOP_TEXT, STOP_TEXT
from cometbot.context import Context
from cometbot.delivery import stop_watcher
from cometbot.delivery.delivery import Delivery
from cometbot.delivery.outbox_sink import OutboxReplySink
from cometbot.errors import StoreBusy
from cometbot.messages import Message
from cometbot.outgoing import Outgoing
from cometbot.store.tables import mailbox, outbox
from tests.contract.delivery.conftest import TIMEOUT, Harness, wait_until


class Task:
    """What a handler is busy with: until it is stopped, or until a test lets it end."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def work(self, ctx: Context) -> bool:
        """Return True if the handler was stopped."""
        self.begun.release()
        end = time.monotonic() + TIMEOUT
        while not ctx.cancelled and not self.may_end.wait(0.005):
            assert time.monotonic() < end
        return ctx.cancelled

    def wait(self) -> None:
        assert self.begun.acquire(timeout=TIMEOUT)


@pytest.fixture
def task() -> Iterator[Task]:
    task = Task()
    yield task
    task.may_end.set()


@pytest.fixture
def long_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a stopped handler the time of a busy machine to end, before ``/stop`` is answered beside it."""
    monkeypatch.setattr(stop_watcher, "LAST_WORDS_TIMEOUT", TIMEOUT)


def stop_at_work(harness: Harness, task: Task, text: str = "work") -> Delivery:
    """Let a handler begin its task, and stop it. Return the process that runs it."""
    delivery = harness.start_process()
    harness.enqueue(delivery, text)
    task.wait()
    harness.enqueue(delivery, "/stop")
    return delivery


def handlers_of(delivery: Delivery) -> dict[str, str | None]:
    """Return what has handled each message, by the text that it contains."""
    with delivery.database.read() as connection:
        rows = connection.execute(sa.select(mailbox.c.body, mailbox.c.handler, mailbox.c.state)).all()
    assert all(row.state == "done" for row in rows)
    return {row.body.decode(): row.handler for row in rows}


@pytest.mark.usefixtures("long_last_words")
def test_stop_ends_a_stream_that_keeps_what_it_has_said(harness: Harness, task: Task) -> None:
    @harness.bot.message("tell")
    def tell(ctx: Context) -> str:
        def parts() -> Iterator[str]:
            yield "one "
            task.work(ctx)
            yield "two"
            raise AssertionError("the stream has ended")

        sent = ctx.stream(parts())
        return f"said {sent is not None}, stopped {ctx.cancelled}"

    delivery = stop_at_work(harness, task, "tell")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert harness.channel.texts() == ["one ", "said True, stopped True", STOP_TEXT]
    wait_until(lambda: delivery.is_idle)
    assert not delivery.dead_letters.list()


@pytest.mark.parametrize("stopped_in", ["tool", "answer"])
def test_stop_ends_an_agent(harness: Harness, task: Task, stopped_in: str) -> None:
    calls: list[str] = []

    @harness.bot.tool
    def look(ctx: Context) -> None:
        calls.append("look")
        task.work(ctx)

    def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
        calls.append("request")
        yield "one moment"
        yield ToolCall("look")
        if stopped_in == "answer":
            task.work(ctx_of[0])
        yield ToolCall("look")

    ctx_of = []

    @harness.bot.message("work")
    def work(ctx: Context) -> str:
        ctx_of.append(ctx)
        sent = ctx.run_agent(model, turns=[])
        return f"said {sent is not None}, stopped {ctx.cancelled}"

    delivery = stop_at_work(harness, task)
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert sorted(harness.channel.texts()) == sorted(["one moment", STOP_TEXT, "said True, stopped True"])
    assert calls == (["request", "look"] if stopped_in == "tool" else ["request"])
    wait_until(lambda: delivery.is_idle)
    assert not delivery.dead_letters.list()


def test_stop_is_answered_while_the_handler_runs_on(harness: Harness, task: Task) -> None:
    @harness.bot.message("work")
    def work(ctx: Context) -> str:
        ctx.reply("I begin")
        task.begun.release()
        assert task.may_end.wait(TIMEOUT)  # it does not look if it was stopped
        return f"stopped {ctx.cancelled}"

    harness.bot.fallback(lambda ctx: f"echo {ctx.text}")
    delivery = harness.start_process()
    harness.enqueue(delivery, "work")
    task.wait()
    harness.enqueue(delivery, "next")
    harness.enqueue(delivery, "/stop")
    harness.enqueue(delivery, "last")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 2)
    assert harness.channel.texts() == ["I begin", STOP_TEXT]
    task.may_end.set()
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 5)
    assert harness.channel.texts() == ["I begin", STOP_TEXT, "stopped True", "echo next", "echo last"]
    wait_until(lambda: delivery.is_idle)
    assert [by for text, by in handlers_of(delivery).items() if "/stop" in text] == ["stop"]
    with delivery.database.read() as connection:
        assert set(connection.execute(sa.select(outbox.c.state)).scalars()) == {"sent"}


def test_one_stop_stops_one_handler(harness: Harness, task: Task) -> None:
    @harness.bot.message("work", "more")
    def work(ctx: Context) -> str:
        task.begun.release()
        if ctx.text == "work":
            assert task.work(ctx)
        return f"{ctx.text} stopped {ctx.cancelled}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "work")
    task.wait()
    harness.enqueue(delivery, "more")
    harness.enqueue(delivery, "/stop")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert set(harness.channel.texts()) == {"work stopped True", "more stopped False", STOP_TEXT}


@pytest.mark.usefixtures("long_last_words")
def test_async_handler_is_stopped(harness: Harness, task: Task) -> None:
    @harness.bot.message("work")
    async def work(ctx: Context) -> str:
        task.begun.release()
        end = time.monotonic() + TIMEOUT
        while not ctx.cancelled and time.monotonic() < end:
            await asyncio.sleep(0.005)
        return f"stopped {ctx.cancelled}"

    stop_at_work(harness, task)
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 2)
    assert harness.channel.texts() == ["stopped True", STOP_TEXT]


@pytest.mark.usefixtures("long_last_words")
def test_stop_ends_a_stream_whose_source_is_silent(harness: Harness, task: Task) -> None:
    closed: list[str] = []

    @harness.bot.message("tell")
    async def tell(ctx: Context) -> None:
        async def parts() -> AsyncIterator[str]:
            try:
                yield "one "
                task.begun.release()
                await asyncio.Event().wait()  # such as a model that thinks
            finally:
                closed.append("source")

        ctx.stream(parts())

    delivery = stop_at_work(harness, task, "tell")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 2)
    assert harness.channel.texts() == ["one ", STOP_TEXT]
    wait_until(lambda: delivery.is_idle)
    assert closed == ["source"]
    assert not delivery.dead_letters.list()


@pytest.mark.parametrize("hears", [True, False], ids=["by notification", "by a look"])
def test_stop_that_reaches_another_process_stops(
    harness: Harness, task: Task, hears: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.bot.message("work")(lambda ctx: f"stopped {task.work(ctx)}")
    if hears:
        monkeypatch.setattr(stop_watcher, "LOOK_INTERVAL", 3600.0)
    else:
        monkeypatch.setattr(Delivery, "_check_stops", lambda delivery, key: None)
    first = harness.start_process()
    other = harness.start_process(start=False)
    harness.enqueue(other, "work")
    task.wait()
    end = time.monotonic() + TIMEOUT
    while not harness.channel.texts():  # the process that was just started may not listen yet
        assert time.monotonic() < end
        harness.enqueue(other, "/stop")
        time.sleep(0.2)
    harness.channel.wait_for(lambda: {"stopped True", STOP_TEXT} <= set(harness.channel.texts()))
    assert not first.dead_letters.list()


@pytest.mark.usefixtures("long_last_words")
def test_only_the_user_who_is_answered_may_stop(harness: Harness, task: Task) -> None:
    harness.bot.message("work")(lambda ctx: f"stopped {task.work(ctx)}")
    harness.bot.fallback(lambda ctx: f"{ctx.sender.uid} says {ctx.text}")
    delivery = harness.start_process()
    harness.enqueue(delivery, "work", group="ops")
    task.wait()
    harness.enqueue(delivery, "/stop", user="ben", group="ops")
    harness.enqueue(delivery, "<@uid:helpdesk> /stop", user="ben", group="ops")
    harness.enqueue(delivery, "<@uid:helpdesk> /stop", group="ops")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 4)
    # What stops nothing has its turn. Without a mention it may be for another bot of the group.
    assert harness.channel.texts() == ["stopped True", STOP_TEXT, "ben says /stop", NOTHING_TO_STOP_TEXT]


def test_newer_message_stops_without_a_text(harness: Harness, task: Task) -> None:
    @harness.bot.fallback(stop_on_new=True)
    def answer(ctx: Context) -> str:
        if ctx.text == "last":
            return "done"
        return f"{ctx.text} {task.work(ctx)}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "first")
    task.wait()
    harness.enqueue(delivery, "second")
    task.wait()
    harness.enqueue(delivery, "last")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert harness.channel.texts() == ["first True", "second True", "done"]


def test_newer_message_that_waits_already_stops_at_once(
    harness: Harness, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_watcher, "LOOK_INTERVAL", 3600.0)

    @harness.bot.fallback(stop_on_new=True)
    def answer(ctx: Context) -> str:
        return ctx.text if ctx.text == "last" else f"{ctx.text} {task.work(ctx)}"

    delivery = harness.start_process(start=False)
    for text in ("first", "second", "last"):
        harness.enqueue(delivery, text)
    delivery.start()
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert harness.channel.texts() == ["first True", "second True", "last"]


def test_newer_message_of_another_user_stops_nothing(harness: Harness, task: Task) -> None:
    harness.bot.message("work", stop_on_new=True)(lambda ctx: f"stopped {task.work(ctx)}")
    harness.bot.fallback(lambda ctx: ctx.text)
    delivery = harness.start_process()
    harness.enqueue(delivery, "work", group="ops")
    task.wait()
    harness.enqueue(delivery, "hello", user="ben", group="ops")
    harness.enqueue(delivery, "/stop", group="ops")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert sorted(harness.channel.texts()) == sorted(["stopped True", STOP_TEXT, "hello"])


def test_own_command_named_stop_waits_its_turn(harness: Harness, task: Task) -> None:
    harness.bot.message("work")(lambda ctx: f"stopped {task.work(ctx)}")
    harness.bot.command("stop")(lambda ctx: "mine")
    stop_at_work(harness, task)
    time.sleep(2.5 * stop_watcher.LOOK_INTERVAL)
    assert harness.channel.texts() == []
    task.may_end.set()
    harness.channel.wait_for(lambda: harness.channel.texts() == ["stopped False", "mine"])


def test_stop_that_cannot_be_answered_beside_has_its_turn(
    harness: Harness, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> bool:
        raise StoreBusy("the disk is slow")

    monkeypatch.setattr(OutboxReplySink, "answer_stop", refuse)
    harness.bot.message("work")(lambda ctx: f"stopped {task.work(ctx)}")
    stop_at_work(harness, task)
    harness.channel.wait_for(lambda: harness.channel.texts() == ["stopped True", STOP_TEXT])


def test_answer_that_cannot_be_rendered_beside_has_its_turn(
    harness: Harness, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [LookupError("no translation")]

    @harness.bot.outgoing
    def fail_once(message: Message, outgoing: Outgoing) -> Message:
        if message.to_text() == STOP_TEXT and errors:
            raise errors.pop()
        return message

    harness.bot.message("work")(lambda ctx: f"stopped {task.work(ctx)}")
    stop_at_work(harness, task)
    harness.channel.wait_for(lambda: harness.channel.texts() == ["stopped True", STOP_TEXT])
    assert "cannot render the answer to /stop beside its handler" in caplog.text


def test_handler_that_runs_again_stays_stopped(harness: Harness, task: Task) -> None:
    runs: list[bool] = []

    @harness.bot.message("work", retries=1)
    def work(ctx: Context) -> str:
        runs.append(ctx.cancelled)
        if len(runs) == 1:
            task.begun.release()
            harness.channel.wait_for(lambda: STOP_TEXT in harness.channel.texts())
            raise ValueError("on the way out")
        return "stopped"

    delivery = stop_at_work(harness, task)
    harness.channel.wait_for(lambda: harness.channel.texts() == [STOP_TEXT, "stopped"])
    assert runs == [False, True]
    harness.enqueue(delivery, "work")
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert runs[2:] == [False]


def test_answer_behind_a_reply_that_waits_keeps_the_order(harness: Harness, task: Task) -> None:
    sending = threading.Event()

    def wait(request: object) -> None:
        sending.set()
        assert task.may_end.wait(TIMEOUT)

    @harness.bot.message("work")
    def work(ctx: Context) -> str:
        ctx.reply("first")
        return f"stopped {task.work(ctx)}"

    harness.channel.faults.append(wait)
    delivery = harness.start_process()
    harness.enqueue(delivery, "work")
    assert sending.wait(TIMEOUT)
    harness.enqueue(delivery, "/stop")
    wait_until(lambda: delivery._workers.get()._handlers.list_running()[0].sink.is_cancelled)
    task.may_end.set()
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    first, *others = harness.channel.texts()
    assert (first, set(others)) == ("first", {"stopped True", STOP_TEXT})  # which of them comes first is left open
    assert len(harness.channel.requests) == 3
