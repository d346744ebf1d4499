"""Incoming events. Every channel converts its platform's payloads to these classes and to no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.models import Attachment, ClientTool, Conversation, Group, Mention, Quote, User


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base class of all events.

    ``key`` identifies the event: two reports of one event have the same key (``message:712``). ``sent_at`` is in Unix
    seconds, 0 if the platform does not report it. ``raw`` is the platform's payload, complete and unchanged.
    ``client_tools`` are the tools that the client offers with it.
    """

    key: str
    conversation: Conversation
    sender: User
    group: Group | None = None
    sent_at: float = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    client_tools: tuple[ClientTool, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MessageEvent(Event):
    """A message was sent.

    ``type`` is ``text``, ``image``, ``file``, ``audio``, ``video``, or the platform's own type (``location``, ``form``
    …). ``category`` is ``message``, ``custom``, ``interactive`` or ``card``. ``text`` is as written, with mentions
    spelled ``<@uid:UID>``. ``thread_id`` is the id of the thread's first message, empty outside threads. ``data`` is
    the content of a custom, interactive or card message. ``moderation`` is ``pending``, ``approved``, ``disapproved`` …
    or empty.
    """

    id: str
    type: str = "text"
    category: str = "message"
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[Mention, ...] = ()
    thread_id: str = ""
    quote: Quote | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    moderation: str = ""
    muid: str = ""


@dataclass(frozen=True, kw_only=True)
class ActionEvent(Event):
    """A button was pressed, a choice was selected or a form was sent. Users can also do so by a text or number.

    ``name`` is the action of the button, choices or form. ``value`` is the selected value as text (``ctx.value`` is the
    value that the bot gave). ``values`` are a form's values by field name. ``message`` is the text message that the
    action was written in, or None for a real press. With ``cancels``, the user has declined to answer a question.
    """

    name: str
    value: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    message: MessageEvent | None = None
    message_id: str = ""
    thread_id: str = ""
    cancels: bool = False


@dataclass(frozen=True, kw_only=True)
class MembershipEvent(Event):
    """The members of a group changed.

    ``action`` is ``added``, ``joined``, ``left``, ``kicked``, ``banned``, ``unbanned``, ``scope_changed`` or
    ``owner_transferred``. ``members`` are the users it concerns; ``sender`` is the user who did it.
    """

    action: str
    members: tuple[User, ...] = ()
    scope: str = ""
    old_scope: str = ""


@dataclass(frozen=True, kw_only=True)
class ContactEvent(Event):
    """A user became a contact or asked to become one. ``action`` is ``request`` or ``connected``."""

    action: str


@dataclass(frozen=True, kw_only=True)
class ConversationStarted(Event):
    """A conversation with the bot has begun, before anybody has written.

    A user has opened it or become a contact, or the bot was added to a group. ``sender`` is who did it. Where a
    platform reports that as another event, it is both: a :class:`ContactEvent` or a :class:`MembershipEvent`.
    """


@dataclass(frozen=True, kw_only=True)
class ContactStarted(ContactEvent, ConversationStarted):
    """A user became a contact, with whom the conversation begins."""


@dataclass(frozen=True, kw_only=True)
class GroupStarted(MembershipEvent, ConversationStarted):
    """The bot became a member of a group, with which the conversation begins."""


@dataclass(frozen=True, kw_only=True)
class EditEvent(Event):
    """A message was edited. ``message`` has its new content."""

    message: MessageEvent


@dataclass(frozen=True, kw_only=True)
class DeleteEvent(Event):
    """A message was deleted."""

    message_id: str
    message: MessageEvent | None = None


@dataclass(frozen=True, kw_only=True)
class ReactionEvent(Event):
    """A reaction was added to a message or removed from it."""

    message_id: str
    reaction: str
    added: bool = True


@dataclass(frozen=True, kw_only=True)
class CallEvent(Event):
    """An audio or video call changed its state.

    ``action`` is ``initiated``, ``ongoing``, ``cancelled``, ``rejected``, ``unanswered``, ``busy`` or ``ended``, or
    another report of the platform about a call (``participant_joined``). ``type`` is ``audio`` or ``video``. ``id`` and
    ``type`` are empty if the platform reports only the session.
    """

    id: str
    action: str
    type: str = ""
    session_id: str = ""


@dataclass(frozen=True, kw_only=True)
class CustomEvent(Event):
    """The sender's application reported something other than a message, such as a click or an opened page.

    ``data`` is an object defined by the application. ``id`` is the platform's.
    """

    id: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JobEvent(Event):
    """The time of a job has come.

    ``name`` is that of the job, ``handler`` that of its function. ``due_at`` is the time that it was scheduled for, in
    Unix seconds. ``origin`` is the conversation in which a handler scheduled it, None if the bot's code did, and
    ``sender`` the user for whose event that handler ran.
    """

    handler: str
    name: str
    due_at: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    origin: Conversation | None = None


@dataclass(frozen=True, kw_only=True)
class HandOffEvent(Event):
    """People have handed a user back to the bot, or a hand-off has ended otherwise (``ctx.hand_off``).

    ``status`` is ``done``, ``expired``, ``cancelled`` or ``resumed``. ``by`` is who wrote ``/done``, None otherwise.
    ``sender`` is the user who was handed over.
    """

    status: str
    by: User | None = None


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """A well-formed event that cometbot has no class for. ``kind`` is the platform's name for it."""

    kind: str
