"""How a run is asked to end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from cometbot.cli.dev import signals

UNSEEN = """
import signal, threading
from cometbot.cli.dev.signals import interrupt_on_signals

def strike():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.raise_signal(signal.SIGTERM)

with interrupt_on_signals():
    # The main thread's wait for a key is not broken off by a signal that another thread takes.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Timer(0.3, strike).start()
    try:
        input()
    except KeyboardInterrupt:
        print("ended")
"""


def test_signals_interrupt_and_earlier_handlers_come_back() -> None:
    before = {number: signal.getsignal(number) for number in (*signals.SHUTDOWN_SIGNALS, signal.SIGUSR1)}
    for number in signals.SHUTDOWN_SIGNALS:
        with pytest.raises(KeyboardInterrupt), signals.interrupt_on_signals():
            signal.raise_signal(number)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_second_signal_does_not_disturb_the_end() -> None:
    with signals.interrupt_on_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)


def test_signal_before_the_wait_for_a_key_interrupts() -> None:
    process = subprocess.Popen([sys.executable, "-c", UNSEEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ended\n"
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_an_end_that_takes_long_is_not_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with signals.interrupt_on_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signals.ignore_signals()
        monkeypatch.setattr(signals, "_REPEAT_INTERVAL", 0.0)
        signal.raise_signal(signal.SIGUSR1)
