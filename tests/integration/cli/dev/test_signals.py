"""How a run is asked to end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from cometbot.cli.dev import signals

UNSEEN = """
import signal, threading
from cometbot.cli.dev.signals import interrupting

def strike():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.raise_signal(signal.SIGTERM)

with interrupting():
    # The main thread's wait for a key is not broken off by a signal that another thread takes.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Timer(0.3, strike).start()
    try:
        input()
    except KeyboardInterrupt:
        print("ended")
"""


def test_signals_interrupt_and_earlier_handlers_come_back() -> None:
    before = {number: signal.getsignal(number) for number in (*signals.ENDING, signal.SIGUSR1)}
    for number in signals.ENDING:
        with pytest.raises(KeyboardInterrupt), signals.interrupting():
            signal.raise_signal(number)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_second_signal_does_not_disturb_the_end() -> None:
    with signals.interrupting():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_the_wait_for_a_key_does_not_notice_ends_it_all_the_same() -> None:
    process = subprocess.Popen([sys.executable, "-c", UNSEEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ended\n"
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_an_end_that_takes_long_is_not_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with signals.interrupting():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signals.ignore()
        monkeypatch.setattr(signals, "_LOST_AFTER", 0.0)
        signal.raise_signal(signal.SIGUSR1)
