"""Handlers that wait: many at a time, plain and async, and what ends them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cometbot.context import Context
from cometbot.delivery.engine import Load
from cometbot.observer import Observer

from .conftest import TIMEOUT, Harness, wait_until

MANY = 30


def enqueue_from_many_users(harness: Harness) -> None:
    delivery = harness.start_process(threads=2, max_threads=MANY)
    for number in range(MANY):
        harness.enqueue(delivery, f"hello {number}", user=f"user-{number}")


def answers() -> set[str]:
    return {f"heard hello {number}" for number in range(MANY)}


def test_plain_handlers_that_wait_get_threads(harness: Harness) -> None:
    all_run = threading.Barrier(MANY)

    @harness.bot.message()
    def meet(ctx: Context) -> str:
        all_run.wait(TIMEOUT)
        return f"heard {ctx.text}"

    enqueue_from_many_users(harness)
    harness.channel.wait_for(lambda: set(harness.channel.texts()) == answers())


def test_async_handlers_wait_in_one_loop(harness: Harness) -> None:
    arrived, loops = [0], set[asyncio.AbstractEventLoop]()
    all_run = asyncio.Event()

    @harness.bot.message()
    async def meet(ctx: Context) -> str:
        loops.add(asyncio.get_running_loop())
        ctx.reply(f"and {ctx.text}")
        arrived[0] += 1
        if arrived[0] == MANY:
            all_run.set()
        await asyncio.wait_for(all_run.wait(), TIMEOUT)
        return f"heard {ctx.text}"

    enqueue_from_many_users(harness)
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 2 * MANY)
    assert answers() < set(harness.channel.texts())
    assert len(loops) == 1


def test_slow_send_does_not_delay_other_handlers(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    # The platform takes its time: the replies of async handlers are under way at once, and in order each.
    all_sent = threading.Barrier(MANY)
    send = harness.channel.send

    def send_slowly(*values: object, **named: object) -> object:
        all_sent.wait(TIMEOUT)
        return send(*values, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.channel, "send", send_slowly)

    @harness.bot.message()
    async def answer(ctx: Context) -> str:
        ctx.reply(f"first {ctx.text}")
        return f"heard {ctx.text}"

    enqueue_from_many_users(harness)
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 2 * MANY)
    for number in range(MANY):
        texts = harness.channel.texts()
        assert texts.index(f"first hello {number}") < texts.index(f"heard hello {number}")


def test_an_async_handler_past_its_deadline_is_cancelled(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cometbot.delivery")
    ended: list[str] = []

    @harness.bot.message("hang", timeout=0.2)
    async def hang(ctx: Context) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "too late"

    @harness.bot.error()
    async def explain(ctx: Context, error: BaseException) -> str:
        return "not called for a message that was given up"

    @harness.bot.message()
    async def answer(ctx: Context) -> str:
        return f"heard {ctx.text}"

    delivery = harness.start_process(threads=1)
    harness.enqueue(delivery, "hang")
    harness.enqueue(delivery, "next")
    harness.channel.wait_for(lambda: "heard next" in harness.channel.texts())
    wait_until(lambda: "a handler ended after its message had been given up" in caplog.text)
    assert ended == ["cancelled"]
    assert harness.channel.texts() == [harness.bot.error_text, "heard next"]
    [letter] = delivery.dead_letters.list()
    assert "did not end within 0.2 s" in letter.error


def test_a_process_stops_beside_an_async_handler(harness: Harness) -> None:
    begun, release = threading.Event(), threading.Event()

    @harness.bot.message()
    async def wait(ctx: Context) -> str:
        begun.set()
        while not release.is_set():
            await asyncio.sleep(0.01)
        return f"heard {ctx.text}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    assert begun.wait(TIMEOUT)
    delivery.stop(0.1)
    assert harness.channel.texts() == []
    release.set()
    harness.start_process()
    harness.channel.wait_for(lambda: harness.channel.texts() == ["heard hello"])


def test_load_is_reported(harness: Harness) -> None:
    measured, release = list[Load](), threading.Event()

    @harness.bot.message()
    def wait(ctx: Context) -> str:
        release.wait(TIMEOUT)
        return "done"

    class LoadObserver(Observer):
        def load_measured(self, running: int, waiting: int) -> None:
            measured.append(Load(running, waiting))

    delivery = harness.start_process(observer=LoadObserver())
    harness.enqueue(delivery, "hello")
    wait_until(lambda: Load(1, 0) in measured)
    release.set()
    wait_until(lambda: measured[-1] == Load(0, 0))
