"""Open answers of AG-UI: how many are held, at what cost, and how soon callbacks are acknowledged meanwhile."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import Load, percentile, press
from benchmarks.payloads import BOT, callbacks
from benchmarks.servers import serve_cometbot
from benchmarks.streams import find_workers, resident
from benchmarks.tables import table

ANSWERS = 500
_TOKEN = "benchmark" * 4
_SETTINGS = {
    "COMETBOT_BOT": "benchmarks.bots:waiting",
    "COMETBOT_CHANNELS": "cometchat,agui",
    "COMETBOT_PROCESSES": "1",
    "COMETBOT_STOP_TIMEOUT": "1",
    "AGUI_TOKEN": _TOKEN,
    "BENCH_ASYNC": "1",
    "BENCH_WAIT": "600",
}
_AT_ONCE = 10
"""Requests that are made at the same moment."""


@dataclass
class Measured:
    """The measurements of one server, before and while ``answers`` were open."""

    answers: int = 0
    kilobytes: float = 0.0
    begun: list[float] = field(default_factory=list)
    alone: Load = field(default_factory=Load)
    beside: Load = field(default_factory=Load)


def run(rounds: int = 3, answers: int = ANSWERS, seconds: float = 10.0) -> str:
    """Return the table."""
    measured = [_measure(answers, seconds) for _ in range(rounds)]
    return table(
        (
            "answers open",
            "KiB each",
            "RUN_STARTED p50 ms",
            "callback alone: p50 ms",
            "p99",
            "max",
            "callback beside them: p50 ms",
            "p99",
            "max",
        ),
        [
            (
                each.answers,
                each.kilobytes,
                percentile(each.begun, 0.5) * 1000,
                *(load.percentile(part) for load in (each.alone, each.beside) for part in (0.5, 0.99, 1.0)),
            )
            for each in measured
        ],
    )


def _measure(answers: int, seconds: float) -> Measured:
    with tempfile.TemporaryDirectory(prefix="cb-") as name:
        folder = Path(name)
        settings = {**_SETTINGS, "COMETBOT_STREAMS": str(answers)}
        with serve_cometbot("wsgi:app", folder, environ=settings) as server:
            return asyncio.run(_open_all(server.port, folder, answers, seconds))


async def _open_all(port: int, folder: Path, answers: int, seconds: float) -> Measured:
    measured, requests = Measured(), callbacks(f"/cometchat/{BOT}")
    measured.alone = await asyncio.to_thread(press, port, requests, 1, seconds)
    [worker] = find_workers(folder)
    opened: list[asyncio.StreamWriter] = []
    before, warm = 0.0, 0
    for first in range(0, answers, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, answers))
        opened += await asyncio.gather(*(_open(measured, port, number) for number in numbers))
        if not warm:  # what the first ones bring along is not each one's
            before, warm = resident(worker), len(opened)
    await asyncio.sleep(1)
    measured.answers = len(measured.begun)
    measured.kilobytes = (resident(worker) - before) / max(measured.answers - warm, 1)
    measured.beside = await asyncio.to_thread(press, port, requests, 1, seconds)
    for writer in opened:
        writer.close()
    return measured


async def _open(measured: Measured, port: int, number: int) -> asyncio.StreamWriter:
    """Request an answer, and wait until it has begun."""
    messages = [{"id": "1", "role": "user", "content": "hi"}]
    body = json.dumps({"threadId": f"thread-{number}", "runId": "1", "messages": messages}).encode()
    head = (
        f"POST /agui/{BOT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {_TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in answer:
        raise RuntimeError(f"a request was refused: {answer[:300]!r}")
    await reader.readuntil(b"RUN_STARTED")
    measured.begun.append(time.perf_counter() - began)
    return writer
