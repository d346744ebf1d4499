"""The Chat API channel: backends and apps chat with a bot over HTTP, an event stream and an outgoing webhook."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.base import (
    FILE_TIMEOUT,
    MEMBER_TIMEOUT,
    MEMBERS_TIMEOUT,
    Channel,
    DeliveryService,
    IncomingEvent,
    OutgoingRequest,
)
from cometbot.channels.chat_api import parsing, payloads, schemas, serializers
from cometbot.channels.chat_api.ids import ACCOUNT, CHANNEL, TO_USER_PREFIX, conversation_of, insert_conversation
from cometbot.channels.chat_api.keys import UserKeys, check_secret
from cometbot.channels.chat_api.operations import Operations
from cometbot.channels.chat_api.parsing import stable_user_id
from cometbot.channels.chat_api.publisher import Publisher
from cometbot.channels.chat_api.removal import finish_removal
from cometbot.channels.chat_api.settings import ChatApiSettings
from cometbot.channels.chat_api.transcript import show_as_texts
from cometbot.chat import (
    EVENT_CREATED,
    Chat,
    ChatConversation,
    ChatMessage,
    ChatUser,
    Draft,
    Scope,
    Signal,
    Topic,
    new_id,
)
from cometbot.errors import MessageError, NotFound, Rejected, StoreBusy, Unreachable
from cometbot.events import Event, MessageEvent
from cometbot.http.file_fetcher import Fetcher, FileFetcher, read_url
from cometbot.messages import Custom, Operation
from cometbot.models import Attachment, Conversation, User, check_recipient
from cometbot.state import StateChange
from cometbot.store.database import Transaction
from cometbot.store.metadata import get_or_create_metadata
from cometbot.text import replace_surrogates

_MAX_HISTORY = 1000
_PAGE_SIZE = 1000
_REMOVAL_TIMEOUT = 60.0
_MESSAGE, _USER = schemas.MessageSchema(), schemas.UserSchema()


class ChatApiChannel(Channel):
    """The Chat API of all bots of this server, each under its own URL.

    Users, conversations and messages are stored in ``chat``. What a bot sends is stored there and published to the
    streams of all processes and to the webhook. ``bot.send(user=…)`` goes to the newest conversation that the user
    owns, or to a new one; ``group=…`` is the id of a conversation.

    ``observe`` is called for each message, event and refused request with the bot's name (empty if no bot was found)
    and ``received`` or ``refused``. ``on_database_full`` is called for each request that is refused because the
    database has no room. ``fetcher`` loads the files of users, which are anywhere in the web.
    """

    name = CHANNEL
    has_stored_conversations = True
    capabilities = payloads.CAPABILITIES

    def __init__(
        self,
        chat: Chat,
        settings: ChatApiSettings | None = None,
        *,
        observe: Callable[[str, str], None] | None = None,
        on_database_full: Callable[[], None] = lambda: None,
        fetcher: FileFetcher | None = None,
    ) -> None:
        self.chat = chat
        self.observe = observe or (lambda bot, outcome: None)
        self.on_database_full = on_database_full
        self.settings = settings or ChatApiSettings()
        self._fetcher = fetcher or Fetcher(allow_private=self.settings.allow_private_files)
        self._publisher = Publisher(chat, has_webhook=bool(self.settings.webhook_url))
        for secret in (self.settings.encryption_key, *self.settings.encryption_keys.values()):
            if secret:
                check_secret(secret.reveal(), "CHAT_API_ENCRYPTION_KEY")

    @property
    def account(self) -> str:
        return ACCOUNT

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        check_recipient(user, group)
        wanted = Conversation(
            self.name, self.account, bot.name, group or f"{TO_USER_PREFIX}{user}", group or user, is_group=bool(group)
        )
        with self.chat.database.read() as connection:
            found = self._find_conversation(connection, wanted)
        return replace(wanted, id=conversation_of(bot.name, found, is_group=bool(group)).id) if found else wanted

    def lasting_id(self, conversation: Conversation) -> str:
        with self.chat.database.read() as connection:
            user = self.chat.users.get(connection, _scope(conversation), conversation.target)
        return conversation.target if user is None else stable_user_id(user.id, user.created_at)

    def parse(self, incoming: IncomingEvent) -> Event:
        return parsing.parse(incoming)

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        """Return the steps that :meth:`send` carries out.

        ``op`` is ``say`` for a message's payload, ``tell`` for an event, ``delete`` for a message, or ``remove`` for a
        participant. Raises :class:`MessageError` for an operation that the Chat API does not have, and for data that is
        not JSON.
        """
        if operation.kind == "delete":
            return [{"op": "delete", "message": operation.message_id}]
        if operation.kind == "kick":
            return [{"op": "remove", "user": operation.user}]
        if operation.kind != "send" or operation.message is None:
            raise MessageError(f"the Chat API does not support operations of kind {operation.kind}")
        message = operation.message
        if isinstance(message, Custom) and message.type == payloads.EVENT_TYPE:
            return [{"op": "tell", "payload": payloads.to_json_value(dict(message.data), "the event")}]
        metadata = payloads.to_json_value(dict(message.metadata), "metadata")
        parts = payloads.to_json_value(payloads.to_payloads(message), "the message")
        requests = [{"op": "say", "payload": payload, "metadata": metadata} for payload in parts]
        if operation.stream_id and requests:
            requests[0]["metadata"] = {**metadata, serializers.STREAM_ID_KEY: operation.stream_id}
        return requests

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Carry out a request like :meth:`Channel.send`.

        Everything happens in the database, so the outcome is never unknown. Raises :class:`Unreachable` if the database
        is busy, and :class:`NotFound` if the recipient does not exist.
        """
        bot = sending.conversation.bot
        try:
            # No fsync: the outbox still holds the reply. If a power cut undoes this commit, the reply is sent again.
            return self._publisher.commit(
                bot, lambda connection: self._carry_out(connection, sending), durable=False, timeout=timeout
            )
        except StoreBusy as error:
            raise Unreachable(f"the database is busy: {error}") from None

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        if sending.payload.get("op") != "say":
            return None
        where, scope, messages = sending.conversation, _scope(sending.conversation), self.chat.messages
        with self.chat.database.read() as connection:
            if where.id.startswith(TO_USER_PREFIX):  # a newer conversation may exist by now
                found = messages.find_by_owner(connection, scope, where.target, sending.client_id)
            else:
                chat_conversation = self._find_conversation(connection, where)
                if chat_conversation is None:
                    return None
                found = messages.find_by_client_id(connection, scope, chat_conversation.id, sending.client_id)
        return found.id if found else None

    def has_member(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> bool:
        """Return True if ``user`` is a participant of the conversation now."""
        participants, scope = self.chat.conversations, _scope(conversation)
        try:
            with self.chat.database.read() as connection:
                found = self._find_conversation(connection, conversation)
                return found is not None and participants.has_participant(connection, scope, found.id, user.uid)
        except StoreBusy as error:
            raise Unreachable(f"cannot look up a participant: {error}") from error

    def members(self, conversation: Conversation, *, timeout: float = MEMBERS_TIMEOUT) -> list[User]:
        """Return the participants, of whom the user who created the conversation is the owner."""
        try:
            with self.chat.database.read() as connection:
                stored = self._find_conversation(connection, conversation)
                return [*self._iter_members(connection, stored)] if stored is not None else []
        except StoreBusy as error:
            raise Unreachable(f"cannot list the participants: {error}") from error

    def _iter_members(self, connection: Transaction, stored: ChatConversation) -> Iterator[User]:
        list_page, cursor, is_first = self.chat.conversations.list_participants, "", True
        while cursor or is_first:
            page = list_page(connection, stored.scope, stored.id, cursor=cursor, limit=_PAGE_SIZE)
            yield from (_to_member(user, stored.owner) for user in page.items)
            cursor, is_first = page.next, False

    def get_scope(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> str:
        try:
            with self.chat.database.read() as connection:
                stored = self._find_conversation(connection, conversation)
        except StoreBusy as error:
            raise Unreachable(f"cannot look up a conversation: {error}") from error
        if stored is None or not self.has_member(conversation, user, timeout=timeout):
            return ""
        return "owner" if user.uid == stored.owner else "participant"

    def stream_delta(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        with self.chat.database.read() as connection:
            found = self._find_conversation(connection, conversation)
        if found is None:
            return
        data: dict[str, Any] = {"streamId": stream_id, "conversationId": found.id}
        if text is not None:
            now = serializers.format_timestamp(int(self.chat.database.clock() * 1000))
            data |= {
                "userId": conversation.bot,
                "createdAt": now,
                "sequence": sequence,
                "delta": replace_surrogates(text),
            }
        topic = Topic(self.name, conversation.bot, found.id)
        kind = serializers.STREAM_ABORT if text is None else serializers.STREAM_DELTA
        self.chat.feed.publish_ephemeral(topic, kind, data)
        self._publisher.call_webhook(topic.bot, Signal(topic, kind, data=data))

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        found: Sequence[ChatMessage] = ()
        scope = _scope(conversation)
        with self.chat.database.read() as connection:
            if chat_conversation := self._find_conversation(connection, conversation):
                size = min(max(limit, 1), _MAX_HISTORY)
                found = self.chat.messages.list_newest(connection, scope, chat_conversation.id, limit=size).items
            users = {user: self._load_user(connection, scope, user) for user in {message.sender for message in found}}
        events = []
        for message in reversed(found):
            shape = serializers.to_message(message)
            api_message = schemas.load(_MESSAGE, shape)
            events.append(parsing.to_message_event(api_message, conversation, users[message.sender], shape))
        return events

    def transcript(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return [*show_as_texts(self.history(conversation, limit), conversation.bot)]

    def read_file(self, file: Attachment, client: Any, *, limit: int, timeout: float = FILE_TIMEOUT) -> bytes:
        return read_url(self._fetcher, file.url, limit=limit, timeout=timeout)

    def filter_state_changes(self, transaction: Transaction, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        return [change for change in changes if self._still_exists(transaction, change)]

    def refresh(self) -> None:
        """Delete expired data, and continue unfinished deletions of users."""
        self.chat.clean_up()
        with self.chat.database.read() as connection:
            pending_removals = self.chat.users.find_unfinished_removals(connection, self.name)
        for removal in pending_removals:
            finish_removal(self.chat, removal, self._publisher, _REMOVAL_TIMEOUT)

    def attach(self, delivery: DeliveryService) -> None:
        self._publisher.delivery = delivery

    def close(self) -> None:
        self._fetcher.close()
        self.chat.close()

    def operations(self, bot: Bot, delivery: DeliveryService) -> Operations:
        """Return the operations on the users and conversations of ``bot``."""
        return Operations(bot, self.chat, delivery, self.user_keys(bot.name), self.settings, self._publisher)

    def user_keys(self, bot: str) -> UserKeys:
        """Return the keys of the users of ``bot``.

        Without an encryption key in the settings, the server signs keys with a stored random secret of this bot.
        """
        given = self.settings.encryption_keys.get(bot) or self.settings.encryption_key
        if given:
            return UserKeys(given.reveal, can_issue=False)
        name = f"chat_api/{bot}/secret"
        return UserKeys(
            lambda: get_or_create_metadata(self.chat.database, name, lambda: secrets.token_urlsafe(48)), can_issue=True
        )

    def _carry_out(self, connection: Transaction, sending: OutgoingRequest) -> str:
        """Carry out a stored request, and return the id of the message."""
        conversation, op = sending.conversation, sending.payload.get("op")
        if op == "delete":
            return self._delete_message(connection, sending)
        found = self._find_conversation(connection, conversation)
        if op == "remove":
            return self._remove_participant(connection, sending, found)
        if found is None and _has_existed(conversation):  # it was deleted before or after the request was stored
            self.chat.erase_deleted(connection, [conversation])
            op = None
        if op is None:
            return sending.client_id  # the bot may use it to delete the message later
        if op == "tell":
            return self._send_event(connection, sending, found)
        return self._send_message(connection, sending, found)

    def _send_message(self, connection: Transaction, sending: OutgoingRequest, found: ChatConversation | None) -> str:
        scope, payload = _scope(sending.conversation), sending.payload
        chat_conversation = found or self._create_conversation(connection, scope, sending.conversation)
        draft = Draft(
            sending.conversation.bot,
            payload["payload"],
            payload["metadata"] or None,
            is_bot=True,
            client_id=sending.client_id,
            id=f"msg_{new_id()}",
        )
        return self.chat.messages.post(connection, scope, chat_conversation.id, draft).message.id

    def _send_event(self, connection: Transaction, sending: OutgoingRequest, found: ChatConversation | None) -> str:
        """Publish an event of the bot. It is not stored, so the returned id is empty."""
        if found is None:
            raise NotFound(f"{sending.conversation.target} has no conversation")
        data = {"sender": sending.conversation.bot, "payload": sending.payload["payload"]}
        scope = _scope(sending.conversation)
        self.chat.feed_table.add(connection, scope, found.id, EVENT_CREATED, data)
        return ""

    def _delete_message(self, connection: Transaction, sending: OutgoingRequest) -> str:
        """Delete a message. A message that no longer exists counts as deleted."""
        message_id, scope = sending.target_id or str(sending.payload["message"]), _scope(sending.conversation)
        if not sending.target_id:
            message = self.chat.messages.get(connection, scope, message_id)
            where = self._find_conversation(connection, sending.conversation)
            if message is not None and (where is None or message.conversation != where.id):
                raise Rejected(f"the message {message_id} is one of another conversation", code="other_conversation")
        self.chat.messages.delete(connection, scope, message_id)
        return message_id

    def _remove_participant(
        self, connection: Transaction, sending: OutgoingRequest, found: ChatConversation | None
    ) -> str:
        """Remove a participant. One who is none any more counts as removed. Return no id."""
        user = str(sending.payload["user"])
        if found is not None and user == found.owner:
            raise Rejected("the owner of a conversation cannot be removed from it", code="owner")
        if found is not None:
            self.chat.conversations.remove_participant(connection, found.scope, found.id, user)
        return ""

    def _find_conversation(self, connection: Transaction, conversation: Conversation) -> ChatConversation | None:
        """Return the stored conversation, or None if it was deleted, even if its id is in use again.

        An id with the prefix ``@`` stands for the newest conversation that the user owns. A group may be given by its
        id alone.
        """
        scope = _scope(conversation)
        if conversation.id.startswith(TO_USER_PREFIX):
            page = self.chat.conversations.list_owned(connection, scope, conversation.target, limit=1)
            return page.items[0] if page.items else None
        conversation_id, has_suffix, _ = conversation.id.partition(":")
        found = self.chat.conversations.get(connection, scope, conversation_id)
        if found and has_suffix and conversation_of(conversation.bot, found, is_group=False).id != conversation.id:
            return None
        return found

    def _still_exists(self, connection: Transaction, change: StateChange) -> bool:
        """Return whether the user or conversation that owns the changed state still exists."""
        channel, account, bot, named = change.owner.split("/", 3)
        if change.scope == "user":
            uid = named.partition(":")[0]
            user = self.chat.users.get_for_update(connection, Scope(channel, bot), uid)
            return user is not None and stable_user_id(user.id, user.created_at) == named
        conversation = Conversation(channel, account, bot, named, "")
        return not _has_existed(conversation) or self._find_conversation(connection, conversation) is not None

    def _create_conversation(self, connection: Transaction, scope: Scope, wanted: Conversation) -> ChatConversation:
        """Create the conversation for a bot's first message to a user."""
        user = wanted.target
        if wanted.is_group:
            raise NotFound(f"there is no conversation {user}")
        if self.chat.users.get_for_update(connection, scope, user) is None:
            raise NotFound(f"there is no user {user}")
        return insert_conversation(connection, self.chat, scope, user, f"conv_{new_id()}")

    def _load_user(self, connection: Transaction, scope: Scope, user: str) -> User:
        found = self.chat.users.get(connection, scope, user)
        return parsing.to_user(schemas.load(_USER, serializers.to_user(found))) if found else User(user)


def _to_member(user: ChatUser, owner: str) -> User:
    known = parsing.to_user(schemas.load(_USER, serializers.to_user(user)))
    return replace(known, scope="owner" if user.id == owner else "participant")


def _has_existed(conversation: Conversation) -> bool:
    """Return whether the id names a conversation that was stored once, rather than one that is still to be created."""
    return ":" in conversation.id


def _scope(conversation: Conversation) -> Scope:
    return Scope(CHANNEL, conversation.bot)
