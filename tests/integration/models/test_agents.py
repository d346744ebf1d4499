"""Agents of Pydantic AI that ask models through the official clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anthropic
import openai
import pytest

from cometbot import Bot, Context
from cometbot.testing import BotClient
from tests.integration.models.stand_ins import Answer, ModelServer

pytest.importorskip("pydantic_ai", reason="needs Python 3.11")

from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from cometbot.pydantic_ai import PydanticAgent


def call_a_tool(body: Mapping[str, Any]) -> Answer:
    """Call a tool first, and answer with its result then."""
    last = body["messages"][-1]
    if "sent on Monday" in str(last):
        return Answer(["It was ", "sent on Monday."])
    [tool] = body["tools"]
    name = tool.get("name") or tool["function"]["name"]
    return Answer(["Let me ", "see."], call=(name, {"number": 17}))


@pytest.fixture(params=["openai", "anthropic"])
def model(
    request: pytest.FixtureRequest,
    async_openai_client: openai.AsyncOpenAI,
    async_anthropic_client: anthropic.AsyncAnthropic,
) -> Model:
    if request.param == "openai":
        return OpenAIChatModel("gpt-5", provider=OpenAIProvider(openai_client=async_openai_client))
    return AnthropicModel("claude-sonnet-5-5", provider=AnthropicProvider(anthropic_client=async_anthropic_client))


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_agents_of_pydantic_ai_call_tools(model: Model, is_async: bool, server: ModelServer) -> None:
    server.answer = call_a_tool
    agent, calls = Agent(model, instructions="You help the customers of a shop."), list[int]()

    @agent.tool_plain(requires_approval=True)
    def find_order(number: int) -> str:
        """Find out where an order is."""
        calls.append(number)
        return f"order {number}: sent on Monday"

    assistant = PydanticAgent(agent)
    bot = Bot("shop")

    def answer(ctx: Context) -> None:
        assistant.run(ctx)

    async def answer_async(ctx: Context) -> None:
        answer(ctx)

    bot.message()(answer_async if is_async else answer)
    client = BotClient(bot)
    for count in (1, 2):  # the second message goes over the same async client
        assert client.send("Where is my order?").texts[0] == "Let me see."
        assert client.press("Approve").text == "It was sent on Monday."
        assert (calls, len(server.requests)) == ([17] * count, 2 * count)
    assert [(item.input, item.output) for item in client.usage] == [(25, 7)] * 4
    assert {item.cached for item in client.usage} == {5}


@pytest.mark.parametrize("end", ["error", "break"])
def test_broken_answer_of_an_agent_is_marked(model: Model, end: Any, server: ModelServer) -> None:
    server.answer = lambda body: Answer(["Hello, ", "Maria! "], end=end)
    assistant = PydanticAgent(Agent(model))
    bot = Bot("shop")

    @bot.message()
    def answer(ctx: Context) -> None:
        assistant.run(ctx)

    client = BotClient(bot, raise_errors=False)
    assert client.send("hi").texts == [f"Hello, Maria! {bot.broken_off_text}", bot.error_text]
    assert len(client.dead_letters) == 1
