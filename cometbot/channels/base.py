"""The interface of a channel, the adapter to a platform, and of the delivery that it works with."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, Literal, Protocol, TypeAlias

from cometbot.bot import Bot
from cometbot.errors import BotError
from cometbot.events import Event, MessageEvent
from cometbot.jobs import JOBS_CHANNEL
from cometbot.messages import Capabilities, Message, Operation, Text
from cometbot.models import Attachment, Conversation, ConversationKey, User
from cometbot.splitting import utf8_size
from cometbot.state import StateChange
from cometbot.steps import Waiting
from cometbot.token_usage import ModelUsage

Transaction: TypeAlias = Any
"""An open transaction of the store, which delivery and channels pass on to each other."""

MAX_KEY_BYTES = 1500
"""The bytes that an event's key may have: databases limit the size of an index entry."""

FILE_TIMEOUT = 60.0
"""Seconds that a file may take until it is loaded."""

MEMBER_TIMEOUT = 8.0
"""Seconds that a platform has to say if a user is a member of a group."""

MEMBERS_TIMEOUT = 30.0
"""Seconds that a platform has to list all members of a group."""

EndKind = Literal["done", "failed", "timeout", "over"]

_UNSTORABLE_PATTERN = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_KEY_KIND_PATTERN = re.compile("[!-~]{1,40}")


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An incoming event as it is stored: its conversation, its unique key, and its unparsed body.

    ``sender`` is the uid of the user who caused it. ``received_at`` is set by the store. If a ``key`` is too long for
    an index or contains control characters, a hash replaces everything behind its kind.
    """

    conversation: Conversation
    key: str
    body: bytes
    sender: str = ""
    received_at: float = 0

    def __post_init__(self) -> None:
        key = self.key
        if not (key.isascii() and key.isprintable() and len(key) <= MAX_KEY_BYTES):
            object.__setattr__(self, "key", to_storable_key(key))


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """One stored request to a platform.

    ``payload`` is the result of the channel's ``render``. ``client_id`` is the id under which the platform can find it
    again. ``target_id`` is the platform's id of the bot's own earlier message that this one refers to.
    """

    conversation: Conversation
    client_id: str
    payload: Mapping[str, Any] = field(repr=False)
    target_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventEnd:
    """How the handling of an event has ended, for a channel whose client waits for that.

    ``kind`` is ``done``, ``failed``, ``timeout`` (the handler did not end in time) or ``over`` (the question that it
    answers is not open any more). ``waiting`` is what a suspended handler waits for, and ``dialog`` its dialog. The
    event was tried again as a dead letter ``generation`` times. ``usage`` are the calls of models of the last run.
    """

    key: str
    kind: EndKind = "done"
    generation: int = 0
    dialog: str = ""
    waiting: Waiting | None = None
    usage: Sequence[ModelUsage] = ()


class DeliveryService(Protocol):
    """The part of delivery that a channel's views may use."""

    @property
    def bots(self) -> Mapping[str, Bot]:
        """The bots that are served, by name."""
        ...

    def enqueue(self, incoming: IncomingEvent) -> bool:
        """Store an event durably. Return True if it is new.

        Raises ``StoreBusy`` if the database did not confirm the write in time.
        """
        ...

    def enqueue_in(self, transaction: Transaction, incoming: IncomingEvent) -> bool:
        """Store an event in the caller's transaction. Return True if the caller must :meth:`notify` after the commit.

        False if the event is already known, or if a worker is processing the conversation and need not look at once.
        """
        ...

    def enqueue_outgoing_in(
        self,
        transaction: Transaction,
        conversation: Conversation,
        payloads: Sequence[Mapping[str, Any]],
        event: str = "",
    ) -> bool:
        """Store requests to a platform in the caller's transaction, in the form that the channel's ``render`` returns.

        Return True if the caller must :meth:`notify` the conversation after the commit. Nothing is stored again under
        an ``event`` that was stored before. Raises :class:`BotError` if the channel is not configured here.
        """
        ...

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Notify a worker that ``str(conversation.key)`` has pending work; with ``to_send``, only replies."""
        ...

    def has_conversation(self, key: ConversationKey) -> bool:
        """Return True if this bot received or sent something here, or was added with :meth:`add_conversations`."""
        ...

    def add_conversations(self, conversations: Iterable[Conversation]) -> None:
        """Store that the bot takes part in these conversations, which have no messages yet."""
        ...

    def find_sent_conversation(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        """Return the conversation in which the bot's own message with this id was sent, or None if it is not known."""
        ...

    def find_received_conversation(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        """Return the conversation of the event stored under ``key``, or None if it is not known or no longer stored."""
        ...


class StoredFiles(Protocol):
    """The files that bots have sent, as channels need them."""

    def open_url(self, url: str) -> tuple[str, int, BinaryIO] | None:
        """Return the name, the size and the content of the file at an address of this server.

        None for any other URL, and if the file is gone.
        """
        ...


class Channel(ABC):
    """The base class of all channels. A channel is the adapter to one platform.

    ``render`` is pure. ``send`` and ``find_sent`` call the platform and raise the :class:`ChannelError`
    that fits; delivery decides what follows. Many threads use a channel at once. Its routes, if it has any, are passed
    to ``create_app`` as ``blueprints``.
    """

    name: ClassVar[str]
    has_single_sender: ClassVar[bool] = False
    """True if only one process can send, because it holds the connection to the platform."""
    has_stored_conversations: ClassVar[bool] = False
    """True if :meth:`conversation` returns the conversation as it is stored.

    Otherwise delivery looks up the name that the platform has used for it.
    """
    takes_files: ClassVar[bool] = False
    """True if users get the files that the bot has (``Media(data=…)``) without a public URL of this server."""
    reports_ends: ClassVar[bool] = False
    """True if :meth:`render_end` is called for each event, and what it returns is sent behind all replies to it."""
    capabilities: Capabilities
    app: str = ""
    """The name of the channel's app, where a process serves several apps of one platform; empty for the only one."""

    @property
    def can_send(self) -> bool:
        """True if this process can send. The value is constant while the process runs.

        If it is False, replies are stored, and the process that can send them does so.
        """
        return True

    @property
    def home(self) -> Channel:
        """The channel that handlers of events of this one mean if they name none: this one itself."""
        return self

    def internal_bots(self) -> Sequence[Bot]:
        """Return bots that are not served and handle nothing, but in whose conversations this channel sends."""
        return ()

    @property
    @abstractmethod
    def account(self) -> str:
        """The owner of the message ids on this platform, such as the app id or the profile."""

    @abstractmethod
    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        """Return the conversation of ``bot`` with one user, or of one group."""

    @abstractmethod
    def parse(self, incoming: IncomingEvent) -> Event:
        """Return the event in a stored body.

        Raises :class:`PayloadError` if the body does not have the right shape. Raises a :class:`ChannelError` or
        :class:`StoreBusy` if the event cannot be fetched from its platform now; delivery then tries again.
        """

    @abstractmethod
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        """Return the requests that carry out ``operation``, in order, as JSON values that :meth:`send` accepts.

        A long text is split into several. A message that the platform cannot show is sent as text (see
        :func:`fall_back_to_text`). Raises :class:`MessageError` with the limit if a message exceeds a limit of the
        platform and cannot be split.
        """

    def render_end(self, end: EventEnd) -> Mapping[str, Any]:
        """Return the request that reports the end of an event. Called only if :attr:`reports_ends` is true."""
        raise NotImplementedError  # pragma: no cover - a channel that reports ends has its own

    @abstractmethod
    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Carry out a request within ``timeout`` seconds in all. Return the platform's id for it, or an empty str."""

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        """Return the platform's id of an earlier :meth:`send` whose outcome is unknown, or None if it did not arrive.

        None also if the platform cannot tell; delivery then sends it again. Raises a :class:`ChannelError` if the
        search is not possible now and should be repeated later. Called only if ``capabilities.look_up`` is true.
        """
        return None

    def cooldown(self) -> float:
        """Return for how many seconds the platform accepts no requests, according to its last response; 0 for none."""
        return 0.0

    def preview(self, conversation: Conversation, message_id: str, text: str) -> None:
        """Show an unfinished text in a message, if that is possible now.

        Called only if ``capabilities.stream_interval`` is set.
        """

    def stream_delta(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        """Show the next piece of a message that is not sent yet, if that is possible now. None abandons the message.

        Called only if ``capabilities.deltas`` is true. Pieces are numbered from 0. They are not stored.
        """

    def show_tool_call(self, conversation: Conversation, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        """Show that an agent calls a tool, if that is possible now. ``call_id`` is the same in all runs of the handler.

        Called only if ``capabilities.tool_calls`` is true. Calls and their results are not stored.
        """

    def show_tool_result(self, conversation: Conversation, call_id: str, content: str) -> None:
        """Show the result of a tool that :meth:`show_tool_call` has shown: the text that the agent's model gets."""

    def has_member(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> bool:
        """Return True if ``user`` takes part in the conversation now, as far as the platform can tell.

        By default, everybody does who writes in a group: platforms relay only what members write. Raises a
        :class:`ChannelError` if the platform cannot be asked within ``timeout`` seconds.
        """
        return conversation.is_group or user.uid.casefold() == conversation.target.casefold()

    def normalize_uid(self, uid: str) -> str:
        """Return the same text for all ways to write a uid that name one user."""
        return uid

    def lasting_id(self, conversation: Conversation) -> str:
        """Return the id under which the state of the user of a one-to-one conversation is stored.

        It is the ``lasting_id`` of the sender there, or else the uid.
        """
        return conversation.target

    def members(self, conversation: Conversation, *, timeout: float = MEMBERS_TIMEOUT) -> list[User]:
        """Return all members of a group with their scopes (:data:`~cometbot.models.SCOPES`), without the bot itself.

        Raises a :class:`ChannelError` if the platform does not list them within ``timeout`` seconds. Called only if
        ``capabilities.members`` is true.
        """
        raise NotImplementedError  # pragma: no cover - a channel that lists members has its own

    def get_scope(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> str:
        """Return what ``user`` is in a group now, or an empty text for a user who is no member of it.

        Raises a :class:`ChannelError` if the platform cannot be asked within ``timeout`` seconds. Called only if
        ``capabilities.members`` is true.
        """
        uid = user.uid.casefold()
        found = self.members(conversation, timeout=timeout)
        return next((member.scope for member in found if member.uid.casefold() == uid), "")

    def hears_only_mentions(self, bot: Bot) -> bool:
        """Return True if, in groups, ``bot`` gets only messages that mention it. Its questions then say so."""
        return False

    def set_typing(self, conversation: Conversation, is_typing: bool) -> None:
        """Show that a handler began or ended its work on a message here, if that is possible now."""

    def set_status(self, conversation: Conversation, text: str) -> None:
        """Show for a moment what a handler is doing, if that is possible now; :meth:`set_typing` ends it.

        Called only if ``capabilities.status`` is true.
        """

    def filter_state_changes(self, transaction: Transaction, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        """Return the ``changes`` to store, without those of users or conversations removed since the handler began.

        Called in the transaction that stores them.
        """
        return changes

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return the newest messages of a conversation, oldest first; empty if the platform has no history."""
        return []

    def transcript(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return what :meth:`history` does, for a reader who sees texts alone.

        The bot's own cards, choices and forms have their content as text, and presses of buttons the button's label.
        Channels override this whose history has neither.
        """
        return self.history(conversation, limit)

    def read_file(self, file: Attachment, client: Any, *, limit: int, timeout: float = FILE_TIMEOUT) -> bytes:
        """Return the content of a file that a user sent, loaded with ``client``, which may only read.

        By default, it is what the client's ``download`` returns. Raises :class:`Rejected` for a file that is gone or
        has more than ``limit`` bytes, and another :class:`ChannelError` if it cannot be loaded now.
        """
        if client is None:
            raise BotError(f"attachment.read: the channel {self.name} has no client that loads files")
        content: bytes = client.download(file.url, limit=limit, timeout=timeout)
        return content

    def client(self, bot: str) -> Any:
        """Return the platform's API client for ``bot``, or None if there is none."""
        return None

    def readonly_client(self, bot: str, on_write: Callable[[str], None]) -> Any:
        """Return a client like :meth:`client` that only reads, for a dry run.

        It passes a description of each other call to ``on_write`` and does not carry it out.
        """
        return None

    def is_bot(self, uid: str) -> bool:
        """Return True if the platform lists this user as a bot, as far as that is known without a request."""
        return False

    def refresh(self) -> None:
        """Update the data cached from the platform. Called every few minutes, in the background."""

    def attach(self, delivery: DeliveryService) -> None:
        """Store a reference to the delivery of this channel. Called once, before any other method."""

    def attach_files(self, files: StoredFiles) -> None:
        """Store a reference to the files that bots send. Called once, after :meth:`attach`."""

    def close(self) -> None:
        """Close connections."""


class Channels(Mapping[str, Channel]):
    """The channels of a process by their names.

    A name may have several channels, one for each app. The mapping has the first of them; :meth:`of` returns the one
    that a conversation belongs to, by its name and account. ``aliases`` are further names of channels, and
    ``app_aliases`` further apps that one stands for.
    """

    def __init__(
        self,
        channels: Iterable[Channel],
        aliases: Mapping[str, Channel] | None = None,
        app_aliases: Mapping[str, Channel] | None = None,
    ) -> None:
        self.all = tuple(channels)
        self.aliases = dict(aliases or {})
        self.app_aliases = dict(app_aliases or {})
        self._by_name = self.aliases | {channel.name: channel for channel in reversed(self.all)}
        self._names = tuple(dict.fromkeys([*(channel.name for channel in self.all), *self.aliases]))
        with_apps = [channel for channel in self.all if channel.app]
        self._by_account = {(channel.name, channel.account): channel for channel in with_apps}
        self.accounts: Mapping[str, frozenset[str]] = {
            name: frozenset(account for of, account in self._by_account if of == name)
            for name in dict.fromkeys(channel.name for channel in with_apps)
        }
        """The accounts of the channels with apps, by name. Of other channels, every account is served."""

    def __getitem__(self, name: str) -> Channel:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, conversation: Conversation) -> Channel | None:
        """Return the channel of a conversation, or None if its channel or its app is not served here."""
        if conversation.channel in self.accounts:
            return self._by_account.get((conversation.channel, conversation.account))
        return self._by_name.get(conversation.channel)

    def of(self, conversation: Conversation) -> Channel:
        """Return the channel of a conversation.

        Raises :class:`BotError`, with what to do, if its channel or its app is not served here.
        """
        return self.of_account(conversation.channel, conversation.account)

    def of_account(self, name: str, account: str) -> Channel:
        """Return the channel called ``name`` with this account; raises what :meth:`of` raises."""
        if name not in self.accounts:
            return self.choose(name)
        found = self._by_account.get((name, account))
        if found is None:
            raise self._unknown_app(account)
        return found

    def choose(self, name: str = "", app: str = "") -> Channel:
        """Return the channel called ``name``, and of several ones that of ``app``, a name or an account.

        Without a name it is the first channel, or the first with that app. Raises :class:`BotError`, with what to do,
        if it is not configured.
        """
        if app:
            named = (channel for channel in self.all if channel.app and name in ("", channel.name))
            found = next((channel for channel in named if app in (channel.app, channel.account)), None)
            found = found or self.app_aliases.get(app)
            if found is None:
                raise self._unknown_app(app)
            return found
        if not name and self.all:
            return self.all[0]
        if name not in self._by_name:
            known = ", ".join(each for each in self if each != JOBS_CHANNEL) or "none"
            raise BotError(
                f"the channel {name!r} is not configured here; there is: {known}. Add it to COMETBOT_CHANNELS of every "
                "process, or name another channel"
            )
        return self._by_name[name]

    def get_app(self, conversation: Conversation) -> str:
        """Return the name of a conversation's app, or its account if it is not served here; empty without apps."""
        if conversation.channel not in self.accounts:
            return ""
        found = self.find(conversation)
        return conversation.account if found is None else found.app

    def _unknown_app(self, app: str) -> BotError:
        known = [*(channel.app for channel in self.all if channel.app), *self.app_aliases]
        if not known:
            return BotError(f"app: the server has one app only, got {app!r}; leave it out, or set COMETCHAT_APPS")
        return BotError(
            f"the app {app!r} is not served here; there is: {', '.join(known)}. Add it to COMETCHAT_APPS of every "
            "process, or name another app"
        )


def fall_back_to_text(message: Message, capabilities: Capabilities) -> Message:
    """Return ``message`` itself if the channel renders its class, otherwise its text form."""
    if type(message) in capabilities.native:
        return message
    return Text(message.to_text(), metadata=message.metadata, tags=message.tags)


def to_storable_key(key: str) -> str:
    """Return ``key`` in a form that fits into an index.

    A hash replaces all but the kind if the key is too long or contains control characters.
    """
    if key.startswith("cometbot:"):  # cometbot's own rows in the mailbox
        key = f"event:{key}"
    if _UNSTORABLE_PATTERN.search(key) is None and utf8_size(key) <= MAX_KEY_BYTES:
        return key
    kind = key.partition(":")[0]
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind}:{digest}" if _KEY_KIND_PATTERN.fullmatch(kind) else digest
