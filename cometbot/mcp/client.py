"""MCP servers as tools of ``ctx.run_agent``."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, TextContent

from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError, DeliveryError, McpUnreachable
from cometbot.event_loop import run_coroutine
from cometbot.forking import PerProcess
from cometbot.tool_schemas import InvalidArgument
from cometbot.tools import Approvers, Tool, ToolFailure, ToolSource, check_approvers

T = TypeVar("T")
Work: TypeAlias = Callable[[Client], Coroutine[Any, Any, T]]

MAX_PAGES = 20
"""The pages of a server's list of tools that are read."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME_LENGTH = 64

_log = logging.getLogger(__name__)


class McpServer(ToolSource):
    """An MCP server whose tools a model may call: ``ctx.run_agent(model, [find_order, McpServer(url=…)])``.

    ::

        github = McpServer(url="https://mcp.example.com/mcp", token=os.environ["GITHUB_TOKEN"], tools=["search_issues"])
        files = McpServer(command=["mcp-server-files", "/srv/manuals"])

    ``command`` starts it as a child of this process, with ``env`` beside a few variables of the environment; ``url`` is
    that of a server over streamable HTTP, with ``token`` as its bearer token. ``tools`` are the names of those that the
    model sees; None: all. ``requires_approval`` is that of :meth:`Bot.tool`, for all tools or by the name of each. A
    request may take ``timeout``.

    Each process has one session, which begins with the first use and is renewed when it breaks. Raises
    :class:`BotError` unless exactly one of ``command`` and ``url`` is given. If the server cannot be reached when a
    model is asked, ``ctx.run_agent`` raises :class:`~cometbot.errors.McpUnreachable`; if a call fails, its model gets
    the error.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] = (),
        url: str = "",
        env: Mapping[str, str] | None = None,
        token: str = "",
        tools: Collection[str] | None = None,
        requires_approval: Approvers | Mapping[str, Approvers] = False,
        timeout: Duration = 60,
    ) -> None:
        if isinstance(command, str) or bool(command) == bool(url):
            raise BotError(
                'McpServer: expected command=["program", "argument"] or url="https://…/mcp", '
                f"got command={command!r} and url={url!r}"
            )
        if isinstance(tools, str):
            raise BotError(f'McpServer: tools: expected names such as ["search"], got {tools!r}')
        check_approvers("McpServer: requires_approval", requires_approval)
        self.name = _without_secrets(url) or command[0]
        self._command = tuple(command)
        self._url = url
        self._env = dict(env or {})
        self._token = token
        self._wanted = None if tools is None else frozenset(tools)
        self._approvals = requires_approval
        self._timeout = to_seconds(timeout, "McpServer: timeout")
        self._session = PerProcess(lambda: _Session(self.name, self._connect, self._timeout))

    def __repr__(self) -> str:
        return f"<McpServer {self.name}>"

    def list_tools(self) -> Sequence[Tool]:
        """Return the tools of the server. Raises :class:`McpUnreachable`, and :class:`BotError` for a missing one."""
        listed = self._session.get().list_tools()
        self._check_names({item.name for item in listed})
        return [
            McpTool(
                name=_FORBIDDEN.sub("_", item.name)[:_MAX_NAME_LENGTH],
                description=item.description or item.title or "",
                parameters=item.input_schema,
                requires_approval=self._get_approvers(item.name),
                server=self,
                name_there=item.name,
            )
            for item in listed
            if self._wanted is None or item.name in self._wanted
        ]

    def _check_names(self, names: Set[str]) -> None:
        """Raise unless the server has all tools that are named, also those that require an approval."""
        approved = self._approvals if isinstance(self._approvals, Mapping) else ()
        missing = (self._wanted or frozenset()).union(approved) - names
        if missing:
            raise BotError(f"McpServer {self.name}: the server has no tool {', '.join(sorted(missing))}")

    def _get_approvers(self, tool: str) -> Approvers:
        if isinstance(self._approvals, Mapping):
            return self._approvals.get(tool, False)
        return self._approvals

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Return the result of a call: a text, or other JSON. Raises :class:`ToolFailure` if it fails."""
        return _read_result(self._session.get().call_tool(tool, arguments))

    async def _connect(self, stack: AsyncExitStack) -> Client:
        """Return a client whose connection ``stack`` closes."""
        if self._command:
            program, *arguments = self._command
            target: Any = StdioServerParameters(command=program, args=arguments, env=self._env)
        else:
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            timeout = httpx2.Timeout(self._timeout, read=None)  # a stream of events may be silent for long
            http_client = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=timeout))
            target = streamable_http_client(self._url, http_client=http_client)
        return await stack.enter_async_context(Client(target, read_timeout_seconds=self._timeout))


@dataclass(frozen=True, kw_only=True)
class McpTool(Tool):
    """A tool of an MCP server, which checks the arguments itself."""

    server: McpServer = field(repr=False)
    name_there: str

    def convert(self, arguments: Any) -> Mapping[str, Any]:
        """Return the arguments. Raises :class:`~cometbot.tool_schemas.InvalidArgument` unless they are an object."""
        if not isinstance(arguments, Mapping):
            raise InvalidArgument(("", "expected an object"))
        return arguments

    def call(self, ctx: Any, arguments: Mapping[str, Any]) -> Any:
        """Return the result of a call. Raises :class:`ToolFailure` if it fails."""
        return self.server.call(self.name_there, arguments)


class _Session:
    """The session of one process with a server. A connection that broke is replaced with the next request."""

    def __init__(self, name: str, connect: Callable[[AsyncExitStack], Awaitable[Client]], timeout: float) -> None:
        self._name = name
        self._connect = connect
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    def list_tools(self) -> list[Any]:
        """Return the descriptions of all tools. It is tried again once, over a new connection."""
        try:
            try:
                return self._request(_list_all)
            except McpUnreachable:
                return self._request(_list_all)
        except MCPError as error:
            raise McpUnreachable(f"the MCP server {self._name} does not list its tools: {error}") from error

    def call_tool(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Return what a call returned. Raises :class:`ToolFailure` if the server refused or did not answer it."""
        try:
            return self._request(lambda client: client.call_tool(name, dict(arguments)))
        except MCPError as error:
            raise ToolFailure(str(error)) from error
        except McpUnreachable as error:
            _log.warning("a call of the tool %s has failed: %s", name, error)
            raise ToolFailure("the server of the tool cannot be reached; the call may have been made") from error

    def _request(self, work: Work[T]) -> T:
        """Return what ``work`` returns. Raises :class:`MCPError` if the server refused it."""
        connection: _Connection | None = None
        try:
            connection = self._open()
            return run_coroutine(work(connection.client))
        except DeliveryError:  # the handler has lost its conversation
            raise
        except Exception as error:
            if isinstance(error, MCPError) and not _has_ended(error):
                raise
            self._drop(connection)
            raise McpUnreachable(f"cannot reach the MCP server {self._name}: {_describe(error)}") from error

    def _open(self) -> _Connection:
        with self._lock:
            if self._connection is None:
                self._connection = run_coroutine(_Connection.open(self._connect, self._timeout))
            return self._connection

    def _drop(self, connection: _Connection | None) -> None:
        """Close a connection that broke. Another request may have replaced it meanwhile."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
        if connection is not None:
            connection.close()


class _Connection:
    """A connection that a task of its own opens and closes, as the library wants it."""

    def __init__(self, connect: Callable[[AsyncExitStack], Awaitable[Client]]) -> None:
        self.client: Any = None
        self._task: asyncio.Task[None] | None = None
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._is_closed = asyncio.Event()
        self._is_ready: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def open(cls, connect: Callable[[AsyncExitStack], Awaitable[Client]], timeout: float) -> _Connection:
        """Return an open connection."""
        connection = cls(connect)
        # The task outlives the handler, so it is none of the handler's.
        task = contextvars.Context().run(connection._loop.create_task, connection._run())
        try:
            await asyncio.wait_for(asyncio.shield(connection._is_ready), timeout)
        except BaseException:
            task.cancel()
            raise
        connection._task = task  # the loop itself keeps only a weak reference
        return connection

    async def _run(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                self.client = await self._connect(stack)
                self._is_ready.set_result(None)
                await self._is_closed.wait()
        except BaseException as error:
            if self._is_ready.done():
                _log.info("an MCP connection ended with an error", exc_info=True)
            else:
                self._is_ready.set_exception(error)

    def close(self) -> None:
        """End the task, which closes the connection."""
        self._loop.call_soon_threadsafe(self._is_closed.set)


def _has_ended(error: MCPError) -> bool:
    """Return True if the session is over: the connection has closed, or the server knows the session no more."""
    return error.code == CONNECTION_CLOSED or (error.code, error.message) == (INVALID_REQUEST, "Session terminated")


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}" if url else ""


async def _list_all(client: Client) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if not cursor:
            return found
    _log.warning("an MCP server has more than %d pages of tools; the %d tools of these are used", MAX_PAGES, len(found))
    return found


def _read_result(result: CallToolResult) -> Any:
    texts = [item.text if isinstance(item, TextContent) else f"({item.type})" for item in result.content]
    text = "\n".join(texts)
    if result.is_error:
        raise ToolFailure(text or "the call has failed")
    return text if texts or result.structured_content is None else result.structured_content


def _describe(error: BaseException) -> str:
    """Return the first cause in a group of errors, in words."""
    while isinstance(errors := getattr(error, "exceptions", None), tuple) and errors:
        error = errors[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
