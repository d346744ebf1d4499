"""Selects the CLI's events for the bot, and determines their conversation and key. No I/O."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import IncomingEvent, to_storable_key
from cometbot.channels.simplex import ids
from cometbot.channels.simplex.models import Chat, Item
from cometbot.channels.simplex.parsing import EventContext, find_sender, has_event_type
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.objects import find_object
from cometbot.channels.simplex.schemas import read_field, read_item_or_none
from cometbot.commands import parse_call
from cometbot.errors import PayloadError
from cometbot.models import Conversation

_log = logging.getLogger(__name__)

_EVENTS_BY_CHAT_FIELD = {
    "contact": "contactConnected contactUpdated contactDeletedByContact receivedGroupInvitation",
    "group": "joinedGroupMember leftMember deletedMember deletedMemberUser userJoinedGroup memberRole "
    "memberAcceptedByOther memberBlockedForAll acceptingBusinessRequest businessRequestAlreadyAccepted groupUpdated "
    "groupDeleted newMemberContactReceivedInv",
    "item": "rcvFileComplete rcvFileError rcvFileWarning rcvFileSndCancelled sndFileCompleteXFTP sndFileError "
    "sndFileWarning",
}
_CHAT_FIELDS = {event: field for field, events in _EVENTS_BY_CHAT_FIELD.items() for event in events.split()}
"""The object that names the chat of an event, by the event's tag."""

_MAX_LIVE_AGE = 24 * 3600.0
"""Seconds after which an edited message is no longer taken for a live message that has just been finished."""


@dataclass(frozen=True, slots=True)
class RoutedEvent:
    """An event to be stored. ``fallback`` is stored instead if ``incoming`` is stored already."""

    incoming: IncomingEvent
    fallback: IncomingEvent | None = None


class EventRouter:
    """Selects the events of one CLI for one bot.

    In groups the bot receives messages addressed to it: mentions, replies to its messages, its commands; with
    ``all_groups`` it receives all messages. In business chats it receives all. Messages of other bots are dropped
    unless ``bot.handle_bots`` is set.
    """

    def __init__(
        self, account: str, bot: Bot, *, all_groups: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._account = account
        self._bot = bot
        self._all_groups = all_groups
        self._clock = clock

    def route(self, record: Record) -> Iterator[RoutedEvent]:
        """Yield the events to be stored for ``record``, in order.

        Records that cannot be read are logged and dropped.
        """
        route = _ROUTES.get(record.type)
        try:
            if route is not None:
                yield from route(self, record)
            elif record.type in _CHAT_FIELDS:
                yield from self._route_other(record)
        except PayloadError as error:
            _log.warning("skipped an unreadable event %s: %s", record.type, error)

    def route_item(self, raw: Mapping[str, Any]) -> Iterator[RoutedEvent]:
        """Yield the events of a chat item that was fetched rather than received as an event."""
        yield from self.route(Record("newChatItems", {"type": "newChatItems", "chatItems": [raw]}))

    def _route_new_items(self, record: Record) -> Iterator[RoutedEvent]:
        for raw in _get_list(record, "chatItems"):
            item = read_item_or_none(raw)
            if item is not None and self._is_relevant(item):
                body = {**record.raw, "chatItems": [raw]}
                yield from self._route_to_chat(item.chat, make_message_key(item), body, self._find_sender_uid(item))

    def _route_update(self, record: Record) -> Iterator[RoutedEvent]:
        """Route an edit, or the end of a live message, which is stored as a message only then."""
        item: Item | None = read_field(record, "chatItem")
        if not item or not self._is_relevant(item):
            return
        sender = self._find_sender_uid(item)
        key = f"edit:{item.item_id}:{_digest(find_object(item.raw, 'chatItem'))}"
        for edit in self._route_to_chat(item.chat, key, record.raw, sender):
            if item.sent_at < self._clock() - _MAX_LIVE_AGE:
                yield edit
                continue
            for message in self._route_to_chat(item.chat, make_message_key(item), record.raw, sender):
                yield RoutedEvent(message.incoming, edit.incoming)

    def _route_deletions(self, record: Record) -> Iterator[RoutedEvent]:
        if record.raw.get("byUser") is True:
            return
        for raw in _get_list(record, "chatItemDeletions"):
            one = Record(record.type, {**record.raw, "chatItemDeletions": [raw]})
            try:
                item: Item = read_field(one, "chatItemDeletions")[0].item
            except PayloadError as error:
                _log.warning("skipped an unreadable deletion: %s", error)
                continue
            if item.is_received:
                yield from self._route_to_chat(
                    item.chat, f"delete:{item.item_id}", one.raw, self._find_sender_uid(item)
                )

    def _route_group_deletions(self, record: Record) -> Iterator[RoutedEvent]:
        group = read_field(record, "groupInfo")
        if record.raw.get("byUser") is True or group is None:
            return
        for item_id in record.raw.get("chatItemIDs") or ():
            if isinstance(item_id, int) and not isinstance(item_id, bool):
                body = {**record.raw, "chatItemIDs": [item_id]}
                yield from self._route_to_chat(Chat(type="group", group=group), f"delete:{item_id}", body)

    def _route_reaction(self, record: Record) -> Iterator[RoutedEvent]:
        reaction = read_field(record, "reaction")
        if reaction is None or reaction.direction.endswith("Snd"):
            return
        is_own_item = reaction.item.direction.endswith("Snd")
        if reaction.chat.group is not None and not (is_own_item or self._all_groups or reaction.chat.group.business):
            return
        who = ids.get_member_uid(reaction.member) if reaction.member else "contact"
        added = record.raw.get("added") is not False
        key = f"reaction:{reaction.item.item_id}:{who}:{reaction.emoji}:{added}:{reaction.sent_at:.6f}"
        yield from self._route_to_chat(reaction.chat, key, record.raw)

    def _route_contact_request(self, record: Record) -> Iterator[RoutedEvent]:
        contact_request = read_field(record, "contactRequest")
        if contact_request is not None:
            conversation = ids.make_request_conversation(self._account, self._bot.name, contact_request)
            # The CLI may reuse a request's id once the request is answered.
            identity = [contact_request.raw.get(name) for name in ("createdAt", "xContactId", "agentInvitationId")]
            key = f"request:{contact_request.request_id}:{_digest({'of': identity})}"
            yield self._make_routed_event(conversation, key, record.raw, ids.make_request_user(contact_request).uid)

    def _route_other(self, record: Record) -> Iterator[RoutedEvent]:
        """Route any other event of a chat. Unknown events are dropped if the bot has no handler for them."""
        if not has_event_type(record) and not any(handler.kind == "event" for handler in self._bot.handlers):
            return
        chat = self._find_chat(record)
        if chat is not None:
            yield from self._route_to_chat(chat, f"{record.type}:{_digest(record.raw)}", record.raw)

    @staticmethod
    def _find_chat(record: Record) -> Chat | None:
        chat_field = _CHAT_FIELDS[record.type]
        if chat_field == "item":
            item = read_field(record, "chatItem") or read_field(record, "chatItem_")
            return item.chat if item else None
        if chat_field == "contact":
            contact = read_field(record, "contact") or read_field(record, "toContact")
            return Chat(type="direct", contact=contact) if contact else None
        group = read_field(record, "groupInfo") or read_field(record, "toGroup")
        return Chat(type="group", group=group) if group else None

    def _is_relevant(self, item: Item) -> bool:
        if not item.is_received or item.is_live or item.is_deleted or item.chat.ref is None:
            return False
        if not self._bot.handle_bots and _is_by_bot(item):
            return False
        group = item.chat.group
        if group is None or group.business is not None or item.chat.is_support or self._all_groups:
            return True
        return item.mentions_bot or item.mentions_or_quotes_bot or self._is_command(item.text)

    def _is_command(self, text: str) -> bool:
        """Return True if a text calls one of this bot's commands. In a group, other commands may be for other bots."""
        call = parse_call(text.strip().replace("/'", "/", 1))
        if call is None or not call.has_slash:
            return False
        commands = [handler.command for handler in self._bot.handlers if handler.command is not None]
        return call.name in {"help", *(name for command in commands for name in command.names)}

    def _find_sender_uid(self, item: Item) -> str:
        return find_sender(item, EventContext(Conversation("", "", "", "", ""), "", self._bot.name)).uid

    def _route_to_chat(self, chat: Chat, key: str, body: Mapping[str, Any], sender: str = "") -> list[RoutedEvent]:
        conversation = ids.make_chat_conversation(self._account, self._bot.name, chat)
        return [] if conversation is None else [self._make_routed_event(conversation, key, body, sender)]

    def _make_routed_event(
        self, conversation: Conversation, key: str, body: Mapping[str, Any], sender: str = ""
    ) -> RoutedEvent:
        return RoutedEvent(
            IncomingEvent(conversation, to_storable_key(key), _dump_json(body), sender.replace("\0", ""))
        )


def make_message_key(item: Item) -> str:
    """Return the key of a message: its id, and the id that both sides share."""
    return f"message:{item.item_id}:{item.shared_id}" if item.shared_id else f"message:{item.item_id}"


def _is_by_bot(item: Item) -> bool:
    """Return True if the sender's profile says that it is a bot."""
    writer = item.member or item.chat.contact
    return writer is not None and writer.profile.is_bot


def _digest(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump_json(raw)).hexdigest()[:32]


def _dump_json(raw: Mapping[str, Any]) -> bytes:
    """Return an object as JSON, which is possible for all that :func:`decode_frame` returns."""
    return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)


def _get_list(record: Record, name: str) -> list[Any]:
    raw = record.raw.get(name)
    if not isinstance(raw, list):
        raise PayloadError(f"{name} is no list")
    return raw


_ROUTES: Mapping[str, Callable[[EventRouter, Record], Iterator[RoutedEvent]]] = {
    "newChatItems": EventRouter._route_new_items,
    "chatItemUpdated": EventRouter._route_update,
    "chatItemsDeleted": EventRouter._route_deletions,
    "groupChatItemsDeleted": EventRouter._route_group_deletions,
    "chatItemReaction": EventRouter._route_reaction,
    "receivedContactRequest": EventRouter._route_contact_request,
}
