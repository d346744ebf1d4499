"""Ends a run when it is asked to: by Ctrl-C, by SIGTERM, or because its terminal is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_NUDGE = signal.SIGUSR1
_PATIENCE = 0.2
_LOST_AFTER = 8.0


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Signals that ask for the end raise ``KeyboardInterrupt`` in the main thread, which must be the one that is here.

    A signal that comes just before the thread begins to wait for a key would only be seen with that key: another
    thread hears of it and wakes the main thread until it has seen it.
    """
    _asked[0] = float("inf")
    before = {number: signal.signal(number, _interrupt) for number in ENDING}
    before[_NUDGE] = signal.signal(_NUDGE, _nothing)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    over = threading.Event()
    arguments = (reading, threading.get_ident(), over)
    nudger = threading.Thread(target=_nudge, args=arguments, name="cometbot-dev-signals", daemon=True)
    nudger.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(earlier)
        os.close(writing)
        nudger.join()
        os.close(reading)
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore() -> None:
    """From now on the end is on its way, however long it takes; a second Ctrl-C would only leave something behind."""
    _asked[0] = float("inf")
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


_asked = [float("inf")]
"""When the end was last asked for, in ``time.monotonic()`` seconds."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore()
    _asked[0] = time.monotonic()
    raise KeyboardInterrupt


def _nothing(number: int, frame: FrameType | None) -> None:
    """A nudge: the main thread stops waiting. It is asked again if what it was in the middle of swallowed the first."""
    if time.monotonic() - _asked[0] > _LOST_AFTER:
        _asked[0] = time.monotonic()
        raise KeyboardInterrupt


def _nudge(reading: int, main: int, over: threading.Event) -> None:
    while came := os.read(reading, 64):
        asked = any(number in came for number in ENDING)
        while asked and not over.is_set():
            over.wait(_PATIENCE)
            signal.pthread_kill(main, _NUDGE)
