"""What a handler gets: the event, and everything that it may do about it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import Capabilities, Message, Operation, Text, check_length, remove_answer_hint, to_messages
from cometbot.models import Attachment, Conversation, Mention, User
from cometbot.streaming import DeltaBuffer, PreviewThrottle
from cometbot.text import replace_surrogates

if TYPE_CHECKING:
    from cometbot.bot import Bot

_LogAdapter = logging.LoggerAdapter

RESERVED_PREFIX = "cometbot:"
"""What the state keys begin with that are not the bot author's."""

MAX_STATE_KEY_BYTES = 500
"""Bytes of UTF-8 that a state key may have: indexes do not take endless ones."""


class ReplySink(Protocol):
    """Where a context's words go. Delivery implements it over the outbox; tests may fake it.

    ``post`` stores an operation under the event's next ordinal (first write wins: an ordinal that is stored already
    keeps what it has), carries it out if its turn has come, and returns the ordinal. It raises ``LeaseLost`` once the
    conversation is somebody else's. ``preview`` shows an unfinished text in an already sent message, as well as it can
    be done now; nothing of it is stored or repeated. ``piece`` does the same with what a message that is not said yet
    has grown by, and with None gives that message up.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the channel can carry."""
        ...

    @property
    def client(self) -> Any:
        """The platform's own client."""
        ...

    def post(self, operation: Operation) -> int:
        """Store an operation and carry it out in its turn; its ordinal."""
        ...

    def platform_id(self, ordinal: int) -> str | None:
        """The platform's id of what was posted under this ordinal, None while it waits."""
        ...

    def preview(self, ordinal: int, text: str) -> None:
        """Show an unfinished text in a message that was sent."""
        ...

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Show what a message that is not said yet has grown by; None gives it up."""
        ...

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """What was written last in a conversation, oldest first."""
        ...

    def conversation(self, bot: Bot, user: str, group: str) -> Conversation:
        """The conversation of ``bot`` with a user, or that of a group; one of both is empty."""
        ...

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        """What is remembered: JSON texts by name."""
        ...

    def start_handler(self, handler: str, timeout: float | None) -> None:
        """A handler of this name begins; ``timeout`` is its own limit in seconds, None the usual one.

        Without a name, the search for a handler begins, or the middleware around none.
        """
        ...

    def mark_failed(self) -> None:
        """The handler has raised; what is posted from now on gets ordinals of its own."""
        ...


@dataclass(frozen=True, slots=True)
class StateChange:
    """What changed of one owner's state; values are JSON texts, ``increments`` are added to what is stored."""

    scope: str
    owner: str
    values: dict[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    increments: dict[str, int | float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.removed or self.increments)


def to_json(name: str, value: Any) -> str:
    """Return ``value`` as it is stored under ``name``, with U+FFFD for lone surrogates.

    Raises :class:`BotError` if it is not JSON.
    """
    try:
        return json.dumps(replace_surrogates(value), separators=(",", ":"), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(f"state {name!r} must be JSON (str, number, bool, None, list, dict): {error}") from error


def check_state_key(name: str) -> None:
    """Raise :class:`BotError` for what cannot be a state key in every database."""
    if not isinstance(name, str):
        raise BotError(f"a state key is a str, not {type(name).__name__}")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise BotError(f"a state key is whole text; {name[:50]!r} holds half a character") from None
    if "\0" in name:
        raise BotError(f"a state key holds no NUL, and {name[:50]!r} does")
    if length > MAX_STATE_KEY_BYTES:
        raise BotError(
            f"a state key has at most {MAX_STATE_KEY_BYTES} bytes of UTF-8; this one has {length}: '{name[:50]}…'; "
            "keep what is long in the value"
        )


class State(MutableMapping[str, Any]):
    """What a bot remembers, key by key, as JSON values; read when first touched, stored with the event's answer.

    Changed values are noticed however they were changed (``ctx.state["cart"].append("tea")`` is enough); only changed
    keys are written, and the last writer wins between conversations. A handler that raises changes nothing. A key has
    at most :data:`MAX_STATE_KEY_BYTES` bytes and no NUL: :class:`BotError` at the assignment. Keys that begin with
    ``cometbot:`` are cometbot's own; they are not counted or listed.
    """

    def __init__(self, scope: str, owner: str, load: Callable[[str, str], dict[str, str]]) -> None:
        self._scope = scope
        self._owner = owner
        self._load = load
        self._stored: dict[str, str] | None = None
        self._values: dict[str, Any] = {}
        self._increments: dict[str, int | float] = {}

    def increment(self, name: str, by: int | float = 1) -> int | float:
        """The new value of the counter ``name``, as far as is known here; the addition itself is atomic."""
        check_state_key(name)
        values = self._load_values()
        value = values.get(name, 0)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BotError(f"state {name!r} holds a {type(value).__name__}; only a number can be incremented")
        if name in self._increments or not self._is_changed(name):
            self._increments[name] = self._increments.get(name, 0) + by
        values[name] = value + by
        return value + by

    def changes(self) -> StateChange:
        """What has to be written. Raises :class:`BotError` for a value that is not JSON, naming its key."""
        if self._stored is None:
            return StateChange(self._scope, self._owner)
        written = {
            name: text
            for name, value in self._values.items()
            if name not in self._increments and (text := to_json(name, value)) != self._stored.get(name)
        }
        removed = frozenset(name for name in self._stored if name not in self._values)
        return StateChange(self._scope, self._owner, written, removed, dict(self._increments))

    def discard_changes(self) -> None:
        """Forget what was not stored yet."""
        self._stored = None
        self._values = {}
        self._increments = {}

    def _is_changed(self, name: str) -> bool:
        stored = (self._stored or {}).get(name)
        return (to_json(name, self._values[name]) if name in self._values else None) != stored

    def _load_values(self) -> dict[str, Any]:
        if self._stored is None:
            self._stored = self._load(self._scope, self._owner)
            self._values = {name: json.loads(text) for name, text in self._stored.items()}
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._load_values()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        check_state_key(name)
        to_json(name, value)
        self._increments.pop(name, None)
        self._load_values()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._load_values()[name]
        self._increments.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._load_values() if not name.startswith(RESERVED_PREFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Sent:
    """A message that a handler said. It may still be waiting to be sent; then ``id`` is None."""

    def __init__(self, sink: ReplySink, ordinal: int, operation: Operation, operations: list[Operation]) -> None:
        self._sink = sink
        self._ordinal = ordinal
        self._operation = operation
        self._operations = operations

    @property
    def id(self) -> str | None:
        """The platform's id of the message, None while it waits to be sent."""
        return self._sink.platform_id(self._ordinal)

    def edit(self, message: Message | str) -> None:
        """Make the message say something else. On platforms that cannot edit, it is said as a new message."""
        changed = Text(message) if isinstance(message, str) else message
        operation = self._follow_up("edit" if self._sink.capabilities.edit else "send", changed)
        self._sink.post(operation)
        self._operations.append(operation)

    def delete(self) -> None:
        """Take the message back. Raises :class:`BotError` on platforms that cannot."""
        if not self._sink.capabilities.delete:
            raise BotError("this platform cannot delete messages; ask ctx.capabilities.delete first")
        self._sink.post(self._follow_up("delete"))

    def preview(self, text: str) -> None:
        """Show an unfinished text in this message now; nothing of it is stored."""
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
    """One event on its way through middleware and a handler.

    Everything a handler does goes through here. Handlers are called with a context as their first argument.
    """

    def __init__(self, bot: Bot, event: Event, sink: ReplySink) -> None:
        self.bot = bot
        self.event = event
        self.match: re.Match[str] | None = None
        self.log: logging.LoggerAdapter[logging.Logger] = _LogAdapter(
            logging.getLogger(f"cometbot.bot.{bot.name}"),
            {"event": event.key, "conversation": str(event.conversation.key)},
        )
        self.said: list[Operation] = []
        """What was said so far for this event, in order; what the handler returns is not in it yet."""
        self._sink = sink
        self._bot_ids = bot.ids
        key = event.conversation.key
        owner = str(key)
        self.state = State("conversation", owner, sink.load_state)
        """What this bot remembers about this conversation."""
        person = event.sender.lasting_id or event.sender.uid
        self.user_state = State("user", f"{key.channel}/{key.account}/{key.bot}/{person}", sink.load_state)
        """What this bot remembers about the sender, in all conversations."""

    @cached_property
    def text(self) -> str:
        """What was written, without a leading mention of this bot; empty where nothing was."""
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
        """Whether the text speaks to this bot: it begins with a mention of it."""
        return self.message is not None and len(self.text) < len(self.message.text.strip())

    @property
    def message(self) -> MessageEvent | None:
        """The message that the event is, or was written in; None for events that are no message."""
        if isinstance(self.event, MessageEvent):
            return self.event
        return self.event.message if isinstance(self.event, ActionEvent) else None

    @property
    def sender(self) -> User:
        """Who wrote, pressed, or did what the event tells of."""
        return self.event.sender

    @property
    def conversation(self) -> Conversation:
        """Where it happened."""
        return self.event.conversation

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files that came with the message; none for other events."""
        return self.message.attachments if self.message else ()

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """Who is mentioned in the message; nobody for other events."""
        return self.message.mentions if self.message else ()

    @property
    def value(self) -> str:
        """The value of the button or choice; empty for other events."""
        return self.event.value if isinstance(self.event, ActionEvent) else ""

    @property
    def values(self) -> dict[str, str]:
        """A form's answers by field name; empty for other events."""
        return dict(self.event.values) if isinstance(self.event, ActionEvent) else {}

    @property
    def thread_id(self) -> str:
        """The id of the message that this thread hangs on; empty outside threads."""
        return str(getattr(self.event, "thread_id", ""))

    @property
    def is_mentioned(self) -> bool:
        """Whether the text names this bot."""
        if self.message is None:
            return False
        named = {mention.uid.lower() for mention in self.message.mentions}
        text = self.message.text.lower()
        return any(uid.lower() in named or f"<@uid:{uid.lower()}>" in text for uid in self._bot_ids)

    @property
    def capabilities(self) -> Capabilities:
        """What the platform that the event came from can carry."""
        return self._sink.capabilities

    @property
    def client(self) -> Any:
        """The platform's own client, for what cometbot has no word for."""
        return self._sink.client

    def reply(self, message: Message | str, *, quote: bool = False) -> Sent:
        """What was said: to the sender one-to-one, to the group in a group, into the thread where the event was in one.

        It is stored before it is sent, and never said twice for one event. Several replies arrive in the order they
        were made. ``quote`` refers to the message that is answered, where the platform can. Raises
        :class:`MessageError` for a message that no platform would take.
        """
        return self.send(message, to=self.conversation, quote_id=self._message_id if quote else "")

    def send(self, message: Message | str, *, to: Conversation, quote_id: str = "") -> Sent:
        """What was said to ``to``, which may be another conversation of the same bot."""
        messages = to_messages(message)
        if len(messages) != 1:
            raise BotError("reply() and send() take one message, and a text must not be empty")
        return self._post(self.operation(messages[0], to=to, quote_id=quote_id))

    def conversation_with(self, *, user: str = "", group: str = "") -> Conversation:
        """Another conversation of this bot on the same platform: with one user (a uid), or a group's (a guid).

        ::

            ctx.send("Somebody asks for help.", to=ctx.conversation_with(group="team"))

        What is sent there is stored under the event like a reply: a handler that runs again does not say it again.
        Raises :class:`BotError` unless one of ``user`` and ``group`` is given, and where the platform has no such
        conversation.
        """
        if bool(user) == bool(group):
            raise BotError("a conversation is with either a user or a group: give conversation_with() one of them")
        return self._sink.conversation(self.bot, user, group)

    def _post(self, operation: Operation) -> Sent:
        sent = Sent(self._sink, self._sink.post(operation), operation, self.said)
        self.said.append(operation)
        return sent

    def operation(self, message: Message, *, to: Conversation | None = None, quote_id: str = "") -> Operation:
        """The operation that says ``message`` in answer to this event."""
        here = to is None or to == self.conversation
        return Operation(
            conversation=to or self.conversation,
            message=message,
            thread_id=self.thread_id if here else "",
            quote_id=quote_id,
            reply_to=self._message_id if here else "",
        )

    def react(self, reaction: str) -> None:
        """Put a reaction (an emoji) on the message that is answered. Raises :class:`BotError` where that cannot be."""
        if not self.capabilities.react or not self._message_id:
            raise BotError(
                "there is no message here that this platform could react to; ask ctx.capabilities.react first"
            )
        self._sink.post(
            Operation(conversation=self.conversation, kind="react", message_id=self._message_id, reaction=reaction)
        )

    def stream(self, parts: Iterable[str]) -> Sent | None:
        """Send the message that ``parts`` make, which may come slowly. Return it, or None if all parts are blank.

        On platforms that can edit or show pieces, the message appears with the first words and grows at the pace the
        platform allows, in updates that become larger with the text. On the others it is sent once, when it is whole.
        Only the whole text is promised to arrive. The updates have at most as many bytes as the text. Raises
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
        # The same name in every run of the handler, so that a reader knows a stream again that was begun before.
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
        """Show ``pieces``, the first as number ``sequence``. Return the number of the next one."""
        for piece in pieces:
            self._sink.stream_delta(stream_id, sequence, piece)
            sequence += 1
        return sequence

    def history(self, limit: int = 20) -> list[MessageEvent]:
        """Return the newest ``limit`` messages of this conversation, the oldest first, the event's own included.

        The bot's own messages come without the line that tells users how to answer an offer.
        """
        own = {uid.lower() for uid in self._bot_ids}
        return [
            replace(message, text=remove_answer_hint(message.text)) if message.sender.uid.lower() in own else message
            for message in self._sink.history(self.conversation, limit)
        ]

    def begin(self, handler: str, timeout: float | None) -> None:
        """Note which handler has the event now (empty while it is searched), and how many seconds that may take."""
        self._sink.start_handler(handler, timeout)

    def fail(self) -> None:
        """Note that what is said from now on is said because the handler raised."""
        self._sink.mark_failed()

    @property
    def _message_id(self) -> str:
        message = self.message
        return message.id if message is not None else str(getattr(self.event, "message_id", ""))


def _rejoin_surrogates(parts: Iterable[str]) -> Iterator[str]:
    """Yield ``parts`` with U+FFFD for lone surrogates; a character that is cut between two parts comes whole.

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
