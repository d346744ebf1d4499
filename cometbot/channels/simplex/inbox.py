"""Events between the socket and the store: in order, bounded, and held back while something older is fetched."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cometbot.channels.simplex.protocol.frames import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much an inbox takes before it makes its writer wait: events, and bytes of their frames."""

    events: int = 256
    size: int = 8 * 1024 * 1024


HELD_ROOM = Room(events=20_000, size=64 * 1024 * 1024)
"""How much is held back while the past is fetched; after that the order of old and new is given up, not the memory."""


class Inbox:
    """A queue with one writer and one reader. What does not fit makes the writer wait; nothing is dropped.

    It has the room of ``held`` as well until the time of :meth:`widen`, for a reader that asks things meanwhile.
    Between :meth:`hold` and :meth:`release` the reader gets nothing and the writer may go on up to ``held``, since it
    must go on reading answers; beyond that the hold ends by itself, and ``on_overflow`` is told.
    """

    def __init__(self, room: Room, held: Room, on_overflow: Callable[[], None]) -> None:
        self._room, self._held_room, self._on_overflow = room, held, on_overflow
        self._events: deque[tuple[Record, int]] = deque()
        self._size = 0
        self._wide_until = 0.0
        self._is_held = self._is_busy = self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._events)

    def hold(self) -> None:
        """Give the reader nothing from now on."""
        with self._changed:
            self._is_held = True

    def release(self) -> None:
        """Give the reader everything again."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def widen(self, until: float) -> None:
        """Take more than usual until ``time.monotonic()`` is this."""
        with self._changed:
            self._wide_until = until
            self._changed.notify_all()

    def put(self, event: Record, size: int, is_over: Callable[[], bool]) -> bool:
        """Whether the event is in; waits for room unless ``is_over`` becomes true, which is asked often."""
        with self._changed:
            if self._is_held and not self._fits(self._held_room, size):
                self._is_held = False
                self._on_overflow()
            while not self._is_held and not self._fits(self._usual, size):
                if is_over() or self._is_closed:
                    return False
                self._changed.wait(0.2)
            self._events.append((event, size))
            self._size += size
            self._changed.notify_all()
            return True

    @property
    def _usual(self) -> Room:
        return self._held_room if time.monotonic() < self._wide_until else self._room

    def _fits(self, room: Room, size: int) -> bool:
        return not self._events or (len(self._events) < room.events and self._size + size <= room.size)

    def take(self) -> Record | None:
        """The next event, which is the reader's until it calls :meth:`done`; None once closed and empty."""
        with self._changed:
            while not self._events or self._is_held:
                if self._is_closed and not self._events:
                    return None
                self._changed.wait()
            event, size = self._events.popleft()
            self._size -= size
            self._is_busy = True
            self._changed.notify_all()
            return event

    def done(self) -> None:
        """What was taken is stored."""
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()

    def wait_idle(self, is_over: Callable[[], bool]) -> bool:
        """Whether everything that was put is stored; waits for that unless ``is_over`` becomes true."""
        with self._changed:
            while self._events or self._is_busy:
                if is_over():
                    return False
                self._changed.wait(0.2)
            return True

    def close(self) -> None:
        """Let the reader end once it has taken what is there."""
        with self._changed:
            self._is_closed, self._is_held = True, False
            self._changed.notify_all()
