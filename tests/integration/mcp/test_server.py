"""A bot's tools over MCP, as the official client sees them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from cometbot import Bot
from cometbot.cli import main
from cometbot.mcp.server import ServedTools

from .conftest import COMMAND, ENVIRON, SHOP, TOKEN, HttpServer


async def over_stdio(work: Callable[[Client], Awaitable[Any]]) -> Any:
    program, *arguments = COMMAND
    async with Client(StdioServerParameters(command=program, args=arguments, env=ENVIRON)) as client:
        return await work(client)


async def over_http(url: str, token: str, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"} if token else {}) as http_client,
        Client(streamable_http_client(url, http_client=http_client)) as client,
    ):
        return await work(client)


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


async def check_tools(client: Client) -> None:
    """Check what is listed, and each kind of call."""
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(listed) == ["find_order", "get_process", "end", "broken"]
    assert listed["find_order"].description == "Find an order."
    assert listed["find_order"].input_schema["properties"]["number"] == {
        "type": "integer",
        "description": "The number on the confirmation.",
    }
    found = await client.call_tool("find_order", {"number": "17"})
    assert (text_of(found), found.is_error) == ('{"number": 17, "year": null}', False)
    for name, arguments, text in (
        ("find_order", {"number": 404}, "LookupError: no order 404"),
        ("find_order", {"number": "x"}, 'the arguments do not fit: number: expected a whole number, got "x"'),
        ("find_order", None, "the arguments do not fit: number: missing"),
        ("broken", {}, "the tool has failed"),
    ):
        failed = await client.call_tool(name, arguments)
        assert (text_of(failed), failed.is_error) == (text, True)
    assert text_of(await client.call_tool("get_process")).isdecimal()
    for name in ("refund", "greet", "delete_all"):
        with pytest.raises(MCPError, match=f"Unknown tool: {name}"):
            await client.call_tool(name, {"number": 17})


def test_official_client_calls_tools_over_stdio() -> None:
    asyncio.run(over_stdio(check_tools))


def test_official_client_calls_tools_over_http(http_server: HttpServer, open_http_server: HttpServer) -> None:
    asyncio.run(over_http(http_server.url, TOKEN, check_tools))
    asyncio.run(over_http(open_http_server.url, "", check_tools))
    log = "".join(http_server.log)
    assert "Not served: greet, because it needs the context of a conversation." in log
    assert "Not served: refund, because it requires an approval." in log


def test_many_calls_at_once_are_answered(http_server: HttpServer) -> None:
    async def call_many(client: Client) -> list[str]:
        calls = [client.call_tool("find_order", {"number": number}) for number in range(20)]
        return [text_of(result) for result in await asyncio.gather(*calls)]

    texts = asyncio.run(over_http(http_server.url, TOKEN, call_many))
    assert texts == [f'{{"number": {number}, "year": null}}' for number in range(20)]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x"])
def test_request_without_the_token_is_refused(http_server: HttpServer, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    response = httpx2.post(http_server.url, json=message, headers=headers)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_page_of_another_site_cannot_call_a_server_without_a_token(open_http_server: HttpServer) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Host": "attacker.example", "Accept": "application/json, text/event-stream"}
    assert httpx2.post(open_http_server.url, json=message, headers=headers).status_code == 421


def test_what_is_no_json_is_refused(http_server: HttpServer) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    assert httpx2.post(http_server.url, content=b"{", headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("words", "variables", "text"),
    [
        (["--http", "0.0.0.0:0"], {}, "a token is needed; set COMETBOT_MCP_TOKEN"),
        (["--http", "[::]:0"], {}, "a token is needed"),
        (["--http", "127.0.0.1:0"], {"COMETBOT_MCP_TOKEN": "short"}, "COMETBOT_MCP_TOKEN"),
        (["--http", "8765"], {}, "expected HOST:PORT, such as 127.0.0.1:8765, got '8765'"),
        (["--http", "192.0.2.1:1"], {"COMETBOT_MCP_TOKEN": TOKEN}, "cannot listen at 192.0.2.1:1"),
    ],
)
def test_wrong_options_are_explained(words: list[str], variables: dict[str, str], text: str) -> None:
    result = CliRunner().invoke(main, ["mcp", SHOP, *words], env=variables)
    assert (result.exit_code, text in result.stderr) == (2, True), result.stderr


def test_two_bots_are_not_served_together(tmp_path: Path) -> None:
    file = tmp_path / "bots.py"
    file.write_text("from cometbot import Bot\none, two = Bot('one'), Bot('two')\n")
    result = CliRunner().invoke(main, ["mcp", f"{file}:one,{file}:two"])
    assert (result.exit_code, "expected one bot, got 2" in result.stderr) == (2, True)


def test_bot_without_tools_is_served_all_the_same() -> None:
    assert ServedTools.of_bot(Bot("empty")).tools == {}


def test_missing_library_is_named() -> None:
    code = "import sys; sys.modules['mcp'] = None\nfrom cometbot.cli import main\nmain(['mcp', sys.argv[1]])"
    done = subprocess.run([sys.executable, "-c", code, SHOP], env=ENVIRON, text=True, capture_output=True, check=False)
    assert (done.returncode, "pip install 'cometbot[mcp]'" in done.stderr) == (2, True), done.stderr
