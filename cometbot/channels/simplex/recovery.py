"""Order after a connection was made, as long as the CLI may still tell things to the one that broke before."""

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
"""Seconds after which a CLI has surely noticed that a connection broke."""

RECOVERY_COMMAND_TIMEOUT = 5.0
"""Seconds that one look at a chat may take."""

_PAGE_SIZE = 20


class GapRecovery:
    """Lets nothing be stored before what came before it in its chat.

    A CLI gives each event to one of its connections, for a while also to one that is gone. A chat's items have numbers
    that grow, and are in the CLI's database before they are told of. So before an item is stored, its chat is read from
    where everything was stored last: what was told to nobody is stored then, in its order, and what is told of soon
    is stored as well, so that a burst costs one look and not one an item.

    ``send_command`` sends commands from the thread that stores events. ``store`` stores an item that was read.
    """

    def __init__(self, send_command: SendCommand, store: Callable[[Item, Mapping[str, Any]], object]) -> None:
        self._send_command, self._store = send_command, store
        self._ends_at = 0.0
        self._stored_up_to = 0
        self._recovered_up_to: dict[ChatRef, int] = {}

    def reset(self, stored_up_to: int) -> None:
        """Begin anew on a new connection; up to the number ``stored_up_to`` everything is stored."""
        self._stored_up_to, self._ends_at = stored_up_to, time.monotonic() + RECOVERY_PERIOD
        self._recovered_up_to.clear()

    def allows(self, record: Record) -> bool:
        """Whether an event may be stored now; what came before it is.

        False if the connection broke meanwhile: then the next start-up fetches its items with what came before them.
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
    """Whether an item was not changed yet: what is still to be told of one that was would seem a second change."""
    chat_item = raw.get("chatItem")
    meta = chat_item.get("meta") if isinstance(chat_item, Mapping) else None
    return isinstance(meta, Mapping) and meta.get("updatedAt") == meta.get("createdAt") and not meta.get("itemLive")


def _read_items(record: Record) -> list[Item]:
    """The items that an event tells of, without those that cannot be read."""
    listed = record.raw.get("chatItems")
    items = []
    for raw in listed if isinstance(listed, list) else ():
        try:
            items.append(read_item(raw))
        except (PayloadError, RecursionError):
            continue
    return items
