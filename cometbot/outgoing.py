"""Outgoing middleware: functions that get each message of a bot before it is stored, and may change or drop it."""

from __future__ import annotations

import inspect
import logging
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from cometbot.bot import Bot
from cometbot.errors import BotError
from cometbot.events import Event
from cometbot.messages import ClientCall, Form, Message, Operation
from cometbot.models import Conversation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The way of a message: ``bot`` sends it to ``conversation``.

    ``event`` is the event that a handler of the bot has got (``ctx.event``; in a dialog, the one that started it). It
    is None for :meth:`Bot.send` outside of handlers, inside ``ctx.once``, and in handlers of other bots.
    """

    bot: Bot
    conversation: Conversation
    event: Event | None = None


_filtering: ContextVar[tuple[Bot, ...]] = ContextVar("cometbot_filtering", default=())
"""The bots whose outgoing middleware runs."""


def filter_message(message: Message, outgoing: Outgoing) -> Message | None:
    """Return what the bot's outgoing middleware makes of a message, or None if one of it drops the message.

    Raises what the middleware raises, and :class:`BotError` if it returns anything but a message or None.
    """
    bot, running = outgoing.bot, _filtering.get()
    if bot in running:
        raise BotError(f"outgoing middleware of {bot.name} cannot send as {bot.name}; return the message instead")
    token = _filtering.set((*running, bot))
    try:
        for middleware in bot.outgoing_middlewares:
            returned = middleware.function(message, outgoing)
            if returned is None:
                extra = {"conversation": outgoing.conversation.key_text}
                logger.info("dropped a message in outgoing middleware %s", middleware.name, extra=extra)
                return None
            message = _check_returned(returned, middleware.name)
        return message
    finally:
        _filtering.reset(token)


def _check_returned(returned: Any, name: str) -> Message:
    if isinstance(returned, Message):
        return returned
    if inspect.iscoroutine(returned):
        returned.close()
    raise BotError(
        f"the outgoing middleware {name}: expected a message or None, got {type(returned).__name__}; return the "
        "message that it got, a changed copy (dataclasses.replace), or None to drop it"
    )


def filter_operation(operation: Operation, bot: Bot, event: Event | None) -> Operation:
    """Return an operation with the message that outgoing middleware made; without a message if that was dropped."""
    if operation.message is None or not bot.outgoing_middlewares:
        return operation
    message = filter_message(operation.message, Outgoing(bot, operation.conversation, event))
    return operation if message is operation.message else replace(operation, message=message)


def filter_question(operation: Operation, bot: Bot, event: Event) -> Message:
    """Return the message of a question of ``ctx.ask``, changed by outgoing middleware.

    Raises :class:`BotError` if the question was dropped, or has other answers than before.
    """
    asked, changed = operation.message, filter_operation(operation, bot, event).message
    if asked is None or changed is None:
        raise BotError(
            "ask: outgoing middleware dropped the question, which nobody could answer; return a message for it, or "
            "do not ask"
        )
    if changed is not asked and _answers_of(changed) != _answers_of(asked):
        raise BotError(
            "ask: outgoing middleware changed what can be answered; expected a question with the same class and "
            f"action, and the same values of choices or names of fields, got {type(changed).__name__}; change texts "
            "and labels only"
        )
    return changed


def filter_client_call(operation: Operation, bot: Bot, event: Event) -> Operation:
    """Return the call of a client's tool, with arguments that outgoing middleware may have changed.

    Raises :class:`BotError` if it was dropped, or is another call than before.
    """
    changed = filter_operation(operation, bot, event)
    asked, passed = operation.message, changed.message
    assert isinstance(asked, ClientCall)
    if not isinstance(passed, ClientCall) or (passed.name, passed.id) != (asked.name, asked.id):
        raise BotError(
            f"call: outgoing middleware dropped or replaced the call of the client's tool {asked.name}, whose result "
            "the handler waits for; return it, with other arguments at most"
        )
    return changed


def _answers_of(message: Message) -> object:
    """Return what a user can answer to a question, without the texts that are shown."""
    if isinstance(message, Form):
        return message.action, [item.name for item in message.fields]
    return [(offer.name, offer.value) for offer in message.offers()]
