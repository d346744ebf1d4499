"""Operations of users and bots on chats. Each is one transaction; listeners are notified after the commit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cometbot.channels.base import DeliveryService, IncomingEvent
from cometbot.channels.platform import serializers, validators
from cometbot.channels.platform.config import Limits, ReloadableConfig
from cometbot.channels.platform.errors import ApiError, bot_not_found, chat_not_found, unauthorized
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
from cometbot.channels.platform.platform import CHAT_CREATED, MAX_CHATS_PER_BOT, BotDirectory
from cometbot.channels.platform.serializers import JsonObject
from cometbot.chat import Chat, ChatConversation, ChatMessage, ChatUser, Draft, ListedBot, PostResult, Topic
from cometbot.events import ConversationStarted
from cometbot.http.rate_limiter import RateLimiter
from cometbot.models import Conversation
from cometbot.observer import Observer
from cometbot.presses import PRESS_SCOPE
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.store.state import StateTable


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be sent. ``action`` is the used button, option or form: name, value, values, messageId."""

    body: str
    attachment_ids: Sequence[str] = ()
    client_id: str = ""
    action: Mapping[str, Any] | None = None


class ChatService:
    """Creates and deletes chats, and stores messages together with their deliveries to bots.

    Every method raises :class:`ApiError` for a request that is not allowed, and :class:`StoreBusy`. Methods that store
    users' data raise :class:`StorageFull` if there is no room.
    """

    def __init__(
        self,
        chat: Chat,
        directory: BotDirectory,
        config: ReloadableConfig,
        delivery: DeliveryService,
        observer: Observer,
        *,
        message_rate: int,
        signup_rate: int,
    ) -> None:
        self.chat = chat
        self.database = chat.database
        self.directory = directory
        self.config = config
        self._delivery = delivery
        self._observer = observer
        self._message_rates = RateLimiter(message_rate, 60)
        self._signup_rates = RateLimiter(signup_rate, 3600)

    @property
    def limits(self) -> Limits:
        """The current limits."""
        return self.config.current.limits

    def create_user(self, data: dict[str, Any], address: str) -> ChatUser:
        """Store a new user. Raises :class:`ApiError` also if ``address`` has created too many."""
        self._signup_rates.check(address, "Too many new users")
        with self.database.write(timeout=ACK_TIMEOUT) as connection:
            self.chat.quota.check(connection)
            return self.chat.users.create(connection, ALL_BOTS, data)

    def check_message_rate(self, user: ChatUser) -> None:
        """Raise :class:`ApiError` for a user who sends more messages than allowed."""
        self._message_rates.check(user.id, "Too many messages")

    def find_bot(self, connection: Transaction, bot_id: str) -> ListedBot:
        """Return the bot with this id. Raises :class:`ApiError` if there is none."""
        bot = self.directory.find(connection, bot_id)
        if bot is None:
            raise bot_not_found()
        return bot

    def list_commands(self, bot_id: str) -> list[JsonObject]:
        """List the commands of a bot. Raises :class:`ApiError` if there is no such bot."""
        with self.database.read() as connection:
            self.find_bot(connection, bot_id)
            return [serializers.command_json(one) for one in self.directory.list_commands(connection, bot_id)]

    def list_chats(self, connection: Transaction, bot_id: str, user_id: str) -> list[JsonObject]:
        """List the chats of a user with a bot, oldest first."""
        owned = self.chat.conversations.list_owned(
            connection, bot_scope(bot_id), user_id, limit=10 * MAX_CHATS_PER_BOT, oldest_first=True
        )
        return [serializers.chat_json(chat) for chat in owned.items]

    def create_chat(self, user: ChatUser, bot_id: str, client_id: str = "") -> ChatConversation:
        """Create a chat of ``user`` with a bot.

        If the user has already created a chat with this ``client_id``, return that chat.
        """
        validators.check_client_id(client_id)
        chat_id = _derive_chat_id(user.id, bot_id, client_id)
        if not bot_id:
            raise ApiError(400, "bot id must not be empty")
        scope = bot_scope(bot_id)

        def work(connection: Transaction) -> tuple[ChatConversation, Conversation | None]:
            # This locks the user's row, so that two requests cannot both pass the limit.
            if self.chat.users.update(connection, ALL_BOTS, user.id, {}) is None:
                raise unauthorized()
            bot = self.find_bot(connection, bot_id)
            known = self.chat.conversations.get(connection, scope, chat_id) if chat_id else None
            if known is not None:
                return known, None
            self.chat.quota.check(connection)
            if self.chat.conversations.count_owned(connection, scope, user.id) >= MAX_CHATS_PER_BOT:
                raise ApiError(400, f"Cannot create more than {MAX_CHATS_PER_BOT} chat rooms with the same bot.")
            chat = self.chat.conversations.create(connection, scope, user.id, id=chat_id)
            return chat, self._enqueue_started(connection, bot, chat, user)

        created, to_notify = self.chat.commit(work)
        if to_notify is not None:
            self._delivery.notify(str(to_notify.key))
        self.chat.feed.publish_ephemeral(Topic.of_user(ALL_BOTS, user.id), CHAT_CREATED, {"id": created.id})
        return created

    def _enqueue_started(
        self, connection: Transaction, bot: ListedBot, chat: ChatConversation, user: ChatUser
    ) -> Conversation | None:
        """Store that a chat has begun, for a bot that handles that. Return what delivery must be notified of."""
        served = self._delivery.bots.get(bot.id)
        if served is None or not served.routes.can_handle(ConversationStarted):
            return None
        body = {"started": {"id": chat.id, "timestamp": chat.created_at}, "user": serializers.page_user_json(user)}
        where = conversation_of(bot.id, chat.id, user.id)
        incoming = IncomingEvent(where, f"started:{chat.id}", orjson.dumps(body), user.id)
        return where if self._delivery.enqueue_in(connection, incoming) else None

    def rename_chat(self, user: ChatUser, chat_id: str, title: str) -> ChatConversation:
        """Set the title of a chat and return the chat. An empty title removes it."""
        validators.check_title(title)

        def work(connection: Transaction) -> ChatConversation:
            chat = self.get_user_chat(connection, user, chat_id)
            changed = self.chat.conversations.update(connection, chat.scope, chat.id, {"title": title or None})
            if changed is None:
                raise chat_not_found()
            return changed

        return self.chat.commit(work)

    def delete_chat(self, user: ChatUser, chat_id: str) -> None:
        """Delete a chat with all its messages."""

        def work(connection: Transaction) -> None:
            chat = self.get_user_chat(connection, user, chat_id)
            self.chat.delete_conversations(connection, [chat], delivery_records)

        self.chat.commit(work)

    def get_user_chat(self, connection: Transaction, user: ChatUser, chat_id: str) -> ChatConversation:
        """Return the chat with this id. Raises :class:`ApiError` if it is not a chat of this user."""
        chat = self._get_chat(connection, chat_id)
        if chat.owner != user.id:
            raise ApiError(403, "Chat is not related to current user.")
        return chat

    def get_bot_chat(self, connection: Transaction, bot: ListedBot, chat_id: str) -> ChatConversation:
        """Return the chat with this id. Raises :class:`ApiError` if it is not a chat with this bot."""
        chat = self._get_chat(connection, chat_id)
        if chat.scope.bot != bot.id:
            raise ApiError(403, "Chat is not related to current bot.")
        return chat

    def _get_chat(self, connection: Transaction, chat_id: str) -> ChatConversation:
        chat = self.chat.conversations.get(connection, ALL_BOTS, chat_id) if chat_id else None
        if chat is None:
            raise chat_not_found()
        return chat

    def send_as_user(self, user: ChatUser, chat_id: str, new_message: NewMessage) -> PostResult:
        """Store a user's message together with its delivery to the bot, in one transaction, and return it."""
        limits = self.limits.message  # which may be read from the database, for which a transaction may not wait

        def work(connection: Transaction) -> tuple[PostResult, ListedBot | None, Conversation | None]:
            chat = self.get_user_chat(connection, user, chat_id)
            bot = self.directory.find(connection, chat.scope.bot)
            if (known := self._find_duplicate(connection, chat, user.id, new_message)) is not None:
                return known, bot, None
            self.chat.quota.check(connection)
            validators.check_body(new_message.body, new_message.attachment_ids, limits)
            if bot is None:
                raise bot_not_found()
            action = self._validate_action(connection, chat, new_message.action) if new_message.action else None
            # Files of others count as unknown.
            posted = self._post(connection, chat, new_message, user.id, file_owners=(user.id,))
            if not posted.is_new:
                return posted, bot, None
            return posted, bot, self._enqueue_for_bot(connection, bot, chat, user, posted.message, action)

        posted, bot, to_notify = self.chat.commit(work)
        if bot is not None and bot.is_local:
            self._observer.received(bot.id, "received" if posted.is_new else "duplicate")
        if to_notify is not None:
            self._delivery.notify(str(to_notify.key))
        return posted

    def send_as_bot(self, bot: ListedBot, chat_id: str, new_message: NewMessage) -> PostResult:
        """Store a message of an external bot and return it. It may have files of the bot and of the chat's user."""
        limits = self.limits.message

        def work(connection: Transaction) -> PostResult:
            chat = self.get_bot_chat(connection, bot, chat_id)
            if (known := self._find_duplicate(connection, chat, bot.id, new_message)) is not None:
                return known
            validators.check_body(new_message.body, new_message.attachment_ids, limits)
            return self._post(connection, chat, new_message, bot.id, file_owners=(bot.id, chat.owner), is_bot=True)

        return self.chat.commit(work)

    def _find_duplicate(
        self, connection: Transaction, chat: ChatConversation, sender: str, new_message: NewMessage
    ) -> PostResult | None:
        """Return the message that was sent with the same client id, even if it would be invalid now."""
        validators.check_client_id(new_message.client_id)
        name = _scoped_client_id(sender, new_message.client_id)
        known = self.chat.messages.find_by_client_id(connection, chat.scope, chat.id, name)
        return PostResult(known, is_new=False) if known else None

    def _post(
        self,
        connection: Transaction,
        chat: ChatConversation,
        new_message: NewMessage,
        sender: str,
        *,
        file_owners: Collection[str],
        is_bot: bool = False,
    ) -> PostResult:
        found = self.chat.files.find(connection, ALL_BOTS, new_message.attachment_ids)
        files = [file for file in found if file.owner in file_owners]
        draft = Draft(
            sender,
            serializers.message_payload(new_message.body, files),
            is_bot=is_bot,
            client_id=_scoped_client_id(sender, new_message.client_id),
            files=[file.id for file in files],
        )
        return self.chat.messages.post(connection, chat.scope, chat.id, draft)

    def _validate_action(
        self, connection: Transaction, chat: ChatConversation, action: Mapping[str, Any]
    ) -> dict[str, Any]:
        shown = self.chat.messages.get(connection, chat.scope, action["messageId"])
        is_here = shown is not None and shown.conversation == chat.id and shown.is_bot
        content = shown.payload.get("content") if shown is not None and is_here else None
        checked = validators.validate_action(content, action["name"], action["value"], action["values"])
        return {**checked, "messageId": action["messageId"]}

    def _enqueue_for_bot(
        self,
        connection: Transaction,
        bot: ListedBot,
        chat: ChatConversation,
        user: ChatUser,
        message: ChatMessage,
        action: Mapping[str, Any] | None,
    ) -> Conversation | None:
        """Store a message for its bot; return the conversation if delivery must be notified of it."""
        stored = serializers.message_json(message, with_ids=True)
        if bot.is_local:
            body = {"message": stored, "user": serializers.page_user_json(user), "action": action}
            conversation = conversation_of(bot.id, chat.id, user.id)
            needs_notify = self._delivery.enqueue_in(
                connection, IncomingEvent(conversation, f"message:{message.id}", orjson.dumps(body), user.id)
            )
        elif bot.webhook_url:
            conversation = webhook_conversation(bot.id, chat.id)
            needs_notify = self._delivery.enqueue_outgoing_in(connection, conversation, [{"message": stored}])
        else:
            return None
        return conversation if needs_notify else None


def delete_user(connection: Transaction, chat: Chat, id: str) -> bool:
    """Delete a user with all chats and files. Return False if there is no such user."""
    # Chats before the user: storing messages and state locks the rows in this order.
    chat.delete_owned_conversations(connection, ALL_BOTS, id, delivery_records)
    conversation_keys = chat.erasure.find_conversation_keys(connection, CHANNEL, ACCOUNT, id)
    chat.erasure.erase_and_delete(connection, conversation_keys)
    chat.erasure.erase_recipient(connection, CHANNEL, id)
    # Lock the user before deleting its state: a handler's state is stored before this, or finds no user.
    if chat.users.get_for_update(connection, ALL_BOTS, id) is None:
        return False
    # Chats that were created before the lock.
    chat.delete_owned_conversations(connection, ALL_BOTS, id, delivery_records)
    state = StateTable(chat.database)
    for scope, named in (("user", id), ("conversation", new_chat_id(id)), (PRESS_SCOPE, new_chat_id(id))):
        state.delete_matching(connection, scope, f"{CHANNEL}/{ACCOUNT}/", f"/{named}")
    return chat.users.delete(connection, ALL_BOTS, id)


def _scoped_client_id(sender: str, given: str) -> str:
    """Return a client's id for its message, made distinct from the ids of other senders and of delivery."""
    return f"{sender}:{given}" if given else ""


def _derive_chat_id(user_id: str, bot_id: str, client_id: str) -> str:
    """Return the chat id that belongs to a client id of a user and a bot; empty without a client id."""
    named = orjson.dumps([user_id, bot_id, client_id])
    return hashlib.sha256(named).hexdigest()[:26] if client_id else ""
