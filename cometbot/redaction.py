"""Redaction: functions of a bot that get each text before a language model does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol

from cometbot.errors import BotError, RegistrationError
from cometbot.handlers import check_function, function_name, is_coroutine_function

Redaction = Callable[[str], str]


class Redacting(Protocol):
    """What has redactions: a bot."""

    redactions: tuple[Redaction, ...]


def check_redaction(function: Any) -> Redaction:
    """Return ``function``. Raises :class:`RegistrationError` if it cannot redact texts."""
    name = function_name(function)
    check_function(function, name, 1, "def redact(text)")
    if is_coroutine_function(function):
        raise RegistrationError(
            f"{name} is an async def; a redaction is called inside ctx.turns(), which nobody awaits, so it must be a "
            "plain function: def redact(text)"
        )
    redaction: Redaction = function
    return redaction


def redact(bot: Redacting, text: str) -> str:
    """Return ``text`` as a language model may get it: after all functions of :meth:`Bot.redact`.

    Raises what they raise, and :class:`BotError` if one returns anything but a text.
    """
    for function in bot.redactions:
        returned: object = function(text)
        if not isinstance(returned, str):
            if inspect.iscoroutine(returned):
                returned.close()
            raise BotError(f"{function_name(function)}: expected the text that may be shown, got {returned!r}")
        text = returned
    return text
