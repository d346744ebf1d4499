"""The model for tests: its answers, plain and async, and the requests that it keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cometbot import Bot, Context, ToolCall, Turn
from cometbot.testing import BotClient, FakeModel, ModelRequest
from cometbot.testing.fake_model import FakeAnswer

CALL = ToolCall("add", {"a": 1})


async def collect(answer: FakeAnswer) -> list[Any]:
    return [piece async for piece in answer]


def test_answers_come_in_their_order_plain_and_async() -> None:
    model = FakeModel("Hello", ["Hel", "lo", CALL], CALL)
    assert list(model([])) == ["Hello"]
    assert asyncio.run(collect(model([]))) == ["Hel", "lo", CALL]
    assert list(model([])) == [CALL]


def test_exception_is_raised_when_its_turn_comes() -> None:
    answer = iter(FakeModel(["Hel", OSError("down")])([]))
    assert next(answer) == "Hel"
    with pytest.raises(OSError, match="down"):
        next(answer)


def test_requests_are_kept_as_they_were() -> None:
    model, turns = FakeModel("a", "b"), [Turn("user", "hi")]
    model(turns)
    turns.append(Turn("assistant", "a"))
    model(turns)
    assert model.requests == [
        ModelRequest((Turn("user", "hi"),)),
        ModelRequest((Turn("user", "hi"), Turn("assistant", "a"))),
    ]
    assert [request.text for request in model.requests] == ["hi", "a"]
    assert ModelRequest(()).text == ""


def test_request_without_an_answer_fails_the_test() -> None:
    bot = Bot("helpdesk")

    @bot.message()
    def answer(ctx: Context) -> None:
        ctx.run_agent(FakeModel(), turns=[Turn("user", ctx.text)])

    with pytest.raises(AssertionError, match="expected 0 requests, got another one, whose last turn is 'hi'"):
        BotClient(bot).send("hi")
