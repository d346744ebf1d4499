"""Redaction: what a bot's functions make of a text before a language model gets it."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.errors import BotError, RegistrationError
from cometbot.redaction import redact


def test_text_passes_all_functions_in_order(bot: Bot) -> None:
    @bot.redact
    def first(text: str) -> str:
        return f"{text} 1"

    @bot.redact()
    def second(text: str) -> str:
        return f"{text} 2"

    assert redact(bot, "text") == "text 1 2"
    assert (first("a"), second("a")) == ("a 1", "a 2")
    assert redact(Bot("other"), "text") == "text"


@pytest.mark.parametrize("returned", [None, 5, b"text"])
def test_anything_but_a_text_is_refused(bot: Bot, returned: Any) -> None:
    bot.redact(lambda text: returned)
    with pytest.raises(BotError, match="expected the text that may be shown, got"):
        redact(bot, "text")


def test_an_error_is_raised(bot: Bot) -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    bot.redact(fail)
    with pytest.raises(ValueError, match="text"):
        redact(bot, "text")


async def redact_later(text: str) -> str:
    return text


def take_two(text: str, other: str) -> str:
    return text + other


@pytest.mark.parametrize(
    ("function", "problem"),
    [(redact_later, "must be a plain function"), (take_two, "exactly 1 argument"), ("text", "not a function|callable")],
)
def test_a_function_that_does_not_fit_is_refused(bot: Bot, function: Any, problem: str) -> None:
    with pytest.raises(RegistrationError, match=problem):
        bot.redact(function)
    assert bot.redactions == ()


def test_a_coroutine_that_a_plain_function_returns_is_closed(bot: Bot) -> None:
    returns_coroutine: Any = lambda text: redact_later(text)  # noqa: E731
    bot.redact(returns_coroutine)
    with pytest.raises(BotError, match="got <coroutine"):
        redact(bot, "text")
