"""Tools of clients in ``ctx.run_agent``, and what of them models and errors see."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cometbot import Bot, BotError, ClientTool, Context, Group, ToolCall, Turn
from cometbot.client_calls import MAX_TOOL_RESULT_BYTES
from cometbot.client_tools import describe_client_result, read_result
from cometbot.errors import AskTimeout, Rejected
from cometbot.messages import ClientCall
from cometbot.steps import CallOptions
from cometbot.testing import BotClient, FakeModel
from cometbot.tool_schemas import InvalidArgument
from cometbot.tools import ClientSideTool, choose_tools

SCHEMA = {"type": "object", "properties": {"near": {"type": "string"}}, "required": ["near"]}
PICK = ClientTool("pick_place", "Let the user pick a place.", SCHEMA)
CALL = ToolCall("pick_place", {"near": "Rome"}, "c1")


@pytest.fixture
def bot() -> Bot:
    return Bot("travel")


def let_answer(bot: Bot, model: Any, *tools: Any, uses_client: bool = True) -> None:
    """Let the bot answer with a model, which gets the text alone, the tools of the client and ``tools``."""

    @bot.fallback
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, [*ctx.client_tools, *tools] if uses_client else tools, turns=[Turn("user", ctx.text)])


def find_order(number: int) -> str:
    """Find an order."""
    return f"order {number}"


def results(model: FakeModel) -> list[str]:
    return [turn.text for turn in model.requests[-1].turns if turn.role == "tool"]


def test_model_calls_the_tools_of_the_client(bot: Bot) -> None:
    model = FakeModel(["One moment.", CALL, ToolCall("find_order", {"number": 17})], "Done.")
    let_answer(bot, model, find_order)
    client = BotClient(bot, client_tools=[PICK])

    [text, asked] = client.send("Where?")
    assert text.text == "One moment."
    assert asked.message == ClientCall("pick_place", {"near": "Rome"}, "m1.0.1")
    assert client.answer_call('{"name": "Ostia"}').text == "Done."
    assert results(model) == ['{"name": "Ostia"}', "order 17"]
    assert [tool.name for tool in model.requests[0].tools] == ["find_order", "pick_place"]
    assert model.requests[0].tools[1].to_openai()["function"]["parameters"] == SCHEMA


def test_several_calls_of_one_answer_wait_one_after_the_other(bot: Bot) -> None:
    model = FakeModel([CALL, ToolCall("pick_place", {"near": "Pisa"}, "c2")], "Done.")
    let_answer(bot, model)
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    [second] = client.answer_call("Ostia")
    assert isinstance(second.message, ClientCall)
    assert second.message.arguments == {"near": "Pisa"}
    assert client.answer_call("").text == "Done."
    assert results(model) == ["Ostia", "done"]


@pytest.mark.parametrize("arguments", [{}, "Rome", ["Rome"]])
def test_model_gets_an_error_for_arguments_that_do_not_fit(bot: Bot, arguments: Any) -> None:
    model = FakeModel(ToolCall("pick_place", arguments), "Sorry.")
    let_answer(bot, model)
    assert BotClient(bot, client_tools=[PICK]).send("Where?").text == "Sorry."
    assert results(model)[0].startswith("error: the arguments do not fit: ")


def test_model_gets_an_error_if_the_client_returns_nothing(bot: Bot) -> None:
    model = FakeModel(CALL, "Sorry.")
    let_answer(bot, model)
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    assert client.advance("25h").text == "Sorry."
    assert results(model) == ["error: the client has returned no result in time"]


def test_model_gets_an_error_for_a_long_result(bot: Bot) -> None:
    model = FakeModel(CALL, "Sorry.")
    let_answer(bot, model)
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    assert client.answer_call("x" * MAX_TOOL_RESULT_BYTES).text == "Sorry."
    assert "more than the 65536 allowed" in results(model)[0]


def test_model_gets_an_error_for_a_call_that_was_refused(bot: Bot) -> None:
    model = FakeModel(CALL, "Sorry.")
    let_answer(bot, model)
    client = BotClient(bot, client_tools=[PICK], raise_errors=False)
    client.channel.faults.append(Rejected("no", code="ERR_REFUSED", status=403))  # type: ignore[attr-defined]
    assert client.send("Where?").text == "Sorry."
    assert results(model) == ["error: not called: the call did not reach the client"]


def test_result_of_the_client_is_redacted_for_the_model(bot: Bot) -> None:
    model = FakeModel(CALL, "Done.")
    let_answer(bot, model)
    bot.redact(lambda text: text.replace("Ostia", "…"))
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    client.answer_call("Ostia")
    assert results(model) == ["…"]


def test_cancel_ends_an_agent_that_waits_for_the_client(bot: Bot) -> None:
    let_answer(bot, FakeModel(CALL))
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    assert client.send("/cancel").text == bot.cancel_text


def test_call_that_waits_goes_on_where_a_deploy_has_dropped_the_tools(bot: Bot) -> None:
    let_answer(bot, FakeModel(CALL))
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    after = FakeModel("Done.")
    new = Bot("travel")
    let_answer(new, after, uses_client=False)
    client.restart(new)
    assert client.answer_call("Ostia").text == "Done."
    assert results(after) == ["Ostia"]


def test_own_tools_come_before_those_of_the_client(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        chosen = choose_tools([], [ClientTool("find_order"), PICK, find_order, ClientTool("no name"), PICK])
    assert list(chosen) == ["find_order", "pick_place"]
    assert not isinstance(chosen["find_order"], ClientSideTool)
    assert chosen["pick_place"].description == PICK.description
    assert [record.args for record in caplog.records] == [("find_order",), ("no name",), ("pick_place",)]


def test_tool_without_a_schema_takes_an_object() -> None:
    tool = ClientSideTool.from_client(ClientTool("browser"))
    assert tool.parameters == {"type": "object", "properties": {}}
    assert tool.convert({"any": 1}) == {"any": 1}


@pytest.mark.parametrize("schema", [{"required": "near"}, {"required": 5, "properties": []}, {"properties": None}])
def test_schema_that_is_none_refuses_no_arguments(schema: Any) -> None:
    assert ClientSideTool.from_client(ClientTool("x", "", schema)).convert({"a": 1}) == {"a": 1}


def test_unknown_arguments_do_not_fit_a_closed_schema() -> None:
    tool = ClientSideTool.from_client(ClientTool("x", "", {**SCHEMA, "additionalProperties": False}))
    with pytest.raises(InvalidArgument, match="near: missing; far: unknown"):
        tool.convert({"far": 1})


def test_tool_of_the_client_is_not_called_here() -> None:
    with pytest.raises(BotError, match=r"pick_place is one of the client: call it with ctx\.call"):
        ClientSideTool.from_client(PICK).call(None, {})


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"value": "Ostia"}, "Ostia"),
        ({"value": ""}, "done"),
        ({"value": "\ud800"}, "�"),
        ({"values": {"name": "Ostia"}}, '{"name": "Ostia"}'),
        ({"ended": "timeout"}, "error: the client has returned no result in time"),
        ({"error": "too long"}, "error: too long"),
    ],
)
def test_result_as_a_text_for_a_model(result: dict[str, Any], text: str) -> None:
    assert describe_client_result(result) == text


def test_values_of_a_form_are_a_result() -> None:
    assert read_result("x", {"values": {"name": "Ostia"}}, CallOptions()) == {"name": "Ostia"}


def test_default_stands_for_a_result_in_time_only() -> None:
    assert read_result("x", {"ended": "timeout"}, CallOptions(default=None)) is None
    with pytest.raises(AskTimeout, match="its tool x in time"):
        read_result("x", {"ended": "timeout"}, CallOptions())
    with pytest.raises(BotError, match="call: x: too long"):
        read_result("x", {"error": "too long"}, CallOptions(default=None))


def test_approval_of_another_tool_beside_a_call_of_the_client(bot: Bot) -> None:
    @bot.tool(requires_approval=Group("team"))
    def refund(number: int) -> str:
        return "refunded"

    model = FakeModel([CALL, ToolCall("refund", {"number": 1})], "Done.")
    let_answer(bot, model, refund)
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    client.answer_call("Ostia")
    client.as_user("tom", group="team").press("Approve")
    assert client.said()[-1].text == "Done."
    assert results(model) == ["Ostia", "refunded"]
