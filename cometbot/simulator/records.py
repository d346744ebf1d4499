"""The records of the simulated app: users, groups, bots, webhooks, messages, files. They have no rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

APP_SYSTEM = "app_system"

SCOPES = ("admin", "moderator", "participant")
AGENT_PROVIDERS = ("ag-ui", "mastra", "crewai", "langgraph", "vercel", "ag2", "agno")
_AGENT_URL_KEYS = ("url", "deploymentUrl")
MODERATED_CONTENTS = ("text", "image", "video", "audio", "file")
GROUP_CHAT_SETTINGS = ("none", "allMessages", "slashedMessages", "mentionedMessages")


@dataclass(slots=True)
class AuthToken:
    """A token with which a client logs in, without the token itself."""

    created_at: int
    platform: str = ""
    user_agent: str = ""
    app_info: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class UserRecord:
    """A user of the app. Times are in Unix seconds, 0 for "never". ``blocked`` has the time for each blocked uid."""

    uid: str
    name: str
    avatar: str = ""
    link: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    status_message: str = ""
    status: str = "offline"
    role: str = "default"
    last_active_at: int = 0
    created_at: int = 0
    updated_at: int = 0
    tags: tuple[str, ...] = ()
    deactivated_at: int = 0
    auth_tokens: dict[str, AuthToken] = field(default_factory=dict, repr=False)
    blocked: dict[str, int] = field(default_factory=dict)
    friends: set[str] = field(default_factory=set)

    @property
    def is_active(self) -> bool:
        """True unless the user is deactivated."""
        return not self.deactivated_at


@dataclass(frozen=True, slots=True)
class Member:
    """A user's membership of a group."""

    scope: str
    joined_at: int


@dataclass(slots=True)
class GroupRecord:
    """A group with its members and banned users, by uid."""

    guid: str
    name: str
    created_at: int
    type: str = "public"
    owner: str = ""
    password: str = field(default="", repr=False)
    icon: str = ""
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    updated_at: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    banned: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class BotRecord:
    """The bot settings of a user."""

    uid: str
    webhook_url: str
    group_chat_setting: str = "none"
    enabled: bool = False
    use_basic_auth: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    is_ai_bot: bool = False
    created_at: int = 0
    updated_at: int = 0

    @property
    def credentials(self) -> tuple[str, str] | None:
        """The Basic Auth credentials of its callbacks, or None."""
        return (self.username, self.password) if self.use_basic_auth else None


@dataclass(slots=True)
class AgentRecord:
    """An agent. ``settings`` is its provider's configuration: ``url`` and ``headers``. Times are Unix seconds."""

    uid: str
    name: str
    icon: str
    provider: str
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    is_active: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: int = 0
    updated_at: int = 0

    @property
    def speaks_agui(self) -> bool:
        """True if the simulator can call the agent: the other providers have protocols of their own."""
        return re.sub(r"[^a-z]", "", self.provider.lower()) == "agui"

    @property
    def url(self) -> str:
        """The URL to call, empty if there is none."""
        return next((str(self.settings[key]) for key in _AGENT_URL_KEYS if self.settings.get(key)), "")

    @property
    def headers(self) -> dict[str, str]:
        """The headers to send."""
        headers = self.settings.get("headers")
        return {str(name): str(text) for name, text in headers.items()} if isinstance(headers, Mapping) else {}


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """An app webhook: its URL and its triggers.

    ``edits_as`` is the shape of ``message_edited`` and ``message_deleted``: an ``action`` message as CometChat
    documents it, or the affected ``message`` itself, as observed in tests against real apps.
    """

    id: str
    url: str
    triggers: frozenset[str]
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    edits_as: Literal["message", "action"] = "action"


@dataclass(frozen=True, slots=True)
class ModerationRule:
    """A rule of the app's moderation that asks a URL about each message with one of its ``contents``.

    If the answer says that the message matches, with a confidence greater than ``threshold`` percent, the rule's
    ``action`` applies: the message is blocked, or delivered and flagged for review.
    """

    id: str
    name: str
    url: str
    contents: tuple[str, ...] = MODERATED_CONTENTS
    threshold: int = 80
    action: Literal["block", "flag"] = "block"
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Reaction:
    """One user's reaction to one message."""

    id: str
    reaction: str
    uid: str
    reacted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message in its current version. Immutable: a change replaces it. ``data`` is as sent, without entities.

    A message that is still to be sent has no id, conversation, sender and times.
    """

    id: str = ""
    muid: str = ""
    parent_id: str = ""
    conversation_id: str = ""
    sender: str = ""
    receiver_type: str
    receiver: str
    category: str
    type: str
    data: Mapping[str, Any]
    sent_at: int = 0
    edited_at: int = 0
    edited_by: str = ""
    deleted_at: int = 0
    deleted_by: str = ""
    reply_count: int = 0
    tags: tuple[str, ...] = ()
    quoted_message_id: str = ""
    updated_at: int = 0
    mentions: tuple[str, ...] = ()
    reactions: tuple[Reaction, ...] = ()

    @property
    def number(self) -> int:
        """The id as a number. A later message has a greater one."""
        return int(self.id)

    @property
    def text(self) -> str:
        """The text or caption, empty if there is none."""
        return str(self.data.get("text", ""))

    @property
    def attachments(self) -> Sequence[Mapping[str, Any]]:
        """The files of a media message, as sent."""
        return tuple(self.data.get("attachments", ()))

    @property
    def is_action(self) -> bool:
        """True for a message that only records an action, such as an edit or a join."""
        return self.category == "action"


def _json_keys(record: type, *hidden: str, **renamed: str) -> dict[str, str]:
    """Return CometChat's name of each field of a record but the ``hidden`` ones: ``createdAt`` for ``created_at``."""
    names = [item.name for item in fields(record) if item.name not in hidden]
    return {renamed.get(name) or re.sub("_([a-z])", lambda found: found[1].upper(), name): name for name in names}


USER_KEYS = _json_keys(UserRecord, "auth_tokens", "blocked", "friends")
GROUP_KEYS = _json_keys(GroupRecord, "members", "banned")
BOT_KEYS = _json_keys(BotRecord, webhook_url="webhookURL", is_ai_bot="isAIBot")
MESSAGE_KEYS = _json_keys(StoredMessage, "mentions", "reactions")
"""The fields of the records by their names in CometChat's JSON, in its order."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that clients can load."""

    id: str
    name: str
    mime_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event that CometChat reports to bots and webhooks.

    ``trigger`` is the name of its app webhook and ``data`` that webhook's payload. ``message`` is the affected message,
    ``action`` the action message that records the event, ``origin`` the event's source.
    """

    trigger: str
    data: Mapping[str, Any]
    message: StoredMessage | None = None
    action: StoredMessage | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
