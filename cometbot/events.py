"""Incoming events. Every channel converts its platform's payloads to these classes and to no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.models import (
    AgentToolCall,
    Attachment,
    CallParticipant,
    ClientTool,
    Conversation,
    Group,
    Mention,
    ModerationFailure,
    ModerationRule,
    Quote,
    User,
)


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
    ``type`` are empty if the platform reports only the session. ``participants`` are those whom the report concerns.
    ``started_at`` and ``ended_at`` are in Unix seconds, 0 if the platform does not report them.
    """

    id: str
    action: str
    type: str = ""
    session_id: str = ""
    participants: tuple[CallParticipant, ...] = ()
    started_at: float = 0
    ended_at: float = 0


@dataclass(frozen=True, kw_only=True)
class MeetingEvent(CallEvent):
    """A meeting, which users join without being called, changed its state.

    ``action`` is ``ongoing``, ``ended``, ``participant_joined`` or ``participant_left``.
    """


@dataclass(frozen=True, kw_only=True)
class RecordingEvent(Event):
    """The recording of a call or meeting is ready. ``duration`` is in seconds, 0 if the platform does not report it."""

    url: str
    session_id: str = ""
    duration: float = 0
    started_at: float = 0


@dataclass(frozen=True, kw_only=True)
class TranscriptionEvent(Event):
    """The transcript of a call or meeting is ready. ``id`` is the platform's id of the transcript."""

    url: str
    id: str = ""
    session_id: str = ""
    started_at: float = 0
    ended_at: float = 0


@dataclass(frozen=True, kw_only=True)
class ReceiptEvent(Event):
    """A message was delivered or read. ``sender`` is the user who received or read it.

    ``action`` is ``delivered`` or ``read``; in groups also ``delivered_to_all`` or ``read_by_all``, whose sender is the
    platform's. ``author`` is the uid of the user who wrote the message.
    """

    message_id: str
    action: str
    author: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupEvent(Event):
    """A group was created, changed or deleted. Changes of its members are a :class:`MembershipEvent`.

    ``action`` is ``created``, ``updated`` or ``deleted``. ``members`` are those of a new group that the platform names.
    """

    action: str
    members: tuple[User, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PresenceEvent(Event):
    """A user came online or went offline.

    ``status`` is ``online`` or ``offline``. ``action`` is ``connected`` or ``disconnected``: what happened to one of
    the user's connections, on ``platform``. ``has_changed`` is False if the user's status is the same as before.
    """

    status: str
    action: str = ""
    platform: str = ""
    has_changed: bool = True


@dataclass(frozen=True, kw_only=True)
class BlockEvent(Event):
    """The sender has blocked ``users``, or no longer blocks them if ``blocked`` is False."""

    users: tuple[User, ...]
    blocked: bool = True


@dataclass(frozen=True, kw_only=True)
class ModerationEvent(Event):
    """The platform's moderation has judged a message, or could not.

    ``action`` is ``approved``, ``blocked`` or ``failed``. With ``by_moderator``, a person has approved it. ``message``
    is the message, whose text is empty if the platform does not report it; its ``sender`` is the author, that of the
    event the platform. ``rules`` are those that matched. If the moderation failed, ``failures`` says why,
    ``content_type`` is what was judged (``text``, ``image`` …) and ``outcome`` what became of the message:
    ``approved`` or ``disapproved``.
    """

    action: str
    message: MessageEvent
    by_moderator: bool = False
    outcome: str = ""
    rules: tuple[ModerationRule, ...] = ()
    content_type: str = ""
    failures: tuple[ModerationFailure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CampaignEvent(Event):
    """The platform reported the progress of a campaign, or what became of a notification.

    ``subject`` is ``campaign``, ``notification``, ``feed_item`` or ``push_notification``, and ``id`` its id. ``action``
    is ``completed``, ``failed``, ``created``, ``sent``, ``delivered``, ``read``, ``interacted`` or ``clicked``.
    ``sender`` is the user whom a feed item or push notification is for. ``data`` is the whole report.
    """

    subject: str
    action: str
    id: str
    campaign_id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AgentMessageEvent(Event):
    """An agent of the platform (not a bot) wrote, called a tool, or got the result of a tool.

    ``type`` is the platform's: ``assistant``, ``toolArguments``, ``toolResult``. ``text`` is the agent's answer or the
    tool's result, which belongs to the call ``tool_call_id``. ``data`` is the content as the platform reports it.
    """

    id: str
    type: str
    text: str = ""
    run_id: str = ""
    thread_id: str = ""
    tool_calls: tuple[AgentToolCall, ...] = ()
    tool_call_id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


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
