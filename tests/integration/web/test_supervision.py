"""A child that ends again and again is started after growing waits."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from cometbot.web import supervision
from cometbot.web.supervision import Child, Signals


@pytest.fixture
def child() -> Child:
    """One whose process ends at once with the status 3."""
    made = Child("web", [])
    made._command = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    return made


def run_once(child: Child) -> float:
    """Start it, wait for its end, and return the seconds until it may start again."""
    child.start()
    end = time.monotonic() + 20
    while (status := child.take_end()) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert status == 3
    assert child.take_end() is None
    return child.starts_at - time.monotonic()


def test_a_child_that_ends_soon_waits_longer_each_time_and_the_first_time_not_at_all(child: Child) -> None:
    waits = [run_once(child) for _ in range(4)]
    assert waits[0] <= 0
    assert waits[1:] == pytest.approx([0.5, 1.0, 2.0], abs=0.2)
    assert (child.starts, child.failures) == (4, 4)
    child.failures = 50
    assert run_once(child) == pytest.approx(30.0, abs=0.2)


def test_a_child_that_had_worked_for_long_starts_again_at_once(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.failures = 5
    monkeypatch.setattr(supervision, "_HEALTHY", -1.0)
    assert run_once(child) <= 0
    assert child.failures == 0


def test_a_child_that_does_not_end_when_told_is_killed(child: Child) -> None:
    child._command = [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); "
                      "print(flush=True); time.sleep(60)"]  # fmt: skip
    child.start()
    assert child.is_running
    time.sleep(0.3)
    child.tell(signal.SIGTERM)
    child.end(0.3)
    assert not child.is_running


def test_signals_end_the_wait_and_are_told_once() -> None:
    before = signal.getsignal(signal.SIGHUP)
    signals = Signals()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        began = time.monotonic()
        assert not signals.wait(10)
        assert time.monotonic() - began < 5
        assert signals.take() == [signal.SIGHUP]
        assert signals.take() == []
    finally:
        signals.close()
    assert signal.getsignal(signal.SIGHUP) is before
