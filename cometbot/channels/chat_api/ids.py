"""Conversations of the Chat API as bots and delivery know them."""

from __future__ import annotations

from cometbot.chat import Chat, ChatConversation, Scope, new_id
from cometbot.models import Conversation
from cometbot.store.database import Transaction

CHANNEL = "chat_api"
ACCOUNT = "local"
"""The account of all lanes: there is one Chat API here, ours."""

TO_USER_PREFIX = "@"
"""How the conversation with a user who has none with the bot yet begins its name. No id of a conversation has an @, so
that nobody can make one that is taken for somebody else's."""

_INCARNATION_FIELD = "lane"


def insert_conversation(
    connection: Transaction, chat: Chat, scope: Scope, owner: str, conversation_id: str
) -> ChatConversation:
    """A new conversation. Raises :class:`IdTaken`."""
    return chat.conversations.create(connection, scope, owner, id=conversation_id, data={_INCARNATION_FIELD: new_id()})


def conversation_of(bot: str, conversation: ChatConversation, *, is_group: bool) -> Conversation:
    """The lane of a conversation. One-to-one it is with its owner; with more people it is a group.

    Its id is another one than that of an earlier conversation whose id was freed and taken by somebody else: nothing
    that was remembered of that one, or waits to be said there, comes into this one.
    """
    conversation_id = f"{conversation.id}:{conversation.data.get(_INCARNATION_FIELD, conversation.created_at)}"
    target = conversation.id if is_group else conversation.owner
    return Conversation(CHANNEL, ACCOUNT, bot, conversation_id, target, is_group=is_group)
