"""Handlers and platforms that wait: how soon many users are answered at once, beside Bolt and aiogram.

The servers are those of :mod:`benchmarks.replies`, and started anew for each row, because what they wait is set then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.load import percentile
from benchmarks.payloads import BOT
from benchmarks.platform_api import Platform, Result, Talk, platform_api
from benchmarks.replies import AIOGRAM, BOLT, COMETBOT, modes
from benchmarks.servers import Server, serve_cometbot
from benchmarks.tables import table

PLAIN, ASYNC = "cometbot, plain handlers", "cometbot, async handlers"
_MEGABYTE = 1_000_000


@dataclass
class Scene:
    """Users who write at once to one server; each handler waits ``wait`` seconds, each request to the platform
    ``delay``."""

    name: str
    kind: str
    path: str
    serve: Callable[..., AbstractContextManager[Server]]
    users: int
    wait: float = 0.0
    seconds: float = 0.0
    delay: float = 0.0

    def play(self, platform: Platform) -> tuple[Result, int]:
        """Return what came of it, and the memory of all processes after it, in bytes."""
        with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder, self.serve(folder=Path(folder)) as server:
            platform.run(Talk(self.kind, server.port, 4, 0.0, 0.0, self.path))
            result = platform.run(Talk(self.kind, server.port, self.users, self.seconds, self.delay, self.path))
            return result, server.usage()[1]


def run(
    rounds: int = 3, users: int = 400, wait: float = 3.0, many: int = 2000, long: float = 10.0, seconds: float = 8.0
) -> str:
    """The tables."""
    with platform_api() as platform:
        waiting = list(_waiting(platform.url, users, wait)) + list(_async(platform.url, many, long))
        slow = list(_slow_platform(platform.url, 1024, seconds))
        played = [[scene.play(platform) for scene in (*waiting, *slow)] for _ in range(rounds)]
    by_scene = list(zip((*waiting, *slow), zip(*played, strict=True), strict=True))
    first = table(
        ("", "users at once", "handler waits s", "all answered after s", "acknowledged p99 ms", "memory MB", "missing"),
        [_waiting_row(scene, done) for scene, done in by_scene[: len(waiting)]],
    )
    second = table(
        ("the platform takes 150 ms", "users", "answered/s", "reply p50 s", "p99 s", "acknowledged p99 ms", "missing"),
        [_slow_row(scene, done) for scene, done in by_scene[len(waiting) :]],
    )
    return f"{first}\n\n{second}"


def _waiting(url: str, users: int, wait: float) -> Iterator[Scene]:
    yield Scene(PLAIN, "cometchat", f"/cometchat/{BOT}", _cometbot(url, wait), users, wait)
    yield from _async(url, users, wait)
    for mode in modes(url, BENCH_WAIT=str(wait)):
        if mode.name in (BOLT, AIOGRAM):
            yield Scene(mode.name, mode.kind, mode.path, mode.serve, users, wait)


def _async(url: str, users: int, wait: float) -> Iterator[Scene]:
    yield Scene(ASYNC, "cometchat", f"/cometchat/{BOT}", _cometbot(url, wait, BENCH_ASYNC="1"), users, wait)


def _cometbot(url: str, wait: float, **environ: str) -> Callable[..., AbstractContextManager[Server]]:
    environ = {"BENCH_WAIT": str(wait), **environ}
    bot = "benchmarks.bots:waiting"
    return partial(serve_cometbot, "wsgi:app", api_url=f"{url}/v3", environ=environ, COMETBOT_BOT=bot)


def _slow_platform(url: str, users: int, seconds: float) -> Iterator[Scene]:
    for mode in modes(url):
        if mode.name in (COMETBOT, BOLT, AIOGRAM):
            yield Scene(mode.name, mode.kind, mode.path, mode.serve, users, seconds=seconds, delay=0.15)


def _waiting_row(scene: Scene, done: tuple[tuple[Result, int], ...]) -> list[object]:
    results = [result for result, _ in done]
    acknowledged = [seconds for result in results for seconds in result.acknowledged]
    return [
        scene.name,
        scene.users,
        scene.wait,
        median(max(result.replies, default=0.0) for result in results),
        percentile(acknowledged, 0.99) * 1000,
        median(memory for _, memory in done) / _MEGABYTE,
        sum(result.sent - len(result.replies) for result in results),
    ]


def _slow_row(scene: Scene, done: tuple[tuple[Result, int], ...]) -> list[object]:
    results = [result for result, _ in done]
    replies = [seconds for result in results for seconds in result.replies]
    acknowledged = [seconds for result in results for seconds in result.acknowledged]
    return [
        scene.name,
        scene.users,
        median(result.rate for result in results),
        percentile(replies, 0.5),
        percentile(replies, 0.99),
        percentile(acknowledged, 0.99) * 1000,
        sum(result.sent - len(result.replies) for result in results),
    ]


if __name__ == "__main__":
    print(run())
