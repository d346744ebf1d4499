"""An HTTP client for loading servers: raw bytes over connections that stay open, each waiting for its answer."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

from benchmarks.payloads import Requests

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Load:
    """What a server did: seconds of each request that it answered with 200, and how many it answered otherwise."""

    wall: float = 0.0
    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def rate(self) -> float:
        """Requests answered with 200 in a second."""
        return len(self.seconds) / self.wall

    def percentile(self, part: float) -> float:
        """Milliseconds within which this part of the requests was answered."""
        return percentile(self.seconds, part) * 1000


def percentile(values: list[float], part: float) -> float:
    """The value that this part of ``values`` does not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def press(port: int, requests: Requests, connections: int, seconds: float) -> Load:
    """What the server on ``port`` does while each of ``connections`` sends its next request as soon as it can."""
    return asyncio.run(_press(port, requests, connections, seconds))


async def _press(port: int, requests: Requests, connections: int, seconds: float) -> Load:
    load, loop = Load(), asyncio.get_running_loop()
    began = time.perf_counter()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(load, requests, began + seconds), "127.0.0.1", port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    load.wall = time.perf_counter() - began
    return load


class _Client(asyncio.Protocol):
    """One connection: request, answer, next request, until the time is up."""

    def __init__(self, load: Load, requests: Requests, ends_at: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._requests = requests
        self._ends_at = ends_at
        self._began = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if time.perf_counter() >= self._ends_at:
            self._transport.close()
            return
        request = next(self._requests)
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._got, 0, end + 2)
        if length is None:
            raise ValueError("an answer without a length cannot be told from the next one")
        if len(self._got) < end + 4 + int(length[1]):
            return
        if self._got.startswith(b"HTTP/1.1 200"):
            self._load.seconds.append(time.perf_counter() - self._began)
        else:
            self._load.failed += 1
        self._got = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._ends_at:
            self._load.failed += 1
        if not self.done.done():
            self.done.set_result(None)
