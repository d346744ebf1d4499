"""Messages answered a second over HTTP, and the processor time of each, beside Bolt, aiogram and python-telegram-bot.

Each server is deployed as its own pages say: gunicorn with 2 processes for cometbot and Bolt, 2 processes of aiohttp
for aiogram, the one process of python-telegram-bot's webhook. One process beside them holds the users and the platform.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.load import percentile
from benchmarks.payloads import BOT
from benchmarks.platform_api import Platform, Result, Talk, platform_api
from benchmarks.servers import Server, serve_cometbot, serve_peer, serve_script
from benchmarks.tables import table

USERS = 16
COMETBOT, BOLT = "cometbot", "Slack Bolt, `say`"
AIOGRAM, TELEGRAM = "aiogram, 2 processes", "python-telegram-bot, 1 process"
_WARM_UP = 1.0


@dataclass
class Mode:
    """One server under load, and what it did, round by round."""

    name: str
    kind: str
    path: str
    serve: Callable[..., AbstractContextManager[Server]]
    results: list[Result] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """Processor seconds of all its processes, for each message."""

    def measure(self, platform: Platform, server: Server, users: int, seconds: float, delay: float) -> None:
        """Let users talk to the server for one round."""
        before = server.usage()[0]
        result = platform.run(Talk(self.kind, server.port, users, seconds, delay, self.path))
        self.results.append(result)
        self.processor.append((server.usage()[0] - before) / max(1, len(result.replies)))


def modes(url: str, **environ: str) -> list[Mode]:
    """Return the servers to compare; ``url`` is that of the platform."""
    api = {"BENCH_API_URL": url, **environ}
    bolt = partial(serve_peer, "benchmarks.peers.bolt_replies:app", environ=api)
    aiogram = partial(serve_script, "aiogram_replies.py", environ=api)
    telegram = partial(serve_script, "telegram_replies.py", environ=api, processes=1)
    echo = partial(
        serve_cometbot, "wsgi:app", api_url=f"{url}/v3", COMETBOT_BOT="benchmarks.bots:echo", environ=environ
    )
    return [
        Mode(COMETBOT, "cometchat", f"/cometchat/{BOT}", echo),
        Mode(BOLT, "slack", "/events", bolt),
        Mode(AIOGRAM, "telegram", "/events", aiogram),
        Mode(TELEGRAM, "telegram", "/events", telegram),
    ]


def run(rounds: int = 7, seconds: float = 4.0, users: int = USERS, delay: float = 0.0) -> str:
    """The table. The servers take turns, each round beginning with another one; who has no turn is idle."""
    with ExitStack() as stack:
        platform = stack.enter_context(platform_api())
        measured = modes(platform.url)
        servers = []
        for mode in measured:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cometbot-bench-")))
            servers.append(stack.enter_context(mode.serve(folder=folder)))
        pairs = list(zip(measured, servers, strict=True))
        for mode, server in pairs:
            platform.run(Talk(mode.kind, server.port, users, _WARM_UP, delay, mode.path))
        for number in range(rounds):
            first = number % len(pairs)
            for mode, server in pairs[first:] + pairs[:first]:
                mode.measure(platform, server, users, seconds, delay)
    bolt, aiogram = (next(mode for mode in measured if mode.name == name) for name in (BOLT, AIOGRAM))
    head = (
        *("", "answered/s", "of Bolt", "of aiogram", "processor ms a message", "of Bolt", "reply p50 ms", "p99 ms"),
        *("acknowledged p99 ms", "failed", "raw: answered/s by round"),
    )
    return table(head, [_row(mode, bolt, aiogram) for mode in measured])


def _row(mode: Mode, bolt: Mode, aiogram: Mode) -> list[object]:
    rates = [result.rate for result in mode.results]
    replies = [seconds for result in mode.results for seconds in result.replies]
    acknowledged = [seconds for result in mode.results for seconds in result.acknowledged]
    return [
        mode.name,
        median(rates),
        _ratio(rates, [result.rate for result in bolt.results]),
        _ratio(rates, [result.rate for result in aiogram.results]),
        median(mode.processor) * 1000,
        _ratio(mode.processor, bolt.processor),
        percentile(replies, 0.5) * 1000,
        percentile(replies, 0.99) * 1000,
        percentile(acknowledged, 0.99) * 1000,
        sum(result.refused + result.doubled + result.sent - len(result.replies) for result in mode.results),
        " ".join(f"{rate:.0f}" for rate in rates),
    ]


def _ratio(values: list[float], others: list[float]) -> float:
    return median(value / other for value, other in zip(values, others, strict=True))


if __name__ == "__main__":
    print(run())
