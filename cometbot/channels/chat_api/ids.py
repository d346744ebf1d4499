"""Ids that map the Chat API's conversations to the conversations of bots and delivery."""

from __future__ import annotations

from cometbot.chat import Chat, ChatConversation, Scope, new_id
from cometbot.models import Conversation
from cometbot.store.database import Transaction

CHANNEL = "chat_api"
ACCOUNT = "local"
"""The account of all conversations: a server has one Chat API."""

TO_USER_PREFIX = "@"
"""The prefix of the id of a conversation with a user who has none with the bot yet.

Ids of stored conversations cannot contain an ``@``, so no user can create a conversation with such an id.
"""

_INCARNATION_FIELD = "lane"


def insert_conversation(
    connection: Transaction, chat: Chat, scope: Scope, owner: str, conversation_id: str
) -> ChatConversation:
    """Create a conversation. Raises :class:`AlreadyExists`."""
    return chat.conversations.create(connection, scope, owner, id=conversation_id, data={_INCARNATION_FIELD: new_id()})


def conversation_of(bot: str, conversation: ChatConversation, *, is_group: bool) -> Conversation:
    """Return the conversation as bots and delivery know it: with its owner, or as a group.

    The id contains a part that is unique to this conversation. If an earlier conversation with the same id was deleted,
    its state and its waiting replies do not reach this one.
    """
    conversation_id = f"{conversation.id}:{conversation.data.get(_INCARNATION_FIELD, conversation.created_at)}"
    target = conversation.id if is_group else conversation.owner
    return Conversation(CHANNEL, ACCOUNT, bot, conversation_id, target, is_group=is_group)
