"""Ids that map the platform's chats to the conversations of bots and delivery."""

from __future__ import annotations

from cometbot.chat import ChatConversation, DeliveryRecords, Scope
from cometbot.models import Conversation

CHANNEL = "platform"
ACCOUNT = "platform"
ALL_BOTS = Scope(CHANNEL)
"""The scope of all bots. The platform's users and files belong to it, and a chat can be found by its id in it."""

NEW_CHAT_PREFIX = "with:"
"""The prefix of the id of a conversation with a user who has no chat with the bot yet."""

WEBHOOK_CHANNEL = "platform_webhook"
WEBHOOK_BOT = "platform-webhooks"
"""The bot in whose name webhooks are stored in the outbox."""


def bot_scope(bot_id: str) -> Scope:
    """Return the scope of one bot's chats."""
    return Scope(CHANNEL, bot_id)


def new_chat_id(user_id: str) -> str:
    """Return the id of the conversation with a user who has no chat yet."""
    return f"{NEW_CHAT_PREFIX}{user_id}"


def conversation_of(bot_id: str, chat_id: str, user_id: str) -> Conversation:
    """Return a chat as bots and delivery know it."""
    return Conversation(CHANNEL, ACCOUNT, bot_id, chat_id, user_id)


def webhook_conversation(bot_id: str, chat_id: str) -> Conversation:
    """Return the outgoing conversation that keeps the webhooks of one chat in order, even if the bot's URL changes.

    Its account is the bot, so a bot that is down delays only its own webhooks.
    """
    return Conversation(WEBHOOK_CHANNEL, bot_id, WEBHOOK_BOT, f"{bot_id}.{chat_id}", bot_id)


def delivery_records(chat: ChatConversation) -> DeliveryRecords:
    """Return the conversations under which delivery stores what belongs to a chat."""
    bot_id, user_id = chat.scope.bot, chat.owner
    return DeliveryRecords(
        conversation_of(bot_id, chat.id, user_id),
        [conversation_of(bot_id, new_chat_id(user_id), user_id)],
        webhook_conversation(bot_id, chat.id),
    )
