"""A bounded pool of database connections, with slots reserved for acknowledgements."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cometbot.errors import StoreBusy

C = TypeVar("C")

IDLE_TIMEOUT = 30.0
"""Seconds after which an idle connection is closed."""


class ConnectionPool(Generic[C]):
    """At most ``size`` connections, each used by one thread at a time.

    Urgent work may use all of them and has precedence. Other work uses at most ``size - reserved``. The most recently
    used connection is used first, and one that was idle for ``idle_timeout`` seconds is closed. ``is_alive`` receives a
    connection and the seconds it was idle; if one has broken, all idle ones are closed.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        close: Callable[[C], None],
        is_alive: Callable[[C, float], bool],
        *,
        size: int,
        reserved: int,
        idle_timeout: float = IDLE_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._close = close
        self._is_alive = is_alive
        self._size = size
        self._ordinary_limit = size - reserved
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._cond = threading.Condition()
        self._idle: list[tuple[C, float]] = []
        self._open_count = 0
        self._ordinary_count = 0
        self._urgent_waiter_count = 0
        self._is_closed = False
        self._timer: threading.Timer | None = None

    def acquire(
        self, *, is_urgent: bool = False, timeout: float, is_preferred: Callable[[C], bool] = lambda connection: True
    ) -> C:
        """Return a connection, preferably one for which ``is_preferred`` is true.

        Raises :class:`StoreBusy` after ``timeout`` seconds, and any exception of ``connect``.
        """
        idle = self._acquire_slot(is_urgent, timeout, is_preferred)
        try:
            if idle is not None and self._is_alive(idle[0], self._clock() - idle[1]):
                return idle[0]
            if idle is not None:
                self._close(idle[0])
                self.close_idle()
            return self._connect()
        except BaseException:
            self._release_slot(is_urgent)
            raise

    def _acquire_slot(
        self, is_urgent: bool, timeout: float, is_preferred: Callable[[C], bool]
    ) -> tuple[C, float] | None:
        """Reserve a slot and return an idle connection, or None if a new one may be opened."""
        with self._cond:
            self._urgent_waiter_count += is_urgent
            try:
                is_available = self._cond.wait_for(lambda: self._is_closed or self._has_slot(is_urgent), timeout)
            finally:
                self._urgent_waiter_count -= is_urgent
                self._cond.notify_all()
            if self._is_closed:
                raise StoreBusy("the database is closed")
            if not is_available:
                raise StoreBusy(f"all {self._size} database connections are in use. Try again in a moment.")
            self._ordinary_count += not is_urgent
            return self._pop_idle(is_preferred)

    def _has_slot(self, is_urgent: bool) -> bool:
        is_allowed = is_urgent or (self._ordinary_count < self._ordinary_limit and not self._urgent_waiter_count)
        return is_allowed and (bool(self._idle) or self._open_count < self._size)

    def _pop_idle(self, is_preferred: Callable[[C], bool]) -> tuple[C, float] | None:
        """Return the newest preferred idle connection; another one only if no more may be opened."""
        for index in reversed(range(len(self._idle))):
            if is_preferred(self._idle[index][0]):
                return self._idle.pop(index)
        if self._open_count >= self._size:
            return self._idle.pop()
        self._open_count += 1
        return None

    def release(self, connection: C, *, is_urgent: bool = False, is_usable: bool = True) -> None:
        """Return to the pool what :meth:`acquire` returned. A connection that is not usable is closed."""
        with self._cond:
            is_reusable = is_usable and not self._is_closed
            if is_reusable:
                self._idle.append((connection, self._clock()))
                self._ordinary_count -= not is_urgent
                self._schedule_idle_close()
                self._cond.notify_all()
        if not is_reusable:
            self._close(connection)
            self._release_slot(is_urgent)

    def _release_slot(self, is_urgent: bool) -> None:
        with self._cond:
            self._open_count -= 1
            self._ordinary_count -= not is_urgent
            self._cond.notify_all()

    def close_idle(self, min_idle: float = 0.0) -> None:
        """Close the connections that have been idle for ``min_idle`` seconds."""
        with self._cond:
            cutoff = self._clock() - min_idle
            expired = [connection for connection, since in self._idle if since <= cutoff]
            self._idle = [item for item in self._idle if item[1] > cutoff]
            self._open_count -= len(expired)
            self._cond.notify_all()
        for connection in expired:
            self._close(connection)

    def _schedule_idle_close(self) -> None:
        """Schedule the closing of idle connections, also in a process that has nothing more to do."""
        if self._timer is None:
            self._timer = threading.Timer(self._idle_timeout, self._close_timed_out)
            self._timer.name, self._timer.daemon = "cometbot-connections", True
            self._timer.start()

    def _close_timed_out(self) -> None:
        self.close_idle(self._idle_timeout)
        with self._cond:
            self._timer = None
            if self._idle and not self._is_closed:
                self._schedule_idle_close()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are released."""
        with self._cond:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._cond.notify_all()
        self.close_idle()
