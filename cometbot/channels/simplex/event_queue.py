"""The queue of events between the socket and the store: ordered, bounded, and paused while older events are fetched."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cometbot.channels.simplex.protocol.frames import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimit:
    """The capacity of a queue before its writer blocks: events, and bytes of their frames."""

    events: int = 256
    size: int = 8 * 1024 * 1024


STARTUP_QUEUE_LIMIT = QueueLimit(events=20_000, size=64 * 1024 * 1024)
"""The capacity while missed events are fetched. Beyond it the order of old and new events is given up, to bound memory.
"""


class EventQueue:
    """A queue with one writer and one reader. A full queue blocks the writer; nothing is dropped.

    Until the time given to :meth:`use_startup_limit_until` it has the capacity ``startup_limit``, for a reader that
    sends commands meanwhile. Between :meth:`pause` and :meth:`resume` the reader receives nothing, and the writer may
    go on up to ``startup_limit``, since it must keep reading answers. Beyond that the pause ends and ``on_overflow`` is
    called.
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

    @property
    def unstored_count(self) -> int:
        """The number of events that are not stored, the one from :meth:`dequeue` included."""
        with self._changed:
            return len(self._events) + self._is_busy

    def pause(self) -> None:
        """Stop delivering events to the reader."""
        with self._changed:
            self._is_paused = True

    def resume(self) -> None:
        """Deliver events to the reader again."""
        with self._changed:
            self._is_paused = False
            self._changed.notify_all()

    def use_startup_limit_until(self, until: float) -> None:
        """Use the capacity ``startup_limit`` until ``time.monotonic()`` is ``until``."""
        with self._changed:
            self._startup_limit_until = until
            self._changed.notify_all()

    def enqueue(self, event: Record, size: int, is_cancelled: Callable[[], bool]) -> bool:
        """Add an event and return True; wait for room.

        Return False if the queue is full and ``is_cancelled``, which is polled, returns True, or the queue is closed.
        """
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
        """Return the next event, or None once the queue is closed and empty.

        The reader then calls :meth:`task_done`.
        """
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
        """Mark the event from :meth:`dequeue` as stored."""
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()

    def wait_idle(self, is_cancelled: Callable[[], bool]) -> bool:
        """Wait until all events are stored and return True. Return False once ``is_cancelled`` returns True."""
        with self._changed:
            while self._events or self._is_busy:
                if is_cancelled():
                    return False
                self._changed.wait(0.2)
            return True

    def close(self) -> None:
        """Close the queue. The reader ends after the events that are in it."""
        with self._changed:
            self._is_closed, self._is_paused = True, False
            self._changed.notify_all()
