"""How far a CLI's items are stored: where to go on after the bot, or the connection, was away."""

from __future__ import annotations

import threading

_MOST_LIVE = 100


class Seen:
    """The number up to which everything is stored.

    Numbers grow over all chats of a CLI. A message that is still being written holds the mark before itself, since it
    is stored when it ends; of very many such, the oldest are taken for abandoned. So does one that was told of and is
    only fetched later (:meth:`await_item`). :meth:`hold` holds it as well.
    """

    def __init__(self, mark: int = 0) -> None:
        self._guard = threading.Lock()
        self._newest = mark
        self._live: dict[int, None] = {}
        self._awaited: set[int] = set()
        self._held: int | None = None

    @property
    def newest(self) -> int:
        """The largest number that was seen."""
        return self._newest

    @property
    def mark(self) -> int:
        """Up to here nothing is missing."""
        with self._guard:
            held = self._newest if self._held is None else self._held
            return min([self._newest, held, *(item_id - 1 for item_id in (*self._live, *self._awaited))])

    def is_live(self, item_id: int) -> bool:
        """Whether an item was still being written when it was last told of."""
        with self._guard:
            return item_id in self._live

    def await_item(self, item_id: int) -> None:
        """An item was told of, and is not stored: it has to be fetched."""
        with self._guard:
            self._awaited.add(item_id)

    def await_none(self) -> None:
        """What was to be fetched has been, as far as it is there."""
        with self._guard:
            self._awaited.clear()

    def hold(self, mark: int | None) -> None:
        """Something above ``mark`` is missing: the mark goes no further, until this is called with None."""
        with self._guard:
            self._held = mark

    def note(self, item_id: int, *, is_live: bool = False) -> None:
        """An item was stored; or, ``is_live``, it is still being written."""
        with self._guard:
            self._newest = max(self._newest, item_id)
            self._live.pop(item_id, None)
            self._awaited.discard(item_id)
            if is_live:
                self._live[item_id] = None
            while len(self._live) > _MOST_LIVE:
                del self._live[next(iter(self._live))]
