"""Real signals in this process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from cometbot.shutdown import ShutdownEvent, handle_signals, shutdown_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_of_the_main_thread(number: signal.Signals) -> None:
    with shutdown_on_signals() as ended:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        assert ended.wait(30)


def test_signal_delivered_to_another_thread_ends_the_wait() -> None:
    """As one does that came just before the main thread slept: no handler of Python's runs while that sleeps."""
    with shutdown_on_signals() as ended:
        other = threading.Thread(target=time.sleep, args=(5,), daemon=True)
        other.start()
        assert other.ident is not None
        threading.Timer(0.05, signal.pthread_kill, (other.ident, signal.SIGTERM)).start()
        began = time.monotonic()
        assert ended.wait(30)
        assert time.monotonic() - began < 4


def test_signal_before_the_wait_is_not_lost() -> None:
    with shutdown_on_signals() as ended:
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(30)


def test_another_thread_can_set_the_event() -> None:
    ended = ShutdownEvent()
    assert not ended.wait(0.01)
    threading.Timer(0.05, ended.set).start()
    assert ended.wait(30)


def test_only_the_signals_that_are_named_count() -> None:
    def interrupt(number: int, frame: object) -> None:
        received.append(number)

    received: list[int] = []
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with shutdown_on_signals(signal.SIGTERM) as ended:
            os.kill(os.getpid(), signal.SIGINT)
            assert received == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended.wait(30)
    finally:
        signal.signal(signal.SIGINT, before)


def test_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with shutdown_on_signals():
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # since Python 3.12, where there are threads
def test_signal_to_a_forked_child_does_not_set_the_parents_event() -> None:
    def fork() -> None:
        child = os.fork()
        if not child:
            os.write(writing, b"!")
            time.sleep(60)
            os._exit(3)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        ended_by.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    ended_by: list[int] = []
    reading, writing = os.pipe()
    with shutdown_on_signals() as ended:
        # From another thread, as a handler would.
        forking = threading.Thread(target=fork)
        forking.start()
        forking.join()
        assert ended_by == [-signal.SIGTERM]
        assert not ended.wait(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(30)
    os.close(reading)
    os.close(writing)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_that_leaves_the_block_exits_normally() -> None:
    child = 0
    try:
        with shutdown_on_signals():
            child = os.fork()
            if not child:
                raise SystemExit
    except BaseException as error:
        if not child:
            os._exit(7 if isinstance(error, SystemExit) else 1)
        raise
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_handlers_are_restored_at_the_end_and_in_a_child() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with handle_signals({signal.SIGUSR2: lambda number, frame: None}, writer):
        os.kill(os.getpid(), signal.SIGUSR2)
        assert os.read(reader, 1) == bytes([signal.SIGUSR2])
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.getsignal(signal.SIGUSR2) == before and signal.set_wakeup_fd(-1) == -1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert signal.getsignal(signal.SIGUSR2) == before
    assert signal.set_wakeup_fd(-1) == -1
    os.close(reader)
    os.close(writer)
