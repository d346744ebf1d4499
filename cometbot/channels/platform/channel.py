"""The platform channel: bots chat with users of this server's web chat and Client API."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from cometbot.bot import Bot
from cometbot.channels.base import FILE_TIMEOUT, Channel, IncomingEvent, OutgoingRequest
from cometbot.channels.platform import parsing, rendering, serializers
from cometbot.channels.platform.display_names import display_name
from cometbot.channels.platform.ids import (
    ACCOUNT,
    ALL_BOTS,
    CHANNEL,
    NEW_CHAT_PREFIX,
    bot_scope,
    conversation_of,
    new_chat_id,
)
from cometbot.channels.platform.platform import STREAM_DELTA, Platform
from cometbot.channels.platform.reply_merging import MergedReply
from cometbot.channels.platform.typing_indicator import TypingIndicator
from cometbot.chat import ChatConversation, ChatMessage, Draft, Topic
from cometbot.errors import BotError, ChatError, FileTooLarge, NotFound, StorageFull, StoreBusy, Unreachable
from cometbot.events import Event, MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Attachment, Conversation, User
from cometbot.state import StateChange
from cometbot.store.database import Transaction

_DELTA_PART_SIZE = 400
"""Characters of a stream delta that are published at once, small enough for an ephemeral signal."""


class PlatformChannel(Channel):
    """The channel of the platform, which is part of this server: a message is sent by storing and publishing it.

    With ``merge_replies`` in the settings, several replies to one message become one message, for apps that request
    only the newest reply.
    """

    name = CHANNEL
    has_stored_conversations = True
    takes_files = True

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._chat = platform.chat
        self._merges_replies = platform.settings.merge_replies
        self.capabilities = Capabilities(
            native=rendering.NATIVE_TYPES,
            text_limit=rendering.TEXT_LIMIT,
            edit=True,
            delete=True,
            history=True,
            look_up=True,
            stream_interval=0.1,
            deltas=not self._merges_replies,
            groups=False,
            status=True,
        )
        self._typing_indicator = TypingIndicator(self._chat.feed)

    @property
    def account(self) -> str:
        return ACCOUNT

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        """Return the newest chat of ``user`` with ``bot``; if there is none, the first message creates one.

        Raises :class:`BotError` for a group, or without a user.
        """
        if group or not user:
            raise BotError("the platform has no groups: a conversation is with a user")
        new = conversation_of(bot.name, new_chat_id(user), user)
        with self.platform.database.read() as connection:
            chat = self._find_chat(connection, new)
        return conversation_of(bot.name, chat.id, user) if chat else new

    def parse(self, incoming: IncomingEvent) -> Event:
        return parsing.parse(incoming, self.platform.settings.base_url)

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        return rendering.render(operation, self.platform.settings.base_url)

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Carry out a request like :meth:`Channel.send`. A request that is sent twice is stored once.

        A request for a deleted chat succeeds without an effect, and its remains are erased. Raises :class:`NotFound` if
        the message or the user does not exist, and :class:`Unreachable` if the database is busy.
        """
        try:
            # No fsync: the outbox still holds the reply. If a power cut undoes this commit, it also undoes the later
            # one that marks the reply as sent, so the reply is verified and sent again.
            message_id = self._chat.commit(
                lambda connection: self._carry_out(connection, sending), durable=False, timeout=None
            )
            self._typing_indicator.set_status(chat_topic(sending.conversation), "")
            return message_id
        except StoreBusy as error:
            raise Unreachable(f"cannot store the message: {error}") from error
        except ChatError as error:
            raise NotFound(f"cannot store the message: {error}") from error

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        if sending.payload.get("op") != "send":
            return None
        try:
            with self.platform.database.read() as connection:
                return self._find_sent(connection, sending)
        except StoreBusy as error:
            raise Unreachable(f"cannot look up the message: {error}") from error

    def stream_delta(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        topic, delta = chat_topic(conversation), {"stream": stream_id, "sequence": sequence}
        self._typing_indicator.set_status(topic, "")
        cleaned = None if text is None else rendering.clean_text(text)
        starts = range(0, len(cleaned), _DELTA_PART_SIZE) if cleaned is not None else [0]
        for part, start in enumerate(starts):
            part_text = None if cleaned is None else cleaned[start : start + _DELTA_PART_SIZE]
            part_data = {"part": part, "last": part == len(starts) - 1, "text": part_text}
            self._chat.feed.publish_ephemeral(topic, STREAM_DELTA, {**delta, **part_data})

    def set_typing(self, conversation: Conversation, is_typing: bool) -> None:
        self._typing_indicator.update(chat_topic(conversation), is_typing)

    def set_status(self, conversation: Conversation, text: str) -> None:
        self._typing_indicator.set_status(chat_topic(conversation), text)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        with self.platform.database.read() as connection:
            user = self._chat.users.get(connection, ALL_BOTS, conversation.target)
            found = self._chat.messages.list_newest(
                connection, bot_scope(conversation.bot), conversation.id, limit=max(limit, 1)
            )
        sender = User(conversation.target, display_name(user) if user else "")
        base = self.platform.settings.base_url
        return [parsing.to_message_event(message, conversation, sender, base) for message in reversed(found.items)]

    def read_file(self, file: Attachment, client: Any, *, limit: int, timeout: float = FILE_TIMEOUT) -> bytes:
        with self._open_file(file.url) as content:
            return content.read(limit + 1)

    def _open_file(self, url: str) -> BinaryIO:
        """Open an uploaded file. Raises :class:`NotFound`."""
        path = find_upload(self.platform, url)
        if path is None:
            raise NotFound(f"the platform has no file at {url}", code="file_not_found", status=404)
        return path.open("rb")

    def client(self, bot: str) -> PlatformClient:
        return PlatformClient(self.platform, bot)

    def is_bot(self, uid: str) -> bool:
        return self.platform.directory.is_local(uid)

    def filter_state_changes(self, transaction: Transaction, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        return [change for change in changes if self._still_exists(transaction, change)]

    def refresh(self) -> None:
        """Delete unused files and expired entries of the feed."""
        self._chat.clean_up()

    def close(self) -> None:
        self._typing_indicator.close()
        self._chat.close()

    def _carry_out(self, connection: Transaction, sending: OutgoingRequest) -> str:
        """Carry out a request, and return the id of the message."""
        operation = sending.payload.get("op")
        if operation == "delete":
            return self._delete_message(connection, sending)
        chat = self._find_chat(connection, sending.conversation)
        if chat is None and not _is_new(sending.conversation):
            self._chat.erase_deleted(connection, [sending.conversation])
            operation = None
        if operation is None:
            # Nothing is sent, but an id is returned: the bot may use it to edit or delete the message later.
            return sending.client_id
        if operation == "send":
            return self._send_message(connection, sending, chat or self._create_chat(connection, sending.conversation))
        return self._edit_message(connection, sending)

    def _send_message(self, connection: Transaction, sending: OutgoingRequest, chat: ChatConversation) -> str:
        payload = sending.payload
        if self._merges_replies and (known := self._find_sent(connection, sending)) is not None:
            return known
        if self._merges_replies and (merged := self._merge(connection, chat, sending)) is not None:
            return merged
        files = self._chat.files.find(connection, ALL_BOTS, payload["files"])
        draft = Draft(
            sending.conversation.bot,
            serializers.message_payload(
                payload["body"], files, payload["content"], payload["stream"], stored=payload.get("stored", ())
            ),
            MergedReply.single(payload["answers"], sending.client_id, payload["body"]).to_metadata(),
            is_bot=True,
            client_id=sending.client_id,
            files=[file.id for file in files],
        )
        return self._chat.messages.post(connection, chat.scope, chat.id, draft).message.id

    def _merge(self, connection: Transaction, chat: ChatConversation, sending: OutgoingRequest) -> str | None:
        """Append a text to the chat's last message, and return its id; None if it cannot be merged with it."""
        last = next(iter(self._chat.messages.list_newest(connection, chat.scope, chat.id, limit=1).items), None)
        payload = sending.payload
        is_text = not (payload["content"] or payload["files"] or payload.get("stored"))
        if last is None or not last.is_bot or not is_text or last.payload.get("content"):
            return None
        merged = MergedReply.from_message(last).with_part(payload["answers"], sending.client_id, payload["body"])
        if merged is None or len(merged.body.encode()) > rendering.TEXT_LIMIT:
            return None
        self._update(connection, last, merged, {**last.payload, "body": merged.body})
        return merged.part_id(last.id, len(merged.parts) - 1)

    def _update(
        self, connection: Transaction, message: ChatMessage, merged: MergedReply, payload: Mapping[str, Any]
    ) -> None:
        if not self._chat.messages.update(connection, message.scope, message.id, payload, merged.to_metadata()):
            raise NotFound("the message is gone", code="message_not_found", status=404)

    def _find_sent(self, connection: Transaction, sending: OutgoingRequest) -> str | None:
        conversation = sending.conversation
        if _is_new(conversation):  # a newer chat may exist by now
            known = self._chat.messages.find_by_owner(
                connection, bot_scope(conversation.bot), conversation.target, sending.client_id
            )
            return known.id if known else None
        chat = self._find_chat(connection, conversation)
        if chat is None:
            return None
        known = self._chat.messages.find_by_client_id(connection, chat.scope, chat.id, sending.client_id)
        if known is not None:
            return known.id
        if not self._merges_replies:
            return None
        for message in self._chat.messages.list_newest(connection, chat.scope, chat.id, limit=20).items:
            part = MergedReply.from_message(message).part_index(sending.client_id) if message.is_bot else None
            if part is not None:
                return MergedReply.part_id(message.id, part)
        return None

    def _edit_message(self, connection: Transaction, sending: OutgoingRequest) -> str:
        message, part = self._load_target(connection, sending)
        payload, merged = sending.payload, MergedReply.from_message(message)
        changed = merged.with_body(part, payload["body"])
        stored = {**message.payload, "body": changed.body}
        if not part and len(merged.parts) == 1:
            files = self._chat.files.find(connection, ALL_BOTS, payload["files"])
            own = payload.get("stored", ())
            stored = serializers.message_payload(payload["body"], files, payload["content"], stored=own)
        self._update(connection, message, changed, stored)
        return _target_id(sending)

    def _delete_message(self, connection: Transaction, sending: OutgoingRequest) -> str:
        """Delete a message. A message that no longer exists counts as deleted, also if it is deleted just now."""
        with suppress(NotFound):
            message, part = self._load_target(connection, sending)
            left = MergedReply.from_message(message).with_body(part, "")
            if left.body:
                self._update(connection, message, left, {**message.payload, "body": left.body})
            else:
                self._chat.messages.delete(connection, message.scope, message.id)
        return _target_id(sending)

    def _load_target(self, connection: Transaction, sending: OutgoingRequest) -> tuple[ChatMessage, int]:
        """Return the message that a request refers to, and the index of the part."""
        message_id, part = MergedReply.split_part_id(_target_id(sending))
        message = self._chat.messages.get(connection, bot_scope(sending.conversation.bot), message_id)
        chat = self._find_chat(connection, sending.conversation)
        if message is None or chat is None or message.conversation != chat.id:
            text = f"there is no message {_target_id(sending)} in this chat"
            raise NotFound(text, code="message_not_found", status=404)
        return message, part

    def _find_chat(self, connection: Transaction, conversation: Conversation) -> ChatConversation | None:
        """Return a chat, or the newest one of a user to whom the bot wrote before there was one; None if it is gone."""
        scope = bot_scope(conversation.bot)
        if not _is_new(conversation):
            return self._chat.conversations.get(connection, scope, conversation.id)
        owned = self._chat.conversations.list_owned(connection, scope, conversation.target, limit=1)
        return next(iter(owned.items), None)

    def _create_chat(self, connection: Transaction, conversation: Conversation) -> ChatConversation:
        """Create the chat for a bot's first message to a user. Raises :class:`NotFound` if there is no such user."""
        if self._chat.users.get(connection, ALL_BOTS, conversation.target) is None:
            raise NotFound("there is no such chat or user any more", code="chat_not_found", status=404)
        return self._chat.conversations.create(connection, bot_scope(conversation.bot), conversation.target)

    def _still_exists(self, connection: Transaction, change: StateChange) -> bool:
        """Return whether the user or chat that owns the changed state still exists."""
        bot, named = change.owner.split("/", 3)[2:]
        if change.scope == "user":
            return self._chat.users.get_for_update(connection, ALL_BOTS, named) is not None
        conversation = conversation_of(bot, named, "")
        return _is_new(conversation) or self._find_chat(connection, conversation) is not None


def chat_topic(conversation: Conversation) -> Topic:
    """Return the topic of a chat's signals."""
    return Topic(CHANNEL, conversation.bot, conversation.id)


def _is_new(conversation: Conversation) -> bool:
    """Return whether the conversation is with a user who had no chat when the bot wrote."""
    return conversation.id.startswith(NEW_CHAT_PREFIX)


def _target_id(sending: OutgoingRequest) -> str:
    return sending.target_id or str(sending.payload["message"])


def find_upload(platform: Platform, url: str) -> Path | None:
    """Return the path of the uploaded file at a URL of the platform, or None if there is none."""
    found = None
    if file_id := rendering.platform_file_id(url, platform.settings.base_url):
        with platform.database.read() as connection:
            found = platform.chat.files.get(connection, ALL_BOTS, file_id)
    path = platform.chat.files.path(found) if found else None
    return path if path is not None and path.is_file() else None


class PlatformClient:
    """Access to the platform's files for the bot called ``bot``."""

    def __init__(self, platform: Platform, bot: str) -> None:
        self._platform = platform
        self._bot = bot

    def download(self, file: Attachment | str) -> bytes:
        """Return the bytes of an attached file, or of the file at a URL of the platform.

        Raises :class:`BotError` if the platform has no such file.
        """
        url = file if isinstance(file, str) else file.url
        path = find_upload(self._platform, url)
        if path is None:
            raise BotError(f"the platform has no file at {url}")
        return path.read_bytes()

    def upload(self, name: str, content: bytes) -> str:
        """Store ``content`` as a file and return its URL, for a :class:`Media`. An unsent file is deleted after a day.

        Raises :class:`BotError` for a file that is larger than its kind may be, or if there is no room for it.
        """
        limits = self._platform.config.current.limits.file.by_kind
        try:
            upload = self._platform.chat.files.receive(io.BytesIO(content), name=name, limits=limits)
        except (FileTooLarge, StorageFull) as error:
            raise BotError(f"{name}: {error}") from error
        try:
            with self._platform.database.write() as connection:
                file = self._platform.chat.files.save(connection, ALL_BOTS, upload, self._bot)
        except BaseException:
            upload.discard()
            raise
        upload.finalize()
        return f"{self._platform.settings.base_url}/{serializers.file_json(file)['path']}"
