"""Removing chats and users with all that bots remember and delivery keeps of them; what is much, a little at a time, so
that nobody waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.channels.botyard.platform import ACCOUNT, EVERYWHERE, NAME, conversation_of, lane_to, scope_of
from cometbot.channels.botyard.webhook import webhook_conversation
from cometbot.chat import Chat, ChatConversation, Scope, Signal
from cometbot.models import Conversation
from cometbot.store.database import Transaction
from cometbot.store.erasure import Erasure
from cometbot.store.state import StateRows

_BATCH = 20


def remove_chat(connection: Transaction, chat: Chat, scope: Scope, id: str) -> list[Signal] | None:
    """What happened by removing a chat with all that was in it; None if there is none."""
    found = chat.conversations.get(connection, scope, id)
    return (_remove(connection, chat, [found]) or None) if found is not None else None


def remove_user(connection: Transaction, chat: Chat, id: str) -> list[Signal] | None:
    """What happened by removing a user with all chats and files; None if there is none."""
    # The chats before the user: in this order those take the rows who store what is said, and what is remembered.
    signals = _remove_owned(connection, chat, id)
    erasure = Erasure(chat.database)
    erasure.drop(connection, erasure.lanes_with(connection, NAME, ACCOUNT, id))
    # Held before anything of the user is: a handler that stores what it remembers has done so, or finds nobody.
    if chat.users.hold(connection, EVERYWHERE, id) is None:
        return None
    signals += _remove_owned(connection, chat, id)  # what was made meanwhile; from here on nothing is
    state = StateRows(chat.database)
    for scope, named in (("user", id), ("conversation", lane_to(id))):
        state.forget_each(connection, scope, f"{NAME}/{ACCOUNT}/", f"/{named}")
    return [*signals, *(chat.users.delete(connection, EVERYWHERE, id) or ())]


def remove_chats(chat: Chat, bot_id: str) -> int:
    """How many chats of a bot are gone now, with all that was in them."""
    scope, removed = scope_of(bot_id), 0
    while True:
        with chat.database.write() as connection:
            found = chat.conversations.list(connection, scope, limit=_BATCH).items
            signals = _remove(connection, chat, found)
        chat.feed.publish(signals)
        removed += len(found)
        if len(found) < _BATCH:
            return removed


def erase_chat(connection: Transaction, chat: Chat, place: Conversation) -> None:
    """Take out what was said to a chat that is gone, and what is remembered of it."""
    Erasure(chat.database).erase(connection, [str(place.key)])
    StateRows(chat.database).forget(connection, "conversation", str(place.key))


def _remove_owned(connection: Transaction, chat: Chat, user: str) -> list[Signal]:
    signals: list[Signal] = []
    while found := chat.conversations.list_owned(connection, EVERYWHERE, user, limit=_BATCH).items:
        signals += _remove(connection, chat, found)
    return signals


def _remove(connection: Transaction, chat: Chat, found: Sequence[ChatConversation]) -> list[Signal]:
    """What happened by removing chats with all that is kept of them.

    The rows of the chats come first: nobody says anything there from then on, and what was said before is seen.
    """
    signals: list[Signal] = []
    gone: list[Conversation] = []
    for item in found:
        told = chat.conversations.delete(connection, item.scope, item.id)
        if told is not None:
            signals += told
            gone.append(conversation_of(item.scope.bot, item.id, item.owner))
    erasure, state = Erasure(chat.database), StateRows(chat.database)
    erasure.erase(connection, [str(place.key) for place in gone])
    for place in gone:
        state.forget(connection, "conversation", str(place.key))
        # What was said before there was a chat stands under another name, what a webhook was told under a third.
        before = conversation_of(place.bot, lane_to(place.target), place.target)
        erasure.empty_sent(connection, str(before.key))
        erasure.empty_told(connection, str(webhook_conversation(place.bot, place.id).key))
    return signals
