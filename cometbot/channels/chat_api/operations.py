"""The operations of the Chat API: they check the rights, then store a change and its effects in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import DeliveryService, IncomingEvent
from cometbot.channels.chat_api import serializers
from cometbot.channels.chat_api.accounts import ACCOUNT_FIELD, Accounts
from cometbot.channels.chat_api.ids import ACCOUNT, CHANNEL, conversation_of, insert_conversation
from cometbot.channels.chat_api.keys import NO_KEY, UserKey, UserKeys, is_valid_id
from cometbot.channels.chat_api.parsing import stable_user_id
from cometbot.channels.chat_api.removal import delete_owned_conversations, delivery_records, finish_removal
from cometbot.channels.chat_api.serializers import JsonObject
from cometbot.channels.chat_api.settings import ChatApiSettings
from cometbot.channels.chat_api.webhook import WebhookQueue
from cometbot.chat import Chat, ChatConversation, ChatUser, Draft, Removal, Scope, Signal, new_id
from cometbot.errors import AlreadyExists, BadCursor, NotFound, StoreBusy
from cometbot.http.errors import HttpError, quote_value
from cometbot.models import Conversation
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.store.state import StateTable

PAGE_SIZE = 20

_REMOVAL_TIMEOUT = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A validated request: the caller's key, the ids in the path, and the body."""

    key: UserKey = NO_KEY
    ids: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    next_token: str = ""

    @property
    def user_id(self) -> str:
        """The caller's user id; empty for an operation that requires no key."""
        return self.key.user_id


@dataclass(slots=True)
class Effects:
    """Work to be done after a transaction is committed: signals to publish, and conversations to notify."""

    signals: list[Signal] = field(default_factory=list)
    conversation_keys: list[str] = field(default_factory=list)


class Operations:
    """The operations on one bot's users and conversations.

    Each operation receives an :class:`ApiRequest` and returns the JSON of the response. It raises :class:`HttpError` to
    refuse the request.

    A change, its entries in the webhook queue, and its messages and events to the bot are stored in one transaction.
    The streams are notified after the commit. Each transaction verifies the caller's key, so an old key gives no access
    to a user who is deleted and recreated during a request.

    Raises :class:`StoreBusy` if the database did not store the change in time, and :class:`StorageFull` if it has no
    room.
    """

    def __init__(
        self,
        bot: Bot,
        chat: Chat,
        delivery: DeliveryService,
        keys: UserKeys,
        settings: ChatApiSettings,
        webhook_queue: WebhookQueue | None,
    ) -> None:
        self.keys = keys
        self.scope = Scope(CHANNEL, bot.name)
        self._bot = bot
        self._reserved_ids = frozenset(name.lower() for name in bot.ids)
        self._chat = chat
        self._delivery = delivery
        self._settings = settings
        self._webhook_queue = webhook_queue
        self._state = StateTable(chat.database)
        self._accounts = Accounts(chat, self.scope, issues_keys=keys.can_issue)

    def create_user(self, api_request: ApiRequest) -> JsonObject:
        """Create a user and return it with its key; in automatic mode only."""
        if not self.keys.can_issue:
            raise HttpError(401, "Unauthorized", "Keys are signed by you here: call getOrCreateUser with one")
        requested_id = self._requested_id(api_request.body) if "id" in api_request.body else ""
        if requested_id.lower() in self._reserved_ids:
            raise _already_exists(requested_id)
        account = new_id()
        data = {**_user_data(api_request.body), ACCOUNT_FIELD: account}
        user_id = requested_id or f"user_{new_id()}"
        try:
            user = self._write(NO_KEY, lambda c, _: self._add_user(c, data, user_id))
        except AlreadyExists:
            raise _already_exists(requested_id) from None
        except NotFound as error:
            raise StoreBusy from error
        return {"user": serializers.to_user(user), "key": self.keys.issue(user.id, account)}

    def _add_user(self, connection: Transaction, data: dict[str, str], user_id: str) -> ChatUser:
        self._chat.quota.check(connection)
        return self._chat.users.create(connection, self.scope, data, id=user_id)

    def get_or_create_user(self, api_request: ApiRequest) -> JsonObject:
        """Return the user of the key, created or updated."""
        self._check_id(api_request.user_id)
        if api_request.user_id.lower() in self._reserved_ids:
            raise _already_exists(api_request.user_id)
        data = _user_data(api_request.body)
        try:
            user = self._write(
                api_request.key, lambda c, _: self._accounts.get_or_create_user(c, api_request.key, data)
            )
        except NotFound as error:
            raise StoreBusy from error
        return {"user": serializers.to_user(user)}

    def get_user(self, api_request: ApiRequest) -> JsonObject:
        """Return the user of the key."""
        return {
            "user": serializers.to_user(
                _require(self._find_user(api_request, api_request.user_id), "user", api_request.user_id)
            )
        }

    def update_user(self, api_request: ApiRequest) -> JsonObject:
        """Update the user of the key and return it."""
        self.get_user(api_request)
        data = _user_data(api_request.body)

        def work(connection: Transaction, effects: Effects) -> ChatUser | None:
            self._chat.quota.check(connection)
            return self._chat.users.update(connection, self.scope, api_request.user_id, data)

        user = self._write(api_request.key, work)
        return {"user": serializers.to_user(_require(user, "user", api_request.user_id))}

    def delete_user(self, api_request: ApiRequest) -> JsonObject:
        """Delete the user of the key with all its data.

        The user's messages in other users' conversations are deleted in small batches, so other requests do not wait
        for it. If that takes longer than a request may, :meth:`ChatApiChannel.refresh` finishes it.
        """
        self.get_user(api_request)

        def work(connection: Transaction, effects: Effects) -> Removal | None:
            # Conversations before the user: posting a message locks the rows in this order.
            effects.signals += delete_owned_conversations(connection, self._chat, self.scope, api_request.user_id)
            # Lock the user before deleting its state: a handler's state is stored before this, or finds no user.
            user = self._chat.users.get_for_update(connection, self.scope, api_request.user_id)
            if user is None:
                return None
            self._accounts.check_key(connection, api_request.key)  # not in _write: the user is gone by then
            effects.signals += delete_owned_conversations(
                connection, self._chat, self.scope, api_request.user_id
            )  # created before the lock
            stable_id = stable_user_id(user.id, user.created_at)
            self._state.delete(connection, "user", f"{CHANNEL}/{ACCOUNT}/{self._bot.name}/{stable_id}")
            started = self._chat.users.start_delete(connection, self.scope, api_request.user_id)
            if started is None:
                return None
            removal, signals = started
            self._accounts.invalidate_keys(connection, api_request.key)
            self._add_signals(connection, signals, effects)
            return removal

        removal = self._write(api_request.key, work)
        if removal is None:
            raise _not_found("user", api_request.user_id)
        finish_removal(self._chat, removal, self._webhook_queue, self._delivery, _REMOVAL_TIMEOUT)
        return {}

    def create_conversation(self, api_request: ApiRequest) -> JsonObject:
        """Create a conversation that the caller owns."""
        requested_id = self._requested_id(api_request.body) if "id" in api_request.body else ""
        try:
            return self._create_conversation(api_request, requested_id or f"conv_{new_id()}")
        except AlreadyExists:
            raise _already_exists(requested_id) from None

    def get_or_create_conversation(self, api_request: ApiRequest) -> JsonObject:
        """Return the caller's conversation with this id, created if necessary."""
        conversation_id = str(api_request.body["id"])
        found = self._find_conversation(api_request, conversation_id)
        if found is None:
            self._check_id(conversation_id)
            try:
                return self._create_conversation(api_request, conversation_id)
            except AlreadyExists:
                found = self._find_conversation(api_request, conversation_id)
        return {"conversation": serializers.to_conversation(self._require_owner(api_request, found, conversation_id))}

    def get_conversation(self, api_request: ApiRequest) -> JsonObject:
        """Return a conversation in which the caller participates."""
        conversation = _require(
            self._find_conversation(api_request, api_request.ids["id"]), "conversation", api_request.ids["id"]
        )
        self._check_participant(api_request, conversation.id)
        return {"conversation": serializers.to_conversation(conversation)}

    def delete_conversation(self, api_request: ApiRequest) -> JsonObject:
        """Delete a conversation of the caller with all its messages."""
        conversation = self._require_owner(
            api_request, self._find_conversation(api_request, api_request.ids["id"]), api_request.ids["id"]
        )

        def work(connection: Transaction, effects: Effects) -> bool:
            signals = self._chat.delete_conversations(connection, [conversation], delivery_records)
            effects.signals += signals
            return bool(signals)

        if not self._write(api_request.key, work):
            raise _not_found("conversation", conversation.id)
        return {}

    def list_conversations(self, api_request: ApiRequest) -> JsonObject:
        """Return a page of the conversations that the caller owns."""
        page = self._query_page(
            api_request.key,
            lambda c: self._chat.conversations.list_owned(
                c, self.scope, api_request.user_id, cursor=api_request.next_token, limit=PAGE_SIZE
            ),
        )
        return _to_page("conversations", [serializers.to_conversation(item) for item in page.items], page.next)

    def list_messages(self, api_request: ApiRequest) -> JsonObject:
        """Return a page of a conversation's messages, newest first."""
        conversation_id = api_request.ids["conversationId"]
        self._check_participant(api_request, conversation_id)
        page = self._query_page(
            api_request.key,
            lambda c: self._chat.messages.list_newest(
                c, self.scope, conversation_id, cursor=api_request.next_token, limit=PAGE_SIZE
            ),
        )
        return _to_page("messages", [serializers.to_message(item) for item in page.items], page.next)

    def add_participant(self, api_request: ApiRequest) -> JsonObject:
        """Add a user to a conversation of the caller, and return the added user."""
        conversation = self._load_owned_conversation(api_request)
        user_id = str(api_request.body["userId"])
        _require(self._find_user(api_request, user_id), "user", user_id)

        def work(connection: Transaction, effects: Effects) -> ChatUser:
            self._chat.quota.check(connection)
            user = _require(self._chat.users.get_for_update(connection, self.scope, user_id), "user", user_id)
            signals = self._chat.conversations.add_participant(connection, self.scope, conversation.id, user.id)
            self._add_signals(connection, signals, effects)
            return user

        return {"participant": serializers.to_user(self._write(api_request.key, work))}

    def get_participant(self, api_request: ApiRequest) -> JsonObject:
        """Return a participant of a conversation of the caller."""
        return {
            "participant": serializers.to_user(
                self._load_participant(
                    api_request, self._load_owned_conversation(api_request), api_request.ids["userId"]
                )
            )
        }

    def remove_participant(self, api_request: ApiRequest) -> JsonObject:
        """Remove a user other than the owner from a conversation of the caller."""
        conversation = self._load_owned_conversation(api_request)
        if api_request.ids["userId"] == conversation.owner:
            raise HttpError(400, "InvalidPayload", "The owner of a conversation cannot be removed from it")
        participant = self._load_participant(api_request, conversation, api_request.ids["userId"])

        def work(connection: Transaction, effects: Effects) -> None:
            signals = self._chat.conversations.remove_participant(
                connection, self.scope, conversation.id, participant.id
            )
            self._add_signals(connection, signals, effects)

        self._write(api_request.key, work)
        return {}

    def list_participants(self, api_request: ApiRequest) -> JsonObject:
        """Return a page of a conversation's participants."""
        conversation_id = api_request.ids["conversationId"]
        self._check_participant(api_request, conversation_id)
        page = self._query_page(
            api_request.key,
            lambda c: self._chat.conversations.list_participants(
                c, self.scope, conversation_id, cursor=api_request.next_token, limit=PAGE_SIZE
            ),
        )
        return _to_page("participants", [serializers.to_user(item) for item in page.items], page.next)

    def create_message(self, api_request: ApiRequest) -> JsonObject:
        """Store a message, publish it, and enqueue it for the bot, which replies later."""
        conversation_id = str(api_request.body["conversationId"])
        self._check_participant(api_request, conversation_id)
        payload, metadata = api_request.body["payload"], api_request.body.get("metadata")

        def work(connection: Transaction, effects: Effects) -> JsonObject:
            self._chat.quota.check(connection)
            draft = Draft(api_request.user_id, payload, metadata, id=f"msg_{new_id()}")
            # Post first: it locks the conversation, so the sender cannot be removed from it before the commit.
            posted = self._chat.messages.post(connection, self.scope, conversation_id, draft)
            sender, conversation = self._load_sender(connection, conversation_id, api_request.user_id)
            message = serializers.to_message(posted.message)
            self._add_signals(connection, posted.signals, effects)
            self._enqueue_incoming(
                connection, conversation, f"message:{posted.message.id}", sender, {"message": message}, effects
            )
            return message

        return {"message": self._write_in_conversation(api_request.key, work)}

    def get_message(self, api_request: ApiRequest) -> JsonObject:
        """Return a message of a conversation in which the caller participates."""
        message_id = api_request.ids["id"]
        found = self._query(api_request.key, lambda c: self._chat.messages.get(c, self.scope, message_id), message_id)
        message = _require(found, "message", message_id)
        self._check_participant(api_request, message.conversation)
        return {"message": serializers.to_message(message)}

    def delete_message(self, api_request: ApiRequest) -> JsonObject:
        """Delete a message of the caller, and enqueue its deletion for the bot."""
        message_id = api_request.ids["id"]
        found = self._query(api_request.key, lambda c: self._chat.messages.get(c, self.scope, message_id), message_id)
        message = _require(found, "message", message_id)
        if message.sender != api_request.user_id:
            raise HttpError(403, "Forbidden", "You are not the sender of this message")

        def work(connection: Transaction, effects: Effects) -> bool:
            signals = self._chat.messages.delete(connection, self.scope, message_id)
            if signals is None:
                return False
            self._add_signals(connection, signals, effects)
            sender, conversation = self._load_sender(connection, message.conversation, api_request.user_id)
            shape = {"deleted": serializers.to_message(message)}
            self._enqueue_incoming(connection, conversation, f"delete:{message_id}", sender, shape, effects)
            return True

        if not self._write(api_request.key, work):
            raise _not_found("message", message_id)
        return {}

    def create_event(self, api_request: ApiRequest) -> JsonObject:
        """Store an event, publish it, and enqueue it for the bot."""
        conversation_id = str(api_request.body["conversationId"])
        self._check_participant(api_request, conversation_id)

        def work(connection: Transaction, effects: Effects) -> JsonObject:
            self._chat.quota.check(connection)
            event_id = f"evt_{new_id()}"
            event, signals = self._chat.events.create(
                connection, self.scope, conversation_id, api_request.user_id, api_request.body["payload"], id=event_id
            )
            sender, conversation = self._load_sender(connection, conversation_id, api_request.user_id)
            shape = serializers.to_event(event)
            self._add_signals(connection, signals, effects)
            self._enqueue_incoming(connection, conversation, f"event:{event.id}", sender, {"event": shape}, effects)
            return shape

        return {"event": self._write_in_conversation(api_request.key, work)}

    def get_event(self, api_request: ApiRequest) -> JsonObject:
        """Return an event of a conversation in which the caller participates."""
        event_id = api_request.ids["id"]
        found = self._query(api_request.key, lambda c: self._chat.events.get(c, self.scope, event_id), event_id)
        event = _require(found, "event", event_id)
        self._check_participant(api_request, event.conversation)
        return {"event": serializers.to_event(event)}

    def check_can_listen(self, api_request: ApiRequest) -> None:
        """Raise :class:`HttpError` with 403 for a user who does not participate in the conversation."""
        self._check_participant(api_request, api_request.ids["id"])

    def _create_conversation(self, api_request: ApiRequest, conversation_id: str) -> JsonObject:
        owner = api_request.user_id
        _require(self._find_user(api_request, owner), "user", owner)
        limit = self._settings.max_conversations

        def work(connection: Transaction, effects: Effects) -> ChatConversation:
            self._chat.quota.check(connection)
            # Lock the owner's row, so that two requests cannot both pass the limit.
            _require(self._chat.users.get_for_update(connection, self.scope, owner), "user", owner)
            if self._chat.conversations.count_owned(connection, self.scope, owner) >= limit:
                raise HttpError(403, "QuotaExceeded", f"A user may own {limit} conversations here; delete one first")
            return insert_conversation(connection, self._chat, self.scope, owner, conversation_id)

        return {"conversation": serializers.to_conversation(self._write(api_request.key, work))}

    def _find_user(self, api_request: ApiRequest, user_id: str) -> ChatUser | None:
        return self._query(api_request.key, lambda c: self._chat.users.get(c, self.scope, user_id), user_id)

    def _find_conversation(self, api_request: ApiRequest, conversation_id: str) -> ChatConversation | None:
        return self._query(
            api_request.key, lambda c: self._chat.conversations.get(c, self.scope, conversation_id), conversation_id
        )

    def _load_owned_conversation(self, api_request: ApiRequest) -> ChatConversation:
        conversation_id = api_request.ids["conversationId"]
        return self._require_owner(api_request, self._find_conversation(api_request, conversation_id), conversation_id)

    def _require_owner(
        self, api_request: ApiRequest, conversation: ChatConversation | None, conversation_id: str
    ) -> ChatConversation:
        found = _require(conversation, "conversation", conversation_id)
        if found.owner != api_request.user_id:
            raise HttpError(403, "Forbidden", "You are not the owner of this conversation")
        return found

    def _load_participant(self, api_request: ApiRequest, conversation: ChatConversation, user_id: str) -> ChatUser:
        found = self._query(
            api_request.key,
            lambda c: self._chat.conversations.get_participant(c, self.scope, conversation.id, user_id),
            user_id,
        )
        return _require(found, "participant", user_id)

    def _check_participant(self, api_request: ApiRequest, conversation_id: str) -> None:
        is_participant = self._query(
            api_request.key,
            lambda c: self._chat.conversations.has_participant(c, self.scope, conversation_id, api_request.user_id),
            conversation_id,
            api_request.user_id,
        )
        if not is_participant:
            raise _not_participant()

    def _load_sender(self, connection: Transaction, conversation_id: str, user: str) -> tuple[ChatUser, Conversation]:
        """Return the sender and the conversation. Raises :class:`HttpError` if the user no longer participates."""
        sender = self._chat.conversations.get_participant(connection, self.scope, conversation_id, user)
        conversation = self._chat.conversations.get(connection, self.scope, conversation_id)
        if sender is None or conversation is None:
            raise _not_participant()
        people = self._chat.conversations.list_participants(connection, self.scope, conversation_id, limit=2)
        return sender, conversation_of(self._bot.name, conversation, is_group=len(people.items) > 1)

    def _enqueue_incoming(
        self,
        connection: Transaction,
        conversation: Conversation,
        key: str,
        sender: ChatUser,
        body: JsonObject,
        effects: Effects,
    ) -> None:
        """Store a user's message or event in the bot's inbox."""
        stored = orjson.dumps({**body, "user": serializers.to_user(sender)})
        if self._delivery.enqueue_in(connection, IncomingEvent(conversation, key, stored, sender.id)):
            effects.conversation_keys.append(str(conversation.key))

    def _add_signals(self, connection: Transaction, signals: Sequence[Signal], effects: Effects) -> None:
        effects.signals += signals
        if self._webhook_queue is not None:
            effects.conversation_keys += self._webhook_queue.enqueue(
                connection, self._delivery, self._bot.name, signals
            )

    def _query(self, key: UserKey, query: Callable[[Transaction], T], *ids: str) -> T | None:
        """Return the result of ``query``, or None, without a query, if one of ``ids`` is not a valid id."""
        if not all(map(is_valid_id, ids)):
            return None
        with self._chat.database.snapshot() as connection:
            self._accounts.check_key(connection, key)
            return query(connection)

    def _query_page(self, key: UserKey, query: Callable[[Transaction], T]) -> T:
        try:
            with self._chat.database.snapshot() as connection:
                self._accounts.check_key(connection, key)
                return query(connection)
        except BadCursor:
            raise HttpError(400, "InvalidQuery", "nextToken is none that this list has given out") from None

    def _write_in_conversation(self, key: UserKey, work: Callable[[Transaction, Effects], T]) -> T:
        """Write like :meth:`_write`. Raises :class:`HttpError` if the conversation is deleted at the same moment."""
        try:
            return self._write(key, work)
        except NotFound:
            raise _not_participant() from None

    def _write(self, key: UserKey, work: Callable[[Transaction, Effects], T]) -> T:
        """Return the result of ``work``, run in one transaction; then notify streams, webhook and bot.

        The key is verified after ``work``: only then are the rows of the user or of the conversation locked, so that
        the user cannot be deleted before the commit. The check itself locks nothing, so no two requests can deadlock.
        """

        def attempt(connection: Transaction) -> tuple[T, Effects]:
            effects = Effects()
            result = work(connection, effects)
            if key is not NO_KEY:
                self._accounts.check_key(connection, key)
            return result, effects

        result, effects = self._chat.database.group_commit(attempt, timeout=ACK_TIMEOUT)
        if effects.signals:
            self._chat.feed.publish(effects.signals)
        for conversation_key in effects.conversation_keys:
            self._delivery.notify(conversation_key)
        return result

    def _requested_id(self, body: Mapping[str, Any]) -> str:
        self._check_id(str(body["id"]))
        return str(body["id"])

    def _check_id(self, text: str) -> None:
        if not is_valid_id(text):
            raise HttpError(
                400, "InvalidPayload", f"An id has 1 to 70 letters, digits, _, -, \\ and /; {quote_value(text)} is none"
            )


def _user_data(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: body[name] for name in ("name", "pictureUrl", "profile") if name in body}


def _to_page(name: str, items: Sequence[JsonObject], token: str) -> JsonObject:
    return {name: items, "meta": {"nextToken": token} if token else {}}


def _require(value: T | None, what: str, name: str) -> T:
    if value is None:
        raise _not_found(what, name)
    return value


def _not_found(what: str, name: str) -> HttpError:
    return HttpError(404, "ResourceNotFound", f"There is no {what} {quote_value(name)}")


def _already_exists(name: str) -> HttpError:
    return HttpError(409, "AlreadyExists", f"The id {quote_value(name)} is taken")


def _not_participant() -> HttpError:
    return HttpError(403, "Forbidden", "You are not a participant in this conversation")
