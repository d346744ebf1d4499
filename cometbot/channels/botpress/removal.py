"""Removing all that a user has said, a little at a time, so that nobody waits for it."""

from __future__ import annotations

import logging
import time

from cometbot.channels.base import Intake
from cometbot.channels.botpress.hook import Hook
from cometbot.chat import Chat, Removal, Signal
from cometbot.errors import StoreBusy
from cometbot.store.database import ACK_TIMEOUT, Transaction

log = logging.getLogger(__name__)


def finish(chat: Chat, removal: Removal, hook: Hook | None, intake: Intake | None, seconds: float) -> bool:
    """Whether nothing is left of ``removal``, after at most so many seconds. Streams and webhook are told of each
    message that goes. What is left, also by a busy database, waits for the next one who asks."""

    def step(connection: Transaction) -> tuple[list[Signal], list[str], bool]:
        signals, is_over = chat.users.go_on_deleting(connection, removal)
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
