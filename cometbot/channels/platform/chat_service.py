"""Operations of users and bots on chats. Each is one transaction; listeners are notified after the commit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from cometbot.channels.base import DeliveryService, IncomingEvent
from cometbot.channels.platform import actions, serializers, validators
from cometbot.channels.platform.directory import ListedBot
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.ids import (
    ACCOUNT,
    ALL_BOTS,
    CHANNEL,
    bot_scope,
    conversation_of,
    delivery_records,
    new_chat_id,
    webhook_conversation,
)
from cometbot.channels.platform.platform import CHAT_CREATED, Platform
from cometbot.channels.platform.settings import MAX_CHATS_PER_BOT
from cometbot.chat import Chat, ChatConversation, ChatFile, ChatMessage, ChatUser, Draft, PostResult, Signal, Topic
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.store.state import StateTable


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be sent. ``action`` is the used button, option or form: name, value, values, message_id."""

    body: str
    attachment_ids: Sequence[str] = ()
    client_id: str = ""
    action: Mapping[str, Any] | None = None


@dataclass
class _StoredMessage:
    """A stored message, and the conversations to be notified after the commit."""

    posted: PostResult
    is_local_bot: bool = False
    conversation_keys: list[str] = field(default_factory=list)


class ChatService:
    """Creates and deletes chats, and stores messages together with their deliveries to bots.

    Every method raises :class:`ApiError` for a request that is not allowed, and :class:`StoreBusy`. Methods that store
    users' data raise :class:`StorageFull` if there is no room.
    """

    def __init__(self, platform: Platform, delivery: DeliveryService) -> None:
        self._platform = platform
        self._observe = platform.observe
        self._chat = platform.chat
        self._delivery = delivery

    def create_chat(self, user: ChatUser, bot_id: str, client_id: str = "") -> ChatConversation:
        """Create a chat of ``user`` with a bot.

        If the user has already created a chat with this ``client_id``, return that chat.
        """
        validators.check_client_id(client_id)
        chat_id = _derive_chat_id(user.id, bot_id, client_id)
        if not bot_id:
            raise ApiError(400, "bot id must not be empty")
        scope = bot_scope(bot_id)

        def work(connection: Transaction) -> ChatConversation:
            # This locks the user's row, so that two requests cannot both pass the limit.
            if self._chat.users.update(connection, ALL_BOTS, user.id, {}) is None:
                raise ApiError(401, "User is unauthorized.")
            if self._platform.directory.find(connection, bot_id) is None:
                raise ApiError(404, "Bot not found.")
            known = self._chat.conversations.get(connection, scope, chat_id) if chat_id else None
            if known is not None:
                return known
            self._chat.quota.check(connection)
            if self._chat.conversations.count_owned(connection, scope, user.id) >= MAX_CHATS_PER_BOT:
                raise ApiError(400, f"Cannot create more than {MAX_CHATS_PER_BOT} chat rooms with the same bot.")
            return self._chat.conversations.create(connection, scope, user.id, id=chat_id)

        created = self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        self._chat.feed.publish_ephemeral(Topic.of_user(ALL_BOTS, user.id), CHAT_CREATED, {"id": created.id})
        return created

    def rename_chat(self, user: ChatUser, chat_id: str, title: str) -> ChatConversation:
        """Set the title of a chat and return the chat. An empty title removes it."""
        validators.check_title(title)

        def work(connection: Transaction) -> tuple[ChatConversation, list[Signal]]:
            chat = self.get_user_chat(connection, user, chat_id)
            changed = self._chat.conversations.update(connection, chat.scope, chat.id, {"title": title or None})
            if changed is None:
                raise ApiError(404, "Chat not found.")
            return changed

        changed, signals = self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        self._chat.feed.publish(signals)
        return changed

    def delete_chat(self, user: ChatUser, chat_id: str) -> None:
        """Delete a chat with all its messages."""

        def work(connection: Transaction) -> list[Signal]:
            chat = self.get_user_chat(connection, user, chat_id)
            return self._chat.delete_conversations(connection, [chat], delivery_records)

        self._chat.feed.publish(self._platform.database.group_commit(work, timeout=ACK_TIMEOUT))

    def get_user_chat(self, connection: Transaction, user: ChatUser, chat_id: str) -> ChatConversation:
        """Return the chat with this id. Raises :class:`ApiError` if it is not a chat of this user."""
        chat = self._chat.conversations.get(connection, ALL_BOTS, chat_id) if chat_id else None
        if chat is None:
            raise ApiError(404, "Chat not found.")
        if chat.owner != user.id:
            raise ApiError(403, "Chat is not related to current user.")
        return chat

    def get_bot_chat(self, connection: Transaction, bot: ListedBot, chat_id: str) -> ChatConversation:
        """Return the chat with this id. Raises :class:`ApiError` if it is not a chat with this bot."""
        chat = self._chat.conversations.get(connection, ALL_BOTS, chat_id) if chat_id else None
        if chat is None:
            raise ApiError(404, "Chat not found.")
        if chat.scope.bot != bot.id:
            raise ApiError(403, "Chat is not related to current bot.")
        return chat

    def send_as_user(self, user: ChatUser, chat_id: str, new_message: NewMessage) -> PostResult:
        """Store a user's message together with its delivery to the bot, in one transaction, and return it."""

        def work(connection: Transaction) -> _StoredMessage:
            chat = self.get_user_chat(connection, user, chat_id)
            bot = self._platform.directory.find(connection, chat.scope.bot)
            if (known := self._find_duplicate(connection, chat, user.id, new_message)) is not None:
                return _StoredMessage(PostResult(known, is_new=False), bot is not None and bot.local_bot is not None)
            self._chat.quota.check(connection)
            validators.check_body(new_message.body, new_message.attachment_ids, self._platform.config.current.message)
            if bot is None:
                raise ApiError(404, "Bot not found.")
            action = (
                self._validate_action(connection, chat, new_message.action) if new_message.action is not None else None
            )
            files = self._find_user_files(connection, user.id, new_message.attachment_ids)
            stored = _StoredMessage(
                self._post(connection, chat, new_message, files, user.id), bot.local_bot is not None
            )
            if stored.posted.is_new:
                stored.conversation_keys = self._enqueue_for_bot(
                    connection, bot, chat, user, stored.posted.message, action
                )
            return stored

        stored = self._platform.database.group_commit(work, timeout=ACK_TIMEOUT)
        if stored.is_local_bot:
            outcome = "received" if stored.posted.is_new else "duplicate"
            self._observe(stored.posted.message.scope.bot, outcome)
        return self._publish(stored)

    def send_as_bot(self, bot: ListedBot, chat_id: str, new_message: NewMessage) -> PostResult:
        """Store a message of an external bot and return it."""

        def work(connection: Transaction) -> _StoredMessage:
            chat = self.get_bot_chat(connection, bot, chat_id)
            if (known := self._find_duplicate(connection, chat, bot.id, new_message)) is not None:
                return _StoredMessage(PostResult(known, is_new=False))
            validators.check_body(new_message.body, new_message.attachment_ids, self._platform.config.current.message)
            files = self._find_chat_files(connection, chat, bot.id, new_message.attachment_ids)
            return _StoredMessage(self._post(connection, chat, new_message, files, bot.id, is_bot=True))

        return self._publish(self._platform.database.group_commit(work, timeout=ACK_TIMEOUT))

    def _find_duplicate(
        self, connection: Transaction, chat: ChatConversation, sender: str, new_message: NewMessage
    ) -> ChatMessage | None:
        """Return the message that was sent with the same client id, even if it would be invalid now."""
        validators.check_client_id(new_message.client_id)
        name = _scoped_client_id(sender, new_message.client_id)
        return self._chat.messages.find_by_client_id(connection, chat.scope, chat.id, name)

    def _publish(self, stored: _StoredMessage) -> PostResult:
        self._chat.feed.publish(list(stored.posted.signals))
        for conversation_key in stored.conversation_keys:
            self._delivery.notify(conversation_key)
        return stored.posted

    def _find_user_files(self, connection: Transaction, owner: str, ids: Sequence[str]) -> list[ChatFile]:
        """Return the files with these ids that belong to ``owner``. Other files count as unknown."""
        found = self._chat.files.find(connection, ALL_BOTS, list(ids)) if ids else []
        return [file for file in found if file.owner == owner]

    def _find_chat_files(
        self, connection: Transaction, chat: ChatConversation, bot_id: str, ids: Sequence[str]
    ) -> list[ChatFile]:
        """Return the files that a bot may send in a chat: its own, and those of the chat's user."""
        found = self._chat.files.find(connection, ALL_BOTS, list(ids)) if ids else []
        return [file for file in found if file.owner in (bot_id, chat.owner)]

    def _post(
        self,
        connection: Transaction,
        chat: ChatConversation,
        new_message: NewMessage,
        files: Sequence[ChatFile],
        sender: str,
        *,
        is_bot: bool = False,
    ) -> PostResult:
        draft = Draft(
            sender,
            serializers.message_payload(new_message.body, files),
            is_bot=is_bot,
            client_id=_scoped_client_id(sender, new_message.client_id),
            files=[file.id for file in files],
        )
        return self._chat.messages.post(connection, chat.scope, chat.id, draft)

    def _validate_action(
        self, connection: Transaction, chat: ChatConversation, action: Mapping[str, Any]
    ) -> dict[str, Any]:
        shown = self._chat.messages.get(connection, chat.scope, action["message_id"])
        is_here = shown is not None and shown.conversation == chat.id and shown.is_bot
        content = shown.payload.get("content") if shown is not None and is_here else None
        checked = actions.validate_action(content, action["name"], action["value"], action["values"])
        return {**checked, "messageId": action["message_id"]}

    def _enqueue_for_bot(
        self,
        connection: Transaction,
        bot: ListedBot,
        chat: ChatConversation,
        user: ChatUser,
        message: ChatMessage,
        action: Mapping[str, Any] | None,
    ) -> list[str]:
        """Store a message for its bot; return the keys of the conversations to be notified."""
        stored = serializers.message_json(message, with_ids=True)
        if bot.local_bot is not None:
            body = {"message": stored, "user": serializers.page_user_json(user), "action": action}
            conversation = conversation_of(bot.id, chat.id, user.id)
            needs_notify = self._delivery.enqueue_in(
                connection, IncomingEvent(conversation, f"message:{message.id}", orjson.dumps(body), user.id)
            )
        elif bot.webhook is not None:
            conversation = webhook_conversation(bot.id, chat.id)
            needs_notify = self._delivery.enqueue_outgoing_in(connection, conversation, [{"message": stored}])
        else:
            return []
        return [str(conversation.key)] if needs_notify else []


def delete_user(connection: Transaction, chat: Chat, id: str) -> list[Signal] | None:
    """Delete a user with all chats and files, and return the signals of the deletion; None if there is no such user."""
    # Chats before the user: storing messages and state locks the rows in this order.
    signals = chat.delete_owned_conversations(connection, ALL_BOTS, id, delivery_records)
    conversation_keys = chat.erasure.find_conversation_keys(connection, CHANNEL, ACCOUNT, id)
    chat.erasure.erase_and_delete(connection, conversation_keys)
    # Lock the user before deleting its state: a handler's state is stored before this, or finds no user.
    if chat.users.get_for_update(connection, ALL_BOTS, id) is None:
        return None
    # Chats that were created before the lock.
    signals += chat.delete_owned_conversations(connection, ALL_BOTS, id, delivery_records)
    state = StateTable(chat.database)
    for scope, named in (("user", id), ("conversation", new_chat_id(id))):
        state.delete_matching(connection, scope, f"{CHANNEL}/{ACCOUNT}/", f"/{named}")
    return [*signals, *(chat.users.delete(connection, ALL_BOTS, id) or ())]


def _scoped_client_id(sender: str, given: str) -> str:
    """Return a client's id for its message, made distinct from the ids of other senders and of delivery."""
    return f"{sender}:{given}" if given else ""


def _derive_chat_id(user_id: str, bot_id: str, client_id: str) -> str:
    """Return the chat id that belongs to a client id of a user and a bot; empty without a client id."""
    named = orjson.dumps([user_id, bot_id, client_id])
    return hashlib.sha256(named).hexdigest()[:26] if client_id else ""
