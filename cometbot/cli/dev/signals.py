"""Ends a run on Ctrl-C, on SIGTERM, or when its terminal is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from cometbot.shutdown import SignalHandler, handle_signals

SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_WAKE_SIGNAL = signal.SIGUSR1
_WAKE_INTERVAL = 0.2
_REPEAT_INTERVAL = 8.0


@contextlib.contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in the main thread on signals that end the process.

    Must be called in the main thread. A signal that arrives just before the thread starts to wait for a key would only
    be handled after that key. Therefore another thread receives it too, and wakes the main thread until the main thread
    has handled it.
    """
    _requested_at[0] = float("inf")
    handlers: dict[int, SignalHandler] = {**dict.fromkeys(SHUTDOWN_SIGNALS, _interrupt), _WAKE_SIGNAL: _handle_wake}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    is_finished = threading.Event()
    arguments = (reading, threading.get_ident(), is_finished)
    waker = threading.Thread(target=_wake_main_thread, args=arguments, name="cometbot-dev-signals", daemon=True)
    with handle_signals(handlers, writing):
        waker.start()
        try:
            yield
        finally:
            is_finished.set()
            signal.set_wakeup_fd(-1)
            os.close(writing)
            waker.join()
            os.close(reading)


def ignore_signals() -> None:
    """Ignore further signals that end the process, because a second Ctrl-C would interrupt the clean-up."""
    _requested_at[0] = float("inf")
    for number in SHUTDOWN_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


_requested_at = [float("inf")]
"""The time of the last shutdown request, in ``time.monotonic()`` seconds."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_signals()
    _requested_at[0] = time.monotonic()
    raise KeyboardInterrupt


def _handle_wake(number: int, frame: FrameType | None) -> None:
    """Raise ``KeyboardInterrupt`` if a shutdown request is unhandled, and again later in case it was swallowed."""
    if time.monotonic() - _requested_at[0] > _REPEAT_INTERVAL:
        _requested_at[0] = time.monotonic()
        raise KeyboardInterrupt


def _wake_main_thread(reading: int, main: int, is_finished: threading.Event) -> None:
    while received := os.read(reading, 64):
        is_shutdown_signal = any(number in received for number in SHUTDOWN_SIGNALS)
        while is_shutdown_signal and not is_finished.is_set():
            is_finished.wait(_WAKE_INTERVAL)
            signal.pthread_kill(main, _WAKE_SIGNAL)
