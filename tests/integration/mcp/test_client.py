"""Tools of MCP servers in ``ctx.run_agent``, over the official server and over ``cometbot mcp``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

import pytest
from mcp.types import ListToolsResult

from cometbot import Bot, BotError, Context, ToolCall, Turn
from cometbot.errors import McpUnreachable
from cometbot.mcp import McpServer
from cometbot.mcp.client import _list_all
from cometbot.testing import BotClient, FakeModel
from cometbot.tools import ToolFailure

from .conftest import COMMAND, TOKEN, HttpServer

OFFICIAL = """
from mcp.server import MCPServer
from mcp.types import ImageContent, TextContent

server = MCPServer("official")

@server.tool(name="shop.find")
def find(number: int) -> dict:
    \"\"\"Find an order.\"\"\"
    return {"number": number}

@server.tool()
def draw() -> list:
    return [TextContent(text="a picture"), ImageContent(data="aGk=", mime_type="image/png")]

@server.tool()
def fail() -> str:
    raise ValueError("no such thing")

server.run()
"""


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


@pytest.fixture(scope="module")
def stdio_server() -> McpServer:
    return McpServer(command=COMMAND)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> McpServer:
    file = tmp_path_factory.mktemp("official") / "server.py"
    file.write_text(OFFICIAL)
    return McpServer(command=[sys.executable, str(file)])


def run(bot: Bot, model: FakeModel, server: McpServer, *, is_async: bool = False) -> BotClient:
    """Let a bot answer with the tools of a server, and write to it."""

    async def answer_async(ctx: Context) -> None:
        ctx.run_agent(model, [server], turns=[Turn("user", ctx.text)])

    def answer(ctx: Context) -> None:
        ctx.run_agent(model, [server], turns=[Turn("user", ctx.text)])

    bot.fallback(answer_async if is_async else answer)
    client = BotClient(bot)
    client.send("hi")
    return client


def results(model: FakeModel) -> list[str]:
    return [turn.text for turn in model.requests[-1].turns if turn.role == "tool"]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_model_calls_the_tools_of_a_command(bot: Bot, stdio_server: McpServer, is_async: bool) -> None:
    calls = [ToolCall("find_order", {"number": number}) for number in (17, "x", 404)]
    model = FakeModel(calls, "Done.")
    client = run(bot, model, stdio_server, is_async=is_async)
    assert client.said().text == "Done."
    assert results(model) == [
        '{"number": 17, "year": null}',
        'error: the arguments do not fit: number: expected a whole number, got "x"',
        "error: LookupError: no order 404",
    ]


def test_model_calls_the_tools_of_a_url(bot: Bot, http_server: HttpServer) -> None:
    server = McpServer(url=http_server.url, token=TOKEN, tools=["find_order"])
    model = FakeModel(ToolCall("find_order", {"number": 17}), "Done.")
    run(bot, model, server)
    assert [tool.name for tool in model.requests[0].tools] == ["find_order"]
    assert results(model) == ['{"number": 17, "year": null}']


def test_tools_of_the_official_server_are_called(bot: Bot, official: McpServer) -> None:
    calls = [ToolCall("shop_find", {"number": 17}), ToolCall("draw"), ToolCall("fail"), ToolCall("draw", "no")]
    model = FakeModel(calls, "Done.")
    run(bot, model, official)
    found, drawn, failed, wrong = results(model)
    assert '"number": 17' in found
    assert drawn == "a picture\n(image)"
    assert failed.startswith("error: ")
    assert wrong == "error: the arguments do not fit: expected an object"
    assert model.requests[0].tools[0].parameters["properties"]["number"]["type"] == "integer"


def test_one_session_serves_all_calls(stdio_server: McpServer) -> None:
    processes = {stdio_server.call("get_process", {}) for _ in range(3)}
    assert len(processes) == 1
    assert processes != {str(os.getpid())}


def test_session_is_renewed_when_its_server_has_ended() -> None:
    server = McpServer(command=COMMAND)
    first = server.call("get_process", {})
    os.kill(int(first), signal.SIGKILL)
    assert {tool.name for tool in server.list_tools()} >= {"find_order"}
    assert server.call("get_process", {}) != first


def test_call_that_ends_the_server_is_an_error_for_the_model(bot: Bot) -> None:
    model = FakeModel(ToolCall("end"), ToolCall("find_order", {"number": 1}), "Done.")
    run(bot, model, McpServer(command=COMMAND))
    ended, found = results(model)
    assert ended == "error: the server of the tool cannot be reached; the call may have been made"
    assert found == '{"number": 1, "year": null}'


def test_approval_is_required_by_the_name_of_a_tool(bot: Bot) -> None:
    server = McpServer(command=COMMAND, requires_approval={"find_order": True})
    model = FakeModel([ToolCall("get_process"), ToolCall("find_order", {"number": 1})], "Done.")
    client = run(bot, model, server)
    assert client.waiting is not None
    assert client.press("Approve").text == "Done."
    assert results(model)[1] == '{"number": 1, "year": null}'


def test_later_run_asks_no_server_for_stored_results(bot: Bot) -> None:
    server = McpServer(command=COMMAND)
    model = FakeModel(ToolCall("get_process"), "Done.")
    listed: list[Any] = []
    list_tools = server.list_tools
    server.list_tools = lambda: listed.append(1) or list_tools()  # type: ignore[func-returns-value, method-assign]

    @bot.message()
    def answer(ctx: Context) -> str:
        ctx.run_agent(model, [server], turns=[])
        return f"You said {ctx.ask('And now?')}."

    client = BotClient(bot)
    client.send("hi")
    assert client.send("thanks").text == "You said thanks."
    assert (len(listed), len(model.requests)) == (1, 2)


@pytest.mark.parametrize(
    "server",
    [
        McpServer(command=["no-such-program"]),
        McpServer(command=[sys.executable, "-c", "print('hello')"], timeout=20),
        McpServer(url="http://127.0.0.1:9/mcp?key=secret"),
    ],
    ids=["missing", "no server", "no port"],
)
def test_server_that_cannot_be_reached_fails_the_agent(bot: Bot, server: McpServer) -> None:
    with pytest.raises(McpUnreachable, match="cannot reach the MCP server") as raised:
        run(bot, FakeModel("x"), server)
    assert "secret" not in str(raised.value)


def test_wrong_token_cannot_reach_the_server(http_server: HttpServer) -> None:
    with pytest.raises(McpUnreachable):
        McpServer(url=http_server.url, token="wrong").list_tools()


def test_missing_tool_is_a_mistake(stdio_server: McpServer) -> None:
    with pytest.raises(BotError, match="the server has no tool delete_all"):
        McpServer(command=COMMAND, tools=["delete_all", "find_order"]).list_tools()
    with pytest.raises(ToolFailure, match="Unknown tool"):
        stdio_server.call("delete_all", {})


def test_approval_of_a_missing_tool_is_a_mistake() -> None:
    with pytest.raises(BotError, match="the server has no tool find_oder"):
        McpServer(command=COMMAND, requires_approval={"find_oder": True}).list_tools()


@pytest.mark.parametrize("approvers", ["managers", None, {"find_order": "managers"}])
def test_wrong_approvers_are_explained(approvers: Any) -> None:
    with pytest.raises(BotError, match="requires_approval: expected True"):
        McpServer(command=COMMAND, requires_approval=approvers)


@pytest.mark.parametrize("options", [{}, {"command": "server"}, {"command": ["a"], "url": "http://b"}])
def test_one_of_command_and_url_is_needed(options: dict[str, Any]) -> None:
    with pytest.raises(BotError, match="McpServer: expected command="):
        McpServer(**options)


def test_names_of_tools_are_a_list() -> None:
    with pytest.raises(BotError, match="McpServer: tools: expected names"):
        McpServer(url="http://localhost/mcp", tools="search")


class SessionServer(BaseHTTPRequestHandler):
    """A server of the protocol's versions with sessions, which forgets them when it is started anew."""

    sessions: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        session, method = self.headers.get("Mcp-Session-Id", ""), request["method"]
        if method == "initialize":
            session = f"s{len(self.sessions)}"
            self.sessions.add(session)
            server = {"name": "old", "version": "1"}
            result: Any = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": server}
        elif method == "tools/list":
            result = {"tools": [{"name": "find", "inputSchema": {"type": "object"}}]}
        else:
            result = None
        if method != "initialize" and session not in self.sessions:
            self.answer(404 if session else 400, {}, "")
        elif "id" not in request:
            self.answer(202, {}, session)
        else:
            self.answer(200, {"jsonrpc": "2.0", "id": request["id"], "result": result}, session)

    def do_GET(self) -> None:
        self.answer(405, {}, "")

    do_DELETE = do_GET

    def answer(self, status: int, body: Any, session: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


def test_session_is_renewed_when_its_server_has_forgotten_it() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SessionServer) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        server = McpServer(url=f"http://127.0.0.1:{http_server.server_port}/mcp", timeout=20)
        assert [tool.name for tool in server.list_tools()] == ["find"]
        SessionServer.sessions.clear()
        assert [tool.name for tool in server.list_tools()] == ["find"]
        http_server.shutdown()


def test_pages_of_tools_without_end_are_left_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class EndlessClient:
        async def list_tools(self, *, cursor: str | None) -> ListToolsResult:
            return ListToolsResult(tools=[], next_cursor="next")

    found = asyncio.run(_list_all(cast(Any, EndlessClient())))
    assert found == []
    assert "more than 20 pages of tools" in caplog.text
