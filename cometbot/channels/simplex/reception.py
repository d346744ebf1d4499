"""The connection at work: what comes over it is stored, and what came while it was away is fetched."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.base import Incoming
from cometbot.channels.simplex.arrivals import Arrival, Arrivals
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.errors import error_tags
from cometbot.channels.simplex.lost_events import LostEvents
from cometbot.channels.simplex.protocol import Record
from cometbot.channels.simplex.schemas import read_item
from cometbot.channels.simplex.seen import Seen
from cometbot.channels.simplex.settling import Settling
from cometbot.channels.simplex.startup import AddressWish, Ask, BotProfile, Session, missed, newest_item, prepare
from cometbot.channels.simplex.views import Item
from cometbot.errors import DeliveryError, PayloadError
from cometbot.store.database import Database
from cometbot.store.facts import note, recall

_log = logging.getLogger(__name__)

_NOTE_EVERY = 100
_MARGIN = 200
_MARGIN_SECONDS = 3600.0
_KNOWN = 20_000
_PATIENCE = 24 * 3600.0
"""Seconds for which a chat that cannot be fetched is asked for again: longer, and its messages, which come out of
order, would be answers to nothing; and the mailbox does not remember for ever what it had before a restart."""


class Reception:
    """Brings what the CLI tells to the mailbox, each happening once.

    :meth:`begin` and :meth:`hear` are a connection's ``startup`` and ``on_event``; ``ask`` sends commands from the
    latter, for as long after the former as :class:`Settling` takes. How far everything is stored is
    noted in ``database``, now and then: what is fetched a second time is recognised by its key.
    """

    def __init__(
        self,
        channel: SimplexChannel,
        arrivals: Arrivals,
        put: Callable[[Incoming], bool],
        database: Database,
        *,
        profile: BotProfile,
        address: AddressWish,
        ask: Ask,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._channel = channel
        self._arrivals = arrivals
        self._put = put
        self._database = database
        self._profile = profile
        self._address = address
        self._clock = clock
        self._fact = f"simplex/{channel.account}/seen"
        self._seen: Seen | None = None
        self._noted = -1
        self._first = 0
        self._settling = Settling(ask, self._store_before)
        self._lost = LostEvents()
        self._again_from = 0
        self._postponed: dict[str, float] = {}
        self._ended: set[int] = set()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._user_id = 0
        self._noting, self._knowing, self._looking = threading.Lock(), threading.Lock(), threading.Lock()
        channel.look_after(on_refresh=self.note, on_close=self.note)

    def begin(self, ask: Ask) -> Session:
        """Prepare the profile and the address, then store what came since the last time.

        The very first time, that is nothing: what was written before there was a bot is not answered.
        """
        session = prepare(ask, self._profile, self._address)
        self._user_id = session.user.user_id
        self._channel.be_user(self._user_id)
        newest = newest_item(ask, self._user_id)
        self._channel.note_item(newest)
        if self._seen is None:
            self._seen = self._recall(newest)
        if newest < self._seen.mark:
            # The newest were deleted, or this is another database of the CLI.
            self._seen, self._first = Seen(newest), min(self._first, newest)
        mark = self._seen.mark
        self._again_from = max(mark - _MARGIN, self._first)
        self._catch_up(ask, self._seen)
        self._seen.await_none()
        self._settling.begin(mark)
        self._lost.begin()
        self.note()
        return session

    def _recall(self, newest: int) -> Seen:
        """As far as was noted; all that there is, where nothing was."""
        mark, _, first = recall(self._database, self._fact).partition(" ")
        self._first = int(first) if first else newest
        return Seen(int(mark) if mark else newest)

    def look_again(self, ask: Ask) -> None:
        """Store what the CLI has told nobody, or somebody else: an event goes to one of its clients only.

        That may be a connection of ours which was just breaking. This goes back to where things stood at the last look.
        """
        if self._seen is not None:
            mark = self._seen.mark
            self._catch_up(ask, self._seen, is_again=True)
            self._lost.report()
            self._again_from = max(mark - _MARGIN, self._first)

    def hear(self, record: Record) -> None:
        """Store what an event brings. Raises what the store raises; then it may be heard again."""
        user = record.raw.get("user")
        if isinstance(user, Mapping) and user.get("userId") not in (None, self._user_id):
            return
        _log_errors(record)
        self._channel.hear(record)
        if not self._settling.admits(record):
            self._await(record)
            return
        for arrival in self._arrivals.of(record):
            self._store(arrival)
        self._see(record)

    def note(self) -> None:
        """Note how far everything is stored."""
        with self._noting:
            if self._seen is None or self._seen.mark == self._noted:
                return
            mark = self._seen.mark
            note(self._database, self._fact, f"{mark} {self._first}", durable=False)
            self._noted = mark

    def _await(self, record: Record) -> None:
        """The items of an event are for the next start-up to fetch."""
        listed = record.raw.get("chatItems")
        if self._seen is None or not isinstance(listed, list):
            return
        for raw in listed:
            item_id = _meta(raw).get("itemId")
            if isinstance(item_id, int):
                self._seen.await_item(item_id)

    def _store_before(self, item: Item, raw: Mapping[str, Any]) -> None:
        """Store an item that was fetched before its event came; one whose end is still to be told waits for that."""
        assert self._seen is not None
        if not self._seen.is_live(item.item_id):
            self._store_item(item, raw)
        self._channel.note_item(item.item_id)

    def _store(self, arrival: Arrival) -> bool:
        if self._put_once(arrival.incoming):
            return True
        return arrival.otherwise is not None and self._put_once(arrival.otherwise)

    def _store_item(self, item: Item, raw: Mapping[str, Any]) -> int:
        """How many events an item that was fetched brought. One that cannot be stored must not end every start-up."""
        try:
            return sum(self._store(arrival) for arrival in self._arrivals.of_item(raw))
        except DeliveryError:
            raise
        except Exception:
            _log.exception("left out the chat item %d, which cannot be stored", item.item_id)
            return 0

    def _put_once(self, incoming: Incoming) -> bool:
        """Whether it is new; what this process stored lately need not be asked of the database."""
        name = f"{incoming.conversation.id} {incoming.key}"
        with self._knowing:
            if name in self._known:
                return False
        is_new = self._put(incoming)
        with self._knowing:
            self._known[name] = None
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return is_new

    def _see(self, record: Record) -> None:
        listed = record.raw.get("chatItems") if record.type == "newChatItems" else [record.raw.get("chatItem")]
        if self._seen is None or record.type not in ("newChatItems", "chatItemUpdated") or not isinstance(listed, list):
            return
        for raw in listed:
            meta = _meta(raw)
            item_id = meta.get("itemId")
            if isinstance(item_id, int):
                is_new = record.type == "newChatItems"
                if is_new:
                    self._lost.add_heard(item_id)
                if is_new or meta.get("itemLive") is not True:
                    self._seen.note(item_id, is_live=meta.get("itemLive") is True)
                self._channel.note_item(item_id)
        if self._seen.mark - self._noted >= _NOTE_EVERY:
            self.note()

    def _is_told_soon(self, item: Item, seen: Seen) -> bool:
        """Whether the end of a message that was being written may be on its way to us: so it is at the first look."""
        if not seen.is_live(item.item_id) or item.is_live or item.item_id in self._ended:
            self._ended.discard(item.item_id)
            return False
        self._ended.add(item.item_id)
        return True

    def _catch_up(self, ask: Ask, seen: Seen, *, is_again: bool = False) -> None:
        """Fetch and store what is newer than the mark, and look once more at what is a little older.

        Events of different chats may have overtaken each other, so that one with a smaller number was still missing.
        What was there before the bot first came stays out. A chat that the CLI cannot give now holds the mark, so that
        the next look, or the next process, asks for it again.
        """
        with self._looking:
            self._fetch(ask, seen, is_again)

    def _fetch(self, ask: Ask, seen: Seen, is_again: bool) -> None:
        after, stored = seen.mark, 0
        met: list[tuple[int, bool]] = []
        postponed: list[str] = []
        for raw in missed(ask, self._user_id, min(self._again_from, after), postponed):
            try:
                item = read_item(raw)
            except (PayloadError, RecursionError) as error:
                _log.warning("left out a chat item that cannot be read: %s", error)
                continue
            if item.item_id <= after and item.stored_at < self._clock() - _MARGIN_SECONDS:
                continue
            if is_again and self._is_told_soon(item, seen):
                continue
            new = self._store_item(item, raw)
            stored += new
            if is_again and new and item.is_received:
                self._lost.add_found(item.item_id)
            met.append((item.item_id, item.is_live and item.is_received))
        seen.hold(after if self._waits_for(postponed) else None)
        # Only now, since the chats came one after the other: before the last one, smaller numbers were still missing.
        for item_id, is_live in met:
            seen.note(item_id, is_live=is_live)
            self._channel.note_item(item_id)
        if stored:
            _log.info("stored what came while SimpleX was not connected: %d events", stored)

    def _waits_for(self, postponed: list[str]) -> bool:
        """Whether one of them is still worth waiting for."""
        now = self._clock()
        self._postponed = {name: self._postponed.get(name, now) for name in postponed}
        for name, since in self._postponed.items():
            if now - since >= _PATIENCE:
                _log.error("what was missed in the chat %s could not be fetched for a day and is left out", name)
        return any(now - since < _PATIENCE for since in self._postponed.values())


def _log_errors(record: Record) -> None:
    """Say what the CLI says of its own troubles, by its tags: they hold nothing that people wrote."""
    if record.type == "messageError":
        _log.info("the SimpleX CLI could not process a message (severity %.40s)", record.raw.get("severity"))
    listed = {"chatError": [record.raw.get("chatError")], "chatErrors": record.raw.get("chatErrors")}.get(record.type)
    for error in listed if isinstance(listed, list) else ():
        tags = error_tags(error)
        if "CRITICAL" in tags:
            _log.error("the SimpleX CLI reports a critical error (%s): restart it, and look at its database", tags)
        else:
            _log.info("the SimpleX CLI reports an error: %s", ".".join(tags) or "without a name")


def _meta(raw: object) -> Mapping[str, Any]:
    chat_item = raw.get("chatItem") if isinstance(raw, Mapping) else None
    meta = chat_item.get("meta") if isinstance(chat_item, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}
