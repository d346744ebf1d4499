"""Ingestion: stores the events of a connection, and fetches and stores those that were missed."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.base import IncomingEvent
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.chats import fetch_missed_items, get_newest_item_id
from cometbot.channels.simplex.errors import get_error_tags
from cometbot.channels.simplex.event_router import EventRouter, RoutedEvent
from cometbot.channels.simplex.models import Item
from cometbot.channels.simplex.protocol import Record, SendCommand
from cometbot.channels.simplex.protocol.objects import find, find_list, find_object
from cometbot.channels.simplex.recovery import GapRecovery, LostEventDetector, Watermark
from cometbot.channels.simplex.schemas import read_item_or_none
from cometbot.channels.simplex.startup import AddressConfig, BotProfile, Session, prepare
from cometbot.errors import DeliveryError
from cometbot.store.database import Database
from cometbot.store.metadata import get_metadata, set_metadata

_log = logging.getLogger(__name__)

_SAVE_INTERVAL_ITEMS = 100
_OVERLAP_ITEMS = 200
_OVERLAP_PERIOD = 3600.0
_MAX_KNOWN_KEYS = 20_000
_POSTPONED_TIMEOUT = 24 * 3600.0
"""Seconds for which a postponed chat is requested again. Its messages arrive out of order, so later replies would make
no sense; and the mailbox remembers only for a limited time what it received before a restart.
"""


class Ingester:
    """Stores the CLI's events in the mailbox, each of them once.

    :meth:`run_startup` and :meth:`handle_event` are a connection's ``startup`` and ``on_event``. ``send_command`` sends
    commands from :meth:`handle_event`, for as long after a start-up as :class:`GapRecovery` needs it. The watermark, up
    to which everything is stored, is saved in ``database`` now and then: items that are fetched a second time are
    recognised by their keys.
    """

    def __init__(
        self,
        channel: SimplexChannel,
        router: EventRouter,
        enqueue: Callable[[IncomingEvent], bool],
        database: Database,
        *,
        profile: BotProfile,
        address: AddressConfig,
        send_command: SendCommand,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._channel, self._router, self._enqueue, self._database = channel, router, enqueue, database
        self._profile, self._address, self._clock = profile, address, clock
        self._metadata_key = f"simplex/{channel.account}/seen"
        self._watermark: Watermark | None = None
        self._saved_watermark = -1
        self._first_item_id = 0
        self._recovery = GapRecovery(send_command, self._store_before)
        self._lost_events = LostEventDetector()
        self._recheck_from = 0
        self._postponed: dict[str, float] = {}
        self._finished_live_items: set[int] = set()
        self._known_keys: OrderedDict[str, None] = OrderedDict()
        self._user_id = 0
        self._save_lock, self._known_keys_lock, self._fetch_lock = threading.Lock(), threading.Lock(), threading.Lock()
        channel.add_callbacks(on_refresh=self.save_watermark, on_close=self.save_watermark)

    def run_startup(self, send_command: SendCommand) -> Session:
        """Prepare the profile and the address, then store the events since the last connection.

        On the very first start nothing is fetched: messages from before the bot existed are not answered.
        """
        session = prepare(send_command, self._profile, self._address)
        self._user_id = session.user.user_id
        self._channel.set_user_id(self._user_id)
        newest = get_newest_item_id(send_command, self._user_id)
        self._channel.record_item_id(newest)
        if self._watermark is None:
            self._watermark = self._load_watermark(newest)
        if newest < self._watermark.value:
            # The newest items were deleted, or the CLI has another database.
            self._watermark, self._first_item_id = Watermark(newest), min(self._first_item_id, newest)
        mark = self._watermark.value
        self._recheck_from = max(mark - _OVERLAP_ITEMS, self._first_item_id)
        self._catch_up(send_command, self._watermark)
        self._watermark.clear_pending()
        self._recovery.reset(mark)
        self._lost_events.reset()
        self.save_watermark()
        return session

    def _load_watermark(self, newest: int) -> Watermark:
        """Return the saved watermark, or one that covers all existing items if none is saved."""
        mark, _, first = get_metadata(self._database, self._metadata_key).partition(" ")
        self._first_item_id = int(first) if first else newest
        return Watermark(int(mark) if mark else newest)

    def recover_missed(self, send_command: SendCommand) -> None:
        """Store items whose events never arrived here.

        The CLI sends each event to only one of its clients, which may be another client or a connection of ours that
        was breaking. This checks again from the watermark of the previous check.
        """
        if self._watermark is not None:
            mark = self._watermark.value
            self._catch_up(send_command, self._watermark, is_recheck=True)
            self._lost_events.log_lost_events()
            self._recheck_from = max(mark - _OVERLAP_ITEMS, self._first_item_id)

    def handle_event(self, record: Record) -> None:
        """Store the events of a record. Raises the store's errors; the record may then be delivered again."""
        if record.user_id not in (None, self._user_id):
            return
        _log_cli_errors(record)
        self._channel.handle_event(record)
        if not self._recovery.allows(record):
            self._mark_items_pending(record)
            return
        for routed in self._router.route(record):
            self._store(routed)
        self._advance_watermark(record)

    def save_watermark(self) -> None:
        """Save the watermark if it has changed."""
        with self._save_lock:
            if self._watermark is None or self._watermark.value == self._saved_watermark:
                return
            mark = self._watermark.value
            set_metadata(self._database, self._metadata_key, f"{mark} {self._first_item_id}", durable=False)
            self._saved_watermark = mark

    def _mark_items_pending(self, record: Record) -> None:
        """Mark the items of an event as pending, for the next start-up to fetch."""
        assert self._watermark is not None
        for raw in find_list(record.raw, "chatItems"):
            item_id = find(raw, "chatItem.meta.itemId")
            if isinstance(item_id, int):
                self._watermark.add_pending(item_id)

    def _store_before(self, item: Item, raw: Mapping[str, Any]) -> None:
        """Store an item that was fetched before its event arrived. A live message waits for the event of its end."""
        assert self._watermark is not None
        if not self._watermark.is_live(item.item_id):
            self._store_item(item, raw)
        self._channel.record_item_id(item.item_id)

    def _store(self, routed: RoutedEvent) -> bool:
        if self._enqueue_once(routed.incoming):
            return True
        return routed.fallback is not None and self._enqueue_once(routed.fallback)

    def _store_item(self, item: Item, raw: Mapping[str, Any]) -> int:
        """Store a fetched item and return how many new events it had.

        An item that cannot be stored must not fail every start-up, so it is logged and dropped.
        """
        try:
            return sum(self._store(routed) for routed in self._router.route_item(raw))
        except DeliveryError:
            raise
        except Exception:
            _log.exception("cannot store the chat item %d, so it is skipped", item.item_id)
            return 0

    def _enqueue_once(self, incoming: IncomingEvent) -> bool:
        """Enqueue an event and return True if it is new.

        Keys stored recently by this process need no database query.
        """
        name = f"{incoming.conversation.id} {incoming.key}"
        with self._known_keys_lock:
            if name in self._known_keys:
                return False
        is_new = self._enqueue(incoming)
        with self._known_keys_lock:
            self._known_keys[name] = None
            while len(self._known_keys) > _MAX_KNOWN_KEYS:
                self._known_keys.popitem(last=False)
        return is_new

    def _advance_watermark(self, record: Record) -> None:
        is_new = record.type == "newChatItems"
        if self._watermark is None or not (is_new or record.type == "chatItemUpdated"):
            return
        for raw in find_list(record.raw, "chatItems") if is_new else [record.raw.get("chatItem")]:
            meta = find_object(raw, "chatItem.meta")
            item_id, is_live = meta.get("itemId"), meta.get("itemLive") is True
            if not isinstance(item_id, int):
                continue
            if is_new:
                self._lost_events.add_delivered(item_id)
            if is_new or not is_live:
                self._watermark.advance(item_id, is_live=is_live)
            self._channel.record_item_id(item_id)
        if self._watermark.value - self._saved_watermark >= _SAVE_INTERVAL_ITEMS:
            self.save_watermark()

    def _is_event_expected(self, item: Item, watermark: Watermark) -> bool:
        """Return True if the event of a finished live message may still arrive: only the first check after its end."""
        if not watermark.is_live(item.item_id) or item.is_live or item.item_id in self._finished_live_items:
            self._finished_live_items.discard(item.item_id)
            return False
        self._finished_live_items.add(item.item_id)
        return True

    def _catch_up(self, send_command: SendCommand, watermark: Watermark, *, is_recheck: bool = False) -> None:
        """Fetch and store items newer than the watermark, and check again those that are slightly older.

        Events of different chats may have overtaken each other, so an item with a smaller id may still be missing.
        Items from before the bot's first start are not fetched. A chat that the CLI cannot return now holds the
        watermark, so that the next check, or the next process, requests it again.
        """
        with self._fetch_lock:
            after, stored = watermark.value, 0
            fetched_items: list[tuple[int, bool]] = []
            postponed: list[str] = []
            for raw in fetch_missed_items(send_command, self._user_id, min(self._recheck_from, after), postponed):
                item = read_item_or_none(raw)
                if item is None or (item.item_id <= after and item.stored_at < self._clock() - _OVERLAP_PERIOD):
                    continue
                if is_recheck and self._is_event_expected(item, watermark):
                    continue
                new = self._store_item(item, raw)
                stored += new
                if is_recheck and new and item.is_received:
                    self._lost_events.add_fetched(item.item_id)
                fetched_items.append((item.item_id, item.is_live and item.is_received))
            watermark.hold_at(after if self._has_pending_chats(postponed) else None)
            # Chats are fetched one after the other, so smaller ids may be missing until the last one is done.
            for item_id, is_live in fetched_items:
                watermark.advance(item_id, is_live=is_live)
                self._channel.record_item_id(item_id)
            if stored:
                _log.info("stored %d SimpleX events that were missed while disconnected", stored)

    def _has_pending_chats(self, postponed: list[str]) -> bool:
        """Return True if one of the postponed chats is still to be waited for."""
        now = self._clock()
        self._postponed = {name: self._postponed.get(name, now) for name in postponed}
        for name, since in self._postponed.items():
            if now - since >= _POSTPONED_TIMEOUT:
                _log.error("messages missed in the chat %s could not be fetched for 24 h and are skipped", name)
        return any(now - since < _POSTPONED_TIMEOUT for since in self._postponed.values())


def _log_cli_errors(record: Record) -> None:
    """Log errors that the CLI reports about itself, by their tags, which contain no users' text."""
    if record.type == "messageError":
        _log.info("the SimpleX CLI could not process a message (severity %.40s)", record.raw.get("severity"))
    errors = {"chatError": [record.raw.get("chatError")], "chatErrors": find_list(record.raw, "chatErrors")}
    for error in errors.get(record.type, ()):
        tags = get_error_tags(error)
        if "CRITICAL" in tags:
            _log.error("the SimpleX CLI reports a critical error (%s): restart it and check its database", tags)
        else:
            _log.info("the SimpleX CLI reports an error: %s", ".".join(tags) or "without a name")
