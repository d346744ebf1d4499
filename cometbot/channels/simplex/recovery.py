"""Recovery of gaps after a reconnection, while the CLI may still send events to the connection that broke before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.simplex.errors import AnswerMissing, CommandFailed, ConnectionLost, NotConnected
from cometbot.channels.simplex.models import Item
from cometbot.channels.simplex.protocol import Record
from cometbot.channels.simplex.protocol.refs import ChatRef
from cometbot.channels.simplex.schemas import read_item
from cometbot.channels.simplex.startup import SendCommand, fetch_items_after, retry_while_busy
from cometbot.errors import ChannelError, PayloadError

_log = logging.getLogger(__name__)

RECOVERY_PERIOD = 60.0
"""Seconds after which a CLI has certainly detected that a connection broke."""

RECOVERY_COMMAND_TIMEOUT = 5.0
"""Timeout in seconds of one command of the recovery."""

_PAGE_SIZE = 20


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
            for item in _read_items(record):
                self._recover_before(item)
        except (NotConnected, ConnectionLost):
            return False
        except AnswerMissing:
            self._ends_at = 0.0
            _log.warning("the SimpleX CLI is too slow to be asked for the order of messages; some may be out of order")
        except (CommandFailed, ChannelError, PayloadError) as error:
            _log.info("what came before a message could not be looked for: %s", error)
        return True

    def _recover_before(self, item: Item) -> None:
        ref = item.chat.ref
        if ref is None or item.item_id <= self._recovered_up_to.get(ref, self._stored_up_to):
            return
        after = self._recovered_up_to.get(ref, self._stored_up_to)
        recovered_up_to = item.item_id
        for raw in fetch_items_after(retry_while_busy(self._send_command), ref, after, page=_PAGE_SIZE):
            try:
                found = read_item(raw)
            except (PayloadError, RecursionError) as error:
                _log.warning("left out a chat item that cannot be read: %s", error)
                continue
            if found.item_id >= item.item_id and not _is_unchanged(raw):
                break
            self._store(found, raw)
            recovered_up_to = max(recovered_up_to, found.item_id)
        self._recovered_up_to[ref] = recovered_up_to


def _is_unchanged(raw: Mapping[str, Any]) -> bool:
    """Return True if an item has not been edited yet.

    For an edited item, the pending event would seem a second edit.
    """
    chat_item = raw.get("chatItem")
    meta = chat_item.get("meta") if isinstance(chat_item, Mapping) else None
    return isinstance(meta, Mapping) and meta.get("updatedAt") == meta.get("createdAt") and not meta.get("itemLive")


def _read_items(record: Record) -> list[Item]:
    """Return the items of an event that can be read."""
    listed = record.raw.get("chatItems")
    items = []
    for raw in listed if isinstance(listed, list) else ():
        try:
            items.append(read_item(raw))
        except (PayloadError, RecursionError):
            continue
    return items
