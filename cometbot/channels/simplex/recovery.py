"""Recovery of what was missed: gaps after a reconnection, the watermark of stored items, and lost events."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.simplex.chats import fetch_items_after, retry_while_busy
from cometbot.channels.simplex.errors import AnswerMissing, ConnectionLost, NotConnected
from cometbot.channels.simplex.models import Item
from cometbot.channels.simplex.protocol import ChatRef, Record, SendCommand
from cometbot.channels.simplex.protocol.objects import find_list, find_object
from cometbot.channels.simplex.schemas import read_item_or_none
from cometbot.errors import ChannelError, PayloadError

_log = logging.getLogger(__name__)

RECOVERY_PERIOD = 60.0
"""Seconds after which a CLI has certainly detected that a connection broke."""

RECOVERY_COMMAND_TIMEOUT = 5.0
"""Timeout in seconds of one command of the recovery."""

LOST_EVENT_THRESHOLD = 3
"""Lost events after which another client is the likely cause."""

_PAGE_SIZE = 20
_MAX_LIVE_ITEMS = 100


class GapRecovery:
    """Ensures that no item is stored before earlier items of its chat.

    A CLI sends each event to one of its connections, for a while even to one that no longer exists. The items of a chat
    have increasing ids, and are in the CLI's database before their events are sent. So before an item is stored, its
    chat is read from the last stored item on. Items whose events were lost are stored then, in order. Items whose
    events are about to arrive are stored as well, so a burst needs one command rather than one per item.

    ``send_command`` sends commands from the thread that stores events. ``store`` stores an item that was read.
    """

    def __init__(self, send_command: SendCommand, store: Callable[[Item, Mapping[str, Any]], object]) -> None:
        self._send_command, self._store = send_command, store
        self._ends_at = 0.0
        self._stored_up_to = 0
        self._recovered_up_to: dict[ChatRef, int] = {}

    def reset(self, stored_up_to: int) -> None:
        """Start anew on a new connection. Everything up to the id ``stored_up_to`` is stored."""
        self._stored_up_to, self._ends_at = stored_up_to, time.monotonic() + RECOVERY_PERIOD
        self._recovered_up_to.clear()

    def allows(self, record: Record) -> bool:
        """Store the items before an event, and return True if the event itself may be stored.

        Returns False if the connection broke meanwhile: then the next start-up fetches the event's items with the
        earlier ones.
        """
        if record.type != "newChatItems" or time.monotonic() >= self._ends_at:
            return True
        try:
            # The event router reads the items too, and warns of those that cannot be read.
            items = (read_item_or_none(raw, logging.DEBUG) for raw in find_list(record.raw, "chatItems"))
            for item in filter(None, items):
                self._recover_before(item)
        except (NotConnected, ConnectionLost):
            return False
        except AnswerMissing:
            self._ends_at = 0.0
            _log.warning("the SimpleX CLI is too slow to query the order of messages; some may be out of order")
        except (ChannelError, PayloadError) as error:
            _log.info("cannot fetch the messages before a new one: %s", error)
        return True

    def _recover_before(self, item: Item) -> None:
        ref = item.chat.ref
        if ref is None:
            return
        after = self._recovered_up_to.get(ref, self._stored_up_to)
        if item.item_id <= after:
            return
        recovered_up_to = item.item_id
        for raw in fetch_items_after(retry_while_busy(self._send_command), ref, after, page=_PAGE_SIZE):
            found = read_item_or_none(raw)
            if found is None:
                continue
            if found.item_id >= item.item_id and not _is_unchanged(raw):
                break
            self._store(found, raw)
            recovered_up_to = max(recovered_up_to, found.item_id)
        self._recovered_up_to[ref] = recovered_up_to


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


class LostEventDetector:
    """Compares the items whose events arrived with those that had to be fetched.

    The CLI sends each event to one of its clients. For :data:`RECOVERY_PERIOD` seconds that may be our own earlier
    connection that broke, so events lost until then are not counted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counting_from = 0.0
        self._fetched: set[int] = set()
        self._newest_delivered = 0
        self._is_counting = self._is_reported = False

    def reset(self) -> None:
        """Start counting anew on a new connection."""
        with self._lock:
            self._counting_from = self._clock() + RECOVERY_PERIOD
            self._fetched.clear()
            self._is_counting = self._is_reported = False

    def add_delivered(self, item_id: int) -> None:
        """Record an item whose event arrived."""
        with self._lock:
            self._newest_delivered = max(self._newest_delivered, item_id)
            self._fetched.discard(item_id)

    def add_fetched(self, item_id: int) -> None:
        """Record an item that was fetched although its event had not arrived."""
        with self._lock:
            if self._is_counting:
                self._fetched.add(item_id)

    def log_lost_events(self) -> None:
        """Log once per connection that another client receives events. Call this after each check for missed items."""
        with self._lock:
            if not self._is_counting:
                self._is_counting = self._clock() >= self._counting_from
                return
            # Events of later items have arrived, so these are no longer on their way.
            count = sum(item_id < self._newest_delivered for item_id in self._fetched)
            if count < LOST_EVENT_THRESHOLD or self._is_reported:
                return
            self._is_reported = True
        _log.warning(
            "%d SimpleX events were lost: another client is connected to the SimpleX CLI, which sends each event to "
            "one client only. Disconnect it, or give it a CLI of its own.",
            count,
        )


def _is_unchanged(raw: Mapping[str, Any]) -> bool:
    """Return True if an item has not been edited yet.

    For an edited item, the pending event would seem a second edit.
    """
    meta = find_object(raw, "chatItem.meta")
    return bool(meta) and meta.get("updatedAt") == meta.get("createdAt") and not meta.get("itemLive")
