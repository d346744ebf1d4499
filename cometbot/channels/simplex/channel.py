"""The SimpleX channel: events of the CLI in, commands to it out, over the connection that one process holds."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Incoming, Sending
from cometbot.channels.simplex import mentions, names, parsing, rendering
from cometbot.channels.simplex.arrivals import message_key
from cometbot.channels.simplex.client import Commanding, MutedSimplexClient, SimplexClient
from cometbot.channels.simplex.errors import CommandFailed, CommandNotFound, CommandRejected
from cometbot.channels.simplex.files import Folder, NoFolder
from cometbot.channels.simplex.protocol import ChatRef, Command, ComposedMessage, Record, UpdatedMessage, commands
from cometbot.channels.simplex.protocol.contents import split_message_text, text_content
from cometbot.channels.simplex.schemas import read
from cometbot.channels.simplex.transfers import Transfers
from cometbot.channels.simplex.views import RECEIVED, SENT, ChatSummary, Item, Member
from cometbot.errors import BotError, ChannelError, MessageError, Rejected, Uncertain
from cometbot.events import Event, MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation

if TYPE_CHECKING:  # it needs the libraries of the extra, which a bot that only makes messages does not
    from cometbot.channels.simplex.outgoing import OutgoingFiles

_log = logging.getLogger(__name__)

_WAIT = 2.0
"""Seconds that a send waits for a connection that is being made again."""

_FOR_SENDING = 3.0
"""Seconds of a send that are kept for the command itself, where a file has to be loaded before."""

_SKETCH_TIMEOUT = 3.0
_LOOK = 200
_KEPT = 5000
_MEMBERS_FOR = 60.0


class SimplexChannel(Channel):
    """The door to one profile of a SimpleX CLI.

    ``bots`` are those served here, by name. ``account`` names the profile: the numbers of chats and messages belong to
    it. ``connection`` sends commands; None in a process that does not hold the connection, where messages are handled
    and replies only stored. ``folder`` is where files lie, ``file_limit`` the bytes that one may have; ``outgoing``
    brings those from the web there, without it their addresses are sent.
    """

    name: ClassVar[str] = names.CHANNEL
    has_owner: ClassVar[bool] = True
    capabilities: Capabilities = rendering.CAPABILITIES

    def __init__(
        self,
        *,
        bots: Mapping[str, Bot],
        account: str = "default",
        connection: Commanding | None = None,
        folder: Folder | NoFolder | None = None,
        file_limit: int = 100_000_000,
        outgoing: OutgoingFiles | None = None,
    ) -> None:
        self._bots = dict(bots)
        self.transfers = Transfers()
        self._account = account
        self._connection = connection
        self._user_id = 0
        self._newest = 0
        self._guard = threading.Lock()
        self._attempts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._live: dict[str, tuple[int, str]] = {}
        self._members: dict[int, tuple[float, list[Member]]] = {}
        self._known_bots: set[str] = set()
        self._on_close: list[Callable[[], None]] = []
        self._on_refresh: list[Callable[[], None]] = []
        self._client = SimplexClient(
            connection, lambda: self._user_id, self.transfers, folder or NoFolder(), file_limit
        )
        self._folder = folder or NoFolder()
        self._outgoing = outgoing

    @property
    def account(self) -> str:
        return self._account

    @property
    def sends(self) -> bool:
        return self._connection is not None

    def be_user(self, user_id: int) -> None:
        """Act as this profile of the CLI from now on."""
        self._user_id = user_id

    def note_item(self, item_id: int) -> None:
        """Take notice of an item's number: what is sent from now on gets larger ones."""
        with self._guard:
            self._newest = max(self._newest, item_id)

    def look_after(self, *, on_refresh: Callable[[], None], on_close: Callable[[], None]) -> None:
        """Call ``on_refresh`` every few minutes, and ``on_close`` when the channel is closed."""
        self._on_refresh.append(on_refresh)
        self._on_close.append(on_close)

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        if bool(user) == bool(group):
            raise BotError("a conversation is with either a user or a group: give one of them")
        make, name = (names.group, group) if group else (names.direct, user)
        return make(self._account, bot.name, name)

    def parse(self, incoming: Incoming) -> Event:
        event = parsing.parse(parsing.read_record(incoming.body), self._place(incoming.conversation, incoming.key))
        if event.sender.metadata.get("is_bot"):
            self._known_bots.add(event.sender.uid)
        return event

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        return rendering.render(operation)

    def send(self, sending: Sending, *, timeout: float) -> str:
        """As promised by :class:`Channel`. Raises :class:`BotError` in a process without the connection."""
        ends_at = time.monotonic() + timeout
        ref, payload = names.ref_of(sending.conversation), sending.payload
        if payload["op"] == "send":
            return self._say(sending, ref, ends_at)
        item_id = _item_id(sending.target_id or payload["item"])
        if payload["op"] == "edit":
            self._edit(sending.conversation, ref, item_id, payload["content"], ends_at)
        elif payload["op"] == "delete":
            self._delete(ref, item_id, ends_at)
        else:
            self._react(ref, item_id, payload["emoji"], ends_at)
        return str(item_id)

    def find(self, sending: Sending, *, timeout: float) -> str | None:
        """As promised by :class:`Channel`: among the bot's messages that are newer than this process's own attempt, by
        what they say. What another process tried cannot be told from what was said before, and counts as not found.
        """
        with self._guard:
            after, said = self._attempts.get(sending.client_id, (None, 0))
        if after is None or sending.payload["op"] != "send":
            return None
        ends_at = time.monotonic() + timeout
        for item in self._items(names.ref_of(sending.conversation), _LOOK, ends_at):
            if item.item_id <= after or item.kind != SENT or item.content is None:
                continue
            if _sameness(item.content.type, item.content.text) == said:
                # From now on it is known, and not taken for the next reply that says the same.
                self.note_item(item.item_id)
                self._note_sent(sending, item)
                return str(item.item_id)
        return None

    def sketch(self, conversation: Conversation, message_id: str, text: str) -> None:
        shown = split_message_text(text)[:1]
        if not shown or not self.sends:
            return
        ref, item_id = names.ref_of(conversation), _item_id(message_id)
        message = UpdatedMessage(text_content(shown[0]))
        try:
            self._ask(
                commands.update_chat_item(ref, item_id, message, live=True), time.monotonic() + _SKETCH_TIMEOUT, wait=0
            )
            with self._guard:
                self._live[conversation.id] = (item_id, shown[0])
        except (ChannelError, MessageError) as error:
            _log.debug("could not sketch: %s", error, extra={"conversation": str(conversation.key)})

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """The newest messages of both sides; what was deleted and what only happened is left out."""
        if limit < 1:
            return []
        items = self._items(names.ref_of(conversation), min(limit, 1000), time.monotonic() + 10.0)
        said = [item for item in items if item.kind in (RECEIVED, SENT) and not item.is_deleted]
        return [
            parsing.make_message(item, self._place(conversation, message_key(item)), item.raw) for item in said[-limit:]
        ]

    def client(self, bot: str) -> SimplexClient:
        return self._client

    def muted_client(self, bot: str, note: Callable[[str], None]) -> SimplexClient:
        return MutedSimplexClient(self._client, note)

    def is_bot(self, uid: str) -> bool:
        return uid in self._known_bots

    def refresh(self) -> None:
        if self._outgoing is not None:
            self._outgoing.sweep()
        for do in self._on_refresh:
            do()

    def close(self) -> None:
        while self._on_close:
            self._on_close.pop()()
        if self._outgoing is not None:
            self._outgoing.close()

    def _place(self, conversation: Conversation, key: str) -> parsing.Place:
        bot = self._bots.get(conversation.bot)
        return parsing.Place(conversation, key, bot.ids[0] if bot else conversation.bot)

    def hear(self, record: Record) -> None:
        """Take notice of an event, if it is about a file on its way."""
        self.transfers.hear(record)
        if self._outgoing is not None:
            self._outgoing.hear(record)

    def _say(self, sending: Sending, ref: ChatRef, ends_at: float) -> str:
        payload = sending.payload
        if "media" not in payload:
            path = self._folder.find_there(payload["file"]) if "file" in payload else ""
            return self._put(sending, ref, self._pictured(payload, ends_at), path, ends_at)
        content, path = self._bring(sending, ends_at)
        try:
            return self._put(sending, ref, content, path, ends_at)
        except CommandRejected as error:
            self._drop(sending)
            if not path or not error.tag.startswith("file"):
                raise
            _log.warning("the SimpleX CLI does not take a file, so its address is sent: %s", error)
            return self._put(sending, ref, payload["otherwise"], "", ends_at)

    def _bring(self, sending: Sending, ends_at: float) -> tuple[Mapping[str, Any], str]:
        """The content and the path of a file from the web; without a path, what is said where it is not to be had.

        Raises :class:`Uncertain` where it may be had later.
        """
        payload = sending.payload
        if self._outgoing is None:
            return payload["otherwise"], ""
        try:
            timeout = ends_at - time.monotonic() - _FOR_SENDING
            brought = self._outgoing.bring(self._key(sending), payload["media"], timeout)
            path = self._outgoing.find_there(brought)
        except (Rejected, MessageError) as error:
            extra = {"conversation": str(sending.conversation.key)}
            _log.warning("the address of a file is sent in its place: %s", error, extra=extra)
            self._drop(sending)
            return payload["otherwise"], ""
        return {**brought.content, "text": payload["content"]["text"]}, path

    def _pictured(self, payload: Mapping[str, Any], ends_at: float) -> Mapping[str, Any]:
        """The content, with the small picture of a file or a link in it where one can be made."""
        content: Mapping[str, Any] = payload["content"]
        if self._outgoing is None:
            return content
        if "file" in payload:
            return self._outgoing.with_preview(content, payload["file"])
        if "picture" not in payload:
            return content
        image = self._outgoing.make_picture(payload["picture"], ends_at - time.monotonic() - _FOR_SENDING)
        return {**content, "preview": {**content["preview"], "image": image}}

    def _put(self, sending: Sending, ref: ChatRef, wanted: Mapping[str, Any], path: str, ends_at: float) -> str:
        payload = sending.payload
        content, told = self._filled(ref, wanted, ends_at)
        quoted = _item_id(payload["quote"]) if payload.get("quote") else None
        message = ComposedMessage(content, quoted_item_id=quoted, file_path=path, mentions=told)
        is_live = bool(payload.get("live"))
        self._end_live(sending.conversation, ref, ends_at)
        self._remember_attempt(sending.client_id, content)
        command = commands.send_messages(ref, [message], live=is_live, ttl=payload.get("ttl"))
        items: list[Item] = read(self._ask(command, ends_at), "chatItems") or []
        if not items:
            raise Uncertain("the SimpleX CLI answered to a message without naming it")
        self.note_item(items[0].item_id)
        self._note_sent(sending, items[0])
        if is_live:
            with self._guard:
                self._live[sending.conversation.id] = (items[0].item_id, content["text"])
        return str(items[0].item_id)

    def _remember_attempt(self, client_id: str, content: Mapping[str, Any]) -> None:
        said = _sameness(str(content["type"]), str(content.get("text", "")))
        with self._guard:
            self._attempts[client_id] = (self._newest, said)
            while len(self._attempts) > _KEPT:
                self._attempts.popitem(last=False)

    def _note_sent(self, sending: Sending, item: Item) -> None:
        if self._outgoing is not None and "media" in sending.payload:
            self._outgoing.is_sent(self._key(sending), item.file.file_id if item.file else None)

    def _drop(self, sending: Sending) -> None:
        if self._outgoing is not None:
            self._outgoing.drop(self._key(sending))

    def _key(self, sending: Sending) -> str:
        return f"{self._account} {sending.client_id}"

    def _edit(
        self, conversation: Conversation, ref: ChatRef, item_id: int, wanted: Mapping[str, Any], ends_at: float
    ) -> None:
        with self._guard:
            if self._live.get(conversation.id, (0, ""))[0] == item_id:
                del self._live[conversation.id]
        content, told = self._filled(ref, wanted, ends_at)
        self._ask(commands.update_chat_item(ref, item_id, UpdatedMessage(content, told)), ends_at)

    def _end_live(self, conversation: Conversation, ref: ChatRef, ends_at: float) -> None:
        """Let a message that was being written, and whose writer failed, stand as it is."""
        with self._guard:
            live = self._live.pop(conversation.id, None)
        if live is None:
            return
        try:
            self._ask(commands.update_chat_item(ref, live[0], UpdatedMessage(text_content(live[1]))), ends_at)
        except CommandFailed as error:
            _log.info("could not end a live message: %s", error, extra={"conversation": str(conversation.key)})

    def _delete(self, ref: ChatRef, item_id: int, ends_at: float) -> None:
        """Take a message back; one that is gone already is what was asked for."""
        try:
            self._ask(commands.delete_chat_item(ref, [item_id], "broadcast"), ends_at)
        except CommandNotFound:
            return

    def _react(self, ref: ChatRef, item_id: int, emoji: str, ends_at: float) -> None:
        """Put a reaction on a message; one that is there already is what was asked for."""
        try:
            self._ask(commands.chat_item_reaction(ref, item_id, emoji), ends_at)
        except CommandRejected:
            given = [item.reactions for item in self._items(ref, _LOOK, ends_at) if item.item_id == item_id]
            if not any(_is_own(reaction, emoji) for reactions in given for reaction in reactions):
                raise

    def _items(self, ref: ChatRef, count: int, ends_at: float) -> list[Item]:
        """The newest items of a chat, oldest first."""
        chat: ChatSummary | None = read(self._ask(commands.get_chat(ref, count=count), ends_at), "chat")
        return sorted(chat.items, key=lambda item: item.item_id) if chat else []

    def _filled(
        self, ref: ChatRef, content: Mapping[str, Any], ends_at: float
    ) -> tuple[Mapping[str, Any], Mapping[str, int]]:
        """The content with mentions as SimpleX spells them; as it is, if they cannot be told or have no room."""
        if not mentions.has_mentions(content):
            return content, {}
        members = self._members_of(ref.id, ends_at) if ref.kind == "group" else []
        filled, told = mentions.fill(content, mentions.find_in(members))
        try:
            UpdatedMessage(filled, told)
        except MessageError:
            return content, {}
        return filled, told

    def _members_of(self, group_id: int, ends_at: float) -> list[Member]:
        known = self._members.get(group_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        try:
            found: list[Member] = read(self._ask(commands.list_members(group_id), ends_at), "group") or []
        except CommandFailed as error:
            _log.info("could not ask who is in a group: %s", error)
            return []
        self._members[group_id] = (time.monotonic() + _MEMBERS_FOR, found)
        return found

    def _ask(self, command: Command, ends_at: float, *, wait: float = _WAIT) -> Record:
        if self._connection is None:
            raise BotError("this process has no connection to SimpleX; it is held by cometbot simplex")
        left = max(ends_at - time.monotonic(), 0.001)
        patience = min(wait, left / 2)
        return self._connection.command(command, timeout=max(left - patience, 0.001), wait=patience)


def _sameness(kind: str, text: str) -> int:
    """A number for what a message says, in place of the text itself."""
    return hash((kind, text))


def _is_own(reaction: Mapping[str, Any], emoji: str) -> bool:
    """Whether one of an item's reactions is the bot's, and this one."""
    given = reaction.get("reaction")
    return reaction.get("userReacted") is True and isinstance(given, Mapping) and given.get("emoji") == emoji


def _item_id(value: object) -> int:
    text = str(value or "")
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**63:
        raise Rejected(f"SimpleX knows messages by number, not by {text[:60]!r}", code="no_message")
    return int(text)
