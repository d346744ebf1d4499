"""Users and a platform in a process of their own: they write to a bot over HTTP and take its replies.

One asyncio process sends the callbacks and serves what the bots call: CometChat's, Slack's and Telegram's request for
sending a message. A reply names the number of the message that it answers.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.payloads import MAKERS

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb"answer(?:\+|%20| )to(?:\+|%20| )(\d+)")
_MESSAGES = {
    b"/v3/": b'{"data":{"id":"1%d","conversationId":"c","sentAt":1700000000}}',
    b"/api": b'{"ok":true,"channel":"C1","ts":"1700000000.%06d","message":{"text":""}}',
    b"/bot": b'{"ok":true,"result":{"message_id":%d,"date":1700000000,"chat":{"id":1,"type":"private"}}}',
}
"""The answers to the request that sends a message, by the first characters of its path."""

_OTHERS = {
    b"/v3/": b'{"data":[],"meta":{"pagination":{"total":0,"count":0,"per_page":100,"current_page":1,"total_pages":1}}}',
    b"/api": b'{"ok":true}',
    b"/bot": b'{"ok":true,"result":{"id":1,"is_bot":true,"first_name":"Bot","username":"bot"}}',
}
_LIMIT = 120.0


@dataclass(frozen=True)
class Talk:
    """The task of the users: each of ``users`` writes a message at once, and the next one when the reply has come.

    They begin no other after ``seconds``; 0 means that each writes one message. The platform answers after ``delay``.
    """

    kind: str
    port: int
    users: int
    seconds: float = 0.0
    delay: float = 0.0
    path: str = "/events"
    connections: int = 64


@dataclass
class Result:
    """The result of a talk: seconds from each message to its reply and to its acknowledgement, and what went wrong."""

    sent: int = 0
    wall: float = 0.0
    replies: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    refused: int = 0
    doubled: int = 0

    @property
    def rate(self) -> float:
        return len(self.replies) / self.wall


@contextmanager
def platform_api() -> Iterator[Platform]:
    """Start the process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield Platform(here, here.recv())
    finally:
        here.close()
        process.join(10)
        process.kill()


@dataclass(frozen=True)
class Platform:
    """The process: the port of its API, and the pipe to it."""

    pipe: Connection
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, talk: Talk) -> Result:
        """Run a talk, and return its result."""
        self.pipe.send(talk)
        result: Result = self.pipe.recv()
        return result


def _serve(pipe: Connection) -> None:
    asyncio.run(_Users(pipe).run())


class _Users:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._talk = Talk("cometchat", 0, 0)
        self._result = Result()
        self._sent_at: dict[int, tuple[float, asyncio.Future[None]]] = {}
        self._next = 1
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Api(self), "127.0.0.1", 0, backlog=4096)
        self._pipe.send(server.sockets[0].getsockname()[1])
        while True:
            try:
                talk = await loop.run_in_executor(None, self._pipe.recv)
            except EOFError:
                return
            self._pipe.send(await self._converse(talk))

    async def _converse(self, talk: Talk) -> Result:
        self._talk, self._result, self._sent_at = talk, Result(), {}
        self._free = asyncio.Queue()
        for _ in range(talk.connections):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", talk.port))
        began = time.perf_counter()
        until = began + talk.seconds
        users = [asyncio.create_task(self._write(user, until)) for user in range(talk.users)]
        await asyncio.wait(users, timeout=_LIMIT + talk.seconds)
        self._result.wall = time.perf_counter() - began
        for user in users:
            user.cancel()
        while not self._free.empty():
            self._free.get_nowait()[1].close()
        return self._result

    async def _write(self, user: int, until: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            number, self._next = self._next, self._next + 1
            replied = loop.create_future()
            request = MAKERS[self._talk.kind](self._talk.path, number, user)
            reader, writer = await self._free.get()
            sent_at = time.perf_counter()
            self._sent_at[number] = sent_at, replied
            self._result.sent += 1
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
            self._free.put_nowait((reader, writer))
            if b" 200 " in head[:15]:
                self._result.acknowledged.append(time.perf_counter() - sent_at)
            else:
                self._result.refused += 1
            await replied
            if time.perf_counter() >= until:
                return

    def reply(self, number: int) -> None:
        """Record a reply."""
        sent_at, replied = self._sent_at.get(number, (0.0, None))
        if replied is None or replied.done():
            self._result.doubled += replied is not None
            return
        self._result.replies.append(time.perf_counter() - sent_at)
        replied.set_result(None)

    @property
    def talk(self) -> Talk:
        """The talk that is going on."""
        return self._talk


class _Api(asyncio.Protocol):
    """One connection of a bot to the platform."""

    def __init__(self, users: _Users) -> None:
        self._users = users
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._got, 0, end + 2)
        if length is None and b"chunked" in self._got[:end].lower():
            whole = self._got.find(b"\r\n0\r\n\r\n", end)
            if whole < 0:
                return
            size = whole + 7
        else:
            size = end + 4 + (int(length[1]) if length else 0)
        if len(self._got) < size:
            return
        request, self._got = self._got[:size], self._got[size:]
        if self._users.talk.delay:
            asyncio.get_running_loop().call_later(self._users.talk.delay, self._answer, request)
        else:
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        number, place = _NUMBER.search(request), request.split(b" ", 2)[1][:4]
        body = _OTHERS[place]
        if number is not None:
            self._users.reply(int(number[1]))
            body = _MESSAGES[place] % int(number[1])
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        if not self._transport.is_closing():
            self._transport.write(head + body)
