"""Removing conversations, and all that a user has said, with what bots remember and delivery keeps of it; what is much,
a little at a time, so that nobody waits for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cometbot.channels.base import Intake
from cometbot.channels.botpress.hook import Hook, hook_of
from cometbot.channels.botpress.places import ACCOUNT, CHANNEL, TO_USER, place_of
from cometbot.chat import (
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    Chat,
    ChatConversation,
    Removal,
    Scope,
    Signal,
)
from cometbot.errors import StoreBusy
from cometbot.models import Conversation
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.store.erasure import Erasure
from cometbot.store.state import StateRows

log = logging.getLogger(__name__)

_BATCH = 100
_WITHOUT_CONTENT = frozenset({MESSAGE_DELETED, PARTICIPANT_ADDED, PARTICIPANT_REMOVED})


def remove_places(connection: Transaction, chat: Chat, found: Sequence[ChatConversation]) -> list[Signal]:
    """What happened by removing conversations with all that is kept of them.

    Their rows come first: nobody says anything there from then on, and what was said before is seen. What the webhook
    has still to be told of people and of messages that were taken back, it is told.
    """
    signals: list[Signal] = []
    gone: list[ChatConversation] = []
    for item in found:
        told = chat.conversations.delete(connection, item.scope, item.id)
        if told is not None:
            signals += told
            gone.append(item)
    places = [place_of(item.scope.bot, item, is_group=False) for item in gone]
    erasure, state = Erasure(chat.database), StateRows(chat.database)
    erasure.erase(connection, [str(place.key) for place in places])
    for item, place in zip(gone, places, strict=True):
        state.forget(connection, "conversation", str(place.key))
        for name in (item.id, f"{TO_USER}{item.owner}"):  # said before its own name was known
            erasure.empty_sent(connection, _lane(item.scope.bot, name))
        erasure.empty_told(connection, str(hook_of(item.scope.bot, item.id).key), _is_content)
    return signals


def remove_owned(connection: Transaction, chat: Chat, scope: Scope, user: str) -> list[Signal]:
    """What happened by removing the conversations that a user made, and what waits to be said to the user elsewhere."""
    signals: list[Signal] = []
    while found := chat.conversations.list_owned(connection, scope, user, limit=_BATCH).items:
        signals += remove_places(connection, chat, found)
    Erasure(chat.database).drop(connection, [_lane(scope.bot, f"{TO_USER}{user}")])
    return signals


def erase_gone(connection: Transaction, chat: Chat, place: Conversation) -> None:
    """Take out what was said to a conversation that is gone, and what is remembered of it."""
    Erasure(chat.database).erase(connection, [str(place.key)])
    StateRows(chat.database).forget(connection, "conversation", str(place.key))


def finish(chat: Chat, removal: Removal, hook: Hook | None, intake: Intake | None, seconds: float) -> bool:
    """Whether nothing is left of ``removal``, after at most so many seconds. Streams and webhook are told of each
    message that goes. What is left, also by a busy database, waits for the next one who asks."""

    def step(connection: Transaction) -> tuple[list[Signal], list[str], bool]:
        signals, is_over = chat.users.go_on_deleting(connection, removal)
        _erase_messages(connection, chat, removal.scope.bot, signals)
        lanes = hook.tell(connection, intake, removal.scope.bot, signals) if hook and intake else []
        return signals, lanes, is_over

    ends_at, is_over = time.monotonic() + seconds, False
    while not is_over and time.monotonic() < ends_at:
        try:
            signals, lanes, is_over = chat.database.together(step, timeout=ACK_TIMEOUT)
        except StoreBusy as error:
            log.info("messages of a deleted user wait to be removed: %s", error)
            return False
        chat.feed.publish(signals)
        for lane in lanes:
            if intake is not None:
                intake.wake(lane)
    return is_over


def _erase_messages(connection: Transaction, chat: Chat, bot: str, signals: Sequence[Signal]) -> None:
    """Take out the messages that ``signals`` tell the removal of, in conversations that stay."""
    erasure, ids = Erasure(chat.database), {signal.data["id"] for signal in signals}
    erasure.empty_messages(connection, CHANNEL, ACCOUNT, bot, sorted(f"message:{id}" for id in ids))
    for conversation in sorted({signal.topic.id for signal in signals}):
        erasure.empty_told(connection, str(hook_of(bot, conversation).key), lambda told: _message_in(told) in ids)


def _message_in(told: Mapping[str, Any]) -> Any:
    """The id of the message that a signal holds, None if it holds none."""
    return told["data"]["id"] if told.get("type") == MESSAGE_CREATED else None


def _lane(bot: str, name: str) -> str:
    return str(Conversation(CHANNEL, ACCOUNT, bot, name, "").key)


def _is_content(told: Mapping[str, Any]) -> bool:
    """Whether a signal that the webhook is to be told says what somebody said."""
    return told.get("type") not in _WITHOUT_CONTENT
