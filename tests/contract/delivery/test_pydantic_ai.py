"""Stop an agent of Pydantic AI: while its model answers, and while a tool works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="needs Python 3.11")

from pydantic_ai import Agent, RunContext
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from cometbot import Context, Turn
from cometbot.bot import STOP_TEXT
from cometbot.pydantic_ai import PydanticAgent
from tests.contract.delivery.conftest import Harness, wait_until
from tests.contract.delivery.test_stop import Task


@pytest.fixture
def task() -> Iterator[Task]:
    task = Task()
    yield task
    task.may_end.set()


@pytest.mark.parametrize(
    ("stopped_in", "streams"), [("tool", True), ("answer", True), ("answer", False)], ids=["tool", "answer", "hidden"]
)
def test_stop_ends_an_agent(harness: Harness, task: Task, stopped_in: str, streams: bool) -> None:
    calls: list[str] = []

    async def stream(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        calls.append("request")
        yield "one moment"
        yield {1: DeltaToolCall("look", "{}")}
        if stopped_in == "answer":
            task.begun.release()
            await asyncio.Event().wait()

    agent = Agent(FunctionModel(stream_function=stream), deps_type=Context)

    @agent.tool
    def look(run: RunContext[Context]) -> None:
        calls.append("look")
        task.work(run.deps)

    assistant = PydanticAgent(agent)

    @harness.bot.message("work")
    def work(ctx: Context) -> str:
        result = assistant.run(ctx, turns=[Turn("user", "hi")], stream=streams)
        return f"result {result}, stopped {ctx.cancelled}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "work")
    task.wait()
    harness.enqueue(delivery, "/stop")
    said = [*(["one moment"] if streams else []), STOP_TEXT, "result None, stopped True"]
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == len(said))
    assert sorted(harness.channel.texts()) == sorted(said)
    assert calls == (["request", "look"] if stopped_in == "tool" else ["request"])
    wait_until(lambda: delivery.is_idle)
    assert not delivery.dead_letters.list()
