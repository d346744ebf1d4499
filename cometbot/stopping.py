"""How a process without gunicorn hears that it should end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGINT)


_undo: list[Callable[[], None]] = []
"""What a forked child does first, the last one first."""


@contextmanager
def told_to_end(*numbers: signal.Signals) -> Iterator[threading.Event]:
    """An event that is set when one of these signals comes (SIGTERM and SIGINT, if none is given).

    For the main thread, which may wait for the event as long as it likes. A thread of its own sets it: a Python
    handler runs in the main thread only, so one that came just before that began to wait would run when the wait is
    over; and one that ran within ``Event.wait`` would stand before a lock that it holds itself. A child that is forked
    meanwhile has its signals as they were before, and what it is told is not heard here.
    """
    ended = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wanted = numbers or ENDING
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _nothing) for number in wanted}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier)

    _undo.append(give_back)
    hearing = threading.Thread(target=_hear, args=(reading, wanted, ended), name="cometbot-signals", daemon=True)
    hearing.start()
    try:
        yield ended
    finally:
        _undo.remove(give_back)
        give_back()
        os.close(writing)
        hearing.join()
        os.close(reading)


def _hear(reading: int, wanted: tuple[signal.Signals, ...], ended: threading.Event) -> None:
    """What the kernel's own handler wrote, in whichever thread it ran."""
    while came := os.read(reading, 64):
        if any(number in came for number in wanted):
            ended.set()


def _nothing(number: int, frame: object) -> None:
    """Nothing: that a handler is there keeps the signal from ending the process."""


def _forget() -> None:
    while _undo:
        _undo.pop()()


os.register_at_fork(after_in_child=_forget)
