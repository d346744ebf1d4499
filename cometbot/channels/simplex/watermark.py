"""The watermark of stored items, from which to continue after the bot or the connection was down."""

from __future__ import annotations

import threading

_MAX_LIVE_ITEMS = 100


class Watermark:
    """The id up to which all items are stored.

    Ids grow over all chats of a CLI. A live message holds the watermark below itself, since it is stored when it ends;
    if there are too many, the oldest count as abandoned. An item that was announced but must still be fetched
    (:meth:`add_pending`) holds it too, and so does :meth:`hold_at`.
    """

    def __init__(self, mark: int = 0) -> None:
        self._lock = threading.Lock()
        self._newest = mark
        self._live_items: dict[int, None] = {}
        self._pending: set[int] = set()
        self._held_at: int | None = None

    @property
    def newest(self) -> int:
        """The largest id that was seen."""
        return self._newest

    @property
    def value(self) -> int:
        """The watermark: no item up to this id is missing."""
        with self._lock:
            held = self._newest if self._held_at is None else self._held_at
            return min([self._newest, held, *(item_id - 1 for item_id in (*self._live_items, *self._pending))])

    def is_live(self, item_id: int) -> bool:
        """Return True if an item was still live according to its last event."""
        with self._lock:
            return item_id in self._live_items

    def add_pending(self, item_id: int) -> None:
        """Record an item that was announced and not stored, so it has to be fetched."""
        with self._lock:
            self._pending.add(item_id)

    def clear_pending(self) -> None:
        """Clear the pending items after they were fetched as far as they exist."""
        with self._lock:
            self._pending.clear()

    def hold_at(self, mark: int | None) -> None:
        """Hold the watermark at ``mark`` while something above it is missing. None releases it."""
        with self._lock:
            self._held_at = mark

    def advance(self, item_id: int, *, is_live: bool = False) -> None:
        """Record that an item was stored, or with ``is_live`` that it is still being written."""
        with self._lock:
            self._newest = max(self._newest, item_id)
            self._live_items.pop(item_id, None)
            self._pending.discard(item_id)
            if is_live:
                self._live_items[item_id] = None
            while len(self._live_items) > _MAX_LIVE_ITEMS:
                del self._live_items[next(iter(self._live_items))]
