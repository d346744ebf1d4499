"""How a process without gunicorn hears that it should end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_INTERVAL = 0.05
"""Seconds within which somebody who waits sees that the end was told."""


class ShutdownEvent:
    """Whether this process was told to end. Nothing here takes a lock, so that a signal may come at any moment."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """This is the end. From any thread, and from a handler of a signal."""
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the end was told; returns when it is, or after so many seconds.

        It looks again and again: a Python handler runs in the main thread only, so one for a signal that came just
        before that thread began to sleep, or that the kernel gave to another one, runs when the sleep is over.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._is_set and (remaining := deadline - time.monotonic()) > 0:
            time.sleep(min(remaining, POLL_INTERVAL))
        return self._is_set


_restorers: list[Callable[[], None]] = []
"""What a forked child does first: it has its signals as they were."""


@contextmanager
def shutdown_on_signals(*signals: signal.Signals) -> Iterator[ShutdownEvent]:
    """Tells the end when one of these signals comes (SIGTERM and SIGINT, if none is given). For the main thread."""
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
