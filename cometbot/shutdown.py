"""Signal handlers of the processes without gunicorn, and the event that requests their shutdown."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

SignalHandler: TypeAlias = Callable[[int, FrameType | None], object] | signal.Handlers

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


@contextmanager
def handle_signals(handlers: Mapping[int, SignalHandler], wakeup_fd: int | None = None) -> Iterator[None]:
    """Handle signals with ``handlers`` and write their numbers to ``wakeup_fd``, until the block ends.

    The handlers from before are restored then, and first of all in a forked child. Call it in the main thread.
    """
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    previous_fd = None if wakeup_fd is None else signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)

    def restore() -> None:
        if previous_fd is not None:
            signal.set_wakeup_fd(previous_fd)
        for number, handler in previous.items():
            signal.signal(number, handler)

    _restorers.append(restore)
    try:
        yield
    finally:
        if restore in _restorers:
            _restorers.remove(restore)
            restore()


@contextmanager
def shutdown_on_signals(*signals: signal.Signals) -> Iterator[ShutdownEvent]:
    """Yield an event that these signals set (default: SIGTERM and SIGINT), and restore their handlers at the end.

    Call it in the main thread.
    """
    event = ShutdownEvent()
    with handle_signals(dict.fromkeys(signals or (signal.SIGTERM, signal.SIGINT), lambda number, frame: event.set())):
        yield event


_restorers: list[Callable[[], None]] = []
"""Functions that a forked child calls first to restore its signal handlers."""


def _restore_after_fork() -> None:
    while _restorers:
        _restorers.pop()()


os.register_at_fork(after_in_child=_restore_after_fork)
