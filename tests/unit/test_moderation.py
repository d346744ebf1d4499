"""What a function for moderation may be, and what its return values mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cometbot import Bot, ModerationItem, Verdict
from cometbot.errors import BotError, RegistrationError
from cometbot.events import MessageEvent
from cometbot.models import User
from cometbot.moderation import moderate

ITEM = ModerationItem(sender=User("maria"), text="casino")


@pytest.mark.parametrize(
    ("returned", "verdict"),
    [
        (True, Verdict(True, 1.0)),
        (False, Verdict(False, 1.0)),
        (0.7, Verdict(True, 0.7)),
        (1, Verdict(True, 1.0)),
        (0, Verdict(False, 0.0)),
        (0.0, Verdict(False, 0.0)),
        (Verdict(False, 0.2, "fine"), Verdict(False, 0.2, "fine")),
    ],
)
def test_decisions_become_verdicts(returned: Any, verdict: Verdict) -> None:
    assert moderate(lambda item: returned, ITEM) == verdict


@pytest.mark.parametrize(
    "returned", ["maybe", None, 1.01, -0.1, 2, float("nan"), float("inf"), [True], {"match": True}]
)
def test_anything_else_is_no_decision(returned: Any) -> None:
    with pytest.raises(BotError, match="expected True, False, a number from 0 to 1, or a Verdict, got "):
        moderate(lambda item: returned, ITEM)


def test_error_does_not_quote_a_returned_text() -> None:
    with pytest.raises(BotError, match=r"got a str$"):
        moderate(lambda item: item.text, ITEM)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("yes",), "match: expected True or False"),
        ((True, 1.5), "confidence: expected a number from 0 to 1, got 1.5"),
        ((True, True), "confidence"),
        ((True, float("nan")), "confidence"),
        ((True, 1.0, None), "reason: expected a text, got None"),
    ],
)
def test_verdict_refuses_other_values(arguments: Any, wrong: str) -> None:
    with pytest.raises(BotError, match=wrong):
        Verdict(*arguments)


def test_async_function_decides() -> None:
    async def check(item: ModerationItem) -> bool:
        await asyncio.sleep(0)
        return "casino" in item.text

    assert moderate(check, ITEM) == Verdict(True)


def test_errors_of_the_function_are_raised() -> None:
    async def check(item: ModerationItem) -> bool:
        raise LookupError(item.text)

    with pytest.raises(LookupError):
        moderate(check, ITEM)


def test_second_function_is_refused() -> None:
    bot = Bot("shop")

    @bot.moderate
    def check(item: ModerationItem) -> bool:
        return True

    with pytest.raises(RegistrationError, match=r"second.* would be a second function for moderation .*check is it"):

        @bot.moderate()
        def second(item: ModerationItem) -> bool:
            return True

    assert bot.moderation is check


def no_arguments() -> bool:
    return True


def pieces(item: ModerationItem) -> Any:
    yield True


@pytest.mark.parametrize(
    ("function", "wrong"),
    [(no_arguments, "exactly 1 argument"), (pieces, "is a generator"), (int, "is a class"), ("text", "not a function")],
)
def test_what_cannot_judge_is_refused(function: Callable[..., Any], wrong: str) -> None:
    with pytest.raises(RegistrationError, match=wrong):
        Bot("shop").moderate(function)


def test_bot_that_only_moderates_takes_no_messages() -> None:
    bot = Bot("shop")
    assert bot.takes(MessageEvent)
    bot.moderate(lambda item: True)
    assert not bot.takes(MessageEvent)
