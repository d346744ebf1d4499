"""The platform as a channel: bots of this server talk to people who open its page or use its API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.base import Capabilities, Channel, Incoming, Intake, Sending
from cometbot.channels.botyard import parsing, rendering, shapes
from cometbot.channels.botyard.client import PlatformClient
from cometbot.channels.botyard.joining import Joined
from cometbot.channels.botyard.names import name_of
from cometbot.channels.botyard.platform import (
    ACCOUNT,
    EVERYWHERE,
    NAME,
    NEW,
    PIECE,
    Platform,
    conversation_of,
    lane_to,
    scope_of,
)
from cometbot.channels.botyard.removal import erase_chat
from cometbot.channels.botyard.working import Typing
from cometbot.chat import ChatConversation, ChatMessage, Draft, Signal, Topic
from cometbot.context import StateChange
from cometbot.errors import BotError, ChatError, NotFound, StoreBusy, Unreachable
from cometbot.events import Event, MessageEvent
from cometbot.messages import Operation
from cometbot.models import Conversation, User
from cometbot.store.database import Transaction

_PIECE_SIZE = 400
"""Characters of a stream that are told at once: as many as surely fit into what is told without being kept."""


class BotyardChannel(Channel):
    """The door to the platform, which is in our own database: what is sent is stored, and told to who listens.

    ``join_replies`` of the settings makes one message of several replies to one message, for apps that ask for the
    newest reply alone.
    """

    name = NAME
    knows_conversations = True

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._chat = platform.chat
        self._joins = platform.settings.join_replies
        self.capabilities = Capabilities(
            native=rendering.NATIVE,
            text_limit=rendering.TEXT_LIMIT,
            edit=True,
            delete=True,
            history=True,
            look_up=True,
            stream_interval=0.1,
            deltas=not self._joins,
            groups=False,
        )
        self._typing = Typing(self._chat.feed)

    @property
    def account(self) -> str:
        return ACCOUNT

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        """The newest chat of ``user`` with ``bot``; one is made by what is said there where there is none yet."""
        if group or not user:
            raise BotError("the platform has no groups: a conversation is with a user")
        with self.platform.database.read() as connection:
            chat = self._newest_chat(connection, bot.name, user)
        return conversation_of(bot.name, chat.id if chat else lane_to(user), user)

    def parse(self, incoming: Incoming) -> Event:
        return parsing.parse(incoming, self.platform.settings.base_url)

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        return rendering.render(operation, self.platform.settings.base_url)

    def send(self, sending: Sending, *, timeout: float) -> str:
        """As promised by :class:`Channel`. What is sent twice is stored once.

        What is said to a chat that was removed is done when nothing of it is left: nobody wants to hear it. Raises
        :class:`NotFound` where the message is gone, or a user without a chat.
        """
        acts = {"send": self._say, "edit": self._edit, "delete": self._delete}
        act = acts[sending.payload["op"]] if sending.payload else self._skip
        try:
            # Relaxed: the reply is in the outbox, on the disk. Should a power cut take what is stored here, it takes
            # the note that this was sent as well, and the reply is looked for and sent again.
            said, signals = self.platform.database.together(lambda connection: act(connection, sending), durable=False)
        except StoreBusy as error:
            raise Unreachable(f"the chat's database did not take it: {error}") from error
        except ChatError as error:
            raise NotFound(f"the chat is gone: {error}") from error
        self._chat.feed.publish(signals)
        return said

    def find(self, sending: Sending, *, timeout: float) -> str | None:
        if sending.payload.get("op") != "send":
            return None
        try:
            with self.platform.database.read() as connection:
                return self._find(connection, sending)
        except StoreBusy as error:
            raise Unreachable(f"the chat's database did not answer: {error}") from error

    def piece(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        topic, told = topic_of(conversation), {"stream": stream_id, "sequence": sequence}
        if text is None:
            self._chat.feed.tell(topic, PIECE, {**told, "part": 0, "last": True, "text": None})
            return
        cleaned = rendering.clean(text)
        parts = [cleaned[start : start + _PIECE_SIZE] for start in range(0, len(cleaned), _PIECE_SIZE)]
        for number, part in enumerate(parts, 1):
            more = {"part": number - 1, "last": number == len(parts), "text": part}
            self._chat.feed.tell(topic, PIECE, {**told, **more})

    def working(self, conversation: Conversation, on: bool) -> None:
        self._typing.set(topic_of(conversation), on)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        with self.platform.database.read() as connection:
            user = self._chat.users.get(connection, EVERYWHERE, conversation.target)
            found = self._chat.messages.page(
                connection, scope_of(conversation.bot), conversation.id, limit=max(limit, 1)
            )
        writer = User(conversation.target, name_of(user) if user else "")
        base = self.platform.settings.base_url
        return [parsing.to_event(message, conversation, writer, base) for message in reversed(found.items)]

    def client(self, bot: str) -> PlatformClient:
        return PlatformClient(self.platform, bot)

    def is_bot(self, uid: str) -> bool:
        return self.platform.directory.is_served(uid)

    def lasting(self, transaction: Transaction, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        return [change for change in changes if self._is_there(transaction, change)]

    def refresh(self) -> None:
        """Remove files that nobody uses, and what nobody catches up with any more."""
        self._chat.tidy()

    def blueprint(self, intake: Intake) -> Any:
        """The routes of the three APIs, the web chat and files."""
        from cometbot.channels.botyard.views.blueprint import (
            make_blueprint,
        )  # Flask is needed only where there are views

        return make_blueprint(self.platform, intake)

    def close(self) -> None:
        self._typing.close()
        self._chat.close()

    def _skip(self, connection: Transaction, sending: Sending) -> tuple[str, list[Signal]]:
        """Say nothing: the chat is gone, or was when this was to be said. It has an id, by which the bot may go on to
        change what it believes to have said."""
        if self._is_over(connection, sending.conversation):
            erase_chat(connection, self._chat, sending.conversation)
        return sending.client_id, []

    def _say(self, connection: Transaction, sending: Sending) -> tuple[str, list[Signal]]:
        if self._is_over(connection, sending.conversation):
            return self._skip(connection, sending)
        chat = self._chat_of(connection, sending.conversation)
        payload = sending.payload
        if self._joins and (known := self._find(connection, sending)) is not None:
            return known, []
        if self._joins and (joined := self._join(connection, chat, sending)) is not None:
            return joined
        files = self._chat.files.find(connection, EVERYWHERE, payload["files"])
        draft = Draft(
            sending.conversation.bot,
            shapes.stored_payload(payload["body"], files, payload["content"], payload["stream"]),
            Joined.first(payload["answers"], sending.client_id, payload["body"]).to_metadata(),
            is_bot=True,
            client_id=sending.client_id,
            files=[file.id for file in files],
        )
        posted = self._chat.messages.post(connection, chat.scope, chat.id, draft)
        return posted.message.id, list(posted.signals)

    def _join(
        self, connection: Transaction, chat: ChatConversation, sending: Sending
    ) -> tuple[str, list[Signal]] | None:
        """What became of a text that goes into the chat's last message; None where it does not belong there."""
        last = next(iter(self._chat.messages.page(connection, chat.scope, chat.id, limit=1).items), None)
        payload = sending.payload
        if last is None or not last.is_bot or payload["content"] or payload["files"] or last.payload.get("content"):
            return None
        joined = Joined.of(last).with_part(payload["answers"], sending.client_id, payload["body"])
        if joined is None or len(joined.body.encode()) > rendering.TEXT_LIMIT:
            return None
        signals = self._change(connection, last, joined)
        return joined.name(last.id, len(joined.parts) - 1), signals

    def _change(self, connection: Transaction, message: ChatMessage, joined: Joined) -> list[Signal]:
        payload = {**message.payload, "body": joined.body}
        changed = self._chat.messages.update(connection, message.scope, message.id, payload, joined.to_metadata())
        if changed is None:
            raise NotFound("the message is gone", code="message_not_found", status=404)
        return changed[1]

    def _find(self, connection: Transaction, sending: Sending) -> str | None:
        where = sending.conversation
        if where.id.startswith(NEW):  # the newest chat may be another one by now
            said = self._chat.messages.find_said_to(connection, scope_of(where.bot), where.target, sending.client_id)
            return said.id if said else None
        if self._is_over(connection, where):
            return None
        chat = self._chat_of(connection, where)
        known = self._chat.messages.find_by_client_id(connection, chat.scope, chat.id, sending.client_id)
        if known is not None:
            return known.id
        if not self._joins:
            return None
        newest = self._chat.messages.page(connection, chat.scope, chat.id, limit=20).items
        places = ((message, Joined.of(message).place(sending.client_id)) for message in newest if message.is_bot)
        return next((Joined.name(message.id, place) for message, place in places if place is not None), None)

    def _edit(self, connection: Transaction, sending: Sending) -> tuple[str, list[Signal]]:
        if self._is_over(connection, sending.conversation):
            return self._skip(connection, sending)
        message_id, message, joined, part = self._target(connection, sending)
        payload = sending.payload
        if part or len(joined.parts) > 1:
            return message_id, self._change(connection, message, joined.with_body(part, payload["body"]))
        files = self._chat.files.find(connection, EVERYWHERE, payload["files"])
        stored = shapes.stored_payload(payload["body"], files, payload["content"])
        metadata = joined.with_body(0, payload["body"]).to_metadata()
        changed = self._chat.messages.update(connection, message.scope, message.id, stored, metadata)
        return message_id, changed[1] if changed else []

    def _delete(self, connection: Transaction, sending: Sending) -> tuple[str, list[Signal]]:
        """Take a message back; one that is gone already is what was asked for."""
        try:
            message_id, message, joined, part = self._target(connection, sending)
        except NotFound:
            return sending.target_id or str(sending.payload["message"]), []
        left = joined.without(part)
        if left.body:
            return message_id, self._change(connection, message, left)
        return message_id, self._chat.messages.delete(connection, message.scope, message.id) or []

    def _target(self, connection: Transaction, sending: Sending) -> tuple[str, ChatMessage, Joined, int]:
        message_id = sending.target_id or str(sending.payload["message"])
        name, part = Joined.split(message_id)
        message = self._chat.messages.get(connection, scope_of(sending.conversation.bot), name)
        if message is None or message.conversation != self._chat_of(connection, sending.conversation).id:
            raise NotFound(f"there is no message {message_id} in this chat", code="message_not_found", status=404)
        return message_id, message, Joined.of(message), part

    def _chat_of(self, connection: Transaction, conversation: Conversation) -> ChatConversation:
        scope = scope_of(conversation.bot)
        if conversation.id.startswith(NEW):
            found = self._newest_chat(connection, conversation.bot, conversation.target)
            if found is None and self._chat.users.get(connection, EVERYWHERE, conversation.target):
                found = self._chat.conversations.create(connection, scope, conversation.target)
        else:
            found = self._chat.conversations.get(connection, scope, conversation.id)
        if found is None:
            raise NotFound("there is no such chat or user any more", code="chat_not_found", status=404)
        return found

    def _is_over(self, connection: Transaction, conversation: Conversation) -> bool:
        """Whether this is a chat that was there once."""
        if conversation.id.startswith(NEW):
            return False
        return self._chat.conversations.get(connection, scope_of(conversation.bot), conversation.id) is None

    def _is_there(self, connection: Transaction, change: StateChange) -> bool:
        """Whether the user or the chat that is to be remembered has not been removed."""
        bot, named = change.owner.split("/", 3)[2:]
        if change.scope == "user":
            return self._chat.users.hold(connection, EVERYWHERE, named) is not None
        return named.startswith(NEW) or self._chat.conversations.get(connection, scope_of(bot), named) is not None

    def _newest_chat(self, connection: Transaction, bot: str, user: str) -> ChatConversation | None:
        owned = self._chat.conversations.list_owned(connection, scope_of(bot), user, limit=1)
        return next(iter(owned.items), None)


def topic_of(conversation: Conversation) -> Topic:
    """Where those who look at a chat listen."""
    return Topic(NAME, conversation.bot, conversation.id)
