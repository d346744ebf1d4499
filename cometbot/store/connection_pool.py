"""A bounded pool of database connections, with places kept free for acknowledgements."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cometbot.errors import StoreBusy

C = TypeVar("C")

IDLE_TIMEOUT = 30.0
"""Seconds after which a connection that nobody used is closed."""


class ConnectionPool(Generic[C]):
    """At most ``size`` connections, each used by one thread at a time.

    Urgent work may use all of them and goes first. Other work uses at most ``size - reserved``. The connection used
    last is used first, and one that was idle for ``idle_timeout`` seconds is closed. ``is_alive`` gets a connection
    and the seconds it was idle; where one has broken, all idle ones are replaced.
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
        self._limit = size - reserved
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._cond = threading.Condition()
        self._idle: list[tuple[C, float]] = []
        self._open = 0
        self._ordinary = 0
        self._urgent_waiting = 0
        self._is_closed = False
        self._timer: threading.Timer | None = None

    def acquire(
        self, *, is_urgent: bool = False, timeout: float, suits: Callable[[C], bool] = lambda connection: True
    ) -> C:
        """Return a connection, one that ``suits`` where there is a choice.

        Raises :class:`StoreBusy` after ``timeout`` seconds, and what ``connect`` raises.
        """
        found = self._reserve(is_urgent, timeout, suits)
        try:
            if found is not None and self._is_alive(found[0], self._clock() - found[1]):
                return found[0]
            if found is not None:
                self._close(found[0])
                self.discard_idle()
            return self._connect()
        except BaseException:
            self._free(is_urgent)
            raise

    def _reserve(self, is_urgent: bool, timeout: float, suits: Callable[[C], bool]) -> tuple[C, float] | None:
        """Return an idle connection, or None where a new one may be opened; its place is taken."""
        with self._cond:
            self._urgent_waiting += is_urgent
            try:
                is_over = self._cond.wait_for(lambda: self._is_closed or self._has_place(is_urgent), timeout)
            finally:
                self._urgent_waiting -= is_urgent
                self._cond.notify_all()
            if self._is_closed:
                raise StoreBusy("the database is closed")
            if not is_over:
                raise StoreBusy(f"all {self._size} database connections are in use; try again in a moment")
            self._ordinary += not is_urgent
            return self._pick(suits)

    def _has_place(self, is_urgent: bool) -> bool:
        is_allowed = is_urgent or (self._ordinary < self._limit and not self._urgent_waiting)
        return is_allowed and (bool(self._idle) or self._open < self._size)

    def _pick(self, suits: Callable[[C], bool]) -> tuple[C, float] | None:
        """Return the newest idle connection that suits; any other one only where no more may be opened."""
        for at in reversed(range(len(self._idle))):
            if suits(self._idle[at][0]):
                return self._idle.pop(at)
        if self._open >= self._size:
            return self._idle.pop()
        self._open += 1
        return None

    def release(self, connection: C, *, is_urgent: bool = False, is_usable: bool = True) -> None:
        """Give back what :meth:`acquire` returned. One that is not usable is closed."""
        with self._cond:
            is_kept = is_usable and not self._is_closed
            if is_kept:
                self._idle.append((connection, self._clock()))
                self._ordinary -= not is_urgent
                self._set_timer()
                self._cond.notify_all()
        if not is_kept:
            self._close(connection)
            self._free(is_urgent)

    def _free(self, is_urgent: bool) -> None:
        with self._cond:
            self._open -= 1
            self._ordinary -= not is_urgent
            self._cond.notify_all()

    def discard_idle(self, longer_than: float = 0.0) -> None:
        """Close the connections that have been idle for so many seconds."""
        with self._cond:
            latest = self._clock() - longer_than
            gone = [connection for connection, since in self._idle if since <= latest]
            self._idle = [item for item in self._idle if item[1] > latest]
            self._open -= len(gone)
            self._cond.notify_all()
        for connection in gone:
            self._close(connection)

    def _set_timer(self) -> None:
        """Have idle connections closed later, also in a process that has nothing more to do."""
        if self._timer is None:
            self._timer = threading.Timer(self._idle_timeout, self._close_unused)
            self._timer.name, self._timer.daemon = "cometbot-connections", True
            self._timer.start()

    def _close_unused(self) -> None:
        self.discard_idle(self._idle_timeout)
        with self._cond:
            self._timer = None
            if self._idle and not self._is_closed:
                self._set_timer()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are released."""
        with self._cond:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._cond.notify_all()
        self.discard_idle()
