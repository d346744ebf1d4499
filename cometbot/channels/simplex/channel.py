"""The SimpleX channel: it receives events from the CLI and sends commands to it over the connection of one process."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from cometbot.bot import Bot
from cometbot.channels.base import MEMBERS_TIMEOUT, Channel, IncomingEvent, OutgoingRequest, StoredFiles
from cometbot.channels.simplex import ids, moderation, parsing, rendering
from cometbot.channels.simplex.client import CommandSender, ReadOnlySimplexClient, SimplexClient
from cometbot.channels.simplex.download_tracker import DownloadTracker
from cometbot.channels.simplex.errors import CommandFailed, CommandNotFound, CommandRejected
from cometbot.channels.simplex.event_router import make_message_key
from cometbot.channels.simplex.files import NO_FOLDER_TEXT, SharedFolder, get_shared_folder
from cometbot.channels.simplex.models import RECEIVED_MESSAGE, SENT_MESSAGE, ChatSummary, Item, Member
from cometbot.channels.simplex.protocol import ChatRef, Command, ComposedMessage, Record, UpdatedMessage, commands
from cometbot.channels.simplex.protocol.contents import split_message_text, text_content
from cometbot.channels.simplex.schemas import read_field
from cometbot.errors import BotError, ChannelError, MessageError, OutcomeUnknown, Rejected
from cometbot.events import Event, MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation, User, check_recipient
from cometbot.settings import Settings

if TYPE_CHECKING:  # needs the libraries of the extra, which a bot that only renders messages does not have
    from cometbot.channels.simplex.outgoing_files import OutgoingFiles

_log = logging.getLogger(__name__)

_CONNECTION_TIMEOUT = 2.0
"""Seconds that a send waits for a connection that is being re-established."""

_SEND_RESERVE = 3.0
"""Seconds of a send's timeout that are reserved for the command itself when a file has to be downloaded first."""

_PREVIEW_TIMEOUT = 3.0
_UPLOAD_ENDS = ("sndComplete", "sndCancelled", "sndError")
"""The states of a sent file that the CLI needs no more."""

_SEARCH_LIMIT = 200
_MAX_REMEMBERED_ATTEMPTS = 5000
_MEMBERS_CACHE_TTL = 60.0


class SimplexChannel(Channel):
    """The channel to one profile of a SimpleX CLI.

    ``bots`` are the bots served here, by name. ``account`` names the profile: chat and message ids belong to it.
    ``connection`` sends commands; it is None in a process without the connection, which runs handlers and only stores
    their replies. ``folder`` is the folder shared with the CLI, ``file_limit`` the maximum size of a file in bytes.
    ``outgoing`` downloads files from the web into that folder; without it, their URLs are sent instead.
    """

    name: ClassVar[str] = ids.CHANNEL
    has_single_sender: ClassVar[bool] = True
    takes_files: ClassVar[bool] = True
    capabilities: Capabilities = rendering.CAPABILITIES

    def __init__(
        self,
        *,
        bots: Mapping[str, Bot],
        account: str = "default",
        connection: CommandSender | None = None,
        folder: SharedFolder | None = None,
        file_limit: int = 100_000_000,
        outgoing: OutgoingFiles | None = None,
    ) -> None:
        self._bots = dict(bots)
        self.downloads = DownloadTracker()
        self._account = account
        self._connection = connection
        self._user_id = 0
        self._newest_item_id = 0
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._live_messages: dict[str, tuple[int, str]] = {}
        self._members_cache: dict[int, tuple[float, list[Member]]] = {}
        self._known_bots: set[str] = set()
        self._on_close: list[Callable[[], None]] = []
        self._on_refresh: list[Callable[[], None]] = []
        self._client = SimplexClient(connection, lambda: self._user_id, self.downloads, folder, file_limit)
        self._shared_folder = folder
        self._outgoing_files = outgoing
        if outgoing is not None:
            self.add_callbacks(on_refresh=outgoing.delete_expired, on_close=outgoing.close)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        bots: Iterable[Bot],
        *,
        connection: CommandSender | None = None,
        outgoing: OutgoingFiles | None = None,
    ) -> SimplexChannel:
        """Return the channel for the settings. Without ``connection`` it handles messages and cannot send.

        Its account is the name of the profile in cometbot's database, the same in all processes.
        """
        return cls(
            bots={bot.name: bot for bot in bots},
            account=settings.simplex_profile or "default",
            connection=connection,
            folder=get_shared_folder(settings),
            file_limit=settings.simplex_file_limit,
            outgoing=outgoing,
        )

    @property
    def account(self) -> str:
        return self._account

    @property
    def can_send(self) -> bool:
        return self._connection is not None

    def set_user_id(self, user_id: int) -> None:
        """Act as the CLI's profile ``user_id`` from now on."""
        self._user_id = user_id

    def record_item_id(self, item_id: int) -> None:
        """Record the id of an item that exists. Items that are sent later have larger ids."""
        with self._lock:
            self._newest_item_id = max(self._newest_item_id, item_id)

    def add_callbacks(self, *, on_refresh: Callable[[], None], on_close: Callable[[], None]) -> None:
        """Call ``on_refresh`` every few minutes, and ``on_close`` when the channel is closed."""
        self._on_refresh.append(on_refresh)
        self._on_close.append(on_close)

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        check_recipient(user, group)
        make, name = (ids.make_group_conversation, group) if group else (ids.make_direct_conversation, user)
        return make(self._account, bot.name, name)

    def parse(self, incoming: IncomingEvent) -> Event:
        event = parsing.parse(
            parsing.read_record(incoming.body), self._make_context(incoming.conversation, incoming.key)
        )
        if event.sender.metadata.get("is_bot"):
            self._known_bots.add(event.sender.uid)
        return event

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        return rendering.render(operation)

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Like :meth:`Channel.send`. Raises :class:`BotError` in a process without the connection."""
        ends_at = time.monotonic() + timeout
        ref, payload = ids.make_chat_ref(sending.conversation), sending.payload
        if payload["op"] == "send":
            return self._send_message(sending, ref, ends_at)
        if payload["op"] in moderation.MODERATIONS:
            moderation.moderate(partial(self._run_command, ends_at=ends_at), payload["op"], ref.id, payload["user"])
            return ""
        item_id = _parse_item_id(sending.target_id or payload["item"])
        if payload["op"] == "moderate":
            moderation.delete_message(partial(self._run_command, ends_at=ends_at), ref.id, item_id)
        elif payload["op"] == "edit":
            self._edit(sending.conversation, ref, item_id, payload["content"], ends_at)
        elif payload["op"] == "delete":
            self._delete(ref, item_id, ends_at)
        else:
            self._react(ref, item_id, payload["emoji"], ends_at)
        return str(item_id)

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        """Like :meth:`Channel.find_sent`.

        It compares the content of the bot's messages that are newer than this process's own attempt. It cannot
        distinguish an attempt of another process from earlier messages, so such an attempt counts as not found.
        """
        with self._lock:
            after, content_hash = self._attempts.get(sending.client_id, (None, 0))
        if after is None or sending.payload["op"] != "send":
            return None
        ends_at = time.monotonic() + timeout
        for item in self._get_items(ids.make_chat_ref(sending.conversation), _SEARCH_LIMIT, ends_at):
            if item.item_id <= after or item.kind != SENT_MESSAGE or item.content is None:
                continue
            if _hash_content(item.content.type, item.content.text) == content_hash:
                # Record the item, so that it is not taken for the next reply with the same text.
                self.record_item_id(item.item_id)
                self._mark_file_sent(sending)
                if item.file is not None and item.file.status in _UPLOAD_ENDS and "media" in sending.payload:
                    self._discard_file(sending)  # the event of the end may have been missed with the answer
                return str(item.item_id)
        return None

    def preview(self, conversation: Conversation, message_id: str, text: str) -> None:
        shown = split_message_text(text)[:1]
        if not shown or not self.can_send:
            return
        ref, item_id = ids.make_chat_ref(conversation), _parse_item_id(message_id)
        message = UpdatedMessage(text_content(shown[0]))
        try:
            self._run_command(
                commands.update_chat_item(ref, item_id, message, live=True), time.monotonic() + _PREVIEW_TIMEOUT, wait=0
            )
            with self._lock:
                self._live_messages[conversation.id] = (item_id, shown[0])
        except (ChannelError, MessageError) as error:
            _log.debug("cannot update the live preview: %s", error, extra={"conversation": str(conversation.key)})

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return the newest messages of both sides, without deleted ones and other items such as membership changes."""
        if limit < 1:
            return []
        items = self._get_items(ids.make_chat_ref(conversation), min(limit, 1000), time.monotonic() + 10.0)
        messages = [item for item in items if item.kind in (RECEIVED_MESSAGE, SENT_MESSAGE) and not item.is_deleted]
        return [
            parsing.make_message(item, self._make_context(conversation, make_message_key(item)), item.raw)
            for item in messages[-limit:]
        ]

    def members(self, conversation: Conversation, *, timeout: float = MEMBERS_TIMEOUT) -> list[User]:
        """Like :meth:`Channel.members`. Raises :class:`BotError` in a process without the connection."""
        run_command = partial(self._run_command, ends_at=time.monotonic() + timeout)
        return moderation.list_users(run_command, ids.make_chat_ref(conversation).id)

    def client(self, bot: str) -> SimplexClient:
        return self._client

    def readonly_client(self, bot: str, on_write: Callable[[str], None]) -> SimplexClient:
        return ReadOnlySimplexClient(self._client, on_write)

    def is_bot(self, uid: str) -> bool:
        return uid in self._known_bots

    def refresh(self) -> None:
        for callback in self._on_refresh:
            callback()

    def attach_files(self, files: StoredFiles) -> None:
        if self._outgoing_files is not None:
            self._outgoing_files.attach_files(files)

    def close(self) -> None:
        while self._on_close:
            self._on_close.pop()()

    def _make_context(self, conversation: Conversation, key: str) -> parsing.EventContext:
        bot = self._bots.get(conversation.bot)
        return parsing.EventContext(conversation, key, bot.ids[0] if bot else conversation.bot)

    def handle_event(self, record: Record) -> None:
        """Update the state of file transfers if the event is about one."""
        self.downloads.handle_event(record)
        if self._outgoing_files is not None:
            self._outgoing_files.handle_event(record)

    def _send_message(self, sending: OutgoingRequest, ref: ChatRef, ends_at: float) -> str:
        payload = sending.payload
        if "media" not in payload:
            path = self._get_cli_path(payload["file"]) if "file" in payload else ""
            return self._send_content(sending, ref, self._add_preview(payload, ends_at), path, ends_at)
        content, path = self._prepare_media(sending, ends_at)
        try:
            return self._send_content(sending, ref, content, path, ends_at)
        except CommandRejected as error:
            self._discard_file(sending)
            if not path or not error.tag.startswith("file"):
                raise
            _log.warning("the SimpleX CLI rejected a file, so its address is sent: %s", error)
            return self._send_content(sending, ref, payload["otherwise"], "", ends_at)

    def _get_cli_path(self, path: str) -> str:
        if self._shared_folder is None:
            raise Rejected(NO_FOLDER_TEXT, code="no_folder")
        return self._shared_folder.to_cli_path(path)

    def _prepare_media(self, sending: OutgoingRequest, ends_at: float) -> tuple[Mapping[str, Any], str]:
        """Return the content and the path of a file from the web, or the fallback content and an empty path.

        Raises :class:`OutcomeUnknown` if the file may become available later.
        """
        payload = sending.payload
        if self._outgoing_files is None:
            return payload["otherwise"], ""
        try:
            timeout = ends_at - time.monotonic() - _SEND_RESERVE
            prepared = self._outgoing_files.prepare(self._make_file_key(sending), payload["media"], timeout)
            path = self._get_cli_path(str(prepared.path))
        except (Rejected, MessageError) as error:
            extra = {"conversation": str(sending.conversation.key)}
            _log.warning("sending the address of a file instead of the file: %s", error, extra=extra)
            self._discard_file(sending)
            return payload["otherwise"], ""
        return {**prepared.content, "text": payload["content"]["text"]}, path

    def _add_preview(self, payload: Mapping[str, Any], ends_at: float) -> Mapping[str, Any]:
        """Return the content with a preview image for its file or link, if one can be made."""
        content: Mapping[str, Any] = payload["content"]
        if self._outgoing_files is None:
            return content
        if "file" in payload:
            return self._outgoing_files.add_preview(content, payload["file"])
        if "picture" not in payload:
            return content
        image = self._outgoing_files.make_link_preview(payload["picture"], ends_at - time.monotonic() - _SEND_RESERVE)
        return {**content, "preview": {**content["preview"], "image": image}}

    def _send_content(
        self, sending: OutgoingRequest, ref: ChatRef, content_to_send: Mapping[str, Any], path: str, ends_at: float
    ) -> str:
        payload = sending.payload
        content, mentioned_members = self._resolve_mentions(ref, content_to_send, ends_at)
        quoted = _parse_item_id(payload["quote"]) if payload.get("quote") else None
        message = ComposedMessage(content, quoted_item_id=quoted, file_path=path, mentions=mentioned_members)
        is_live = bool(payload.get("live"))
        self._finish_live_message(sending.conversation, ref, ends_at)
        self._remember_attempt(sending.client_id, content)
        command = commands.send_messages(ref, [message], live=is_live, ttl=payload.get("ttl"))
        items: list[Item] = read_field(self._run_command(command, ends_at), "chatItems") or []
        if not items:
            raise OutcomeUnknown("the SimpleX CLI's answer to a message contains no item")
        self.record_item_id(items[0].item_id)
        self._mark_file_sent(sending)
        if is_live:
            with self._lock:
                self._live_messages[sending.conversation.id] = (items[0].item_id, content["text"])
        return str(items[0].item_id)

    def _remember_attempt(self, client_id: str, content: Mapping[str, Any]) -> None:
        content_hash = _hash_content(str(content["type"]), str(content.get("text", "")))
        with self._lock:
            self._attempts[client_id] = (self._newest_item_id, content_hash)
            while len(self._attempts) > _MAX_REMEMBERED_ATTEMPTS:
                self._attempts.popitem(last=False)

    def _mark_file_sent(self, sending: OutgoingRequest) -> None:
        if self._outgoing_files is not None and "media" in sending.payload:
            self._outgoing_files.mark_sent(self._make_file_key(sending))

    def _discard_file(self, sending: OutgoingRequest) -> None:
        if self._outgoing_files is not None:
            self._outgoing_files.discard(self._make_file_key(sending))

    def _make_file_key(self, sending: OutgoingRequest) -> str:
        return f"{self._account} {sending.client_id}"

    def _edit(
        self, conversation: Conversation, ref: ChatRef, item_id: int, content_to_send: Mapping[str, Any], ends_at: float
    ) -> None:
        with self._lock:
            if self._live_messages.get(conversation.id, (0, ""))[0] == item_id:
                del self._live_messages[conversation.id]
        content, mentioned_members = self._resolve_mentions(ref, content_to_send, ends_at)
        self._run_command(commands.update_chat_item(ref, item_id, UpdatedMessage(content, mentioned_members)), ends_at)

    def _finish_live_message(self, conversation: Conversation, ref: ChatRef, ends_at: float) -> None:
        """Finish a live message whose handler failed, with the text that it has."""
        with self._lock:
            live = self._live_messages.pop(conversation.id, None)
        if live is None:
            return
        try:
            self._run_command(commands.update_chat_item(ref, live[0], UpdatedMessage(text_content(live[1]))), ends_at)
        except CommandFailed as error:
            _log.info("cannot finish a live message: %s", error, extra={"conversation": str(conversation.key)})

    def _delete(self, ref: ChatRef, item_id: int, ends_at: float) -> None:
        """Delete a message for everybody. Does nothing if it no longer exists."""
        with suppress(CommandNotFound):
            self._run_command(commands.delete_chat_item(ref, [item_id], "broadcast"), ends_at)

    def _react(self, ref: ChatRef, item_id: int, emoji: str, ends_at: float) -> None:
        """Add a reaction to a message. Does nothing if the bot has added it already."""
        try:
            self._run_command(commands.chat_item_reaction(ref, item_id, emoji), ends_at)
        except CommandRejected:
            given = [item.reactions for item in self._get_items(ref, _SEARCH_LIMIT, ends_at) if item.item_id == item_id]
            if not any(_is_own_reaction(reaction, emoji) for reactions in given for reaction in reactions):
                raise

    def _get_items(self, ref: ChatRef, count: int, ends_at: float) -> list[Item]:
        """Return the newest items of a chat, oldest first."""
        chat: ChatSummary | None = read_field(self._run_command(commands.get_chat(ref, count=count), ends_at), "chat")
        return sorted(chat.items, key=lambda item: item.item_id) if chat else []

    def _resolve_mentions(
        self, ref: ChatRef, content: Mapping[str, Any], ends_at: float
    ) -> tuple[Mapping[str, Any], Mapping[str, int]]:
        """Return the content with mentions in SimpleX's spelling, and the mentioned members by name.

        The content is returned unchanged if it has no mentions, or if the resolved mentions make it too large.
        """
        if not ids.has_mentions(content):
            return content, {}
        members = self._get_members(ref.id, ends_at) if ref.kind == "group" else []
        resolved, mentioned_members = ids.resolve_mentions(content, ids.make_member_finder(members))
        try:
            UpdatedMessage(resolved, mentioned_members)
        except MessageError:
            return content, {}
        return resolved, mentioned_members

    def _get_members(self, group_id: int, ends_at: float) -> list[Member]:
        known = self._members_cache.get(group_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        try:
            found: list[Member] = read_field(self._run_command(commands.list_members(group_id), ends_at), "group") or []
        except CommandFailed as error:
            _log.info("cannot fetch the members of a group: %s", error)
            return []
        self._members_cache[group_id] = (time.monotonic() + _MEMBERS_CACHE_TTL, found)
        return found

    def _run_command(self, command: Command, ends_at: float, *, wait: float = _CONNECTION_TIMEOUT) -> Record:
        if self._connection is None:
            raise BotError("this process has no connection to SimpleX: the process `cometbot simplex` has it")
        left = max(ends_at - time.monotonic(), 0.001)
        wait_timeout = min(wait, left / 2)
        return self._connection.command(command, timeout=max(left - wait_timeout, 0.001), wait=wait_timeout)


def _hash_content(kind: str, text: str) -> int:
    """Return a hash of a message's content, so that the text itself need not be stored."""
    return hash((kind, text))


def _is_own_reaction(reaction: Mapping[str, Any], emoji: str) -> bool:
    """Return True if ``reaction`` is the bot's own and has this emoji."""
    given = reaction.get("reaction")
    return reaction.get("userReacted") is True and isinstance(given, Mapping) and given.get("emoji") == emoji


def _parse_item_id(value: object) -> int:
    text = str(value or "")
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**63:
        raise Rejected(f"message id: expected a number, got {text[:60]!r}", code="no_message")
    return int(text)
