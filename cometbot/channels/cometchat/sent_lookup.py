"""Searches a conversation's history, page by page, for a message that may have arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from cometbot.channels.cometchat.responses import Record, get_message_id

PAGE_SIZE = 100
MAX_PAGES = 10
_MAX_RECENT_PAGES = 3
"""Pages of the newest messages that are searched for a message that is no reply: it was sent recently."""
_RESERVED_FRACTION = 0.25
"""The fraction of the timeout that must be left to read another page; so must twice the time of the slowest page."""

PageKey = TypeVar("PageKey")
Query = Mapping[str, str]


class SentMessageSearch:
    """A search for a sent message by its ``muid``, within ``timeout`` seconds in total.

    At most ten pages of a hundred messages are read from each end of the history, and of a thread. ``is_complete`` is
    true if all messages since the answered one, and the whole thread, were searched.
    """

    def __init__(self, muid: str, timeout: float) -> None:
        self.is_complete = True
        self._muid = muid
        self._reserve = timeout * _RESERVED_FRACTION
        self._slowest_page = 0.0
        self._ends_at = time.monotonic() + timeout

    @property
    def seconds_left(self) -> float:
        """The seconds that the next request may take."""
        return max(self._ends_at - time.monotonic(), 0.001)

    def search_history(self, read: Callable[[Query], Sequence[Record]], after: str) -> str | None:
        """Return the id of the message, or None if it is not found.

        The newest page is read first, because most messages are on it. The messages that follow the message ``after``
        (unless it is empty) come next, so that ids which do not increase with time are found too. The pages before the
        newest come last, until both searches meet.
        """
        newest = self._read_page(read, {"affix": "prepend"})
        found, reached = self._find_match(newest), ""
        if found is None and after:
            found, reached = self._search_forwards(read, after)
        if found is None and (reached or not after):
            found = self._search_backwards(read, newest, reached)
        return found

    def search_thread(self, read: Callable[[int], Sequence[Record]]) -> str | None:
        """Return the id of the message in a thread, or None. ``read`` returns the thread's pages, numbered from 1."""
        for number in range(1, MAX_PAGES + 1):
            if self._is_out_of_time():
                break
            records = self._read_page(read, number)
            found = self._find_match(records)
            if found is not None or len(records) < PAGE_SIZE:
                return found
        self.is_complete = False
        return None

    def _search_forwards(self, read: Callable[[Query], Sequence[Record]], after: str) -> tuple[str | None, str]:
        """Return the message's id or None, and the last id that was reached; "" if all messages were searched."""
        for _ in range(MAX_PAGES):
            if self._is_out_of_time():
                break
            records = self._read_page(read, {"affix": "append", "id": after})
            found = self._find_match(records)
            if found is not None or len(records) < PAGE_SIZE:
                return found, ""
            after = max(map(get_message_id, records), key=id_sort_key)
        return None, after

    def _search_backwards(
        self, read: Callable[[Query], Sequence[Record]], records: Sequence[Record], reached: str
    ) -> str | None:
        for _ in range((MAX_PAGES if reached else _MAX_RECENT_PAGES) - 1):
            oldest_id = min(map(get_message_id, records), key=id_sort_key) if len(records) == PAGE_SIZE else ""
            if not oldest_id or (reached and id_sort_key(oldest_id) <= id_sort_key(reached)):
                return None
            if self._is_out_of_time():
                break
            records = self._read_page(read, {"affix": "prepend", "id": oldest_id})
            found = self._find_match(records)
            if found is not None:
                return found
        self.is_complete = self.is_complete and not reached
        return None

    def _read_page(self, read: Callable[[PageKey], Sequence[Record]], page_key: PageKey) -> Sequence[Record]:
        started_at = time.monotonic()
        records = read(page_key)
        self._slowest_page = max(self._slowest_page, time.monotonic() - started_at)
        return records

    def _find_match(self, records: Sequence[Record]) -> str | None:
        return next((get_message_id(record) for record in records if record.get("muid") == self._muid), None)

    def _is_out_of_time(self) -> bool:
        return self._ends_at - time.monotonic() < max(self._reserve, 2 * self._slowest_page)


def id_sort_key(message_id: str) -> tuple[int, str]:
    """Return the sort key of an id.

    All known ids are decimal numbers. Any others are sorted by their text, before all numbers.
    """
    return (int(message_id), "") if message_id.isascii() and message_id.isdigit() else (-1, message_id)
