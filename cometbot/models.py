"""The values that events and messages refer to: users, groups, conversations and attachments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cometbot.errors import BotError, Rejected
from cometbot.text import clean_file_name, decode_text

DEFAULT_READ_LIMIT = 25 * 1024 * 1024
"""The bytes that an attachment may have if the author sets no limit."""

SCOPES = ("owner", "admin", "moderator", "participant")
"""The scopes that a user may have in a group, on every channel."""

file_reader: ContextVar[Callable[[Attachment, int], bytes] | None] = ContextVar("cometbot_file_reader", default=None)
"""Loads an attachment of at most so many bytes. It is set while a handler runs."""


def check_recipient(user: str, group: str, error: type[BotError] = BotError) -> None:
    """Raise ``error`` unless exactly one of ``user`` (a uid) and ``group`` (a guid) is given."""
    if bool(user) == bool(group):
        raise error(f"recipient: expected either a user or a group, got {'both' if user else 'neither'}")


class ConversationKey(NamedTuple):
    """The key of a conversation, unique among all channels, accounts and bots. It is the unit of order."""

    channel: str
    account: str
    bot: str
    conversation: str

    def __str__(self) -> str:
        account = self.account.replace("/", "%2F")
        return f"{self.channel}/{account}/{self.bot}/{self.conversation}"

    @classmethod
    def parse(cls, text: str) -> ConversationKey:
        """Return the key that ``str`` has written."""
        channel, account, bot, conversation = text.split("/", 3)
        return cls(channel, account.replace("%2F", "/"), bot, conversation)


@dataclass(frozen=True, slots=True)
class User:
    """A user, as the platform described them with the event. Everything but ``uid`` may be empty.

    ``scope`` is what the user is in the group: ``owner``, ``admin``, ``moderator`` or ``participant``; empty where the
    platform does not say it with the event (see :attr:`Context.sender_scope`). ``lasting_id`` is set where a platform
    may reassign the uid of a removed user. It never belongs to another user. ``channel`` is set only by handlers that
    name a user of another channel (``ctx.approve``).
    """

    uid: str
    name: str = ""
    avatar: str = ""
    link: str = ""
    role: str = ""
    status: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    lasting_id: str = field(default="", repr=False, compare=False)
    channel: str = field(default="", compare=False)
    scope: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name or self.uid


def to_scope(role: str) -> str:
    """Return the scope for a platform's name of what a member is: one of :data:`SCOPES`, or empty for no name."""
    return role if role in SCOPES else "participant" if role else ""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users, identified by its ``guid``. ``type`` is ``public``, ``password`` or ``private``.

    ``channel`` is set only by handlers that name a group of another channel (``ctx.approve``).
    """

    guid: str
    name: str = ""
    type: str = ""
    icon: str = ""
    description: str = ""
    owner: str = ""
    scope: str = ""
    members_count: int | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    channel: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name or self.guid


_APP_PREFIX = "cometbot:app:"
"""The beginning of the ids of conversations that are no chats. No platform has such ids."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A one-to-one chat or a group.

    ``id`` is the channel's own id of it. ``target`` is the recipient to send to: the other user's uid one-to-one, the
    guid in a group. Reports that concern no conversation of the bot, such as the presence of users, have one too
    (:attr:`is_app`).
    """

    channel: str
    account: str
    bot: str
    id: str
    target: str
    is_group: bool = False
    key: ConversationKey = field(init=False, repr=False, compare=False)
    """The key of this conversation among all channels, accounts and bots."""
    key_text: str = field(init=False, repr=False, compare=False)
    """``str(key)``, made once."""

    def __post_init__(self) -> None:
        key = ConversationKey(self.channel, self.account, self.bot, self.id)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "key_text", str(key))

    @property
    def is_direct(self) -> bool:
        """True if this is a one-to-one conversation."""
        return not (self.is_group or self.is_app)

    @property
    def is_app(self) -> bool:
        """True if this is no chat, but holds the platform's reports of one kind about its whole app.

        Nothing can be sent to it.
        """
        return not self.target and self.id.startswith(_APP_PREFIX)

    @classmethod
    def of_app(cls, channel: str, account: str, bot: str, kind: str) -> Conversation:
        """Return the conversation of the reports of one ``kind`` about the whole app ``account``."""
        return cls(channel, account, bot, f"{_APP_PREFIX}{kind}", "")


def conversation_to_json(conversation: Conversation) -> dict[str, Any]:
    """Return the arguments of a conversation, as JSON."""
    names = ("channel", "account", "bot", "id", "target", "is_group")
    return {name: getattr(conversation, name) for name in names}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message. ``size`` is in bytes, None if the platform does not report it.

    ``name`` is the sender's name for it, without folders, control characters and direction overrides, on every channel.
    The original name is in the event's ``raw``. ``message_id`` is set where a new address can be asked for.
    """

    url: str
    name: str = ""
    mime_type: str = ""
    extension: str = ""
    size: int | None = None
    message_id: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_file_name(self.name))
        object.__setattr__(self, "extension", clean_file_name(self.extension))

    def read(self, *, limit: int = DEFAULT_READ_LIMIT) -> bytes:
        """Return the content, on every channel. If the address has run out, a new one is asked for where possible.

        It works in handlers, plain and async alike, and in the middleware around them. Each call loads the file again.
        Raises :class:`Rejected` for a file that is gone or has more than ``limit`` bytes, any other
        :class:`ChannelError` if it cannot be loaded now, and :class:`BotError` outside of handlers.
        """
        read = file_reader.get()
        if read is None:
            raise BotError("attachment.read: it works while a handler runs; pass the content on, not the attachment")
        if self.size is None or self.size <= limit:
            content = read(self, limit)
            if len(content) <= limit:
                return content
        raise Rejected(f"the file {self.name!r} is larger than {limit} bytes, the limit", code="file_too_large")

    def text(self, *, limit: int = DEFAULT_READ_LIMIT, encoding: str = "") -> str:
        """Return the content of :meth:`read` as text.

        Without ``encoding``, a byte order mark decides, then UTF-8 if it fits, else Windows-1252. Bytes that cannot
        be decoded become U+FFFD.
        """
        content = self.read(limit=limit)
        return content.decode(encoding, "replace") if encoding else decode_text(content)


@dataclass(frozen=True, slots=True)
class Mention:
    """A user who is mentioned in a text."""

    uid: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The earlier message that a message quotes."""

    id: str
    text: str = ""
    sender: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool of the client that an event came from, such as a page that can show a map.

    Handlers call it with ``ctx.call``. ``parameters`` is the JSON schema of its arguments, as the client wrote it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallParticipant:
    """A participant of a call or meeting, as the platform reports it: by name, without a uid.

    Times are in Unix seconds, 0 if the platform does not report them. ``audio_only`` is None if it is not known.
    """

    name: str
    joined_at: float = 0
    left_at: float = 0
    audio_only: bool | None = None


@dataclass(frozen=True, slots=True)
class ModerationRule:
    """A rule of the platform's moderation that matched. ``condition`` describes what matched, for people."""

    id: str
    name: str = ""
    actions: tuple[str, ...] = ()
    condition: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ModerationFailure:
    """Why an engine of the platform's moderation returned no decision.

    ``category`` is ``http_4xx``, ``http_5xx``, ``timeout``, ``connection_error``, ``invalid_response`` or
    ``not_configured``. ``engine`` is ``custom_api`` or ``openai``, ``setting`` the app's setting that applied
    (``approve-message`` or ``drop-message``). ``status`` is the engine's HTTP status, None if it sent none, and
    ``response`` the beginning of its body, which may be cut.
    """

    category: str
    error_text: str = ""
    engine: str = ""
    setting: str = ""
    rule: ModerationRule | None = None
    status: int | None = None
    response: str = ""
    url: str = ""
    failed_at: float = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class AgentToolCall:
    """A call of a tool by an agent of the platform. ``arguments`` are as the agent wrote them, usually JSON."""

    id: str
    name: str
    arguments: str = ""
