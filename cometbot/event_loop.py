"""The lasting event loop of a process, in which async handlers run as tasks.

The methods of a context are plain in plain and async handlers alike. In a task, a call that waits for the database or
for a platform would block all other handlers. So it runs in the thread that waits for the handler, while the loop goes
on: greenlet suspends the coroutine in the middle of the plain call.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import os
import queue
import sys
import sysconfig
import threading
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from greenlet import getcurrent, greenlet

from cometbot.errors import LeaseLost
from cometbot.forking import PerProcess

P = ParamSpec("P")
T = TypeVar("T")

BLOCKED_AFTER = 0.1
"""Seconds without a turn after which the loop counts as blocked."""

_REPORT_INTERVAL = 60.0
"""Seconds in which a place that blocks the loop is logged once."""

_MAX_ITEMS_AHEAD = 1000
"""The items that an async iterable may be ahead of the thread that gets them."""

_MAX_LENGTH_AHEAD = 1_000_000
"""The characters that texts may be ahead."""

_BATCH_INTERVAL = 0.01
_EMPTY_BATCH_INTERVAL = 0.5

_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = f"{Path(__file__).parent}{os.sep}"

_log = logging.getLogger(__name__)
_run: contextvars.ContextVar[_Run | None] = contextvars.ContextVar("cometbot_run", default=None)


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``coroutine``, which runs as a task of this process's loop, in a copy of the context.

    Raises its exception, and :class:`LeaseLost` if :func:`cancel_coroutine` has cancelled it.
    """
    result: T = _loop.get().run(coroutine)
    return result


def iterate(source: AsyncIterable[T]) -> Generator[list[T], None, None]:
    """Yield the items of ``source`` in batches: what has come since the batch before.

    The source is consumed as a task of this process's loop, in a copy of the context, and runs ahead by a bounded
    number of items. While nothing comes, an empty batch is yielded each half second, so that the caller may end it. If
    this generator is closed before the source has ended, the task is cancelled and the source is closed. Raises what
    the source raises, after the items before that, and :class:`LeaseLost` if :func:`cancel_coroutine` cancels it.
    """
    return _loop.get().iterate(_Feed(source))


def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return ``function(*args, **kwargs)``. In a coroutine of :func:`run_coroutine`, the loop goes on meanwhile.

    The function is called in the thread that waits for the coroutine, anywhere else in this one.
    """
    loop, step = _loop.existing, getcurrent()
    if loop is None or threading.get_ident() != loop.thread_id or not isinstance(step, _Greenlet) or step.owner.is_over:
        return function(*args, **kwargs)
    result: T = step.call(
        functools.partial(contextvars.copy_context().run, functools.partial(function, *args, **kwargs))
    )
    return result


def in_thread(method: Callable[P, T]) -> Callable[P, T]:
    """Return ``method`` such that it is called with :func:`run_in_thread`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_in_thread(method, *args, **kwargs)

    return call


def cancel_coroutine(thread_id: int) -> None:
    """Cancel the coroutine that this thread waits for, if there is one."""
    if (loop := _loop.existing) is not None:
        loop.cancel(thread_id)


class _Call:
    """A plain call of a coroutine, which the thread that waits for the coroutine makes."""

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.is_done = False
        self._function = function
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    def make(self) -> None:
        """Make the call, and continue the coroutine."""
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self.is_done = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wait(self) -> Generator[Any, Any, BaseException | None]:
        """Wait until the call is made. Return the cancellation of the task that came meanwhile, if one did."""
        cancelled = None
        while not self.is_done:
            self._waiter = self._loop.create_future()
            try:
                yield from self._waiter.__await__()
            except asyncio.CancelledError as error:
                cancelled = error
        return cancelled

    def result(self) -> Any:
        """Return what the function returned, or raise what it raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._value


class _Greenlet(greenlet):  # type: ignore[misc]
    """A coroutine on its way to its next ``await``. Plain calls may suspend it."""

    def __init__(self, resume: Callable[[Any], Any], run: _Run) -> None:
        super().__init__(resume)
        self.gr_context = getcurrent().gr_context
        self.owner = run

    def call(self, function: Callable[[], Any]) -> Any:
        """Suspend the coroutine until the thread that waits for it has called ``function``; return the result."""
        call = _Call(function, asyncio.get_running_loop())
        assert self.parent is not None
        self.parent.switch(call)
        return call.result()


class _Suspendable:
    """Awaits a coroutine whose plain calls of :func:`run_in_thread` suspend it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], run: _Run) -> None:
        self._coroutine = coroutine
        self._run = run

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[Any], Any] = self._coroutine.send
        argument: Any = None
        while True:
            step, cancelled = _Greenlet(resume, self._run), None
            try:
                yielded = step.switch(argument)
                while not step.dead:
                    self._run.calls.put(yielded)
                    cancelled = (yield from yielded.wait()) or cancelled
                    yielded = step.switch()
            except StopIteration as end:
                if cancelled is not None:
                    raise cancelled from None
                return end.value
            try:
                if cancelled is not None:
                    raise cancelled
                argument, resume = (yield yielded), self._coroutine.send
            except BaseException as error:
                argument, resume = error, self._coroutine.throw


class _Run:
    """A coroutine that runs as a task, and the thread that waits for it. ``calls`` are those of the thread to make."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.calls: queue.SimpleQueue[_Call | _Feed | None] = queue.SimpleQueue()
        self.is_over = False
        self._coroutine = coroutine
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self._value: Any = None
        self._error: BaseException | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Create the task. Tasks that it creates belong to this run as well."""
        _run.set(self)
        self._task = loop.create_task(self._finish())
        self._task.add_done_callback(self._end)

    async def _finish(self) -> None:
        try:
            self._value = await self._coroutine
        except BaseException as error:  # SystemExit would end the loop
            self._error = error

    def _end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and self._error is None:
            self._error = asyncio.CancelledError()
        self.is_over = True
        self.calls.put(None)

    def cancel(self) -> None:
        """Cancel the task, in the thread of the loop."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> Any:
        """Make the coroutine's calls until it has ended; return its result, or raise its exception."""
        self.make_calls()
        return self.result()

    def make_calls(self) -> None:
        """Make the coroutine's calls until it has ended."""
        while (call := self.calls.get()) is not None:
            call.make()
            del call

    def result(self) -> Any:
        """Return the result of the coroutine, which has ended, or raise its exception."""
        if self._error is None:
            return self._value
        try:
            if self._is_cancelled:
                raise LeaseLost from self._error
            raise self._error
        finally:
            self._error = None


class _Feed:
    """The items of an async iterable on their way to a thread. Many of them cross with one notification."""

    def __init__(self, source: AsyncIterable[Any]) -> None:
        self.is_closed = False
        self._source = source
        self._guard = threading.Lock()
        self._items: list[Any] = []
        self._length = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: asyncio.Event | None = None
        self._notified_at = 0.0

    async def fill(self, notify: Callable[[], None]) -> None:
        """Consume the source, and close it unless it ends by itself. ``notify`` is called when there is a batch."""
        self._loop, self._room = asyncio.get_running_loop(), asyncio.Event()
        has_ended = False
        try:
            async for item in self._source:
                if self._add(item):
                    self._notify_soon(notify, self._loop)
                if self._is_full:
                    await self._wait_for_room(notify, self._room)
                if self.is_closed:
                    break
            else:
                has_ended = True
        finally:
            if not has_ended:
                await self._close_source()

    async def _wait_for_room(self, notify: Callable[[], None], room: asyncio.Event) -> None:
        notify()
        while self._is_full and not self.is_closed:
            room.clear()
            if self._is_full:
                await room.wait()

    def _notify_soon(self, notify: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call ``notify``, at once if the last call was long enough ago: what comes until then crosses with it."""
        now = loop.time()
        due_at = max(now, self._notified_at + _BATCH_INTERVAL)
        self._notified_at = due_at
        if due_at == now:
            notify()
        else:
            loop.call_at(due_at, notify)

    def make(self) -> None:
        """Do nothing, among the calls that a thread makes: there is a batch to take."""

    def take(self) -> list[Any]:
        """Return the items that have come since the last call."""
        with self._guard:
            was_full, items = self._is_full, self._items
            self._items, self._length = [], 0
        if was_full and self._loop is not None and self._room is not None:
            self._loop.call_soon_threadsafe(self._room.set)
        return items

    def _add(self, item: Any) -> bool:
        """Add an item, and return True if it is the first one of its batch."""
        with self._guard:
            self._items.append(item)
            self._length += len(item) if isinstance(item, str) else 0
            return len(self._items) == 1

    @property
    def _is_full(self) -> bool:
        return len(self._items) >= _MAX_ITEMS_AHEAD or self._length >= _MAX_LENGTH_AHEAD

    async def _close_source(self) -> None:
        close = getattr(self._source, "aclose", None) or getattr(self._source, "close", None)
        if not callable(close):
            return
        try:
            closed = close()
            if inspect.isawaitable(closed):
                await closed
        except Exception:
            _log.warning("cannot close an async iterable that has ended early", exc_info=True)


class _EventLoop:
    """A loop in a thread of its own, and a second thread that notices when something blocks it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(_make_task)  # type: ignore[arg-type]
        self._runs: dict[int, _Run] = {}
        self._has_runs = threading.Event()
        thread = threading.Thread(target=self._run_forever, name="cometbot-loop", daemon=True)
        thread.start()
        self.thread_id = thread.ident
        self._reported: dict[tuple[str, int], float] = {}
        threading.Thread(target=self._watch, name="cometbot-loop-watch", daemon=True).start()

    def _run_forever(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException:  # a task of the author's raised SystemExit
                _log.exception("a task raised an error that ends event loops; this one goes on")

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine, and wait for it in this thread."""
        run = _Run(coroutine)
        with self._started(run):
            return run.wait()

    def iterate(self, feed: _Feed) -> Generator[list[Any], None, None]:
        """Run the task that fills ``feed``, and yield what it is filled with (see :func:`iterate`)."""
        run = _Run(feed.fill(lambda: run.calls.put(feed)))
        with self._started(run):
            try:
                while (call := self._get_call(run, feed)) is not None:
                    call.make()
                    yield feed.take()
                if items := feed.take():
                    yield items
                run.result()
            finally:
                if not run.is_over:
                    feed.is_closed = True
                    self._loop.call_soon_threadsafe(run.cancel)
                    run.make_calls()

    @staticmethod
    def _get_call(run: _Run, feed: _Feed) -> _Call | _Feed | None:
        try:
            return run.calls.get(timeout=_EMPTY_BATCH_INTERVAL)
        except queue.Empty:
            return feed

    @contextmanager
    def _started(self, run: _Run) -> Iterator[None]:
        """Start a run that this thread then waits for."""
        thread_id = threading.get_ident()
        outer = self._runs.get(thread_id)
        self._runs[thread_id] = run
        self._has_runs.set()
        try:
            self._loop.call_soon_threadsafe(run.start, self._loop, context=contextvars.copy_context())
            yield
        finally:
            if outer is None:
                del self._runs[thread_id]
            else:
                self._runs[thread_id] = outer

    def cancel(self, thread_id: int) -> None:
        """Cancel the coroutine that a thread waits for."""
        if (run := self._runs.get(thread_id)) is not None:
            self._loop.call_soon_threadsafe(run.cancel)

    def _watch(self) -> None:
        while True:
            self._has_runs.wait()
            turn = threading.Event()
            self._loop.call_soon_threadsafe(turn.set)
            if not turn.wait(BLOCKED_AFTER):
                self._report_blocked()
                turn.wait()
            if not self._runs:
                self._has_runs.clear()
                if self._runs:  # one came in between
                    self._has_runs.set()
            time.sleep(BLOCKED_AFTER)

    def _report_blocked(self) -> None:
        frame = sys._current_frames().get(self.thread_id or 0)
        place = _find_author_place(frame)
        now = time.monotonic()
        if place is None or now - self._reported.get(place, -_REPORT_INTERVAL) < _REPORT_INTERVAL:
            return
        self._reported[place] = now
        _log.warning(
            "async handlers have been waiting for %g s for line %d of %s, which blocks the event loop; await something "
            "there, call it with asyncio.to_thread, or make the handler plain (def)",
            BLOCKED_AFTER,
            place[1],
            place[0],
        )


def _find_author_place(frame: FrameType | None) -> tuple[str, int] | None:
    """Return the file and line of the innermost frame that belongs neither to a library nor to cometbot."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((*_LIBRARIES, _OWN, "<")):
            return file, frame.f_lineno
        frame = frame.f_back
    return None


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    run = _run.get()
    if run is not None and asyncio.iscoroutine(coroutine):
        coroutine = _await(_Suspendable(coroutine, run))
    return asyncio.Task(coroutine, loop=loop, **options)


async def _await(suspendable: _Suspendable) -> Any:
    return await suspendable


_loop: PerProcess[_EventLoop] = PerProcess(_EventLoop)
