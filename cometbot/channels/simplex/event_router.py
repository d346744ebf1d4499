"""What of the CLI's events is brought to the bot, in whose conversation and under what key. No I/O."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.channels.simplex import ids
from cometbot.channels.simplex.models import Chat, Item
from cometbot.channels.simplex.parsing import EventContext, find_sender
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.schemas import read_field, read_item
from cometbot.commands import parse_call
from cometbot.errors import PayloadError
from cometbot.models import Conversation

_log = logging.getLogger(__name__)

_CONTACT_EVENTS = frozenset(
    {"contactConnected", "contactUpdated", "contactDeletedByContact", "receivedGroupInvitation"}
)
_GROUP_EVENTS = frozenset(
    {
        "joinedGroupMember",
        "leftMember",
        "deletedMember",
        "deletedMemberUser",
        "userJoinedGroup",
        "memberRole",
        "memberAcceptedByOther",
        "memberBlockedForAll",
        "acceptingBusinessRequest",
        "businessRequestAlreadyAccepted",
        "groupUpdated",
        "groupDeleted",
        "newMemberContactReceivedInv",
    }
)
_ITEM_EVENTS = frozenset(
    {
        "rcvFileComplete",
        "rcvFileError",
        "rcvFileWarning",
        "rcvFileSndCancelled",
        "sndFileCompleteXFTP",
        "sndFileError",
        "sndFileWarning",
    }
)
_UNTYPED_EVENTS = _ITEM_EVENTS | {
    "contactUpdated",
    "contactDeletedByContact",
    "receivedGroupInvitation",
    "groupUpdated",
    "groupDeleted",
    "newMemberContactReceivedInv",
}
"""What comes to handlers as an ``UnknownEvent``."""

_MAX_KEY_LENGTH = 200

_MAX_LIVE_AGE = 24 * 3600.0
"""Seconds after which a message that was changed is no longer taken for one whose writing has just ended."""


@dataclass(frozen=True, slots=True)
class RoutedEvent:
    """Something to be stored. ``fallback`` is what it is instead if ``incoming`` is stored already."""

    incoming: IncomingEvent
    fallback: IncomingEvent | None = None


class EventRouter:
    """Sorts the events of one CLI for one bot.

    In groups the bot gets what is said to it: a mention, an answer to what it said, one of its commands; with
    ``all_groups`` everything. A business chat is a talk with the bot, so all of it counts. What other bots write is
    left out unless the bot is to answer those.
    """

    def __init__(
        self, account: str, bot: Bot, *, all_groups: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._account = account
        self._bot = bot
        self._all_groups = all_groups
        self._clock = clock

    def route(self, record: Record) -> Iterator[RoutedEvent]:
        """What an event brings, in order. What cannot be read is left out, and said so in the log."""
        route = _ROUTES.get(record.type)
        try:
            if route is not None:
                yield from route(self, record)
            elif record.type in _CONTACT_EVENTS | _GROUP_EVENTS | _ITEM_EVENTS:
                yield from self._route_other(record)
        except PayloadError as error:
            _log.warning("left out an event %s that cannot be read: %s", record.type, error)

    def route_item(self, raw: Mapping[str, Any]) -> Iterator[RoutedEvent]:
        """What a chat item brings that was fetched, and not told of."""
        yield from self.route(Record("newChatItems", {"type": "newChatItems", "chatItems": [raw]}))

    def _route_new_items(self, record: Record) -> Iterator[RoutedEvent]:
        for raw in _get_list(record, "chatItems"):
            try:
                item = read_item(raw)
            except PayloadError as error:
                _log.warning("left out a chat item that cannot be read: %s", error)
                continue
            if self._is_relevant(item):
                body = {**record.raw, "chatItems": [raw]}
                yield from self._route_to_chat(item.chat, make_message_key(item), body, self._find_sender_uid(item))

    def _route_update(self, record: Record) -> Iterator[RoutedEvent]:
        """A change; or the end of a message that was written before our eyes, which is a message only now."""
        item: Item | None = read_field(record, "chatItem")
        conversation = (
            ids.make_chat_conversation(self._account, self._bot.name, item.chat)
            if item and self._is_relevant(item)
            else None
        )
        if item is None or conversation is None:
            return
        edit = self._make_routed_event(conversation, _make_edit_key(item), record.raw, self._find_sender_uid(item))
        if item.sent_at < self._clock() - _MAX_LIVE_AGE:
            yield edit
        else:
            message = self._make_routed_event(
                conversation, make_message_key(item), record.raw, self._find_sender_uid(item)
            )
            yield RoutedEvent(message.incoming, edit.incoming)

    def _route_deletions(self, record: Record) -> Iterator[RoutedEvent]:
        if record.raw.get("byUser") is True:
            return
        for raw in _get_list(record, "chatItemDeletions"):
            one = Record(record.type, {**record.raw, "chatItemDeletions": [raw]})
            try:
                item: Item = read_field(one, "chatItemDeletions")[0].item
            except PayloadError as error:
                _log.warning("left out a deletion that cannot be read: %s", error)
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
            # The number alone may be given again once the request is answered.
            identity = [contact_request.raw.get(name) for name in ("createdAt", "xContactId", "agentInvitationId")]
            key = f"request:{contact_request.request_id}:{_digest({'of': identity})}"
            yield self._make_routed_event(conversation, key, record.raw, ids.make_request_user(contact_request).uid)

    def _route_other(self, record: Record) -> Iterator[RoutedEvent]:
        """Anything else that belongs to a chat; nobody is told of what nobody listens for."""
        if record.type in _UNTYPED_EVENTS and not any(handler.kind == "event" for handler in self._bot.handlers):
            return
        chat = self._find_chat(record)
        if chat is not None:
            yield from self._route_to_chat(chat, _make_key(record), record.raw)

    @staticmethod
    def _find_chat(record: Record) -> Chat | None:
        if record.type in _ITEM_EVENTS:
            item = read_field(record, "chatItem") or read_field(record, "chatItem_")
            return item.chat if item else None
        if record.type in _CONTACT_EVENTS:
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
        """Whether a text is one of this bot's commands: in a group, others may be meant for other bots."""
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
        return RoutedEvent(IncomingEvent(conversation, _limit_key(key), _dump_json(body), sender.replace("\0", "")))


def make_message_key(item: Item) -> str:
    """What makes a message the same: its number, and the id that both sides know it by."""
    return f"message:{item.item_id}:{item.shared_id}" if item.shared_id else f"message:{item.item_id}"


def _is_by_bot(item: Item) -> bool:
    """Whether who wrote it says that it is a bot."""
    writer = item.member or item.chat.contact
    return writer is not None and writer.profile.is_bot


def _make_edit_key(item: Item) -> str:
    chat_item = item.raw.get("chatItem")
    return f"edit:{item.item_id}:{_digest(chat_item if isinstance(chat_item, Mapping) else {})}"


def _make_key(record: Record) -> str:
    return f"{record.type}:{_digest(record.raw)}"


def _digest(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump_json(raw)).hexdigest()[:32]


def _dump_json(raw: Mapping[str, Any]) -> bytes:
    """JSON of an object that others may have nested deep. Raises :class:`PayloadError` if it is too deep for all."""
    try:
        return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    try:
        return json.dumps(raw, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError("it is nested too deep to be stored") from error


def _limit_key(key: str) -> str:
    """A key that an index takes: what others wrote into it may be of any length, or no text at all."""
    if len(key) <= _MAX_KEY_LENGTH and key.isascii() and key.isprintable():
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{key.partition(':')[0]}:{digest}"


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
