"""Open web chats of the platform: from the moment that a message is sent until the bot's reply is in the page."""

from __future__ import annotations

import asyncio
import json
import random
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from benchmarks.load import percentile
from benchmarks.payloads import BOT
from benchmarks.servers import Server, serve_cometbot
from benchmarks.tables import table

CHATS = 500
RATE = 50
"""Messages a second, of all chats together."""

_SETTINGS = {
    "COMETBOT_BOT": "benchmarks.bots:echo",
    "COMETBOT_CHANNELS": "platform",
    "PLATFORM_MESSAGES": "0",
    "PLATFORM_REQUESTS": "0",
    "PLATFORM_SIGNUPS": "0",
    "COMETBOT_ADDRESS_STREAMS": "0",
}
_SENDERS = 32
_AT_ONCE = 20
_PATIENCE = 60.0
_ANSWER = re.compile(rb'"body":"answer to (\w+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in and has a chat."""

    cookie: str
    chat: str

    @classmethod
    def arrive(cls, url: str) -> Person:
        """A new one."""
        answer = requests.post(f"{url}/v1/client-api/user", json={"nickname": "Maria"}, timeout=30)
        cookie = f"token={answer.cookies['token']}"
        made = requests.post(f"{url}/v1/client-api/chat", json={"botId": BOT}, headers={"Cookie": cookie}, timeout=30)
        return cls(cookie, made.json()["id"])

    def listen(self) -> bytes:
        """The request for the page's stream, as it goes over the wire."""
        return f"GET /v1/page-api/events HTTP/1.1\r\nHost: x\r\nCookie: {self.cookie}\r\n\r\n".encode()

    def send(self) -> bytes:
        """The POST of a message, as it goes over the wire."""
        body = json.dumps({"body": "hello"}).encode()
        head = (
            f"POST /v1/page-api/chat/{self.chat}/messages HTTP/1.1\r\nHost: x\r\nCookie: {self.cookie}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Pages:
    """The open pages: when each reply arrived, by the message that it answers."""

    arrived: dict[str, float] = field(default_factory=dict)
    opened: int = 0
    refused: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self, port: int, people: Sequence[Person]) -> None:
        """Open a page for each, a few at the same moment."""
        for number, person in enumerate(people, 1):
            self._tasks.append(asyncio.create_task(self._read(port, person)))
            while number - self.opened - self.refused >= _AT_ONCE or (
                number == len(people) and self.opened + self.refused < number
            ):
                await asyncio.sleep(0.005)

    async def _read(self, port: int, person: Person) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(person.listen())
        head = await reader.readuntil(b"\r\n\r\n")
        self.opened += b" 200 " in head
        self.refused += b" 200 " not in head
        try:
            while line := await reader.readline():
                if found := _ANSWER.search(line):
                    self.arrived[found[1].decode()] = time.perf_counter()
        finally:
            writer.close()

    async def close(self) -> None:
        """Close all pages."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass
class Round:
    """One round: when each message was sent, by its id; the seconds until it was acknowledged, and until the reply."""

    chats: int = 0
    sent: dict[str, float] = field(default_factory=dict)
    acknowledged: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    failed: int = 0


def run(rounds: int = 3, chats: int = CHATS, seconds: float = 15.0) -> str:
    """The table: a real gunicorn with two processes, and all pages in this process."""
    with (
        tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder,
        serve_cometbot("wsgi:app", Path(folder), environ={"COMETBOT_DATA": folder, **_SETTINGS}) as server,
    ):
        people = [Person.arrive(server.url) for _ in range(chats)]
        done = [asyncio.run(_round(server, people, seconds if number else 2.0)) for number in range(rounds + 1)]
    head = (
        "open chats",
        "messages",
        "shown",
        "failed",
        "201: p50 ms",
        "reply: p50 ms",
        "p90 ms",
        "p99 ms",
        "slowest ms",
    )
    return table(head, [_row(each) for each in done[1:]])


def _row(each: Round) -> list[object]:
    parts = [percentile(each.shown, part) * 1000 for part in (0.5, 0.9, 0.99, 1.0)]
    acknowledged = percentile(each.acknowledged, 0.5) * 1000
    return [each.chats, len(each.sent), len(each.shown), each.failed, acknowledged, *parts]


async def _round(server: Server, people: Sequence[Person], seconds: float) -> Round:
    pages, done = Pages(), Round()
    await pages.open(server.port, people)
    done.chats = pages.opened
    queue: asyncio.Queue[Person] = asyncio.Queue()
    senders = [asyncio.create_task(_send_all(server.port, queue, done)) for _ in range(_SENDERS)]
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        await asyncio.sleep(max(began + number / RATE - time.perf_counter(), 0))
        queue.put_nowait(random.choice(people))
        number += 1
    await queue.join()
    end = time.perf_counter() + _PATIENCE
    while not done.sent.keys() <= pages.arrived.keys() and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    await pages.close()
    done.shown = [pages.arrived[name] - at for name, at in done.sent.items() if name in pages.arrived]
    return done


async def _send_all(port: int, queue: asyncio.Queue[Person], done: Round) -> None:
    """Send what is to be sent, one after the other, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            person = await queue.get()
            at = time.perf_counter()
            writer.write(person.send())
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if b" 201 " in head:
                done.sent[json.loads(body)["id"]] = at
                done.acknowledged.append(time.perf_counter() - at)
            else:
                done.failed += 1
            queue.task_done()
    finally:
        writer.close()


if __name__ == "__main__":
    print(run())
