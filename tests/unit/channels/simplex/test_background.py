"""The threads that wait for work of a connection."""

from __future__ import annotations

import logging
import threading

import pytest

from cometbot.channels.simplex import background
from cometbot.channels.simplex.background import BackgroundThread, RecoveryTimer
from cometbot.errors import Unreachable

LIMIT = 5.0


class Failing(BackgroundThread):
    """Fails as the given errors say, then waits."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__("test-failing", "do the work")
        self.errors = list(errors)
        self.is_done = threading.Event()

    def _run_next_task(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.is_done.set()
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed)


def test_failed_task_is_logged_and_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    thread = Failing(Unreachable("gone"), ValueError("odd"))
    with caplog.at_level(logging.INFO):
        thread.start()
        assert thread.is_done.wait(LIMIT)
    thread.close()
    assert not thread.is_alive()
    expected = [("INFO", "cannot do the work: gone"), ("ERROR", "cannot do the work")]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == expected


def test_timer_fires_once_per_delay_after_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", (0.0, 0.01))
    calls = threading.Semaphore(0)
    timer = RecoveryTimer(calls.release)
    timer.start()
    timer.restart()
    assert calls.acquire(timeout=LIMIT)
    assert calls.acquire(timeout=LIMIT)
    assert not calls.acquire(timeout=0.05)
    timer.close()
    assert not timer.is_alive()


def test_close_is_not_lost_on_timer_that_begins_to_wait() -> None:
    timer = RecoveryTimer(lambda: None)
    timer.close()
    waiting = threading.Thread(target=timer._run_next_task, daemon=True)
    waiting.start()
    waiting.join(LIMIT)
    assert not waiting.is_alive()
