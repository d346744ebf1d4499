"""The threads in which messages are judged: as many as allowed, and none that waits for another."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class AllThreadsBusy(Exception):
    """Every thread has a call. Nothing was done."""


class TooLate(Exception):
    """The call did not end in time. It goes on, and keeps its thread until it ends."""


class ModerationThreads:
    """At most ``limit`` threads, which start on demand and stay. They do not keep the process from ending."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._busy = 0
        self._started = 0
        self._calls: queue.SimpleQueue[_Call[object]] = queue.SimpleQueue()

    @property
    def busy(self) -> int:
        """The number of threads that have a call, those whose callers have given up included."""
        return self._busy

    def call(self, function: Callable[[], T], *, timeout: float) -> T:
        """Return what ``function`` returns in one of the threads, or raise what it raises.

        Raises :class:`AllThreadsBusy` at once if no thread is free, and :class:`TooLate` after ``timeout`` seconds.
        """
        call = _Call(function)
        with self._lock:
            if self._busy >= self._limit:
                raise AllThreadsBusy
            if self._busy == self._started:
                threading.Thread(target=self._run, name=f"cometbot-moderation-{self._started}", daemon=True).start()
                self._started += 1
            self._busy += 1
        self._calls.put(call)  # type: ignore[arg-type]
        if not call.has_ended.wait(timeout):
            raise TooLate
        return call.result()

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            try:
                call.make()
            finally:
                with self._lock:
                    self._busy -= 1
            # Only now, so that a caller with an answer finds the thread free.
            call.has_ended.set()
            del call


class _Call(Generic[T]):
    """A call, and what has become of it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.has_ended = threading.Event()
        self._function = function
        self._values: list[T] = []
        self._error: BaseException | None = None

    def make(self) -> None:
        """Make the call, in a context of its own: the threads keep nothing of an earlier one."""
        try:
            self._values.append(contextvars.Context().run(self._function))
        except BaseException as error:  # also SystemExit, which would end the thread
            self._error = error

    def result(self) -> T:
        """Return what the function returned, or raise what it raised."""
        if self._error is None:
            return self._values[0]
        try:
            raise self._error
        finally:
            self._error = None
