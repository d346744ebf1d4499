"""Events between the socket and the store: in order, bounded, and held back while something older is fetched."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cometbot.channels.simplex.protocol.frames import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimit:
    """How much an inbox takes before it makes its writer wait: events, and bytes of their frames."""

    events: int = 256
    size: int = 8 * 1024 * 1024


STARTUP_QUEUE_LIMIT = QueueLimit(events=20_000, size=64 * 1024 * 1024)
"""How much is held back while the past is fetched; after that the order of old and new is given up, not the memory."""


class EventQueue:
    """A queue with one writer and one reader. What does not fit makes the writer wait; nothing is dropped.

    It has the room of ``startup_limit`` as well until the time of :meth:`use_startup_limit_until`, for a reader that
    asks things meanwhile. Between :meth:`pause` and :meth:`resume` the reader gets nothing and the writer may go on up
    to ``startup_limit``, since it must go on reading answers; beyond that the hold ends by itself, and ``on_overflow``
    is told.
    """

    def __init__(self, limit: QueueLimit, startup_limit: QueueLimit, on_overflow: Callable[[], None]) -> None:
        self._limit, self._startup_limit, self._on_overflow = limit, startup_limit, on_overflow
        self._events: deque[tuple[Record, int]] = deque()
        self._size = 0
        self._startup_limit_until = 0.0
        self._is_paused = self._is_busy = self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._events)

    def pause(self) -> None:
        """Give the reader nothing from now on."""
        with self._changed:
            self._is_paused = True

    def resume(self) -> None:
        """Give the reader everything again."""
        with self._changed:
            self._is_paused = False
            self._changed.notify_all()

    def use_startup_limit_until(self, until: float) -> None:
        """Take more than usual until ``time.monotonic()`` is this."""
        with self._changed:
            self._startup_limit_until = until
            self._changed.notify_all()

    def enqueue(self, event: Record, size: int, is_cancelled: Callable[[], bool]) -> bool:
        """Whether the event is in; waits for room unless ``is_cancelled`` becomes true, which is asked often."""
        with self._changed:
            if self._is_paused and not self._has_room(self._startup_limit, size):
                self._is_paused = False
                self._on_overflow()
            while not self._is_paused and not self._has_room(self._current_limit, size):
                if is_cancelled() or self._is_closed:
                    return False
                self._changed.wait(0.2)
            self._events.append((event, size))
            self._size += size
            self._changed.notify_all()
            return True

    @property
    def _current_limit(self) -> QueueLimit:
        return self._startup_limit if time.monotonic() < self._startup_limit_until else self._limit

    def _has_room(self, room: QueueLimit, size: int) -> bool:
        return not self._events or (len(self._events) < room.events and self._size + size <= room.size)

    def dequeue(self) -> Record | None:
        """The next event, which is the reader's until it calls :meth:`task_done`; None once closed and empty."""
        with self._changed:
            while not self._events or self._is_paused:
                if self._is_closed and not self._events:
                    return None
                self._changed.wait()
            event, size = self._events.popleft()
            self._size -= size
            self._is_busy = True
            self._changed.notify_all()
            return event

    def task_done(self) -> None:
        """What was taken is stored."""
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()

    def wait_idle(self, is_cancelled: Callable[[], bool]) -> bool:
        """Whether everything that was put is stored; waits for that unless ``is_cancelled`` becomes true."""
        with self._changed:
            while self._events or self._is_busy:
                if is_cancelled():
                    return False
                self._changed.wait(0.2)
            return True

    def close(self) -> None:
        """Let the reader end once it has taken what is there."""
        with self._changed:
            self._is_closed, self._is_paused = True, False
            self._changed.notify_all()
