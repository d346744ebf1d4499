"""The shutdown event of a process without gunicorn."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_INTERVAL = 0.05
"""The seconds within which :meth:`ShutdownEvent.wait` notices that the event is set."""


class ShutdownEvent:
    """An event that is set when this process must shut down. It uses no locks, so a signal handler can set it."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Request the shutdown. This may be called from any thread and from a signal handler."""
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set or ``timeout`` seconds have passed. Return True if it is set.

        It polls, because Python runs signal handlers only in the main thread. If the signal came just before that
        thread began to sleep, or the kernel gave it to another thread, the handler runs only after the sleep.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._is_set and (remaining := deadline - time.monotonic()) > 0:
            time.sleep(min(remaining, POLL_INTERVAL))
        return self._is_set


_restorers: list[Callable[[], None]] = []
"""Functions that a forked child calls first to restore its signal handlers."""


@contextmanager
def shutdown_on_signals(*signals: signal.Signals) -> Iterator[ShutdownEvent]:
    """Yield an event that these signals set (default: SIGTERM and SIGINT), and restore their handlers at the end.

    Call it in the main thread.
    """
    event = ShutdownEvent()
    previous = {
        number: signal.signal(number, lambda number, frame: event.set())
        for number in signals or (signal.SIGTERM, signal.SIGINT)
    }

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    _restorers.append(restore)
    try:
        yield event
    finally:
        if restore in _restorers:
            _restorers.remove(restore)
            restore()


def _restore_after_fork() -> None:
    while _restorers:
        _restorers.pop()()


os.register_at_fork(after_in_child=_restore_after_fork)
