"""A chat server without a door: what the Chat API and the platform share, and neither knows of the other."""

from __future__ import annotations

from cometbot.chat.chat import Chat
from cometbot.chat.files import Upload
from cometbot.chat.listening import EPHEMERAL_LIMIT, Feed, Listener
from cometbot.chat.messages import KEEP
from cometbot.chat.models import (
    CONVERSATION_DELETED,
    CONVERSATION_UPDATED,
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    ChatConversation,
    ChatEvent,
    ChatFile,
    ChatMessage,
    ChatUser,
    Data,
    Draft,
    NumberedPage,
    Page,
    Posted,
    Scope,
    Signal,
    Topic,
)
from cometbot.chat.outside import OutsideBot, OutsideBots, OutsideCommand
from cometbot.chat.removal import Removal
from cometbot.chat.rows import new_id
from cometbot.content_types import kind_of, sniff

__all__ = [
    "CONVERSATION_DELETED",
    "CONVERSATION_UPDATED",
    "EPHEMERAL_LIMIT",
    "EVENT_CREATED",
    "KEEP",
    "MESSAGE_CREATED",
    "MESSAGE_DELETED",
    "MESSAGE_UPDATED",
    "PARTICIPANT_ADDED",
    "PARTICIPANT_REMOVED",
    "Chat",
    "ChatConversation",
    "ChatEvent",
    "ChatFile",
    "ChatMessage",
    "ChatUser",
    "Data",
    "Draft",
    "Feed",
    "Listener",
    "NumberedPage",
    "OutsideBot",
    "OutsideBots",
    "OutsideCommand",
    "Page",
    "Posted",
    "Removal",
    "Scope",
    "Signal",
    "Topic",
    "Upload",
    "kind_of",
    "new_id",
    "sniff",
]
