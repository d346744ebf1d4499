"""Real signals in this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cometbot.stopping import told_to_end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_for_which_the_main_thread_waits(number: signal.Signals) -> None:
    with told_to_end() as ended:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        assert ended.wait(30)


def test_a_signal_that_the_kernel_gives_to_another_thread_ends_a_wait_as_well() -> None:
    """As one does that came just before the main thread slept: no handler of Python's runs while that sleeps."""
    with told_to_end() as ended:
        other = threading.Thread(target=ended.wait)
        other.start()
        assert other.ident is not None
        threading.Timer(0.05, signal.pthread_kill, (other.ident, signal.SIGTERM)).start()
        assert ended.wait(30)
        other.join()


def test_a_signal_that_comes_before_anybody_waits_is_not_lost() -> None:
    with told_to_end() as ended:
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(30)


def test_only_the_signals_that_are_named_count() -> None:
    def interrupt(number: int, frame: object) -> None:
        heard.append(number)

    heard: list[int] = []
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with told_to_end(signal.SIGTERM) as ended:
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended.wait(30)
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_are_given_back_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with told_to_end():
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert not [thread for thread in threading.enumerate() if thread.name == "cometbot-signals"]
