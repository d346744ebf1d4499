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
    return Answer(["One moment."], ("find_order", {"number": 4711}))


@pytest.fixture(autouse=True)
def settings(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = answer_with_tool
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    monkeypatch.setenv("MODEL", "m")


def make_bot(model: Model) -> Bot:
    bot = Bot("shop")

    @bot.tool
    def find_order(number: int) -> str:
        """Look up an order."""
        return f"order {number}: sent on Monday"

    @bot.message()
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, instructions="You help customers.")

    return bot


def run_block(function: str) -> dict[str, Any]:
    """Run the block of the page that defines a function, and return its names."""
    [code] = [block for block in BLOCKS if f"def {function}(" in block]
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def check_tool_is_called(model: Model, server: ModelServer) -> None:
    client = BotClient(make_bot(model))
    assert client.send("Where is order 4711?").texts == ["One moment.", "It was sent on Monday."]
    assert len(server.requests) == 2
    assert "You help customers." in json.dumps(server.requests[0])


@pytest.mark.parametrize("name", ["ask_openai", "ask_anthropic"])
def test_clients_of_the_page_call_tools(server: ModelServer, name: str) -> None:
    found = run_block(name)
    with found["client"]:
        check_tool_is_called(found[name], server)


def test_async_client_of_the_page_streams(server: ModelServer) -> None:
    server.answer = lambda body: Answer(["Hello", " Maria"])
    found = run_block("ask_openai_async")
    assert BotClient(make_bot(found["ask_openai_async"])).send("Hi").text == "Hello Maria"
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
    check_tool_is_called(module.ask_model, server)
    assert {body["model"] for body in server.requests} == {"m"}
