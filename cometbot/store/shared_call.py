"""Call a function that may never return, with a timeout and one call at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Generic, TypeVar

from cometbot.errors import StoreBusy

T = TypeVar("T")


class SharedCall(Generic[T]):
    """A function that runs in its own thread, one call at a time, with a result shared by concurrent callers.

    An exception that ``function`` raises is raised to every caller of :meth:`result`.
    """

    def __init__(self, function: Callable[[], T], timeout: float) -> None:
        self._function = function
        self._timeout = timeout
        self._guard = threading.Lock()
        self._pid = 0
        self._deadline = 0.0
        self._pending: Future[T] = Future()

    def result(self) -> T:
        """Return the result. Raises :class:`StoreBusy` ``timeout`` seconds after the call was started."""
        with self._guard:
            # A thread that was started before a fork does not exist in the child.
            if self._pid != os.getpid() or self._pending.done():
                self._start()
            pending, ends_at = self._pending, self._deadline
        try:
            return pending.result(max(ends_at - time.monotonic(), 0.0))
        except Late as error:
            if pending.done():
                raise
            raise StoreBusy(f"it has not answered for {self._timeout:g} s") from error

    def _start(self) -> None:
        self._pid, self._deadline, self._pending = os.getpid(), time.monotonic() + self._timeout, Future()
        threading.Thread(target=self._run, args=(self._pending,), name="cometbot-checks", daemon=True).start()

    def _run(self, pending: Future[T]) -> None:
        try:
            pending.set_result(self._function())
        except BaseException as error:
            pending.set_exception(error)
