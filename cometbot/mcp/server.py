"""A bot's tools as an MCP server, over standard input and output or streamable HTTP."""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import uvicorn
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import INVALID_PARAMS, CallToolResult, ListToolsResult, TextContent
from mcp.types import Tool as ToolDescription

from cometbot.agents import describe_error, describe_value
from cometbot.bot import Bot
from cometbot.errors import BotError
from cometbot.questions import to_json_value
from cometbot.tool_schemas import InvalidArgument
from cometbot.tools import FunctionTool

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedTools:
    """The tools of a bot that others may call, and why the others may not, by name."""

    tools: Mapping[str, FunctionTool]
    left_out: Mapping[str, str]

    @classmethod
    def of_bot(cls, bot: Bot) -> ServedTools:
        """Return the tools that need neither a conversation nor somebody who approves."""
        left_out = {tool.name: reason for tool in bot.tools if (reason := _why_not(tool))}
        return cls({tool.name: tool for tool in bot.tools if tool.name not in left_out}, left_out)


def _why_not(tool: FunctionTool) -> str:
    if tool.requires_approval is not False:
        return "it requires an approval"
    return "it needs the context of a conversation" if tool.takes_context else ""


class ToolServer:
    """An MCP server with the tools of ``bot``."""

    def __init__(self, bot: Bot) -> None:
        self.served = ServedTools.of_bot(bot)
        self._server: Server[Any] = Server(
            bot.name,
            instructions=bot.description or None,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _list(self, request: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(
            tools=[
                ToolDescription(name=tool.name, description=tool.description, input_schema=dict(tool.parameters))
                for tool in self.served.tools.values()
            ]
        )

    async def _call(self, request: Any, params: Any) -> CallToolResult:
        tool = self.served.tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name[:100]}")
        # A plain function may wait; an async one runs on the event loop of cometbot, as in handlers.
        text, is_error = await anyio.to_thread.run_sync(_call_tool, tool, params.arguments or {})
        return CallToolResult(content=[TextContent(text=text)], is_error=is_error)

    def run_stdio(self) -> None:
        """Serve one client over standard input and output until it ends."""
        anyio.run(self._serve_stdio)

    async def _serve_stdio(self) -> None:
        async with stdio_server() as (read_stream, write_stream):
            await self._server.run(read_stream, write_stream, self._server.create_initialization_options())

    def run_http(self, listener: socket.socket, token: str) -> None:
        """Serve streamable HTTP at a listening socket until SIGTERM; without ``token``, on this machine alone."""
        host = listener.getsockname()[0]
        # Whoever has the token is let in under any name of this host, such as that of a proxy.
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False) if token else None
        app: Any = self._server.streamable_http_app(
            streamable_http_path=PATH, stateless_http=True, json_response=True, host=host, transport_security=security
        )
        config = uvicorn.Config(BearerToken(app, token) if token else app, log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


class BearerToken:
    """ASGI middleware that lets in only requests with the token."""

    def __init__(self, app: Callable[..., Awaitable[None]], token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer it with 401."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b"Missing or wrong bearer token.\n"})
                return
        await self._app(scope, receive, send)


def _call_tool(tool: FunctionTool, arguments: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the result of a call as a text, and whether it is an error."""
    try:
        converted = tool.convert(arguments)
    except InvalidArgument as problem:
        return f"the arguments do not fit: {problem}", True
    try:
        return describe_value(to_json_value(tool.call(None, converted), f"the tool {tool.name}")), False
    except BotError:
        _log.exception("the tool %s has failed", tool.name)
        return "the tool has failed", True
    except Exception as error:
        _log.warning("the tool %s raised an error, which its caller gets", tool.name, exc_info=True)
        return describe_error(error), True
