"""Tools of clients that agents of Pydantic AI call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="needs Python 3.11")

from pydantic import BaseModel
from pydantic_ai import Agent, CallDeferred
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import DeferredToolRequests

from cometbot import Bot, ClientTool, Context, Turn
from cometbot.messages import ClientCall
from cometbot.pydantic_ai import PydanticAgent
from cometbot.testing import BotClient

SCHEMA = {"type": "object", "properties": {"near": {"type": "string"}}, "required": ["near"]}
PICK = ClientTool("pick_place", "Let the user pick a place.", SCHEMA)
CALL = ToolCallPart("pick_place", {"near": "Rome"}, "c1")


class Script:
    """A model that answers by a script, and records what it may call and what it gets back."""

    def __init__(self, *answers: Sequence[Any]) -> None:
        self.tools: dict[str, Any] = {}
        self.results: list[Any] = []
        self.model = FunctionModel(self._answer, model_name="scripted")
        self._answers = list(answers)

    def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.tools = {tool.name: tool for tool in info.function_tools}
        self.results = [part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        return ModelResponse(self._answers.pop(0))


@pytest.fixture
def bot() -> Bot:
    return Bot("travel")


def let_answer(bot: Bot, agent: Any) -> list[Any]:
    """Let the bot answer with an agent that may call the tools of the client. Return its outputs."""
    assistant, outputs = PydanticAgent(agent), list[Any]()

    @bot.fallback
    def answer(ctx: Context) -> None:
        result = assistant.run(ctx, turns=[Turn("user", ctx.text)], client_tools=ctx.client_tools)
        outputs.append(result.output if result else None)

    return outputs


def test_agent_calls_the_tools_of_the_client(bot: Bot) -> None:
    script = Script([TextPart("One moment."), ToolCallPart("find", {}), CALL], [TextPart("Done.")])
    agent = Agent(script.model)
    agent.tool_plain(name="find")(lambda: "found")
    let_answer(bot, agent)
    client = BotClient(bot, client_tools=[PICK])

    [text, asked] = client.send("Where?")
    assert text.text == "One moment."
    assert isinstance(asked.message, ClientCall)
    assert asked.message.arguments == {"near": "Rome"}
    assert client.answer_call({"name": "Ostia"}).text == "Done."
    assert script.results == ["found", '{"name": "Ostia"}']
    assert script.tools["pick_place"].parameters_json_schema == SCHEMA


def test_approval_and_call_of_one_answer_wait_one_after_the_other(bot: Bot) -> None:
    script = Script([CALL, ToolCallPart("refund", {})], [TextPart("Done.")])
    agent = Agent(script.model)
    agent.tool_plain(name="refund", requires_approval=True)(lambda: "refunded")
    let_answer(bot, agent)
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    client.press("Approve")
    assert client.answer_call("Ostia").text == "Done."
    assert script.results == ["Ostia", "refunded"]


@pytest.mark.parametrize("arguments", [{}, '"Rome"', '{"near": NaN}', "{"])
def test_model_gets_an_error_for_arguments_that_do_not_fit(bot: Bot, arguments: Any) -> None:
    script = Script([ToolCallPart("pick_place", arguments, "c1")], [TextPart("Sorry.")])
    let_answer(bot, Agent(script.model))
    assert BotClient(bot, client_tools=[PICK]).send("Where?").text == "Sorry."


def test_model_gets_an_error_if_the_client_returns_nothing(bot: Bot) -> None:
    script = Script([CALL], [TextPart("Sorry.")])
    let_answer(bot, Agent(script.model))
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    assert client.advance("25h").text == "Sorry."
    assert script.results == ["error: the client has returned no result in time"]


def test_tools_of_the_agent_come_before_those_of_the_client(bot: Bot) -> None:
    class Place(BaseModel):
        name: str

    script = Script([ToolCallPart("find", {}), ToolCallPart("final_result", {"name": "Ostia"})])
    agent = Agent(script.model, output_type=Place)
    agent.tool_plain(name="find")(lambda: "found")
    outputs = let_answer(bot, agent)
    offered = [ClientTool("find"), ClientTool("final_result"), ClientTool("no name")]
    BotClient(bot, client_tools=offered).send("Where?")
    assert list(script.tools) == ["find"]
    assert outputs[0] == Place(name="Ostia")


def test_other_deferred_calls_stay_those_of_the_agent(bot: Bot) -> None:
    script = Script([ToolCallPart("later", {}), CALL], [TextPart("Done.")])
    agent = Agent(script.model, output_type=[str, DeferredToolRequests])

    @agent.tool_plain
    def later() -> str:
        raise CallDeferred

    outputs = let_answer(bot, agent)
    client = BotClient(bot, client_tools=[PICK])
    client.send("Where?")
    client.answer_call("Ostia")
    assert [call.tool_name for call in outputs[0].calls] == ["later"]


def test_agent_without_tools_of_clients_has_none(bot: Bot) -> None:
    script = Script([TextPart("Done.")])
    let_answer(bot, Agent(script.model))
    assert BotClient(bot).send("Where?").text == "Done."
    assert script.tools == {}
