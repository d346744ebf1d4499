"""Real signals in this process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from cometbot.stopping import Ending, told_to_end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_of_the_main_thread(number: signal.Signals) -> None:
    with told_to_end() as ended:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        assert ended.wait(30)


def test_a_signal_that_the_kernel_gives_to_another_thread_ends_a_wait_as_well() -> None:
    """As one does that came just before the main thread slept: no handler of Python's runs while that sleeps."""
    with told_to_end() as ended:
        other = threading.Thread(target=time.sleep, args=(5,), daemon=True)
        other.start()
        assert other.ident is not None
        threading.Timer(0.05, signal.pthread_kill, (other.ident, signal.SIGTERM)).start()
        began = time.monotonic()
        assert ended.wait(30)
        assert time.monotonic() - began < 4


def test_a_signal_that_comes_before_anybody_waits_is_not_lost() -> None:
    with told_to_end() as ended:
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(30)


def test_another_thread_may_tell_the_end_too() -> None:
    ended = Ending()
    assert not ended.wait(0.01)
    threading.Timer(0.05, ended.tell).start()
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


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # since Python 3.12, where there are threads
def test_a_forked_child_ends_by_a_signal_that_its_parent_does_not_hear() -> None:
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
    with told_to_end() as ended:
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
def test_a_forked_child_that_leaves_the_block_ends_as_it_wants_to() -> None:
    child = 0
    try:
        with told_to_end():
            child = os.fork()
            if not child:
                raise SystemExit
    except BaseException as error:
        if not child:
            os._exit(7 if isinstance(error, SystemExit) else 1)
        raise
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
