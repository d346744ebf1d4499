"""CometChat's moderation at a steady rate, beside messages and handlers that wait: how soon it has each decision."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

import orjson

from benchmarks.load import percentile
from benchmarks.payloads import BOT, callback_body, callbacks
from benchmarks.platform_api import platform_api
from benchmarks.servers import Server, serve_cometbot
from benchmarks.tables import table

RATE, MESSAGES, HANDLERS = 200, 50, 16
_USERNAME, _PASSWORD = "moderation", "moderation-password"
_CONTEXT = [{f"cometchat-uid-{number % 2}": f"this was said before, {number}"} for number in range(10)]
_SETTINGS = {
    "COMETBOT_BOT": "benchmarks.bots:judging",
    "COMETCHAT_MODERATION_USERNAME": _USERNAME,
    "COMETCHAT_MODERATION_PASSWORD": _PASSWORD,
    "COMETBOT_STOP_TIMEOUT": "1",
}
_CONNECTIONS = 32


@dataclass
class Sent:
    """Requests at a steady rate: seconds from when each was due until its answer, and how many were not a 200."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def milliseconds(self, part: float) -> float:
        return percentile(self.seconds, part) * 1000


def run(rounds: int = 3, seconds: float = 10.0) -> str:
    """Return the table."""
    rows = []
    with platform_api() as platform:
        for name, takes in (("at once", 0.0), ("after 20 ms", 0.02)):
            played = [_play(f"{platform.url}/v3", takes, seconds) for _ in range(rounds)]
            judged, acknowledged = ([pair[index] for pair in played] for index in (0, 1))
            rows.append(
                (
                    name,
                    sum(len(sent.seconds) for sent in judged),
                    *(median(sent.milliseconds(part) for sent in judged) for part in (0.5, 0.99, 1.0)),
                    sum(sent.failed for sent in judged),
                    *(median(sent.milliseconds(part) for sent in acknowledged) for part in (0.5, 0.99)),
                    sum(sent.failed for sent in acknowledged),
                )
            )
    head = ("decides", "judged", "p50 ms", "p99 ms", "max ms", "no decision", "callback p50 ms", "p99 ms", "failed")
    return table(head, rows)


def _play(api_url: str, takes: float, seconds: float) -> tuple[Sent, Sent]:
    """Measure with a fresh server: the moderation, and the callbacks."""
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        settings = {**_SETTINGS, "BENCH_JUDGE": str(takes)}
        with serve_cometbot("wsgi:app", Path(folder), api_url=api_url, environ=settings) as server:
            return asyncio.run(_measure(server, seconds))


async def _measure(server: Server, seconds: float) -> tuple[Sent, Sent]:
    await _send(server.port, _waiting(), HANDLERS, 1.0)
    judge, messages = _requests(), callbacks(f"/cometchat/{BOT}")
    await asyncio.gather(_send(server.port, judge, RATE, 2.0), _send(server.port, messages, MESSAGES, 2.0))  # warms up
    judged, acknowledged = await asyncio.gather(
        _send(server.port, judge, RATE, seconds), _send(server.port, messages, MESSAGES, seconds)
    )
    return judged, acknowledged


async def _send(port: int, requests: Iterator[bytes], rate: int, seconds: float) -> Sent:
    """Send requests at ``rate`` a second, each when it is due: one that waits for a connection is late."""
    sent, loop = Sent(), asyncio.get_running_loop()
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    async def exchange(due_at: float, request: bytes) -> None:
        reader, writer = await free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        free.put_nowait((reader, writer))
        if b" 200 " in head.partition(b"\r\n")[0]:
            sent.seconds.append(loop.time() - due_at)
        else:
            sent.failed += 1

    began = loop.time()
    tasks = []
    for number in range(int(rate * seconds)):
        due_at = began + number / rate
        await asyncio.sleep(max(due_at - loop.time(), 0.0))
        tasks.append(asyncio.create_task(exchange(due_at, next(requests))))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait()[1].close()
    return sent


def _requests() -> Iterator[bytes]:
    """HTTP requests for moderation, without end, each with ten texts of context and a message of the usual shape."""
    for number in count(1):
        message = orjson.loads(callback_body(number))["data"]
        message["data"]["moderation"] = {"status": "pending"}
        body = orjson.dumps({"contextMessages": [*_CONTEXT, {BOT: message}]})
        yield _post(f"/cometchat/{BOT}/moderation", body, _USERNAME, _PASSWORD)


def _waiting() -> Iterator[bytes]:
    """Callbacks whose handlers wait, of users who write nothing else."""
    for head, _, body in (request.partition(b"\r\n\r\n") for request in callbacks(f"/cometchat/{BOT}")):
        payload = orjson.loads(body)
        user = f"waiting-{payload['data']['id']}"
        payload["data"] |= {"sender": user, "conversationId": f"{user}_user_{BOT}"}
        payload["data"]["data"] = {"text": "wait"}
        changed = orjson.dumps(payload)
        head = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(changed))
        yield head + b"\r\n\r\n" + changed


def _post(path: str, body: bytes, username: str, password: str) -> bytes:
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: Basic {credentials}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


if __name__ == "__main__":
    print(run())
