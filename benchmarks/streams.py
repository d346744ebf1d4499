"""Event streams of the Chat API: how many are held, at what cost, and how soon a message reaches one elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from benchmarks.load import percentile, press
from benchmarks.payloads import BOT, callbacks
from benchmarks.servers import Server, serve_cometbot
from benchmarks.tables import table
from cometbot.store.factory import database_from_url

STREAMS = 1000
RATE = 100
"""Messages a second."""

_SETTINGS = {
    "COMETBOT_BOT": "benchmarks.bots:silent",
    "COMETBOT_CHANNELS": "cometchat,chat_api",
    "COMETBOT_PROCESSES": "1",
    "CHAT_API_REQUESTS": "0",
    "CHAT_API_SIGNUPS": "0",
    "CHAT_API_STREAMS": "5000",
    "COMETBOT_ADDRESS_STREAMS": "0",
    "CHAT_API_CONVERSATIONS": "10000",
}
_PATIENCE = 60.0
_AT_ONCE = 10
"""Streams that are opened at the same moment at each process."""


@dataclass
class Measured:
    """What was seen while ``streams`` were open, over two processes."""

    database: str
    streams: int = 0
    kilobytes: float = 0.0
    near: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    idle: float = 0.0
    callback: tuple[float, float] = (0.0, 0.0)
    refused: int = 0


class Caller:
    """One user of the Chat API on one of the processes, with a conversation for each stream."""

    def __init__(self, server: Server) -> None:
        self.port = server.port
        self._api = f"{server.url}/chat/{BOT}"
        answer = requests.post(f"{self._api}/users", json={}, timeout=30)
        self.key = {"x-user-key": answer.json()["key"]}

    def converse(self, count: int) -> list[str]:
        """The ids of new conversations."""
        answers = (
            requests.post(f"{self._api}/conversations", json={}, headers=self.key, timeout=30) for _ in range(count)
        )
        return [str(answer.json()["conversation"]["id"]) for answer in answers]

    def request(self, path: str) -> bytes:
        """A GET, as it goes over the wire."""
        return f"GET /chat/{BOT}{path} HTTP/1.1\r\nHost: x\r\nx-user-key: {self.key['x-user-key']}\r\n\r\n".encode()

    def message(self, conversation: str, text: str) -> bytes:
        """The POST of a message, as it goes over the wire."""
        body = json.dumps({"conversationId": conversation, "payload": {"type": "text", "text": text}}).encode()
        head = (
            f"POST /chat/{BOT}/messages HTTP/1.1\r\nHost: x\r\nx-user-key: {self.key['x-user-key']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Listening:
    """Open streams: when each message arrived, by its text."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.opened = 0
        self.refused = 0
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, port: int, request: bytes) -> None:
        self._tasks.append(asyncio.create_task(self._read(port, request)))

    async def _read(self, port: int, request: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        self.opened += b" 200 " in head
        self.refused += b" 503 " in head
        try:
            while line := await reader.readline():
                if found := re.search(rb'"text":"(\d+)"', line):
                    self.arrived[found[1].decode()] = time.perf_counter()
        finally:
            writer.close()

    async def until(self, count: int) -> None:
        """Wait until so many are answered, one way or the other."""
        end = time.monotonic() + _PATIENCE
        while self.opened + self.refused < count and time.monotonic() < end:
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def run(rounds: int = 3, streams: int = STREAMS, seconds: float = 10.0, postgresql: str = "") -> str:
    """The table; with the URL of an empty PostgreSQL database, a second part for that."""
    url = postgresql or os.environ.get("COMETBOT_TEST_POSTGRES", "")
    measured = [_measure("SQLite", "", streams, seconds) for _ in range(rounds)]
    if url:
        measured += [_measure("PostgreSQL", url, streams, seconds) for _ in range(rounds)]
    return table(
        (
            "database",
            "streams open (asked beyond: refused)",
            "KiB a stream",
            "same process: p50 ms",
            "p99",
            "other process: p50 ms",
            "p99",
            "idle CPU %",
            "callback p50 ms",
            "max",
        ),
        [_row(each) for each in measured],
    )


def _row(measured: Measured) -> Sequence[object]:
    return (
        measured.database,
        f"{measured.streams} ({measured.refused})",
        measured.kilobytes,
        percentile(measured.near, 0.5) * 1000,
        percentile(measured.near, 0.99) * 1000,
        percentile(measured.far, 0.5) * 1000,
        percentile(measured.far, 0.99) * 1000,
        measured.idle,
        *measured.callback,
    )


def _measure(name: str, url: str, streams: int, seconds: float) -> Measured:
    with ExitStack() as stack, _two_servers(stack, url, streams // 2) as (servers, folder):
        measured = Measured(name)
        callers = [Caller(server) for server in servers]
        rooms = [caller.converse(streams // 2) for caller in callers]
        asyncio.run(_listen(measured, callers, rooms, seconds, folder))
        return measured


@contextmanager
def _two_servers(stack: ExitStack, url: str, streams: int) -> Iterator[tuple[list[Server], Path]]:
    """Two servers of one process each around one database, so that it is known which process does what."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cb-")))
    shared = {"TMPDIR": str(folder), "COMETBOT_DATABASE_URL": url or f"sqlite:///{folder}/cometbot.db"}
    if url:
        opened = database_from_url(url)
        opened.upgrade()
        opened.close()
    servers = []
    for name in ("one", "two"):
        place = folder / name
        place.mkdir()
        settings = {**_SETTINGS, **shared, "COMETBOT_STREAMS": str(streams)}
        servers.append(stack.enter_context(serve_cometbot("wsgi:app", place, environ=settings)))
    yield servers, folder


async def _listen(
    measured: Measured, callers: list[Caller], rooms: list[list[str]], seconds: float, folder: Path
) -> None:
    workers = find_workers(folder)
    listening, before, warm = Listening(), 0.0, 0
    for nth, pair in enumerate(zip(*rooms, strict=True), 1):
        for caller, conversation in zip(callers, pair, strict=True):
            listening.open(caller.port, caller.request(f"/conversations/{conversation}/listen"))
        if nth % _AT_ONCE == 0:
            await listening.until(2 * nth)
        if nth == _AT_ONCE:  # what the first ones bring along is not each one's
            before, warm = sum(map(resident, workers)), listening.opened
    await listening.until(sum(map(len, rooms)))
    await asyncio.sleep(1)
    measured.streams = listening.opened
    measured.kilobytes = (sum(map(resident, workers)) - before) / max(listening.opened - warm, 1)
    began, used = time.perf_counter(), sum(map(_processor_seconds, workers))
    await asyncio.sleep(3)
    measured.idle = (sum(map(_processor_seconds, workers)) - used) / (time.perf_counter() - began) * 100
    await _talk(measured, listening, callers, rooms, seconds)
    beyond = listening.opened + listening.refused
    for _ in range(40):
        listening.open(callers[0].port, callers[0].request(f"/conversations/{rooms[0][0]}/listen"))
    load = await asyncio.to_thread(press, callers[0].port, callbacks(f"/cometchat/{BOT}"), 1, 2.0)
    measured.callback = (load.percentile(0.5), load.percentile(1.0))
    await listening.until(beyond + 40)
    measured.refused = listening.refused
    await listening.close()


async def _talk(
    measured: Measured, listening: Listening, callers: list[Caller], rooms: list[list[str]], seconds: float
) -> None:
    """Say something in one conversation after the other, each time through the process whose turn it is."""
    sent: dict[str, tuple[float, bool]] = {}
    posts: list[asyncio.Task[None]] = []
    began = time.perf_counter()
    for nth in range(int(RATE * seconds)):
        await asyncio.sleep(max(began + nth / RATE - time.perf_counter(), 0))
        home, taker = nth % 2, (nth // 2) % 2
        conversation = rooms[home][nth * 7 % len(rooms[home])]
        # Only who is a participant may post: the owner's key is good at both processes.
        text = f"{nth}"
        sent[text] = (time.perf_counter(), home != taker)
        posts.append(asyncio.create_task(_post(callers[taker].port, callers[home].message(conversation, text))))
    await asyncio.gather(*posts)
    end = time.monotonic() + _PATIENCE
    while len(listening.arrived) < len(sent) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    for text, (at, is_far) in sent.items():
        if text in listening.arrived:
            (measured.far if is_far else measured.near).append(listening.arrived[text] - at)
    if len(listening.arrived) < len(sent):
        raise RuntimeError(f"{len(sent) - len(listening.arrived)} of {len(sent)} messages never arrived")


async def _post(port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    if b" 201 " not in answer[:20]:
        raise RuntimeError(f"a message was refused: {answer[:300]!r}")


def find_workers(folder: Path) -> list[int]:
    """Return the processes of the servers whose logs are below ``folder``."""
    return [int(pid) for log in folder.rglob("log") for pid in re.findall(r"worker with pid: (\d+)", log.read_text())]


def resident(pid: int) -> float:
    """Kilobytes of a process's own part of the memory."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    return float(found[1]) if found else 0.0


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
