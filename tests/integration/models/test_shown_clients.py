"""The functions that ask a provider, as docs/models.md and the template of an assistant show them."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.cli.init import write_project
from cometbot.event_loop import run_coroutine
from cometbot.testing import BotClient
from tests.integration.models.stand_ins import Answer, ModelServer

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"^~~~python\n(.*?)^~~~$", (ROOT / "docs" / "models.md").read_text(), re.S | re.M)

Model = Callable[..., Any]


def answer_with_tool(body: Mapping[str, Any]) -> Answer:
    """Look up an order, and say what is known of it."""
    if found := re.search(r"sent on \w+", json.dumps(body["messages"][-1])):
        return Answer(["It was ", f"{found[0]}."])
    return Answer(["One ", "moment."], ("find_order", {"number": 4711}))


@pytest.fixture(autouse=True)
def settings(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = answer_with_tool
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    monkeypatch.setenv("MODEL", "m")


def make_bot(model: Model, *, is_async: bool = False) -> Bot:
    bot = Bot("shop")

    @bot.tool
    def find_order(number: int) -> str:
        """Look up an order."""
        return f"order {number}: sent on Monday"

    def answer(ctx: Context) -> None:
        ctx.run_agent(model, instructions="You help customers.")

    async def answer_async(ctx: Context) -> None:
        answer(ctx)

    bot.message()(answer_async if is_async else answer)
    return bot


def run_block(function: str) -> dict[str, Any]:
    """Run the block of the page that defines a function, and return its names."""
    [code] = [block for block in BLOCKS if f"def {function}(" in block]
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def check_tool_is_called(bot: Bot, server: ModelServer) -> None:
    client = BotClient(bot)
    assert client.send("Where is order 4711?").texts == ["One moment.", "It was sent on Monday."]
    assert [count_results(body) for body in server.requests] == [0, 1]
    assert "You help customers." in json.dumps(server.requests[0])


def count_results(body: Mapping[str, Any]) -> int:
    """Return the number of results of tools in a request."""
    messages = json.dumps(body["messages"])
    return messages.count('"tool_result"') + messages.count('"role": "tool"')


@pytest.mark.parametrize("name", ["ask_openai", "ask_anthropic"])
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_clients_of_the_page_call_tools(server: ModelServer, name: str, is_async: bool) -> None:
    found = run_block(name)
    with found["client"]:
        check_tool_is_called(make_bot(found[name], is_async=is_async), server)


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_async_client_of_the_page_answers_each_message(server: ModelServer, is_async: bool) -> None:
    server.answer = lambda body: Answer(["Answer ", str(len(server.requests))])
    found = run_block("ask_openai_async")
    client = BotClient(make_bot(found["ask_openai_async"], is_async=is_async))
    assert [client.send("Hi").text for _ in range(2)] == ["Answer 1", "Answer 2"]
    run_coroutine(found["async_client"].close())


@pytest.mark.parametrize("name", ["OpenAI", "Anthropic"])
def test_clients_of_the_template_call_tools(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "Anthropic":
        monkeypatch.delenv("OPENAI_API_KEY")
    write_project(tmp_path, "shop", "assistant")
    spec = importlib.util.spec_from_file_location("template_model", tmp_path / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "template_model", module)
    spec.loader.exec_module(module)
    check_tool_is_called(make_bot(module.ask_model), server)
    assert {body["model"] for body in server.requests} == {"m"}
