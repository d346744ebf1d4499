"""How a process without gunicorn hears that it should end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK = 0.05
"""Seconds within which somebody who waits sees that the end was told."""


class Ending:
    """Whether this process was told to end. Nothing here takes a lock, so that a signal may come at any moment."""

    def __init__(self) -> None:
        self._is_told = False

    def tell(self) -> None:
        """This is the end. From any thread, and from a handler of a signal."""
        self._is_told = True

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the end was told; returns when it is, or after so many seconds.

        It looks again and again: a Python handler runs in the main thread only, so one for a signal that came just
        before that thread began to sleep, or that the kernel gave to another one, runs when the sleep is over.
        """
        end = float("inf") if seconds is None else time.monotonic() + seconds
        while not self._is_told and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK))
        return self._is_told


_undo: list[Callable[[], None]] = []
"""What a forked child does first: it has its signals as they were."""


@contextmanager
def told_to_end(*numbers: signal.Signals) -> Iterator[Ending]:
    """Tells the end when one of these signals comes (SIGTERM and SIGINT, if none is given). For the main thread."""
    ending = Ending()
    before = {
        number: signal.signal(number, lambda number, frame: ending.tell())
        for number in numbers or (signal.SIGTERM, signal.SIGINT)
    }

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    _undo.append(give_back)
    try:
        yield ending
    finally:
        if give_back in _undo:
            _undo.remove(give_back)
            give_back()


def _forget() -> None:
    while _undo:
        _undo.pop()()


os.register_at_fork(after_in_child=_forget)
