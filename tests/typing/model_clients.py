"""The clients of providers, and agents of Pydantic AI, as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from pydantic_ai import Agent, AgentRunResult, ModelMessage, RunContext

from cometbot import Bot, Context, Group, Turn
from cometbot.pydantic_ai import PydanticAgent, to_messages
from cometbot.turns import to_anthropic, to_openai

if TYPE_CHECKING:
    from typing_extensions import assert_type

bot = Bot("shop")


def ask_openai(client: OpenAI, turns: list[Turn]) -> Iterator[str | None]:
    tools = [tool.to_openai() for tool in bot.tools]
    stream = client.chat.completions.create(model="gpt-5", messages=to_openai(turns), tools=tools, stream=True)
    for chunk in stream:
        yield chunk.choices[0].delta.content


def ask_anthropic(client: Anthropic, turns: list[Turn]) -> Iterator[str]:
    tools = [tool.to_anthropic() for tool in bot.tools]
    messages = to_anthropic(turns)
    with client.messages.stream(model="claude", max_tokens=1000, messages=messages, tools=tools) as stream:
        yield from stream.text_stream


async def ask_async(openai: AsyncOpenAI, anthropic: AsyncAnthropic, turns: list[Turn]) -> AsyncIterator[str | None]:
    async for chunk in await openai.chat.completions.create(model="x", messages=to_openai(turns), stream=True):
        yield chunk.choices[0].delta.content
    messages = to_anthropic(turns)
    async with anthropic.messages.stream(model="claude", max_tokens=1000, messages=messages) as stream:
        async for text in stream.text_stream:
            yield text


@bot.message()
async def stream_answer(ctx: Context) -> None:
    openai, anthropic = AsyncOpenAI(), AsyncAnthropic()
    ctx.stream(
        lambda: openai.chat.completions.create(model="gpt-5", messages=to_openai(ctx.turns()), stream=True),
        text=lambda chunk: chunk.choices[0].delta.content,
    )
    ctx.stream(lambda: ask_async(openai, anthropic, ctx.turns()))


text_agent = Agent("test", deps_type=Context)
number_agent = Agent("test", output_type=int)


def find_order(run: RunContext[Context], number: int) -> str:
    return f"{number} for {run.deps.sender}"


text_agent.tool(find_order)
assistant = PydanticAgent(text_agent, approvers={"refund": Group("team")})
counter = PydanticAgent(number_agent)


@bot.command("agent")
def agent(ctx: Context) -> None:
    assert_type(assistant.run(ctx), AgentRunResult[str] | None)
    assert_type(counter.run(ctx, "How many?", turns=[Turn("user", "hi")], stream=False), AgentRunResult[int] | None)
    assert_type(to_messages(ctx.turns()), list[ModelMessage])
    assistant.run(ctx, deps=ctx, message_history=to_messages([]), instructions="Be kind.", key="answer")
