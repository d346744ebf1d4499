"""The clients of providers, as the docs and the project template use them, against stand-ins of the providers' APIs."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot import Bot, Context
from cometbot.cli.init import write_project
from cometbot.testing import BotClient

ROOT = Path(__file__).parents[2]
OPENAI = "/v1/chat/completions"
ANTHROPIC = "/v1/messages"

pytest.importorskip("openai")
pytest.importorskip("anthropic")


def openai_chunk(**delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def openai_answer(*texts: str, call: dict[str, Any] | None = None) -> Iterable[str]:
    """Yield the events of an answer; the arguments of a call come in two parts."""
    chunks = [openai_chunk(role="assistant", content="")]
    chunks += [openai_chunk(content=text) for text in texts]
    if call is not None:
        arguments = json.dumps(call["arguments"])
        head = {"index": 0, "id": "c1", "type": "function", "function": {"name": call["name"], "arguments": ""}}
        chunks.append(openai_chunk(tool_calls=[head]))
        for part in (arguments[:4], arguments[4:]):
            chunks.append(openai_chunk(tool_calls=[{"index": 0, "function": {"arguments": part}}]))
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    chunks.append({**openai_chunk(), "choices": [], "usage": usage})
    yield from (f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    yield "data: [DONE]\n\n"


def anthropic_answer(*texts: str, call: dict[str, Any] | None = None) -> Iterable[str]:
    """Yield the events of an answer."""
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    ]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if texts:
        deltas = [{"type": "text_delta", "text": text} for text in texts]
        blocks.append(({"type": "text", "text": ""}, deltas))
    if call is not None:
        arguments = {"type": "input_json_delta", "partial_json": json.dumps(call["arguments"])}
        blocks.append(({"type": "tool_use", "id": "t1", "name": call["name"], "input": {}}, [arguments]))
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}
    )
    events.append({"type": "message_stop"})
    yield from (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


class Provider:
    """A stand-in of both APIs: it calls ``find_order`` once, and then says what that has returned."""

    def __init__(self, server: HTTPServer) -> None:
        self.requests: list[dict[str, Any]] = []
        server.expect_request(OPENAI).respond_with_handler(self._answer)
        server.expect_request(ANTHROPIC).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        body = request.get_json()
        self.requests.append(body)
        make = openai_answer if request.path == OPENAI else anthropic_answer
        results = re.findall(r"sent on \w+", json.dumps(body["messages"][-1]))
        if results or not body.get("tools"):
            events = make("It was ", f"{results[0] if results else 'nothing'}.")
        else:
            events = make("One moment.", call={"name": "find_order", "arguments": {"number": 4711}})
        return Response(list(events), content_type="text/event-stream")


@pytest.fixture
def provider(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-for-tests")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key-for-tests")
    monkeypatch.setenv("OPENAI_BASE_URL", httpserver.url_for("/v1"))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", httpserver.url_for("").rstrip("/"))
    monkeypatch.setenv("MODEL", "m")
    return Provider(httpserver)


def make_bot(model: Callable[..., Any]) -> Bot:
    bot = Bot("shop")

    @bot.tool
    def find_order(number: int) -> str:
        """Look up an order."""
        return f"order {number}: sent on Monday"

    @bot.message()
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, instructions="You help customers.")

    return bot


def blocks_of_the_page() -> list[str]:
    return re.findall(r"^~~~python\n(.*?)^~~~$", (ROOT / "docs" / "models.md").read_text(), re.S | re.M)


def check(model: Callable[..., Any], provider: Provider) -> None:
    """Let a model call a tool, and say its result."""
    client = BotClient(make_bot(model))
    assert client.send("Where is order 4711?").texts == ["One moment.", "It was sent on Monday."]
    assert len(provider.requests) == 2
    assert "You help customers." in json.dumps(provider.requests[0])


@pytest.mark.parametrize("name", ["ask_openai", "ask_anthropic"])
def test_the_clients_of_the_page_call_tools(provider: Provider, name: str) -> None:
    [code] = [block for block in blocks_of_the_page() if f"def {name}(" in block]
    found: dict[str, Any] = {}
    exec(code, found)
    with found["client"]:
        check(found[name], provider)


def test_the_async_client_of_the_page_streams(provider: Provider) -> None:
    [code] = [block for block in blocks_of_the_page() if "AsyncOpenAI" in block]
    found: dict[str, Any] = {}
    exec(code, found)
    assert BotClient(make_bot(found["ask_openai_async"])).send("Hello").text == "It was nothing."


@pytest.mark.parametrize("name", ["ask_openai", "ask_anthropic"])
def test_the_clients_of_the_template_call_tools(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "ask_anthropic":
        monkeypatch.delenv("OPENAI_API_KEY")
    write_project(tmp_path, "shop", "assistant")
    spec = importlib.util.spec_from_file_location("template_model", tmp_path / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "template_model", module)
    spec.loader.exec_module(module)
    check(module.ask_model, provider)
    assert {request["model"] for request in provider.requests} == {"m"}
