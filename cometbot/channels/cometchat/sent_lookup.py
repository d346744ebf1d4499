"""Looks for a message that may have arrived, page by page, in what a platform can show of a conversation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from cometbot.channels.cometchat import schemas
from cometbot.channels.cometchat.responses import Record
from cometbot.errors import Uncertain

PAGE_SIZE = 100
MAX_PAGES = 10
_MAX_RECENT_PAGES = 3
"""So many pages are read of the newest messages for what answers nothing: it was said a moment ago."""
_RESERVED_FRACTION = 0.25
"""The part of the time that must be left for one more page, and twice what the slowest has taken so far."""

PageKey = TypeVar("PageKey")
Query = Mapping[str, str]


class SentMessageSearch:
    """One search for the message with the ``muid`` that its send carried, within ``timeout`` seconds in all.

    At most ten pages of a hundred messages are read from each end of the history, and of a thread. ``is_complete`` says
    whether that was all that was written since the answered message, and the whole thread.
    """

    def __init__(self, muid: str, timeout: float) -> None:
        self.is_complete = True
        self._muid = muid
        self._reserve = timeout * _RESERVED_FRACTION
        self._slowest_page = 0.0
        self._ends_at = time.monotonic() + timeout

    @property
    def seconds_left(self) -> float:
        """Seconds that the next request may take."""
        return max(self._ends_at - time.monotonic(), 0.001)

    def search_history(self, read: Callable[[Query], Sequence[Record]], after: str) -> str | None:
        """The id of the message, None where it is not seen.

        The newest page comes first: there most stand. Then what followed the message ``after`` (if any is named), for
        ids that do not grow with time too; then what came before the newest, until both looks meet.
        """
        newest = self._read_page(read, {"affix": "prepend"})
        found, reached = self._find_match(newest), ""
        if found is None and after:
            found, reached = self._search_forwards(read, after)
        if found is None and (reached or not after):
            found = self._search_backwards(read, newest, reached)
        return found

    def search_thread(self, read: Callable[[int], Sequence[Record]]) -> str | None:
        """The id of the message, None where it is not seen. ``read`` gives the thread's pages, from 1 on."""
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
        """The message, and how far this came where there is more to be seen; empty where all was."""
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


def get_message_id(record: Mapping[str, object]) -> str:
    """The id of a message. Raises :class:`Uncertain` where it has none that it could be named by."""
    message_id = schemas.find_id(record.get("id"))
    if not message_id:
        raise Uncertain("CometChat answered without a message id")
    return message_id


def id_sort_key(message_id: str) -> tuple[int, str]:
    """What ids are sorted by: they are decimal numbers, as far as is known; others go by their text, before all
    numbers."""
    return (int(message_id), "") if message_id.isascii() and message_id.isdigit() else (-1, message_id)
