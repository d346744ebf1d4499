"""Coroutines of async handlers: one loop for all, plain calls beside it, cancellation, and what blocks it."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from cometbot import event_loop
from cometbot.errors import LeaseLost
from cometbot.event_loop import cancel_coroutine, in_thread, iterate, run_coroutine, run_in_thread

LIMIT = 60.0

word: ContextVar[str] = ContextVar("word", default="")


def test_all_coroutines_share_one_loop() -> None:
    async def find_loop() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    with ThreadPoolExecutor(8) as pool:
        loops = {run_coroutine(find_loop()), *pool.map(lambda _: run_coroutine(find_loop()), range(8))}
    assert len(loops) == 1
    assert loops.pop().is_running()


def test_result_and_exception_reach_the_caller() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    async def answer() -> int:
        return 42

    assert run_coroutine(answer()) == 42
    with pytest.raises(KeyError):
        run_coroutine(fail())


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_an_exception_of_any_class_ends_no_loop(error: type[BaseException]) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    with pytest.raises(error):
        run_coroutine(fail())
    assert run_coroutine(answer()) == 42


def test_a_task_that_raises_system_exit_ends_no_loop() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def start() -> None:
        task = asyncio.create_task(leave())
        with pytest.raises(SystemExit):
            await task

    run_coroutine(start())
    run_coroutine(asyncio.sleep(0))


def test_a_plain_call_runs_in_the_waiting_thread_while_the_loop_goes_on() -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    threads: list[int] = []

    def wait() -> str:
        threads.append(threading.get_ident())
        has_begun.set()
        assert may_end.wait(LIMIT)
        return "done"

    async def call() -> str:
        await asyncio.sleep(0)
        return f"{run_in_thread(wait)} {run_in_thread(str.upper, 'too')}"

    async def allow() -> None:
        may_end.set()

    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(run_coroutine, call())
        assert has_begun.wait(LIMIT)
        run_coroutine(allow())  # blocked for ever if the plain call held the loop
        assert called.result(LIMIT) == "done TOO"
        assert threads == [pool.submit(threading.get_ident).result(LIMIT)]


def test_elsewhere_a_plain_call_is_made_at_once() -> None:
    assert run_in_thread(threading.get_ident) == threading.get_ident()

    async def find_thread() -> int:
        return threading.get_ident()

    assert run_coroutine(find_thread()) != threading.get_ident()


def test_tasks_of_a_coroutine_make_their_plain_calls_one_at_a_time_and_in_order() -> None:
    seen: list[int] = []

    @in_thread
    def note(number: int) -> int:
        before = len(seen)
        time.sleep(0.001)
        assert len(seen) == before
        seen.append(number)
        return number

    async def one(number: int) -> int:
        return note(number)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*map(one, range(20)))

    assert run_coroutine(all_of_them()) == seen == list(range(20))


def test_a_task_that_outlives_its_coroutine_calls_in_the_loop() -> None:
    may_go, left = threading.Event(), list[bool]()

    async def later() -> None:
        while not may_go.is_set():
            await asyncio.sleep(0.001)
        left.append(run_in_thread(threading.get_ident) == threading.get_ident())

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(later())

    async def join(task: asyncio.Task[None]) -> None:
        await task

    task = run_coroutine(start())
    may_go.set()
    run_coroutine(join(task))
    assert left == [True]


def test_exception_of_a_plain_call_is_raised_in_the_coroutine() -> None:
    def fail() -> None:
        raise KeyError("x")

    async def survive() -> str:
        try:
            run_in_thread(fail)
        except KeyError:
            await asyncio.sleep(0)
            return "survived"
        return ""

    assert run_coroutine(survive()) == "survived"


def test_a_plain_call_may_wait_for_another_coroutine() -> None:
    async def inner() -> str:
        return run_in_thread(str, "inner")

    async def outer() -> str:
        return run_in_thread(run_coroutine, inner())

    assert run_coroutine(outer()) == "inner"


def test_context_variables_are_kept_apart() -> None:
    barrier = threading.Barrier(2)

    async def run(name: str) -> list[str]:
        seen = [word.get()]
        word.set(name)
        run_in_thread(barrier.wait, LIMIT)
        await asyncio.sleep(0)
        return [*seen, word.get(), run_in_thread(word.get)]

    word.set("outside")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda name: run_coroutine(run(name)), ["a", "b"]))
    assert both == [["", "a", "a"], ["", "b", "b"]]
    assert run_coroutine(_read()) == word.get() == "outside"


async def _read() -> str:
    return word.get()


def run_until_cancelled(make: Callable[[threading.Event], Any]) -> BaseException | None:
    """Return what a coroutine raises that is cancelled once it has set the event which it is given."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        thread_id = pool.submit(threading.get_ident).result(LIMIT)
        running = pool.submit(run_coroutine, make(begun))
        assert begun.wait(LIMIT)
        cancel_coroutine(thread_id)
        return running.exception(LIMIT)


def test_a_cancelled_coroutine_loses_its_lease() -> None:
    cleaned: list[str] = []

    async def hang(begun: threading.Event) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append("up")

    assert isinstance(run_until_cancelled(hang), LeaseLost)
    assert cleaned == ["up"]


def test_a_plain_call_is_finished_before_the_coroutine_is_cancelled() -> None:
    steps: list[str] = []

    def call(begun: threading.Event) -> None:
        begun.set()
        time.sleep(0.05)
        steps.append("called")

    async def work(begun: threading.Event) -> None:
        run_in_thread(call, begun)
        steps.append("after it")
        await asyncio.sleep(3600)
        steps.append("never")

    assert isinstance(run_until_cancelled(work), LeaseLost)
    assert steps == ["called", "after it"]


def test_nothing_is_cancelled_where_no_coroutine_runs() -> None:
    cancel_coroutine(threading.get_ident())
    run_coroutine(asyncio.sleep(0))
    cancel_coroutine(threading.get_ident())


def test_timeout_of_the_author_passes_a_plain_call() -> None:
    async def work() -> None:
        run_in_thread(time.sleep, 0.05)
        await asyncio.sleep(3600)

    async def limited() -> None:
        await asyncio.wait_for(work(), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        run_coroutine(limited())


def test_what_blocks_the_loop_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(event_loop._log, "warning", lambda text, *values: logged.append(text % values))

    async def block(seconds: float) -> None:
        end = time.monotonic() + seconds
        while not logged and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(3 * event_loop.BLOCKED_AFTER)

    run_coroutine(block(LIMIT))
    run_coroutine(block(0))
    own = [text for text in logged if f"of {__file__}, which blocks the event loop" in text]
    assert len(own) == len(set(own)) >= 1
    assert "asyncio.to_thread" in own[0]


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    run_coroutine(asyncio.sleep(0))
    child = os.fork()
    if child == 0:
        try:
            run_coroutine(asyncio.sleep(0))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


async def count_up(end: int, given: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(end):
        if given is not None:
            given.append(number)
        yield number


def test_items_of_an_async_iterable_come_in_order_and_few_batches() -> None:
    batches = list(iterate(count_up(100_000)))
    assert [number for batch in batches for number in batch] == list(range(100_000))
    assert len(batches) < 5000


def test_endless_async_iterable_waits_for_the_thread() -> None:
    given: list[int] = []
    batches = iterate(count_up(10**9, given))
    first = next(batches)
    run_coroutine(asyncio.sleep(0.05))
    ahead = len(given) - len(first)
    run_coroutine(asyncio.sleep(0.05))
    assert len(given) - len(first) == ahead <= 2 * 1000
    batches.close()
    assert len(given) < 10_000


def test_error_of_an_async_iterable_comes_after_its_items() -> None:
    async def fail() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise KeyError("x")

    found: list[int] = []
    with pytest.raises(KeyError):
        found.extend(itertools.chain.from_iterable(iterate(fail())))
    assert found == [1, 2]


def test_async_iterable_that_hangs_is_cancelled_and_closed_by_close() -> None:
    ended: list[str] = []

    class Source:
        async def __aiter__(self) -> AsyncIterator[int]:
            yield 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async def aclose(self) -> None:
            await asyncio.sleep(0)
            ended.append("closed")

    batches = iterate(Source())
    assert next(batches) == [1]
    assert next(batches) == []  # while nothing comes
    batches.close()
    assert ended == ["cancelled", "closed"]


def test_async_iterable_is_cancelled_with_the_handler_that_waits() -> None:
    async def hang() -> AsyncIterator[int]:
        yield threading.get_ident()
        await asyncio.sleep(3600)

    waiting = threading.get_ident()
    batches = iterate(hang())
    next(batches)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cancel_coroutine, waiting).result()
    with pytest.raises(LeaseLost):
        list(batches)


def test_plain_calls_of_an_async_iterable_run_in_the_waiting_thread() -> None:
    async def call() -> AsyncIterator[int]:
        yield run_in_thread(threading.get_ident)

    assert [item for batch in iterate(call()) for item in batch] == [threading.get_ident()]
