"""Where the channel can, users see which tools an agent calls: once, and never more than the model gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot, ClientTool, Context, ToolCall, Turn
from cometbot.delivery.dry_run import dry_run
from cometbot.testing import EVERYTHING, BotClient, FakeChannel, FakeModel

FIND = ToolCall("find_order", {"number": 17}, "c1")


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop")

    @bot.tool
    def find_order(number: int) -> Any:
        """Find an order."""
        if number < 0:
            raise ValueError("no such order")
        return {"order": number}

    return bot


def let_answer(bot: Bot, model: Any) -> None:
    @bot.fallback
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, turns=[Turn("user", ctx.text)])


def shown(client: BotClient) -> FakeChannel:
    assert isinstance(client.channel, FakeChannel)
    return client.channel


def test_call_and_result_are_shown(bot: Bot) -> None:
    let_answer(bot, FakeModel(["One moment.", FIND], "Done."))
    client = BotClient(bot)
    client.send("Where?")
    assert shown(client).tool_calls == [ToolCall("find_order", {"number": 17}, "m1.0.1")]
    assert shown(client).tool_results == {"m1.0.1": '{"order": 17}'}


def test_errors_are_shown_as_the_model_gets_them(bot: Bot) -> None:
    calls = [ToolCall("find_order", {"number": -1}), ToolCall("delete_all"), ToolCall("find_order", "Rome")]
    model = FakeModel(calls, "Sorry.")
    let_answer(bot, model)
    client = BotClient(bot)
    client.send("Where?")
    results = [turn.text for turn in model.requests[-1].turns if turn.role == "tool"]
    assert list(shown(client).tool_results.values()) == results
    assert [call.arguments for call in shown(client).tool_calls] == [{"number": -1}, {}, {}]


def test_run_that_goes_on_shows_nothing_again(bot: Bot) -> None:
    @bot.fallback
    def answer(ctx: Context) -> str:
        ctx.run_agent(FakeModel(FIND, "Done."), turns=[Turn("user", ctx.text)])
        return str(ctx.ask("Anything else?"))

    client = BotClient(bot)
    client.send("Where?")
    assert client.send("no").text == "no"
    assert len(shown(client).tool_calls) == 1


def test_run_after_an_error_shows_nothing_again(bot: Bot) -> None:
    failures = [RuntimeError("not yet")]
    model = FakeModel(FIND, "Done.")

    @bot.message(retries=1)
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, turns=[Turn("user", ctx.text)])
        if failures:
            raise failures.pop()

    client = BotClient(bot)
    client.send("Where?")
    client.advance(10)
    assert failures == []
    assert len(shown(client).tool_calls) == 1


def test_call_that_waits_for_an_approval_is_shown_when_it_is_made(bot: Bot) -> None:
    @bot.tool(requires_approval=True)
    def refund(number: int) -> str:
        return "refunded"

    let_answer(bot, FakeModel(ToolCall("refund", {"number": 1}), "Done."))
    client = BotClient(bot)
    client.send("Refund it.")
    assert shown(client).tool_calls == []
    client.press("Approve")
    assert shown(client).tool_results == {"m1.0.2": "refunded"}


def test_call_of_the_client_is_not_shown_besides(bot: Bot) -> None:
    model = FakeModel(ToolCall("browser"), "Done.")

    @bot.fallback
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, ctx.client_tools, turns=[Turn("user", ctx.text)])

    client = BotClient(bot, client_tools=[ClientTool("browser")])
    client.send("hi")
    assert client.answer_call("Firefox").text == "Done."
    assert (shown(client).tool_calls, shown(client).tool_results) == ([], {})


def test_result_is_shown_as_redacted(bot: Bot) -> None:
    let_answer(bot, FakeModel(FIND, "Done."))
    bot.redact(lambda text: text.replace("17", "…"))
    client = BotClient(bot)
    client.send("Where?")
    assert list(shown(client).tool_results.values()) == ['{"order": …}']


def test_outgoing_middleware_hides_calls(bot: Bot) -> None:
    let_answer(bot, FakeModel(FIND, "Done."))
    bot.outgoing(lambda message, outgoing: message)
    client = BotClient(bot)
    assert client.send("Where?").text == "Done."
    assert (shown(client).tool_calls, shown(client).tool_results) == ([], {})


def test_channel_without_the_capability_is_not_asked(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    let_answer(bot, FakeModel(FIND, "Done."))
    monkeypatch.setattr(FakeChannel, "show_tool_call", lambda *given: pytest.fail("was asked"))
    client = BotClient(bot, capabilities=replace(EVERYTHING, tool_calls=False))
    assert client.send("Where?").text == "Done."


def test_channel_that_cannot_show_a_call_fails_nothing(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("the feed is full")

    let_answer(bot, FakeModel(FIND, "Done."))
    monkeypatch.setattr(FakeChannel, "show_tool_call", fail)
    monkeypatch.setattr(FakeChannel, "show_tool_result", fail)
    assert BotClient(bot).send("Where?").text == "Done."


def test_dry_run_shows_nothing(bot: Bot) -> None:
    model = FakeModel(FIND, "Done.", FIND)
    let_answer(bot, model)
    client = BotClient(bot, check_paths=False)
    client.send("Where?")
    assert dry_run(client._harness.delivery, "m1").blocked_calls == ("the tool find_order",)
    assert len(shown(client).tool_calls) == 1
