"""What comes in. Every channel turns its platform's payloads into these classes and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.models import Attachment, Conversation, Group, Mention, Quote, User


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events have.

    ``key`` is what makes two reports of one happening the same (``message:712``); ``sent_at`` is in Unix seconds, 0
    where the platform did not say; ``raw`` is the platform's payload, whole and unchanged.
    """

    key: str
    conversation: Conversation
    sender: User
    group: Group | None = None
    sent_at: float = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class MessageEvent(Event):
    """Somebody wrote something.

    ``type`` is ``text``, ``image``, ``file``, ``audio``, ``video``, or what the platform calls it (``location``,
    ``form`` …); ``category`` is ``message``, ``custom``, ``interactive`` or ``card``. ``text`` is as written, mentions
    in it spelled ``<@uid:UID>``. ``thread_id`` is the id of the message that the thread hangs on, empty outside
    threads. ``data`` is what a custom, interactive or card message carries. ``moderation`` is ``pending``,
    ``approved``, ``disapproved`` … or empty.
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
    """Somebody pressed a button, took an offered choice (also by writing its text or number) or sent a form.

    ``name`` is the action of the button, choices or form; ``value`` what was chosen; ``values`` a form's fields by
    name. ``message`` is the text message that it was written in, None for a real press.
    """

    name: str
    value: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    message: MessageEvent | None = None
    message_id: str = ""
    thread_id: str = ""


@dataclass(frozen=True, kw_only=True)
class MembershipEvent(Event):
    """Who belongs to a group has changed.

    ``action`` is ``added``, ``joined``, ``left``, ``kicked``, ``banned``, ``unbanned``, ``scope_changed`` or
    ``owner_transferred``; ``members`` are those it happened to; ``sender`` is who did it.
    """

    action: str
    members: tuple[User, ...] = ()
    scope: str = ""
    old_scope: str = ""


@dataclass(frozen=True, kw_only=True)
class ContactEvent(Event):
    """Somebody became a contact or asked to: ``action`` is ``request`` or ``connected``."""

    action: str


@dataclass(frozen=True, kw_only=True)
class EditEvent(Event):
    """A message was changed; ``message`` is what it says now."""

    message: MessageEvent


@dataclass(frozen=True, kw_only=True)
class DeleteEvent(Event):
    """A message was taken back."""

    message_id: str
    message: MessageEvent | None = None


@dataclass(frozen=True, kw_only=True)
class ReactionEvent(Event):
    """Somebody put a reaction on a message, or took it away."""

    message_id: str
    reaction: str
    added: bool = True


@dataclass(frozen=True, kw_only=True)
class CallEvent(Event):
    """An audio or video call changed its state.

    ``action`` is ``initiated``, ``ongoing``, ``cancelled``, ``rejected``, ``unanswered``, ``busy`` or ``ended``, or
    what else the platform reports of a call (``participant_joined``). ``type`` is ``audio`` or ``video``. ``id`` and
    ``type`` are empty where the platform names the session alone.
    """

    id: str
    action: str
    type: str = ""
    session_id: str = ""


@dataclass(frozen=True, kw_only=True)
class CustomEvent(Event):
    """The sender's application told the bot something that is no message: a click, a page that was opened.

    ``data`` is what it said, an object of its own making; ``id`` is the platform's.
    """

    id: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """Something well-formed that cometbot has no class for; ``kind`` is the platform's word for it."""

    kind: str
