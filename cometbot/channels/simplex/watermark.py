"""How far a CLI's items are stored: where to go on after the bot, or the connection, was away."""

from __future__ import annotations

import threading

_MAX_LIVE_ITEMS = 100


class Watermark:
    """The number up to which everything is stored.

    Numbers grow over all chats of a CLI. A message that is still being written holds the mark before itself, since it
    is stored when it ends; of very many such, the oldest are taken for abandoned. So does one that was told of and is
    only fetched later (:meth:`add_pending`). :meth:`hold_at` holds it as well.
    """

    def __init__(self, mark: int = 0) -> None:
        self._lock = threading.Lock()
        self._newest = mark
        self._live_items: dict[int, None] = {}
        self._pending: set[int] = set()
        self._held_at: int | None = None

    @property
    def newest(self) -> int:
        """The largest number that was seen."""
        return self._newest

    @property
    def value(self) -> int:
        """Up to here nothing is missing."""
        with self._lock:
            held = self._newest if self._held_at is None else self._held_at
            return min([self._newest, held, *(item_id - 1 for item_id in (*self._live_items, *self._pending))])

    def is_live(self, item_id: int) -> bool:
        """Whether an item was still being written when it was last told of."""
        with self._lock:
            return item_id in self._live_items

    def add_pending(self, item_id: int) -> None:
        """An item was told of, and is not stored: it has to be fetched."""
        with self._lock:
            self._pending.add(item_id)

    def clear_pending(self) -> None:
        """What was to be fetched has been, as far as it is there."""
        with self._lock:
            self._pending.clear()

    def hold_at(self, mark: int | None) -> None:
        """Something above ``mark`` is missing: the mark goes no further, until this is called with None."""
        with self._lock:
            self._held_at = mark

    def advance(self, item_id: int, *, is_live: bool = False) -> None:
        """An item was stored; or, ``is_live``, it is still being written."""
        with self._lock:
            self._newest = max(self._newest, item_id)
            self._live_items.pop(item_id, None)
            self._pending.discard(item_id)
            if is_live:
                self._live_items[item_id] = None
            while len(self._live_items) > _MAX_LIVE_ITEMS:
                del self._live_items[next(iter(self._live_items))]
