"""The operations of the Chat API: they check the rights, then store a change and its effects in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from cometbot.channels.chat_api.publisher import Publisher
from cometbot.channels.chat_api.removal import delete_owned_conversations, delivery_records, finish_removal
from cometbot.channels.chat_api.serializers import JsonObject
from cometbot.channels.chat_api.settings import ChatApiSettings
from cometbot.chat import Chat, ChatConversation, ChatMessage, ChatUser, Draft, Page, Removal, Scope, new_id
from cometbot.errors import AlreadyExists, BadCursor, NotFound, StoreBusy
from cometbot.events import ConversationStarted
from cometbot.http.errors import HttpError, quote_value
from cometbot.store.database import Transaction
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


class Operations:
    """The operations on one bot's users and conversations.

    Each operation receives an :class:`ApiRequest` and returns the JSON of the response. It raises :class:`HttpError` to
    refuse the request. The first lines of their docstrings stand in the OpenAPI document.

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
        publisher: Publisher,
    ) -> None:
        self.keys = keys
        self.scope = Scope(CHANNEL, bot.name)
        self._bot = bot
        self._reserved_ids = frozenset(name.lower() for name in bot.ids)
        self._chat = chat
        self._delivery = delivery
        self._settings = settings
        self._publisher = publisher
        self._state = StateTable(chat.database)
        self._accounts = Accounts(chat, self.scope, issues_keys=keys.can_issue)

    def create_user(self, request: ApiRequest) -> JsonObject:
        """Create a user and return it with its key; in automatic mode only."""
        if not self.keys.can_issue:
            text = "createUser is disabled in manual mode. Call getOrCreateUser with a key that your backend signed."
            raise HttpError(401, "Unauthorized", text)
        requested_id = _requested_id(request.body)
        if requested_id.lower() in self._reserved_ids:
            raise _already_exists(requested_id)
        account = new_id()
        data = {**_user_data(request.body), ACCOUNT_FIELD: account}

        def work(connection: Transaction) -> ChatUser:
            self._chat.quota.check(connection)
            return self._chat.users.create(connection, self.scope, data, id=requested_id or f"user_{new_id()}")

        try:
            user = self._write(request, work)
        except AlreadyExists:
            raise _already_exists(requested_id) from None
        return {"user": serializers.to_user(user), "key": self.keys.issue(user.id, account)}

    def get_or_create_user(self, request: ApiRequest) -> JsonObject:
        """Return the user of the key, created or updated."""
        _check_id(request.user_id)
        if request.user_id.lower() in self._reserved_ids:
            raise _already_exists(request.user_id)
        data = _user_data(request.body)
        try:
            user = self._write(request, lambda c: self._accounts.get_or_create_user(c, request.key, data))
        except NotFound as error:
            raise StoreBusy from error
        return {"user": serializers.to_user(user)}

    def get_user(self, request: ApiRequest) -> JsonObject:
        """Return the user of the key."""
        with self._read(request) as connection:
            return {"user": serializers.to_user(self._get_user(connection, request.user_id))}

    def update_user(self, request: ApiRequest) -> JsonObject:
        """Update the user of the key and return it."""
        self.get_user(request)
        data = _user_data(request.body)

        def work(connection: Transaction) -> ChatUser | None:
            self._chat.quota.check(connection)
            return self._chat.users.update(connection, self.scope, request.user_id, data)

        user = _require(self._write(request, work), "user", request.user_id)
        return {"user": serializers.to_user(user)}

    def delete_user(self, request: ApiRequest) -> JsonObject:
        """Delete the user of the key with all its data.

        The user's messages in other users' conversations are deleted in small batches, so other requests do not wait
        for it. If that takes longer than a request may, :meth:`ChatApiChannel.refresh` finishes it.
        """
        self.get_user(request)
        removal = self._write(request, lambda c: self._start_removal(c, request.key))
        removal = _require(removal, "user", request.user_id)
        finish_removal(self._chat, removal, self._publisher, _REMOVAL_TIMEOUT)
        return {}

    def _start_removal(self, connection: Transaction, key: UserKey) -> Removal | None:
        # Conversations before the user: posting a message locks the rows in this order.
        delete_owned_conversations(connection, self._chat, self.scope, key.user_id)
        # Lock the user before deleting its state: a handler's state is stored before this, or finds no user.
        user = self._chat.users.get_for_update(connection, self.scope, key.user_id)
        if user is None:
            return None
        self._accounts.check_key(connection, key)  # not in _write: the user is gone by then
        # Once more, for those created before the lock.
        delete_owned_conversations(connection, self._chat, self.scope, key.user_id)
        stable_id = stable_user_id(user.id, user.created_at)
        self._state.delete(connection, "user", f"{CHANNEL}/{ACCOUNT}/{self._bot.name}/{stable_id}")
        self._chat.erasure.erase_recipient(connection, CHANNEL, key.user_id, self._bot.name)
        removal = self._chat.users.start_delete(connection, self.scope, key.user_id)
        self._accounts.invalidate_keys(connection, key)
        return removal

    def create_conversation(self, request: ApiRequest) -> JsonObject:
        """Create a conversation that the caller owns."""
        requested_id = _requested_id(request.body)
        try:
            conversation = self._create_conversation(request, requested_id or f"conv_{new_id()}")
        except AlreadyExists:
            raise _already_exists(requested_id) from None
        return {"conversation": serializers.to_conversation(conversation)}

    def get_or_create_conversation(self, request: ApiRequest) -> JsonObject:
        """Return the caller's conversation with this id, created if necessary."""
        conversation_id = str(request.body["id"])
        with self._read(request) as connection:
            found = self._find_conversation(connection, conversation_id)
        if found is None:
            _check_id(conversation_id)
            try:
                found = self._create_conversation(request, conversation_id)
            except AlreadyExists:
                with self._read(request) as connection:
                    found = self._find_conversation(connection, conversation_id)
        return {"conversation": serializers.to_conversation(_require_owned(request, found, conversation_id))}

    def _create_conversation(self, request: ApiRequest, conversation_id: str) -> ChatConversation:
        self.get_user(request)
        limit = self._settings.max_conversations

        def work(connection: Transaction) -> tuple[ChatConversation, str]:
            self._chat.quota.check(connection)
            # Lock the owner's row, so that two requests cannot both pass the limit.
            owner = self._lock_user(connection, request.user_id)
            if self._chat.conversations.count_owned(connection, self.scope, owner.id) >= limit:
                raise HttpError(403, "QuotaExceeded", f"A user may own {limit} conversations here; delete one first")
            created = insert_conversation(connection, self._chat, self.scope, owner.id, conversation_id)
            if not self._bot.routes.can_handle(ConversationStarted):
                return created, ""
            key = f"started:{conversation_of(self._bot.name, created, is_group=False).id}"
            body = {"started": {"id": created.id, "timestamp": created.created_at}}
            return created, self._enqueue_incoming(connection, request, created.id, key, body)

        created, to_notify = self._write(request, work)
        self._notify(to_notify)
        return created

    def get_conversation(self, request: ApiRequest) -> JsonObject:
        """Return a conversation in which the caller participates."""
        conversation_id = request.ids["id"]
        with self._read(request) as connection:
            found = _require(self._find_conversation(connection, conversation_id), "conversation", conversation_id)
            self._check_participant(connection, request, conversation_id)
        return {"conversation": serializers.to_conversation(found)}

    def delete_conversation(self, request: ApiRequest) -> JsonObject:
        """Delete a conversation of the caller with all its messages."""
        with self._read(request) as connection:
            conversation = self._get_owned(connection, request, request.ids["id"])

        if not self._write(request, lambda c: self._chat.delete_conversations(c, [conversation], delivery_records)):
            raise _not_found("conversation", conversation.id)
        return {}

    def list_conversations(self, request: ApiRequest) -> JsonObject:
        """Return a page of the conversations that the caller owns."""
        with self._read(request) as connection:
            page = self._chat.conversations.list_owned(
                connection, self.scope, request.user_id, cursor=request.next_token, limit=PAGE_SIZE
            )
        return _to_page("conversations", page, serializers.to_conversation)

    def list_messages(self, request: ApiRequest) -> JsonObject:
        """Return a page of a conversation's messages, newest first."""
        return self._list(request, "messages", self._chat.messages.list_newest, serializers.to_message)

    def add_participant(self, request: ApiRequest) -> JsonObject:
        """Add a user to a conversation of the caller, and return the added user."""
        user_id = str(request.body["userId"])
        with self._read(request) as connection:
            conversation = self._get_owned(connection, request, request.ids["conversationId"])
            self._get_user(connection, user_id)

        def work(connection: Transaction) -> ChatUser:
            self._chat.quota.check(connection)
            user = self._lock_user(connection, user_id)
            self._chat.conversations.add_participant(connection, self.scope, conversation.id, user.id)
            return user

        return {"participant": serializers.to_user(self._write(request, work))}

    def get_participant(self, request: ApiRequest) -> JsonObject:
        """Return a participant of a conversation of the caller."""
        with self._read(request) as connection:
            _, participant = self._get_participant(connection, request)
        return {"participant": serializers.to_user(participant)}

    def remove_participant(self, request: ApiRequest) -> JsonObject:
        """Remove a user other than the owner from a conversation of the caller."""
        with self._read(request) as connection:
            conversation, participant = self._get_participant(connection, request)
        if participant.id == conversation.owner:
            raise HttpError(400, "InvalidPayload", "The owner of a conversation cannot be removed from it")

        remove = self._chat.conversations.remove_participant
        self._write(request, lambda c: remove(c, self.scope, conversation.id, participant.id))
        return {}

    def list_participants(self, request: ApiRequest) -> JsonObject:
        """Return a page of a conversation's participants."""
        return self._list(request, "participants", self._chat.conversations.list_participants, serializers.to_user)

    def _list(
        self, request: ApiRequest, name: str, list_page: Callable[..., Page[T]], to_json: Callable[[T], JsonObject]
    ) -> JsonObject:
        conversation_id = request.ids["conversationId"]
        with self._read(request) as connection:
            self._check_participant(connection, request, conversation_id)
            page = list_page(connection, self.scope, conversation_id, cursor=request.next_token, limit=PAGE_SIZE)
        return _to_page(name, page, to_json)

    def create_message(self, request: ApiRequest) -> JsonObject:
        """Send a message to the bot, whose replies arrive on the stream."""
        payload, metadata = request.body["payload"], request.body.get("metadata")

        def store(connection: Transaction, conversation_id: str) -> JsonObject:
            draft = Draft(request.user_id, payload, metadata, id=f"msg_{new_id()}")
            # This locks the conversation, so the sender cannot be removed from it before the commit.
            posted = self._chat.messages.post(connection, self.scope, conversation_id, draft)
            return serializers.to_message(posted.message)

        return self._post(request, "message", store)

    def get_message(self, request: ApiRequest) -> JsonObject:
        """Return a message of a conversation in which the caller participates."""
        with self._read(request) as connection:
            message = self._get_message(connection, request.ids["id"])
            self._check_participant(connection, request, message.conversation)
        return {"message": serializers.to_message(message)}

    def delete_message(self, request: ApiRequest) -> JsonObject:
        """Delete a message that the caller sent."""
        with self._read(request) as connection:
            message = self._get_message(connection, request.ids["id"])
        if message.sender != request.user_id:
            raise HttpError(403, "Forbidden", "You are not the sender of this message")

        def work(connection: Transaction) -> str:
            if not self._chat.messages.delete(connection, self.scope, message.id):
                raise _not_found("message", message.id)
            key, body = f"delete:{message.id}", {"deleted": serializers.to_message(message)}
            return self._enqueue_incoming(connection, request, message.conversation, key, body)

        self._notify(self._write(request, work))
        return {}

    def create_event(self, request: ApiRequest) -> JsonObject:
        """Send an event, which is not a message, to the bot."""
        payload = request.body["payload"]

        def store(connection: Transaction, conversation_id: str) -> JsonObject:
            event = self._chat.events.create(
                connection, self.scope, conversation_id, request.user_id, payload, id=f"evt_{new_id()}"
            )
            return serializers.to_event(event)

        return self._post(request, "event", store)

    def get_event(self, request: ApiRequest) -> JsonObject:
        """Return an event of a conversation in which the caller participates."""
        event_id = request.ids["id"]
        with self._read(request) as connection:
            event = _require(self._chat.events.get(connection, self.scope, event_id), "event", event_id)
            self._check_participant(connection, request, event.conversation)
        return {"event": serializers.to_event(event)}

    def check_can_listen(self, request: ApiRequest) -> None:
        """Raise :class:`HttpError` with 403 for a user who does not participate in the conversation."""
        with self._read(request) as connection:
            self._check_participant(connection, request, request.ids["id"])

    def _post(self, request: ApiRequest, kind: str, store: Callable[[Transaction, str], JsonObject]) -> JsonObject:
        """Store the caller's message or event, and enqueue it for the bot."""
        conversation_id = str(request.body["conversationId"])
        with self._read(request) as connection:
            self._check_participant(connection, request, conversation_id)

        def work(connection: Transaction) -> tuple[JsonObject, str]:
            self._chat.quota.check(connection)
            stored = store(connection, conversation_id)
            key = f"{kind}:{stored['id']}"
            return stored, self._enqueue_incoming(connection, request, conversation_id, key, {kind: stored})

        try:
            stored, conversation_key = self._write(request, work)
        except NotFound:  # the conversation was deleted at the same moment
            raise _not_participant() from None
        self._notify(conversation_key)
        return {kind: stored}

    def _enqueue_incoming(
        self, connection: Transaction, request: ApiRequest, conversation_id: str, key: str, body: JsonObject
    ) -> str:
        """Store the caller's message or event in the bot's mailbox.

        Return the key of the conversation of which delivery must be notified, or "" if it has stored the same before.
        Raises :class:`HttpError` if the caller no longer participates.
        """
        sender = self._chat.conversations.get_participant(connection, self.scope, conversation_id, request.user_id)
        chat_conversation = self._chat.conversations.get(connection, self.scope, conversation_id)
        if sender is None or chat_conversation is None:
            raise _not_participant()
        people = self._chat.conversations.list_participants(connection, self.scope, conversation_id, limit=2)
        conversation = conversation_of(self._bot.name, chat_conversation, is_group=len(people.items) > 1)
        stored = orjson.dumps({**body, "user": serializers.to_user(sender)})
        needs_notify = self._delivery.enqueue_in(connection, IncomingEvent(conversation, key, stored, sender.id))
        return str(conversation.key) if needs_notify else ""

    def _notify(self, conversation_key: str) -> None:
        if conversation_key:
            self._delivery.notify(conversation_key)

    def _get_user(self, connection: Transaction, user_id: str) -> ChatUser:
        return _require(self._chat.users.get(connection, self.scope, user_id), "user", user_id)

    def _lock_user(self, connection: Transaction, user_id: str) -> ChatUser:
        return _require(self._chat.users.get_for_update(connection, self.scope, user_id), "user", user_id)

    def _find_conversation(self, connection: Transaction, conversation_id: str) -> ChatConversation | None:
        return self._chat.conversations.get(connection, self.scope, conversation_id)

    def _get_owned(self, connection: Transaction, request: ApiRequest, conversation_id: str) -> ChatConversation:
        found = self._find_conversation(connection, conversation_id)
        return _require_owned(request, found, conversation_id)

    def _get_participant(self, connection: Transaction, request: ApiRequest) -> tuple[ChatConversation, ChatUser]:
        """Return the conversation of the caller and its participant that the path names."""
        user_id = request.ids["userId"]
        conversation = self._get_owned(connection, request, request.ids["conversationId"])
        found = self._chat.conversations.get_participant(connection, self.scope, conversation.id, user_id)
        return conversation, _require(found, "participant", user_id)

    def _get_message(self, connection: Transaction, message_id: str) -> ChatMessage:
        return _require(self._chat.messages.get(connection, self.scope, message_id), "message", message_id)

    def _check_participant(self, connection: Transaction, request: ApiRequest, conversation_id: str) -> None:
        if not self._chat.conversations.has_participant(connection, self.scope, conversation_id, request.user_id):
            raise _not_participant()

    @contextmanager
    def _read(self, request: ApiRequest) -> Iterator[Transaction]:
        """Open a snapshot, and verify the caller's key in it."""
        try:
            with self._chat.database.snapshot() as connection:
                self._accounts.check_key(connection, request.key)
                yield connection
        except BadCursor:
            raise HttpError(400, "InvalidQuery", "nextToken: expected one that this list returned") from None

    def _write(self, request: ApiRequest, work: Callable[[Transaction], T]) -> T:
        """Return the result of ``work``, run in one transaction like :meth:`Publisher.commit`.

        The key is verified after ``work``: only then are the rows of the user or of the conversation locked, so that
        the user cannot be deleted before the commit. The check itself locks nothing, so no two requests can deadlock.
        """

        def checked(connection: Transaction) -> T:
            result = work(connection)
            if request.key is not NO_KEY:
                self._accounts.check_key(connection, request.key)
            return result

        return self._publisher.commit(self._bot.name, checked)


def _requested_id(body: Mapping[str, Any]) -> str:
    """Return the id that the client wants for a new object, or "" if it wants none."""
    if "id" not in body:
        return ""
    return _check_id(str(body["id"]))


def _check_id(text: str) -> str:
    if not is_valid_id(text):
        message = f"id: expected 1 to 70 letters, digits, _, -, \\ and /, got {quote_value(text)}"
        raise HttpError(400, "InvalidPayload", message)
    return text


def _user_data(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: body[name] for name in ("name", "pictureUrl", "profile") if name in body}


def _to_page(name: str, page: Page[T], to_json: Callable[[T], JsonObject]) -> JsonObject:
    return {name: [to_json(item) for item in page.items], "meta": {"nextToken": page.next} if page.next else {}}


def _require(value: T | None, what: str, name: str) -> T:
    if value is None:
        raise _not_found(what, name)
    return value


def _require_owned(request: ApiRequest, conversation: ChatConversation | None, name: str) -> ChatConversation:
    found = _require(conversation, "conversation", name)
    if found.owner != request.user_id:
        raise HttpError(403, "Forbidden", "You are not the owner of this conversation")
    return found


def _not_found(what: str, name: str) -> HttpError:
    return HttpError(404, "ResourceNotFound", f"There is no {what} {quote_value(name)}")


def _already_exists(name: str) -> HttpError:
    return HttpError(409, "AlreadyExists", f"The id {quote_value(name)} is taken")


def _not_participant() -> HttpError:
    return HttpError(403, "Forbidden", "You are not a participant in this conversation")
