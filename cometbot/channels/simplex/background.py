"""Threads that wait for work of a connection."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from cometbot.errors import ChannelError, DeliveryError, PayloadError

_log = logging.getLogger(__name__)

RECOVERY_DELAYS = (1.0, 3.0, 10.0, 60.0)
"""Seconds after a reconnection at which events that were sent to the earlier connection are recovered."""


class BackgroundThread(threading.Thread, ABC):
    """A thread that does one task after the other until :meth:`close`. A task that fails is logged as ``work``.

    The traceback is logged too, unless the CLI or the database is the cause.
    """

    close_timeout = 5.0

    def __init__(self, name: str, work: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._is_closed = False
        self._changed = threading.Condition()

    def close(self) -> None:
        """Stop the thread and wait for it, for ``close_timeout`` seconds at most."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self.ident is not None:
            self.join(self.close_timeout)

    def run(self) -> None:
        """Run the tasks."""
        while not self._is_closed:
            try:
                self._run_next_task()
            except (ChannelError, DeliveryError, PayloadError) as error:
                _log.info("cannot %s: %s", self._work, error)
            except Exception:
                _log.exception("cannot %s", self._work)

    @abstractmethod
    def _run_next_task(self) -> None:
        """Wait for a task and run it. Return without one once the thread is closed."""


class RecoveryTimer(BackgroundThread):
    """Calls ``action`` at each of :data:`RECOVERY_DELAYS` after :meth:`restart`, until :meth:`close`.

    If ``action`` fails, it is called again at the next time.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__("cometbot-simplex-recovery", "fetch missed messages")
        self._action = action
        self._due_times: list[float] = []

    def restart(self) -> None:
        """Start the delays anew."""
        with self._changed:
            self._due_times = [time.monotonic() + seconds for seconds in RECOVERY_DELAYS]
            self._changed.notify_all()

    def _run_next_task(self) -> None:
        with self._changed:
            left = self._due_times[0] - time.monotonic() if self._due_times else None
            if left is None or left > 0:
                if not self._is_closed:
                    self._changed.wait(left)
                return
            self._due_times.pop(0)
        self._action()
