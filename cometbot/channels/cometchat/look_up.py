"""Looks for a message that may have arrived, page by page, in what a platform can show of a conversation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from cometbot.channels.cometchat import schemas
from cometbot.channels.cometchat.answers import Record
from cometbot.errors import Uncertain

PAGE = 100
PAGES = 10
_LATEST = 3
"""So many pages are read of the newest messages for what answers nothing: it was said a moment ago."""
_RESERVE = 0.25
"""The part of the time that must be left for one more page, and twice what the slowest has taken so far."""

Asked = TypeVar("Asked")
Query = Mapping[str, str]


class LookUp:
    """One search for the message with the ``muid`` that its send carried, within ``timeout`` seconds in all.

    At most ten pages of a hundred messages are read from each end of the history, and of a thread. ``is_whole`` says
    whether that was all that was written since the answered message, and the whole thread.
    """

    def __init__(self, muid: str, timeout: float) -> None:
        self.is_whole = True
        self._muid = muid
        self._reserve = timeout * _RESERVE
        self._slowest = 0.0
        self._ends_at = time.monotonic() + timeout

    @property
    def time_left(self) -> float:
        """Seconds that the next request may take."""
        return max(self._ends_at - time.monotonic(), 0.001)

    def in_history(self, read: Callable[[Query], Sequence[Record]], after: str) -> str | None:
        """The id of the message, None where it is not seen.

        The newest page comes first: there most stand. Then what followed the message ``after`` (if any is named), for
        ids that do not grow with time too; then what came before the newest, until both looks meet.
        """
        newest = self._see(read, {"affix": "prepend"})
        found, reached = self._match(newest), ""
        if found is None and after:
            found, reached = self._forwards(read, after)
        if found is None and (reached or not after):
            found = self._backwards(read, newest, reached)
        return found

    def in_thread(self, read: Callable[[int], Sequence[Record]]) -> str | None:
        """The id of the message, None where it is not seen. ``read`` gives the thread's pages, from 1 on."""
        for number in range(1, PAGES + 1):
            if self._is_late():
                break
            records = self._see(read, number)
            found = self._match(records)
            if found is not None or len(records) < PAGE:
                return found
        self.is_whole = False
        return None

    def _forwards(self, read: Callable[[Query], Sequence[Record]], after: str) -> tuple[str | None, str]:
        """The message, and how far this came where there is more to be seen; empty where all was."""
        for _ in range(PAGES):
            if self._is_late():
                break
            records = self._see(read, {"affix": "append", "id": after})
            found = self._match(records)
            if found is not None or len(records) < PAGE:
                return found, ""
            after = max(map(id_of, records), key=as_number)
        return None, after

    def _backwards(
        self, read: Callable[[Query], Sequence[Record]], records: Sequence[Record], reached: str
    ) -> str | None:
        for _ in range((PAGES if reached else _LATEST) - 1):
            edge = min(map(id_of, records), key=as_number) if len(records) == PAGE else ""
            if not edge or (reached and as_number(edge) <= as_number(reached)):
                return None
            if self._is_late():
                break
            records = self._see(read, {"affix": "prepend", "id": edge})
            found = self._match(records)
            if found is not None:
                return found
        self.is_whole = self.is_whole and not reached
        return None

    def _see(self, read: Callable[[Asked], Sequence[Record]], asked: Asked) -> Sequence[Record]:
        began = time.monotonic()
        records = read(asked)
        self._slowest = max(self._slowest, time.monotonic() - began)
        return records

    def _match(self, records: Sequence[Record]) -> str | None:
        return next((id_of(record) for record in records if record.get("muid") == self._muid), None)

    def _is_late(self) -> bool:
        return self._ends_at - time.monotonic() < max(self._reserve, 2 * self._slowest)


def id_of(record: Mapping[str, object]) -> str:
    """The id of a message. Raises :class:`Uncertain` where it has none that it could be named by."""
    message_id = schemas.find_id(record.get("id"))
    if not message_id:
        raise Uncertain("CometChat answered without a message id")
    return message_id


def as_number(message_id: str) -> tuple[int, str]:
    """What ids are sorted by: they are decimal numbers, as far as is known; others go by their text, before all
    numbers."""
    return (int(message_id), "") if message_id.isascii() and message_id.isdigit() else (-1, message_id)
