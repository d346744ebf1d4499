"""The steps of agents of Pydantic AI: what is shown of an answer, and many handlers that make them at once."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="needs Python 3.11")

from opentelemetry.trace import NonRecordingSpan, NoOpTracer, SpanContext, Tracer, TracerProvider, use_span
from pydantic_ai import Agent, InstrumentationSettings, RunContext
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from cometbot import Bot, Context, Turn
from cometbot.pydantic_ai import PydanticAgent
from cometbot.pydantic_steps import _describe_result, _to_shown
from cometbot.testing import BotClient, FakeChannel


class PartsModel(Model):
    """A model that can only stream, and answers with these parts."""

    model_name = system = "parts"

    def __init__(self, *parts: ModelResponsePart) -> None:
        super().__init__()
        self._response = ModelResponse(parts)

    async def request(self, *args: Any) -> ModelResponse:
        raise NotImplementedError

    @asynccontextmanager
    async def request_stream(
        self, messages: Any, settings: Any, parameters: ModelRequestParameters, run_context: Any = None
    ) -> AsyncGenerator[CompletedStreamedResponse]:
        yield CompletedStreamedResponse(self._response, model_request_parameters=parameters, replay_events=True)


def test_thoughts_are_not_shown_and_part_paragraphs() -> None:
    thought = ThinkingPart("Well.")
    model = PartsModel(thought, TextPart("First."), thought, TextPart("Second, "), TextPart("third."))
    assistant, outputs, bot = PydanticAgent(Agent(model)), list[Any](), Bot("assistant")

    @bot.message()
    def answer(ctx: Context) -> None:
        result = assistant.run(ctx, turns=[Turn("user", "hi")])
        outputs.append(result.response.text if result else None)

    assert BotClient(bot).send("hi").text == "First.\n\nSecond, third."
    assert outputs == ["First.\n\nSecond, third."]


class RecordingSpan(NonRecordingSpan):
    """A span that adds its name to a list when it ends."""

    def __init__(self, name: str, ended: list[str]) -> None:
        super().__init__(SpanContext(1, 1, is_remote=False))
        self._name = name
        self._ended = ended

    def end(self, end_time: int | None = None) -> None:
        self._ended.append(self._name)


class RecordingTracer(NoOpTracer, TracerProvider):
    """Records the names of the spans that end."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return self

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> RecordingSpan:
        return RecordingSpan(name, self.ended)

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Iterator[RecordingSpan]:
        with use_span(self.start_span(name), end_on_exit=True) as span:
            yield span


def test_traces_leave_out_what_a_later_run_repeats() -> None:
    answers = [[ToolCallPart("find", {}), ToolCallPart("refund", {})], [TextPart("Done.")]]
    tracer = RecordingTracer()
    settings = InstrumentationSettings(tracer_provider=tracer)
    model = FunctionModel(lambda messages, info: ModelResponse(answers[len(messages) // 2]), model_name="scripted")
    agent = Agent(model, name="shop", capabilities=[Instrumentation(settings)])
    agent.tool_plain(name="find")(lambda: "sent")
    agent.tool_plain(name="refund", requires_approval=True)(lambda: "refunded")
    assistant, bot = PydanticAgent(agent), Bot("shop")

    @bot.message()
    def answer(ctx: Context) -> None:
        assistant.run(ctx, turns=[Turn("user", "hi")])

    client = BotClient(bot, check_paths=False)
    client.send("hi")
    client.press("Approve")
    counts = Counter(name for name in tracer.ended if name.startswith(("chat", "execute_tool")))
    assert counts == {"chat scripted": 2, "execute_tool find": 1, "execute_tool refund": 1}


def test_eight_handlers_share_an_agent() -> None:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        asked = str(messages[0].parts[0].content)  # type: ignore[union-attr]
        if len(messages) == 1:
            yield f"{asked}: "
            waiting.append(asked)
            while len(waiting) < 8:
                await asyncio.sleep(0.001)
            yield {1: DeltaToolCall("find", "{}", tool_call_id=f"c-{asked}")}
        else:
            yield f"{asked} has {messages[-1].parts[0].content}"  # type: ignore[union-attr]

    waiting: list[str] = []
    agent = Agent(FunctionModel(stream_function=stream), deps_type=Context)

    @agent.tool
    async def find(run: RunContext[Context]) -> str:
        return f"the order of {run.deps.sender.uid}"

    assistant = PydanticAgent(agent)
    bot = Bot("shop")

    @bot.message()
    def answer(ctx: Context) -> None:
        assistant.run(ctx, turns=[Turn("user", ctx.sender.uid)])

    def talk(name: str) -> None:
        said[name] = BotClient(bot, user=name).send("hi").texts

    said: dict[str, list[str]] = {}
    names = [f"user{number}" for number in range(8)]
    threads = [threading.Thread(target=talk, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {name: [f"{name}: ", f"{name} has the order of {name}"] for name in names}


def test_calls_and_results_are_shown_as_json() -> None:
    answers = [[ToolCallPart("find", {"day": "2031-12-24"}), ToolCallPart("fail", {})], [TextPart("Done.")]]
    model = FunctionModel(lambda messages, info: ModelResponse(answers[len(messages) // 2]), model_name="scripted")
    agent = Agent(model)

    @agent.tool_plain
    def find(day: date) -> dict[str, Any]:
        return {"sent": day}

    @agent.tool_plain
    def fail() -> str:
        raise ToolFailed("not today")

    assistant, bot = PydanticAgent(agent), Bot("shop")
    bot.redact(lambda text: text.replace("24", "…"))

    @bot.message()
    def answer(ctx: Context) -> None:
        assistant.run(ctx, turns=[Turn("user", "hi")])

    client = BotClient(bot)
    client.send("hi")
    assert isinstance(client.channel, FakeChannel)
    assert [(call.name, call.arguments) for call in client.channel.tool_calls] == [
        ("find", {"day": "2031-12-24"}),
        ("fail", {}),
    ]
    assert list(client.channel.tool_results.values()) == ['{"sent": "2031-12-…"}', "error: not today"]


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ({"raised": "ApprovalRequired", "metadata": None}, "needs an approval"),
        ({"raised": "CallDeferred", "metadata": None, "kind": None}, "goes on elsewhere"),
        ({"raised": "ModelRetry", "message": "again"}, "error: again"),
        ({"error": "too long"}, "error: too long"),
        ({"return": {"return_value": [1], "content": "x"}}, "[1]"),
        ({"value": None}, "done"),
    ],
)
def test_stored_result_is_described(stored: dict[str, Any], text: str) -> None:
    assert _describe_result(stored) == text


def test_arguments_that_are_no_json_are_shown_as_texts() -> None:
    circular: dict[str, Any] = {}
    circular["self"] = circular
    assert _to_shown({"day": date(2031, 12, 24), "path": re.compile("a")}) == {"day": "2031-12-24", "path": "a"}
    assert _to_shown({"lock": object}) == {"lock": "<class 'object'>"}
    assert _to_shown(circular) == {}
