"""Call a function that may never return, with a timeout and one call at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Generic, TypeVar

from cometbot.errors import StoreBusy
from cometbot.forking import PerProcess

T = TypeVar("T")


class SharedCall(Generic[T]):
    """A function that runs in its own thread, one call at a time, with a result shared by concurrent callers.

    An exception that ``function`` raises is raised to every caller of :meth:`result`.
    """

    def __init__(self, function: Callable[[], T], timeout: float) -> None:
        self._function = function
        self._timeout = timeout
        self._guard = threading.Lock()
        self._call = PerProcess(self._start)

    def result(self) -> T:
        """Return the result. Raises :class:`StoreBusy` ``timeout`` seconds after the call was started."""
        with self._guard:
            running = self._call.existing
            if running is not None and running[0].done():
                self._call.clear()
            pending, ends_at = self._call.get()
        try:
            return pending.result(max(ends_at - time.monotonic(), 0.0))
        except Late as error:
            if pending.done():
                raise
            raise StoreBusy(f"no result within {self._timeout:g} s") from error

    def _start(self) -> tuple[Future[T], float]:
        """Start a call, and return it with the time at which its callers give up."""
        pending: Future[T] = Future()
        threading.Thread(target=self._run, args=(pending,), name="cometbot-checks", daemon=True).start()
        return pending, time.monotonic() + self._timeout

    def _run(self, pending: Future[T]) -> None:
        try:
            pending.set_result(self._function())
        except BaseException as error:
            pending.set_exception(error)
