"""The error texts of bots, for messages whose handler cannot reply itself any more."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late

from cometbot.bot import Bot
from cometbot.dispatch import ErrorClasses
from cometbot.events import Event
from cometbot.messages import Operation, Text
from cometbot.models import Conversation
from cometbot.outgoing import filter_operation

log = logging.getLogger(__name__)

OUTGOING_TIMEOUT = 2.0
"""Seconds for the outgoing middleware of an error text. The thread that waits for it may be the one of the leases."""


class Apologies:
    """Makes the error texts of bots. Exceptions in ``reraise`` go through."""

    def __init__(self, reraise: ErrorClasses = ()) -> None:
        self._reraise = reraise
        self._thread: threading.Thread | None = None

    def make(self, bot: Bot, conversation: Conversation, event: Event | None) -> Operation | None:
        """Return what sends the bot's error text. Return None if it has none, or outgoing middleware held it back.

        No handler's deadline covers the middleware here, so it gets 2 seconds. While it hangs, all error texts of this
        process that it must see are held back.
        """
        if not bot.error_text:
            return None
        operation = Operation(conversation=conversation, message=Text(bot.error_text))
        if not bot.outgoing_middlewares:
            return operation
        try:
            passed = self._filter_in_time(operation, bot, event)
        except self._reraise:
            raise
        except BaseException as error:
            extra = {"conversation": conversation.key_text}
            log.error("held back the error text of the bot %s", bot.name, exc_info=error, extra=extra)
            return None
        return None if passed.is_dropped else passed

    def _filter_in_time(self, operation: Operation, bot: Bot, event: Event | None) -> Operation:
        if self._thread is not None and self._thread.is_alive():
            raise Late("outgoing middleware still runs for an earlier error text")
        pending: Future[Operation] = Future()

        def run() -> None:
            try:
                pending.set_result(filter_operation(operation, bot, event))
            except BaseException as error:
                pending.set_exception(error)

        self._thread = threading.Thread(target=run, name="cometbot-outgoing", daemon=True)
        self._thread.start()
        return pending.result(OUTGOING_TIMEOUT)
