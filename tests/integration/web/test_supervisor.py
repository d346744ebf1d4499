"""A child that ends again and again is started after growing waits."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from cometbot.web import supervisor
from cometbot.web.supervisor import ChildProcess, SignalQueue


@pytest.fixture
def child() -> ChildProcess:
    """One whose process ends at once with the status 3."""
    made = ChildProcess("web", [])
    made._command = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    return made


def run_once(child: ChildProcess) -> tuple[float, float]:
    """Start it, and wait for its end; the least and the most seconds for which it then waits."""
    child.start()
    end = time.monotonic() + 60
    while True:
        before = time.monotonic()
        if (status := child.reap()) is not None:
            break
        assert before < end
        time.sleep(0.01)
    after = time.monotonic()
    assert status == 3
    assert child.reap() is None
    return child.restart_at - after, child.restart_at - before


def test_restart_delay_grows_after_the_first_restart(child: ChildProcess) -> None:
    for expected in (0.0, 0.5, 1.0, 2.0):
        least, most = run_once(child)
        assert least <= expected <= most
    assert (child.start_count, child.failures) == (4, 4)
    child.failures = 50
    least, most = run_once(child)
    assert least <= 30.0 <= most


def test_a_child_that_had_worked_for_long_starts_again_at_once(
    child: ChildProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.failures = 5
    monkeypatch.setattr(supervisor, "_HEALTHY_UPTIME", -1.0)
    assert run_once(child)[0] <= 0
    assert child.failures == 0


def test_child_that_ignores_sigterm_is_killed(child: ChildProcess, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    child._command = [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); "
                      f"open({str(deaf)!r}, 'w').close(); time.sleep(60)"]  # fmt: skip
    child.start()
    end = time.monotonic() + 60
    while not deaf.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    assert child.is_running
    child.wait_or_kill(0.3)
    assert not child.is_running


def test_signals_end_the_wait_and_are_drained_once() -> None:
    before = signal.getsignal(signal.SIGHUP)
    signals = SignalQueue()
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
