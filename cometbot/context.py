"""The context of a handler: its event, and the ways to reply to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from cometbot.bot import Bot
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import Capabilities, Message, Operation, Text, check_length, remove_answer_hint, to_messages
from cometbot.models import Attachment, Conversation, Mention, User, check_recipient
from cometbot.state import State
from cometbot.streaming import DeltaBuffer, PreviewThrottle
from cometbot.text import replace_surrogates


class ReplySink(Protocol):
    """The backend of a context. Delivery implements it on top of the outbox; tests may replace it with a fake.

    ``post`` stores an operation under the event's next ordinal, carries it out if its turn has come, and returns the
    ordinal. The first write wins: an ordinal that is already stored keeps its operation. ``post`` raises ``LeaseLost``
    if another worker holds the conversation now.

    ``preview`` shows an unfinished text in a message that was sent, if that is possible at the moment. ``stream_delta``
    does the same with the next piece of a message that is not sent yet, and abandons that message if the piece is None.
    Neither is stored or repeated.
    """

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the channel."""
        ...

    @property
    def client(self) -> Any:
        """The platform's API client."""
        ...

    def post(self, operation: Operation) -> int:
        """Store an operation, carry it out in its turn, and return its ordinal."""
        ...

    def platform_id(self, ordinal: int) -> str | None:
        """Return the platform's id of the message posted under this ordinal, or None while it waits."""
        ...

    def preview(self, ordinal: int, text: str) -> None:
        """Show an unfinished text in a message that was sent."""
        ...

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Show the next piece of a message that is not sent yet. None abandons the message."""
        ...

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return the newest messages of a conversation, oldest first."""
        ...

    def conversation(self, bot: Bot, user: str, group: str) -> Conversation:
        """Return the conversation of ``bot`` with a user, or that of a group; one of the two is empty."""
        ...

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        """Return the stored state of an owner: JSON texts by key."""
        ...

    def start_handler(self, handler: str, timeout: float | None) -> None:
        """Record that a handler of this name begins. ``timeout`` is its limit in seconds (None: the default).

        An empty name means that the search for a handler begins, or the middleware around no handler.
        """
        ...

    def mark_failed(self) -> None:
        """Record that the handler raised. Operations posted from now on have a separate range of ordinals."""
        ...


class Sent:
    """A message that a handler sent. ``id`` is None while it waits in the outbox."""

    def __init__(self, sink: ReplySink, ordinal: int, operation: Operation, operations: list[Operation]) -> None:
        self._sink = sink
        self._ordinal = ordinal
        self._operation = operation
        self._operations = operations

    @property
    def id(self) -> str | None:
        """The platform's id of the message, or None while it waits to be sent."""
        return self._sink.platform_id(self._ordinal)

    def edit(self, message: Message | str) -> None:
        """Replace the content of the message. On a platform that cannot edit, this sends a new message."""
        changed = Text(message) if isinstance(message, str) else message
        operation = self._follow_up("edit" if self._sink.capabilities.edit else "send", changed)
        self._sink.post(operation)
        self._operations.append(operation)

    def delete(self) -> None:
        """Delete the message. Raises :class:`BotError` on a platform that cannot."""
        if not self._sink.capabilities.delete:
            raise BotError("this platform cannot delete messages; ask ctx.capabilities.delete first")
        self._sink.post(self._follow_up("delete"))

    def preview(self, text: str) -> None:
        """Show an unfinished text in this message now. The text is not stored."""
        self._sink.preview(self._ordinal, text)

    def _follow_up(self, kind: Any, message: Message | None = None) -> Operation:
        before = self._operation
        return Operation(
            conversation=before.conversation,
            kind=kind,
            message=message,
            thread_id=before.thread_id,
            reply_to=before.reply_to,
            target=None if kind == "send" else self._ordinal,
        )


class Context:
    """The context of one event, passed to middleware and as first argument to the handler.

    A handler does everything through it: it reads the event, replies and changes state.
    """

    def __init__(self, bot: Bot, event: Event, sink: ReplySink) -> None:
        self.bot = bot
        self.event = event
        self.match: re.Match[str] | None = None
        self.log: logging.LoggerAdapter[logging.Logger] = logging.LoggerAdapter(
            logging.getLogger(f"cometbot.bot.{bot.name}"),
            {"event": event.key, "conversation": event.conversation.key_text},
        )
        self.said: list[Operation] = []
        """The messages sent and edited so far for this event, in order.

        Reactions, deletions and what the handler returns are not in it.
        """
        self._sink = sink
        self._bot_ids = bot.ids
        key = event.conversation.key
        self.state = State("conversation", event.conversation.key_text, sink.load_state)
        """This bot's state of this conversation."""
        person = event.sender.lasting_id or event.sender.uid
        self.user_state = State("user", f"{key.channel}/{key.account}/{key.bot}/{person}", sink.load_state)
        """This bot's state of the sender, across all conversations."""

    @cached_property
    def text(self) -> str:
        """The text of the message without a leading mention of this bot, or empty if there is none."""
        message = self.message
        if message is None:
            return ""
        text = message.text.strip()
        for uid in self._bot_ids:
            prefix = f"<@uid:{uid}>"
            if text.lower().startswith(prefix.lower()):
                return text[len(prefix) :].lstrip(" ,:\n\t")
        return text

    @property
    def begins_with_mention(self) -> bool:
        """True if the text begins with a mention of this bot."""
        return self.message is not None and len(self.text) < len(self.message.text.strip())

    @property
    def message(self) -> MessageEvent | None:
        """The message that the event is or was written in, or None for other events."""
        if isinstance(self.event, MessageEvent):
            return self.event
        return self.event.message if isinstance(self.event, ActionEvent) else None

    @property
    def sender(self) -> User:
        """The user who caused the event."""
        return self.event.sender

    @property
    def conversation(self) -> Conversation:
        """The conversation of the event."""
        return self.event.conversation

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files of the message; empty for other events."""
        return self.message.attachments if self.message else ()

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """The users mentioned in the message; empty for other events."""
        return self.message.mentions if self.message else ()

    @property
    def value(self) -> str:
        """The value of the button or choice; empty for other events."""
        return self.event.value if isinstance(self.event, ActionEvent) else ""

    @property
    def values(self) -> dict[str, str]:
        """The values of a form by field name; empty for other events."""
        return dict(self.event.values) if isinstance(self.event, ActionEvent) else {}

    @property
    def thread_id(self) -> str:
        """The id of the thread's first message; empty outside threads."""
        return str(getattr(self.event, "thread_id", ""))

    @property
    def is_mentioned(self) -> bool:
        """True if the message mentions this bot anywhere."""
        if self.message is None:
            return False
        named = {mention.uid.lower() for mention in self.message.mentions}
        text = self.message.text.lower()
        return any(uid.lower() in named or f"<@uid:{uid.lower()}>" in text for uid in self._bot_ids)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the event's channel."""
        return self._sink.capabilities

    @property
    def client(self) -> Any:
        """The platform's API client, for requests that cometbot does not cover."""
        return self._sink.client

    def reply(self, message: Message | str, *, quote: bool = False) -> Sent:
        """Reply in the event's conversation, and in its thread if it has one. Return the sent message.

        The reply is stored before it is sent. A handler that runs again for the same event does not send it twice.
        Several replies arrive in the order of the calls. With ``quote``, it quotes the event's message if the platform
        can. Raises :class:`MessageError` for a message that no platform accepts.
        """
        return self.send(message, to=self.conversation, quote_id=self._message_id if quote else "")

    def send(self, message: Message | str, *, to: Conversation, quote_id: str = "") -> Sent:
        """Send a message to the conversation ``to``, which may be another one of the same bot."""
        messages = to_messages(message)
        if len(messages) != 1:
            raise BotError("reply() and send() take one message, and a text must not be empty")
        return self._post(self.operation(messages[0], to=to, quote_id=quote_id))

    def conversation_with(self, *, user: str = "", group: str = "") -> Conversation:
        """Return another conversation of this bot on the same channel: with a user (a uid) or of a group (a guid).

        ::

            ctx.send("Somebody asks for help.", to=ctx.conversation_with(group="team"))

        Messages sent there are stored under the event like replies, so a handler that runs again does not send them
        twice. Raises :class:`BotError` unless exactly one of ``user`` and ``group`` is given, and if the platform has
        no such conversation.
        """
        check_recipient(user, group)
        return self._sink.conversation(self.bot, user, group)

    def _post(self, operation: Operation) -> Sent:
        sent = Sent(self._sink, self._sink.post(operation), operation, self.said)
        self.said.append(operation)
        return sent

    def operation(self, message: Message, *, to: Conversation | None = None, quote_id: str = "") -> Operation:
        """Return the operation that sends ``message`` in reply to this event."""
        own = self.event.conversation
        here = to is None or to == own
        return Operation(
            conversation=to or own,
            message=message,
            thread_id=self.thread_id if here else "",
            quote_id=quote_id,
            reply_to=self._message_id if here else "",
        )

    def react(self, reaction: str) -> None:
        """Add a reaction (an emoji) to the event's message. Raises :class:`BotError` where that is not possible."""
        if not self.capabilities.react or not self._message_id:
            raise BotError(
                "there is no message here that this platform could react to; ask ctx.capabilities.react first"
            )
        self._sink.post(
            Operation(conversation=self.conversation, kind="react", message_id=self._message_id, reaction=reaction)
        )

    def stream(self, parts: Iterable[str]) -> Sent | None:
        """Send the message made of ``parts``, which may arrive slowly. Return it, or None if all parts are blank.

        On platforms that can edit messages or show deltas, the message appears with the first words and grows at the
        platform's pace, in updates that become larger with the text. On other platforms it is sent once it is complete.
        Only the complete text is guaranteed to arrive. The updates have at most as many bytes as the text. Raises
        :class:`MessageError` as soon as there are more characters than one message may have
        (:data:`~cometbot.messages.MAX_MESSAGE_LENGTH`).
        """
        interval, whole = self.capabilities.stream_interval, _rejoin_surrogates(parts)
        if self.capabilities.deltas:
            return self._stream_by_deltas(whole, interval or 0.0)
        if interval is None or not self.capabilities.edit:
            text = "".join(whole)
            return self.reply(text) if text.strip() else None
        return self._stream_by_edits(whole, interval)

    def _stream_by_edits(self, parts: Iterable[str], interval: float) -> Sent | None:
        text, is_blank, sent, edits = "", True, None, PreviewThrottle(interval)
        for part in parts:
            text += part
            is_blank = is_blank and not part.strip()
            shown = "" if is_blank else edits.next_text(text)
            if shown and sent is None:
                sent = self._post(replace(self.operation(Text(shown)), is_growing=True))
            elif shown and sent is not None:
                sent.preview(shown)
        if sent is not None:
            sent.edit(text)
        return sent

    def _stream_by_deltas(self, parts: Iterable[str], interval: float) -> Sent | None:
        # The id is the same in every run of the handler, so that clients recognise a stream that an earlier run began.
        stream_id = f"{self._message_id or self.event.key}-{len(self.said)}"
        text, sequence, pieces = "", 0, DeltaBuffer(interval)
        try:
            for part in parts:
                text += part
                sequence = self._send_deltas(stream_id, sequence, pieces.add(part))
        except BaseException:
            if sequence:
                self._sink.stream_delta(stream_id, sequence, None)
            raise
        if not text.strip():
            return None
        self._send_deltas(stream_id, sequence, pieces.flush())
        return self._post(replace(self.operation(Text(text)), stream_id=stream_id))

    def _send_deltas(self, stream_id: str, sequence: int, pieces: Iterable[str]) -> int:
        """Send ``pieces``, the first one as number ``sequence``. Return the number of the next one."""
        for piece in pieces:
            self._sink.stream_delta(stream_id, sequence, piece)
            sequence += 1
        return sequence

    def history(self, limit: int = 20) -> list[MessageEvent]:
        """Return the newest ``limit`` messages of this conversation, oldest first, including the event's own.

        The line that explains how to answer quick replies is removed from the bot's own messages.
        """
        own = {uid.lower() for uid in self._bot_ids}
        return [
            replace(message, text=remove_answer_hint(message.text)) if message.sender.uid.lower() in own else message
            for message in self._sink.history(self.conversation, limit)
        ]

    @property
    def _message_id(self) -> str:
        message = self.message
        return message.id if message is not None else str(getattr(self.event, "message_id", ""))


def _rejoin_surrogates(parts: Iterable[str]) -> Iterator[str]:
    """Yield ``parts`` with U+FFFD for lone surrogates. A character cut between two parts is yielded whole.

    Raises :class:`MessageError` once they have too many characters together.
    """
    half, length = "", 0
    for part in parts:
        length += len(part)
        check_length(length)
        text = half + part
        half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        yield replace_surrogates(text.removesuffix(half) if half else text)
    if half:
        yield replace_surrogates(half)
