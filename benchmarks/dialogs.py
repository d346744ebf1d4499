"""Open dialogs of other conversations: what a message costs beside 10,000 of them, in time, calls and statements.

Two SQLite databases take turns: in one, each of ``dialogs`` users has begun an order and owes an answer; the other is
empty. The measured messages come from another user, one after the other, from the enqueued message until the reply is
sent (the platform is in memory). Calls and statements are counted in another run, as in :mod:`benchmarks.route`: those
of the thread that enqueues and of the one that handles, the smallest of ``_COUNTED`` messages.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median, quantiles
from types import FrameType
from typing import Any

from benchmarks.code_size import PACKAGE
from benchmarks.tables import table
from cometbot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.context import Context
from cometbot.delivery import Delivery, ThreadEngine
from cometbot.testing.fake_channel import FakeChannel

_THREADS = 4
_WARM_UP, _COUNTED = 5, 20
_QUIET = 0.1
"""Seconds in which the runner of a message comes to its end after the reply was sent."""

_TIMEOUT = 60.0
_PACKAGE = f"{PACKAGE}{os.sep}"


class _Channel(FakeChannel):
    """A platform that only counts what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: queue.SimpleQueue[float] = queue.SimpleQueue()

    def new_id(self) -> str:
        return uuid.uuid4().hex

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        self.sent.put(time.perf_counter())
        return self.new_id()


class _Server:
    """A delivery with a bot that asks and answers, over one database."""

    def __init__(self, folder: Path) -> None:
        self.bot, self.channel = Bot("shop"), _Channel()
        self.handling_thread = 0
        self.bot.command("order")(self._order)
        self.bot.fallback(self._reply)
        self.delivery = Delivery(
            [self.bot], [self.channel], f"sqlite:///{folder}/cometbot.db", engine=ThreadEngine(_THREADS)
        )
        self.delivery.start()

    def _order(self, ctx: Context) -> str:
        size = ctx.ask("Which size?", choices=["S", "M", "L"])
        return f"{size} it is."

    def _reply(self, ctx: Context) -> str:
        self.handling_thread = threading.get_ident()
        return "hello"

    def open_dialogs(self, count: int) -> None:
        """Let ``count`` users begin an order, and wait until all have been asked."""
        for number in range(count):
            self.delivery.enqueue(self.channel.incoming(self.bot, "/order", user=f"user-{number}"))
        for _ in range(count):
            self.channel.sent.get(timeout=_TIMEOUT)

    def measure(self, count: int) -> list[float]:
        """Return the seconds from each of ``count`` messages to its reply."""
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            self.delivery.enqueue(self.channel.incoming(self.bot, "hello", user="maria"))
            seconds.append(self.channel.sent.get(timeout=_TIMEOUT) - began)
        return seconds

    def close(self) -> None:
        self.delivery.stop(5)
        self.delivery.close()


class _Profiler:
    """Counts the calls of functions of cometbot and the SQL statements, by thread."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}
        self.statements: dict[int, int] = {}

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        """Called by the interpreter for each call and return."""
        thread = threading.get_ident()
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            self.calls[thread] = self.calls.get(thread, 0) + 1
        elif event == "c_call" and isinstance(getattr(called, "__self__", None), sqlite3.Connection | sqlite3.Cursor):
            self.statements[thread] = self.statements.get(thread, 0) + called.__name__.startswith("execute")


def run(rounds: int = 5, dialogs: int = 10_000, messages: int = 1_000) -> str:
    """Return the table: times, calls, statements and threads without and with ``dialogs`` open ones."""
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        folders = {count: Path(folder) / str(count) for count in (0, dialogs)}
        seconds: dict[int, list[list[float]]] = {count: [] for count in folders}
        threads: dict[int, int] = {}
        with ExitStack() as stack:
            servers: dict[int, _Server] = {}
            for count, path in folders.items():
                before = threading.active_count()
                servers[count] = stack.enter_context(_server(path))
                servers[count].open_dialogs(count)
                servers[count].measure(_WARM_UP)
                threads[count] = threading.active_count() - before
            for _ in range(rounds):
                for count, server in servers.items():
                    seconds[count].append(server.measure(messages))
        rows = [[f"{count:,}", *_times(seconds[count]), *_count(folders[count]), threads[count]] for count in folders]
    return table(("open dialogs", "p50 ms", "p99 ms", "calls", "statements", "threads"), rows)


def _times(rounds: list[list[float]]) -> tuple[float, float]:
    """Return the medians of the rounds' p50 and p99, in milliseconds."""
    return 1000 * median(map(median, rounds)), 1000 * median(quantiles(each, n=100)[98] for each in rounds)


def _count(folder: Path) -> tuple[int, int]:
    """Return the calls and the statements of one message over a database that exists."""
    profiler = _Profiler()
    threading.setprofile(profiler)
    try:
        with _server(folder) as server:
            server.measure(_WARM_UP)
            counts = [_count_one(server, profiler) for _ in range(_COUNTED)]
    finally:
        threading.setprofile(None)
    return min(calls for calls, _ in counts), min(statements for _, statements in counts)


def _count_one(server: _Server, profiler: _Profiler) -> tuple[int, int]:
    time.sleep(_QUIET)
    profiler.calls, profiler.statements = {}, {}
    sys.setprofile(profiler)
    try:
        server.delivery.enqueue(server.channel.incoming(server.bot, "hello", user="maria"))
    finally:
        sys.setprofile(None)
    server.channel.sent.get(timeout=_TIMEOUT)
    time.sleep(_QUIET)
    threads = {threading.get_ident(), server.handling_thread}
    return (
        sum(profiler.calls.get(thread, 0) for thread in threads),
        sum(profiler.statements.get(thread, 0) for thread in threads),
    )


@contextmanager
def _server(folder: Path) -> Iterator[_Server]:
    folder.mkdir(exist_ok=True)
    with closing(_Server(folder)) as server:
        yield server


if __name__ == "__main__":
    print(f"load average {os.getloadavg()[0]:.1f}")
    print(run())
