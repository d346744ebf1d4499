"""The chat server that the channels ``chat_api`` and ``platform`` share. It depends on neither of them."""

from __future__ import annotations

from cometbot.chat.chat import Chat
from cometbot.chat.external_bots import ExternalBot, ExternalBots, ExternalCommand
from cometbot.chat.files import Upload
from cometbot.chat.live_feed import MAX_EPHEMERAL_SIZE, Feed, Listener
from cometbot.chat.messages import UNCHANGED
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
    PostResult,
    Scope,
    Signal,
    Topic,
)
from cometbot.chat.queries import new_id
from cometbot.chat.removal import Removal
from cometbot.content_types import media_kind, sniff

__all__ = [
    "CONVERSATION_DELETED",
    "CONVERSATION_UPDATED",
    "EVENT_CREATED",
    "MAX_EPHEMERAL_SIZE",
    "MESSAGE_CREATED",
    "MESSAGE_DELETED",
    "MESSAGE_UPDATED",
    "PARTICIPANT_ADDED",
    "PARTICIPANT_REMOVED",
    "UNCHANGED",
    "Chat",
    "ChatConversation",
    "ChatEvent",
    "ChatFile",
    "ChatMessage",
    "ChatUser",
    "Data",
    "Draft",
    "ExternalBot",
    "ExternalBots",
    "ExternalCommand",
    "Feed",
    "Listener",
    "NumberedPage",
    "Page",
    "PostResult",
    "Removal",
    "Scope",
    "Signal",
    "Topic",
    "Upload",
    "media_kind",
    "new_id",
    "sniff",
]
