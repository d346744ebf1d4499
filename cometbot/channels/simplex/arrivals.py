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
from cometbot.channels.base import Incoming
from cometbot.channels.simplex import names
from cometbot.channels.simplex.parsing import Place, sender_of
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.schemas import read, read_item
from cometbot.channels.simplex.views import Chat, Item
from cometbot.commands import read_call
from cometbot.errors import PayloadError
from cometbot.models import Conversation

_log = logging.getLogger(__name__)

_OF_CONTACTS = frozenset({"contactConnected", "contactUpdated", "contactDeletedByContact", "receivedGroupInvitation"})
_OF_GROUPS = frozenset(
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
_OF_ITEMS = frozenset(
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
_WITHOUT_CLASS = _OF_ITEMS | {
    "contactUpdated",
    "contactDeletedByContact",
    "receivedGroupInvitation",
    "groupUpdated",
    "groupDeleted",
    "newMemberContactReceivedInv",
}
"""What comes to handlers as an ``UnknownEvent``."""

_LONGEST_KEY = 200

_LIVE_FOR = 24 * 3600.0
"""Seconds after which a message that was changed is no longer taken for one whose writing has just ended."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something to be stored. ``otherwise`` is what it is instead if ``incoming`` is stored already."""

    incoming: Incoming
    otherwise: Incoming | None = None


class Arrivals:
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

    def of(self, record: Record) -> Iterator[Arrival]:
        """What an event brings, in order. What cannot be read is left out, and said so in the log."""
        sorter = _SORTERS.get(record.type)
        try:
            if sorter is not None:
                yield from sorter(self, record)
            elif record.type in _OF_CONTACTS | _OF_GROUPS | _OF_ITEMS:
                yield from self._plain(record)
        except PayloadError as error:
            _log.warning("left out an event %s that cannot be read: %s", record.type, error)

    def of_item(self, raw: Mapping[str, Any]) -> Iterator[Arrival]:
        """What a chat item brings that was fetched, and not told of."""
        yield from self.of(Record("newChatItems", {"type": "newChatItems", "chatItems": [raw]}))

    def _items(self, record: Record) -> Iterator[Arrival]:
        for raw in _list(record, "chatItems"):
            try:
                item = read_item(raw)
            except PayloadError as error:
                _log.warning("left out a chat item that cannot be read: %s", error)
                continue
            if self._wants(item):
                body = {**record.raw, "chatItems": [raw]}
                yield from self._arrival(item.chat, message_key(item), body, self._sender(item))

    def _updated(self, record: Record) -> Iterator[Arrival]:
        """A change; or the end of a message that was written before our eyes, which is a message only now."""
        item: Item | None = read(record, "chatItem")
        where = names.of_chat(self._account, self._bot.name, item.chat) if item and self._wants(item) else None
        if item is None or where is None:
            return
        edit = self._at(where, _edit_key(item), record.raw, self._sender(item))
        if item.sent_at < self._clock() - _LIVE_FOR:
            yield edit
        else:
            message = self._at(where, message_key(item), record.raw, self._sender(item))
            yield Arrival(message.incoming, edit.incoming)

    def _deleted(self, record: Record) -> Iterator[Arrival]:
        if record.raw.get("byUser") is True:
            return
        for raw in _list(record, "chatItemDeletions"):
            one = Record(record.type, {**record.raw, "chatItemDeletions": [raw]})
            try:
                item: Item = read(one, "chatItemDeletions")[0].item
            except PayloadError as error:
                _log.warning("left out a deletion that cannot be read: %s", error)
                continue
            if item.is_received:
                yield from self._arrival(item.chat, f"delete:{item.item_id}", one.raw, self._sender(item))

    def _deleted_in_group(self, record: Record) -> Iterator[Arrival]:
        group = read(record, "groupInfo")
        if record.raw.get("byUser") is True or group is None:
            return
        for item_id in record.raw.get("chatItemIDs") or ():
            if isinstance(item_id, int) and not isinstance(item_id, bool):
                body = {**record.raw, "chatItemIDs": [item_id]}
                yield from self._arrival(Chat(type="group", group=group), f"delete:{item_id}", body)

    def _reacted(self, record: Record) -> Iterator[Arrival]:
        reaction = read(record, "reaction")
        if reaction is None or reaction.direction.endswith("Snd"):
            return
        is_ours = reaction.item.direction.endswith("Snd")
        if reaction.chat.group is not None and not (is_ours or self._all_groups or reaction.chat.group.business):
            return
        who = names.member_uid(reaction.member) if reaction.member else "contact"
        added = record.raw.get("added") is not False
        key = f"reaction:{reaction.item.item_id}:{who}:{reaction.emoji}:{added}:{reaction.sent_at:.6f}"
        yield from self._arrival(reaction.chat, key, record.raw)

    def _asked(self, record: Record) -> Iterator[Arrival]:
        asked = read(record, "contactRequest")
        if asked is not None:
            where = names.request(self._account, self._bot.name, asked)
            # The number alone may be given again once the request is answered.
            told = [asked.raw.get(name) for name in ("createdAt", "xContactId", "agentInvitationId")]
            key = f"request:{asked.request_id}:{_digest({'of': told})}"
            yield self._at(where, key, record.raw, names.request_user(asked).uid)

    def _plain(self, record: Record) -> Iterator[Arrival]:
        """Anything else that belongs to a chat; nobody is told of what nobody listens for."""
        if record.type in _WITHOUT_CLASS and not any(handler.kind == "event" for handler in self._bot.handlers):
            return
        chat = self._chat_of(record)
        if chat is not None:
            yield from self._arrival(chat, _key_of(record), record.raw)

    @staticmethod
    def _chat_of(record: Record) -> Chat | None:
        if record.type in _OF_ITEMS:
            item = read(record, "chatItem") or read(record, "chatItem_")
            return item.chat if item else None
        if record.type in _OF_CONTACTS:
            contact = read(record, "contact") or read(record, "toContact")
            return Chat(type="direct", contact=contact) if contact else None
        group = read(record, "groupInfo") or read(record, "toGroup")
        return Chat(type="group", group=group) if group else None

    def _wants(self, item: Item) -> bool:
        if not item.is_received or item.is_live or item.is_deleted or item.chat.ref is None:
            return False
        if not self._bot.handle_bots and _is_by_bot(item):
            return False
        group = item.chat.group
        if group is None or group.business is not None or item.chat.is_support or self._all_groups:
            return True
        return item.mentions_bot or item.addresses_bot or self._is_command(item.text)

    def _is_command(self, text: str) -> bool:
        """Whether a text is one of this bot's commands: in a group, others may be meant for other bots."""
        call = read_call(text.strip().replace("/'", "/", 1))
        if call is None or not call.has_slash:
            return False
        commands = [handler.command for handler in self._bot.handlers if handler.command is not None]
        return call.name in {"help", *(name for command in commands for name in command.names)}

    def _sender(self, item: Item) -> str:
        return sender_of(item, Place(Conversation("", "", "", "", ""), "", self._bot.name)).uid

    def _arrival(self, chat: Chat, key: str, body: Mapping[str, Any], sender: str = "") -> list[Arrival]:
        where = names.of_chat(self._account, self._bot.name, chat)
        return [] if where is None else [self._at(where, key, body, sender)]

    def _at(self, where: Conversation, key: str, body: Mapping[str, Any], sender: str = "") -> Arrival:
        return Arrival(Incoming(where, _bounded(key), _dumps(body), sender.replace("\0", "")))


def message_key(item: Item) -> str:
    """What makes a message the same: its number, and the id that both sides know it by."""
    return f"message:{item.item_id}:{item.shared_id}" if item.shared_id else f"message:{item.item_id}"


def _is_by_bot(item: Item) -> bool:
    """Whether who wrote it says that it is a bot."""
    writer = item.member or item.chat.contact
    return writer is not None and writer.profile.is_bot


def _edit_key(item: Item) -> str:
    chat_item = item.raw.get("chatItem")
    return f"edit:{item.item_id}:{_digest(chat_item if isinstance(chat_item, Mapping) else {})}"


def _key_of(record: Record) -> str:
    return f"{record.type}:{_digest(record.raw)}"


def _digest(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dumps(raw)).hexdigest()[:32]


def _dumps(raw: Mapping[str, Any]) -> bytes:
    """JSON of an object that others may have nested deep. Raises :class:`PayloadError` if it is too deep for all."""
    try:
        return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    try:
        return json.dumps(raw, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError("it is nested too deep to be stored") from error


def _bounded(key: str) -> str:
    """A key that an index takes: what others wrote into it may be of any length, or no text at all."""
    if len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable():
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{key.partition(':')[0]}:{digest}"


def _list(record: Record, name: str) -> list[Any]:
    raw = record.raw.get(name)
    if not isinstance(raw, list):
        raise PayloadError(f"{name} is no list")
    return raw


_SORTERS: Mapping[str, Callable[[Arrivals, Record], Iterator[Arrival]]] = {
    "newChatItems": Arrivals._items,
    "chatItemUpdated": Arrivals._updated,
    "chatItemsDeleted": Arrivals._deleted,
    "groupChatItemsDeleted": Arrivals._deleted_in_group,
    "chatItemReaction": Arrivals._reacted,
    "receivedContactRequest": Arrivals._asked,
}
