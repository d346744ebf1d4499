"""A child that ends again and again is started after growing waits."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from cometbot.web import supervision
from cometbot.web.supervision import Child, Signals


@pytest.fixture
def child() -> Child:
    """One whose process ends at once with the status 3."""
    made = Child("web", [])
    made._command = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    return made


def run_once(child: Child) -> tuple[float, float]:
    """Start it, and wait for its end; the least and the most seconds for which it then waits."""
    child.start()
    end = time.monotonic() + 60
    while True:
        before = time.monotonic()
        if (status := child.take_end()) is not None:
            break
        assert before < end
        time.sleep(0.01)
    after = time.monotonic()
    assert status == 3
    assert child.take_end() is None
    return child.starts_at - after, child.starts_at - before


def test_a_child_that_ends_soon_waits_longer_each_time_and_the_first_time_not_at_all(child: Child) -> None:
    for expected in (0.0, 0.5, 1.0, 2.0):
        least, most = run_once(child)
        assert least <= expected <= most
    assert (child.starts, child.failures) == (4, 4)
    child.failures = 50
    least, most = run_once(child)
    assert least <= 30.0 <= most


def test_a_child_that_had_worked_for_long_starts_again_at_once(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.failures = 5
    monkeypatch.setattr(supervision, "_HEALTHY", -1.0)
    assert run_once(child)[0] <= 0
    assert child.failures == 0


def test_a_child_that_does_not_end_when_told_is_killed(child: Child, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    child._command = [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); "
                      f"open({str(deaf)!r}, 'w').close(); time.sleep(60)"]  # fmt: skip
    child.start()
    end = time.monotonic() + 60
    while not deaf.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    child.tell(signal.SIGTERM)
    assert child.is_running
    child.end(0.3)
    assert not child.is_running


def test_signals_end_the_wait_and_are_told_once() -> None:
    before = signal.getsignal(signal.SIGHUP)
    signals = Signals()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        began = time.monotonic()
        assert not signals.wait(60)
        assert time.monotonic() - began < 30
        assert signals.take() == [signal.SIGHUP]
        assert signals.take() == []
    finally:
        signals.close()
    assert signal.getsignal(signal.SIGHUP) is before
