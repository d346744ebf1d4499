"""The official clients of OpenAI and Anthropic in handlers, against a server that streams as the providers do."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import MessageParam, RawMessageStreamEvent, ToolParam
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

from cometbot import Attachment, Bot, Context, ToolCall, Turn
from cometbot.testing import BotClient
from cometbot.turns import to_anthropic, to_openai
from tests.integration.models.stand_ins import Answer, ModelServer

pydantic = pytest.importorskip("pydantic")

TEXTS = ["Hello", ", ", "", "Maria", "! ", "Wie geht’s? 👩‍👩‍👧"]
WHOLE = "".join(TEXTS)

Register = Callable[[Bot], None]


def openai_text(chunk: ChatCompletionChunk) -> str | None:
    return chunk.choices[0].delta.content if chunk.choices else None


def anthropic_text(event: RawMessageStreamEvent) -> str | None:
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        return event.delta.text
    return None


@pytest.fixture
def openai_plain(openai_client: openai.OpenAI) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        def answer(ctx: Context) -> None:
            messages = to_openai(ctx.turns())
            ctx.stream(
                lambda: openai_client.chat.completions.create(model="gpt-5", messages=messages, stream=True),
                text=openai_text,
            )

    return register


@pytest.fixture
def openai_async(async_openai_client: openai.AsyncOpenAI) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        async def answer(ctx: Context) -> None:
            messages = to_openai(ctx.turns())
            ctx.stream(
                lambda: async_openai_client.chat.completions.create(model="gpt-5", messages=messages, stream=True),
                text=openai_text,
            )

    return register


@pytest.fixture
def openai_async_in_plain_handler(async_openai_client: openai.AsyncOpenAI) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        def answer(ctx: Context) -> None:
            async def ask() -> AsyncIterator[str | None]:
                stream = await async_openai_client.chat.completions.create(
                    model="gpt-5",
                    messages=to_openai(ctx.turns()),
                    stream=True,
                    stream_options={"include_usage": True},
                )
                async for chunk in stream:
                    if chunk.usage is not None:
                        ctx.usage(
                            model=chunk.model, input=chunk.usage.prompt_tokens, output=chunk.usage.completion_tokens
                        )
                    yield openai_text(chunk)

            ctx.stream(ask)

    return register


@pytest.fixture
def anthropic_plain(anthropic_client: anthropic.Anthropic) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        def answer(ctx: Context) -> None:
            messages = to_anthropic(ctx.turns())
            ctx.stream(
                lambda: anthropic_client.messages.create(
                    model="claude", max_tokens=1000, messages=messages, stream=True
                ),
                text=anthropic_text,
            )

    return register


@pytest.fixture
def anthropic_manager(anthropic_client: anthropic.Anthropic) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        def answer(ctx: Context) -> None:
            def ask() -> Iterator[str]:
                messages = to_anthropic(ctx.turns())
                with anthropic_client.messages.stream(model="claude", max_tokens=1000, messages=messages) as stream:
                    yield from stream.text_stream
                    usage = stream.get_final_message().usage
                ctx.usage(model="claude", input=usage.input_tokens, output=usage.output_tokens)

            ctx.stream(ask)

    return register


@pytest.fixture
def anthropic_async(async_anthropic_client: anthropic.AsyncAnthropic) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        async def answer(ctx: Context) -> None:
            messages = to_anthropic(ctx.turns())
            ctx.stream(
                lambda: async_anthropic_client.messages.create(
                    model="claude", max_tokens=1000, messages=messages, stream=True
                ),
                text=anthropic_text,
            )

    return register


@pytest.fixture
def anthropic_async_manager(async_anthropic_client: anthropic.AsyncAnthropic) -> Register:
    def register(bot: Bot) -> None:
        @bot.message()
        async def answer(ctx: Context) -> None:
            async def ask() -> AsyncIterator[str]:
                manager = async_anthropic_client.messages.stream(
                    model="claude", max_tokens=1000, messages=to_anthropic(ctx.turns())
                )
                async with manager as stream:
                    async for text in stream.text_stream:
                        yield text

            ctx.stream(ask)

    return register


OPENAI = ["openai_plain", "openai_async", "openai_async_in_plain_handler"]
ANTHROPIC = ["anthropic_plain", "anthropic_manager", "anthropic_async", "anthropic_async_manager"]


@pytest.fixture(params=[*OPENAI, *ANTHROPIC])
def client(request: pytest.FixtureRequest) -> BotClient:
    """A user of a bot that answers with a model, in one of the ways that the docs show."""
    bot = Bot("assistant")
    request.getfixturevalue(request.param)(bot)
    return BotClient(bot, raise_errors=False)


def test_answer_is_streamed(client: BotClient, server: ModelServer) -> None:
    server.answer = lambda body: Answer(TEXTS)
    assert client.send("hi").text == WHOLE
    assert client.dead_letters == []


def test_one_client_serves_one_message_after_the_other(client: BotClient, server: ModelServer) -> None:
    server.answer = lambda body: Answer([f"Answer {len(server.requests)}"])
    assert [client.send(f"Question {number}").text for number in (1, 2)] == ["Answer 1", "Answer 2"]
    first, second = [request["messages"] for request in server.requests]
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[:1] == first
    assert "Answer 1" in str(second[1])


@pytest.mark.parametrize("end", ["error", "break"])
def test_broken_stream_is_marked_and_apologised_for(client: BotClient, server: ModelServer, end: Any) -> None:
    server.answer = lambda body: Answer(TEXTS, end=end)
    texts = client.send("hi").texts
    assert texts[0].startswith("Hello, Maria!")
    assert client.bot.broken_off_text is not None
    assert texts[0].endswith(client.bot.broken_off_text)
    assert texts[1:] == [client.bot.error_text]
    [letter] = client.dead_letters
    assert "Error" in str(letter)


@pytest.mark.parametrize("name", ["openai_async_in_plain_handler", "anthropic_manager"])
def test_usage_at_the_end_of_a_stream_is_counted(
    name: str, server: ModelServer, request: pytest.FixtureRequest
) -> None:
    bot = Bot("assistant")
    request.getfixturevalue(name)(bot)
    client = BotClient(bot)
    client.send("hi")
    [usage] = client.usage
    assert (usage.output, usage.input) == (7, 20 if name.startswith("anthropic") else 25)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_eight_handlers_share_two_clients(kind: str, server: ModelServer, request: pytest.FixtureRequest) -> None:
    arrived = threading.Barrier(8)

    def echo(body: Mapping[str, Any]) -> Answer:
        content = body["messages"][-1]["content"]
        asked = content if isinstance(content, str) else content[0]["text"]
        return Answer(wait_between(["Dear ", f"{asked}, ", "hello"], arrived))

    server.answer = echo
    bots = [Bot("openai"), Bot("anthropic")]
    for bot in bots:
        request.getfixturevalue(f"{bot.name}_{kind}")(bot)
    said: dict[str, str] = {}

    def talk(number: int) -> None:
        name = f"user{number}"
        said[name] = BotClient(bots[number % 2], user=name).send(name).text

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {f"user{number}": f"Dear user{number}, hello" for number in range(8)}


def wait_between(texts: list[str], arrived: threading.Barrier) -> Iterator[str]:
    """Yield the first text, and the others when all handlers have come so far."""
    yield texts[0]
    arrived.wait(30)
    yield from texts[1:]


TURNS = [
    Turn("assistant", "Welcome."),
    Turn("user", "Look.", "Maria", (Attachment("https://example.com/a.png", "a.png", "image/png"),)),
    Turn("user", "", images=(Attachment("data:image/gif;base64,R0lGODlh", "a.gif", "image/gif"),)),
    Turn("assistant", "One moment.", tool_calls=(ToolCall("find_order", {"number": 17}, "c1"),)),
    Turn("tool", "sent", tool_call_id="c1"),
    Turn("user", "Thanks"),
]


def test_formats_are_those_of_the_clients() -> None:
    bot = Bot("shop")

    @bot.tool
    def find_order(number: int, note: str = "") -> str:
        """Find an order."""
        return "sent"

    [tool] = bot.tools
    checks: list[tuple[Any, Any]] = [
        (list[ChatCompletionMessageParam], [Turn("system", "Be kind.").to_openai(), *to_openai(TURNS)]),
        (list[MessageParam], to_anthropic(TURNS)),
        (ChatCompletionToolParam, tool.to_openai()),
        (ToolParam, tool.to_anthropic()),
    ]
    for kind, value in checks:
        pydantic.TypeAdapter(kind).validate_python(value)
