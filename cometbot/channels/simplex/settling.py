"""Order after a connection was made, as long as the CLI may still tell things to the one that broke before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.simplex.errors import AnswerMissing, CommandFailed, ConnectionLost, NotConnected
from cometbot.channels.simplex.protocol import Record
from cometbot.channels.simplex.protocol.refs import ChatRef
from cometbot.channels.simplex.schemas import read_item
from cometbot.channels.simplex.startup import Ask, items_after, patient
from cometbot.channels.simplex.views import Item
from cometbot.errors import ChannelError, PayloadError

_log = logging.getLogger(__name__)

SETTLING = 60.0
"""Seconds after which a CLI has surely noticed that a connection broke."""

LOOK_SECONDS = 5.0
"""Seconds that one look at a chat may take."""

_ITEMS_A_LOOK = 20


class Settling:
    """Lets nothing be stored before what came before it in its chat.

    A CLI gives each event to one of its connections, for a while also to one that is gone. A chat's items have numbers
    that grow, and are in the CLI's database before they are told of. So before an item is stored, its chat is read from
    where everything was stored last: what was told to nobody is stored then, in its order, and what is told of soon
    is stored as well, so that a burst costs one look and not one an item.

    ``ask`` sends commands from the thread that stores events. ``store`` stores an item that was read.
    """

    def __init__(self, ask: Ask, store: Callable[[Item, Mapping[str, Any]], object]) -> None:
        self._ask, self._store = ask, store
        self._until = 0.0
        self._base = 0
        self._looked: dict[ChatRef, int] = {}

    def begin(self, base: int) -> None:
        """Begin anew on a new connection; up to the number ``base`` everything is stored."""
        self._base, self._until = base, time.monotonic() + SETTLING
        self._looked.clear()

    def admits(self, record: Record) -> bool:
        """Whether an event may be stored now; what came before it is.

        False if the connection broke meanwhile: then the next start-up fetches its items with what came before them.
        """
        if record.type != "newChatItems" or time.monotonic() >= self._until:
            return True
        try:
            for item in _items_of(record):
                self._look_before(item)
        except (NotConnected, ConnectionLost):
            return False
        except AnswerMissing:
            self._until = 0.0
            _log.warning("the SimpleX CLI is too slow to be asked for the order of messages; some may be out of order")
        except (CommandFailed, ChannelError, PayloadError) as error:
            _log.info("what came before a message could not be looked for: %s", error)
        return True

    def _look_before(self, item: Item) -> None:
        ref = item.chat.ref
        if ref is None or item.item_id <= self._looked.get(ref, self._base):
            return
        after = self._looked.get(ref, self._base)
        done = item.item_id
        for raw in items_after(patient(self._ask), ref, after, page=_ITEMS_A_LOOK):
            try:
                found = read_item(raw)
            except (PayloadError, RecursionError) as error:
                _log.warning("left out a chat item that cannot be read: %s", error)
                continue
            if found.item_id >= item.item_id and not _is_as_it_came(raw):
                break
            self._store(found, raw)
            done = max(done, found.item_id)
        self._looked[ref] = done


def _is_as_it_came(raw: Mapping[str, Any]) -> bool:
    """Whether an item was not changed yet: what is still to be told of one that was would seem a second change."""
    chat_item = raw.get("chatItem")
    meta = chat_item.get("meta") if isinstance(chat_item, Mapping) else None
    return isinstance(meta, Mapping) and meta.get("updatedAt") == meta.get("createdAt") and not meta.get("itemLive")


def _items_of(record: Record) -> list[Item]:
    """The items that an event tells of, without those that cannot be read."""
    listed = record.raw.get("chatItems")
    items = []
    for raw in listed if isinstance(listed, list) else ():
        try:
            items.append(read_item(raw))
        except (PayloadError, RecursionError):
            continue
    return items
