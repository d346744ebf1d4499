"""Messages a second from the mailbox to the end of their handling, and what each commit of a message costs."""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, make_url

from benchmarks.bots import echo, silent
from benchmarks.payloads import APP_ID, BOT, callback_body
from benchmarks.tables import table
from cometbot.channels.base import Channel, IncomingEvent
from cometbot.channels.cometchat import CometChatChannel, CometChatClient
from cometbot.delivery import Delivery
from cometbot.models import Conversation
from cometbot.simulator import Simulator
from cometbot.simulator.behaviour import Behaviour
from cometbot.store.sqlite import SQLite
from cometbot.testing.fake_channel import FakeChannel

T = TypeVar("T")

PROCESSES, THREADS = 2, 4
CONVERSATIONS = 200
_UNLIMITED = 1_000_000_000
_INTERNAL_FUNCTIONS = ("_retry_while_busy", "write", "__exit__", "__enter__")
_TIMEOUT = 120.0
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Setup:
    """What is measured: how many messages, with a reply or without, to the simulator at ``api_url`` or in memory."""

    name: str
    messages: int
    replies: bool = False
    api_url: str = ""

    def channel(self) -> Channel:
        if not self.api_url:
            return FakeChannel()
        bots = {BOT: echo}
        return CometChatChannel(APP_ID, CometChatClient(self.api_url, "benchmark", app_id=APP_ID), bots=bots)

    def delivery(self, database: Path, threads: int = THREADS) -> Delivery:
        bot = echo if self.replies else silent
        return Delivery([bot], [self.channel()], f"sqlite:///{database}", threads=threads)

    def incoming(self, number: int) -> IncomingEvent:
        """A message of one of 200 conversations, as its channel takes it in."""
        if not self.api_url:
            return FakeChannel().incoming(silent, "hi", user=f"user-{number % CONVERSATIONS}", id=str(number))
        user = f"cometchat-uid-{number % CONVERSATIONS}"
        conversation = Conversation("cometchat", APP_ID, BOT, f"{user}_user_{BOT}", user)
        return IncomingEvent(conversation, f"message:{number}", callback_body(number, CONVERSATIONS), user)


def run(rounds: int = 3, messages: int = 4000) -> str:
    """Two tables: messages a second of two processes, and what one message costs."""
    with _simulator() as url:
        setups = [
            Setup("no-op handler", messages),
            Setup("one reply, channel in memory", messages, replies=True),
            Setup("one reply, over HTTP to one simulator", messages // 4, replies=True, api_url=url),
        ]
        measured: dict[str, list[tuple[float, ...]]] = {setup.name: [] for setup in setups}
        for _ in range(rounds):
            for setup in setups:
                measured[setup.name].append(_measure_rates(setup))
    rows = [[name, *(median(column) for column in zip(*rates, strict=True))] for name, rates in measured.items()]
    head = (f"{PROCESSES} processes x {THREADS} threads", "handled/s", "stored/s by 1 thread", "stored/s by 8")
    return f"{table(head, rows)}\n\n{_measure_costs(Setup('one reply', 2000, replies=True))}"


def _measure_rates(setup: Setup) -> tuple[float, ...]:
    """Messages a second: worked through by all processes, and stored before that by one thread and by eight."""
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        database = Path(folder) / "cometbot.db"
        stored = _enqueue_all(setup, database)
        ready = _spawn.Barrier(PROCESSES)
        processes = [_spawn.Process(target=_work, args=(setup, database, ready)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(_TIMEOUT)
            process.kill()
        return _handled_per_second(setup, database), *stored


def _enqueue_all(setup: Setup, database: Path) -> tuple[float, float]:
    """Store all messages, the first half by one thread; returns how many a second."""
    delivery = setup.delivery(database)
    delivery.database.open()
    messages = [setup.incoming(number) for number in range(setup.messages)]
    half = len(messages) // 2
    began = time.perf_counter()
    for incoming in messages[:half]:
        delivery.enqueue(incoming)
    alone = half / (time.perf_counter() - began)
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(delivery.enqueue, messages[half:]))
    group_commit = (len(messages) - half) / (time.perf_counter() - began)
    delivery.close()
    return alone, group_commit


def _work(setup: Setup, database: Path, ready: Barrier) -> None:
    """One process that handles until nothing is left."""
    delivery = setup.delivery(database)
    delivery.database.open()
    ready.wait(_TIMEOUT)
    delivery.start()
    end = time.monotonic() + _TIMEOUT
    while not delivery.is_idle and time.monotonic() < end:
        time.sleep(0.05)
    delivery.close()


def _handled_per_second(setup: Setup, database: Path) -> float:
    """From the first end to the last, as the database has them. Raises RuntimeError if a message is not done."""
    with sqlite3.connect(database) as connection:
        table_name, state = ("outbox", "sent") if setup.replies else ("mailbox", "done")
        query = f"SELECT count(*), min(ended_at), max(ended_at) FROM {table_name} WHERE state = ?"
        count, first, last = connection.execute(query, (state,)).fetchone()
    if count != setup.messages:
        raise RuntimeError(f"{setup.name}: {count} of {setup.messages} messages were worked through")
    return float(count / (last - first))


class _TimedDatabase(SQLite):
    """A database that notes how long each of its transactions took, by the function that wanted it."""

    def __init__(self, database: Path) -> None:
        super().__init__(make_url(f"sqlite:///{database}"))
        self.samples: dict[str, list[float]] = {}

    @contextmanager
    def write(self, *, durable: bool = True, timeout: float | None = None) -> Iterator[Connection]:
        began = time.perf_counter()
        with super().write(durable=durable, timeout=timeout) as connection:
            yield connection
        self._add_sample(durable, time.perf_counter() - began)

    def group_commit(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        timeout: float | None = None,
        is_idempotent: bool = False,
    ) -> T:
        began = time.perf_counter()
        returned = super().group_commit(work, durable=durable, timeout=timeout, is_idempotent=is_idempotent)
        self._add_sample(durable, time.perf_counter() - began)
        return returned

    def _add_sample(self, durable: bool, seconds: float) -> None:
        frame = sys._getframe(2)
        while frame.f_back and frame.f_code.co_name in _INTERNAL_FUNCTIONS:
            frame = frame.f_back
        name = f"{frame.f_code.co_name.strip('_')}, {'durable' if durable else 'relaxed'}"
        self.samples.setdefault(name, []).append(seconds)


def _measure_costs(setup: Setup) -> str:
    """What one thread spends on a message with a reply, commit by commit; the rest is parsing, handler, channel."""
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        timed = _TimedDatabase(Path(folder) / "cometbot.db")
        delivery = Delivery([echo], [setup.channel()], timed, threads=1)
        messages = [setup.incoming(number) for number in range(setup.messages)]
        began = time.perf_counter()
        for incoming in messages:
            delivery.enqueue(incoming)
        putting, began = time.perf_counter() - began, time.perf_counter()
        delivery.start()
        while not delivery.is_idle:
            time.sleep(0.01)
        working = time.perf_counter() - began
        delivery.close()
    each = 1_000_000 / setup.messages
    rows: list[list[object]] = [
        [name, len(spent) / setup.messages, median(spent) * 1_000_000, sum(spent) * each]
        for name, spent in timed.samples.items()
        if len(spent) > setup.messages / 100
    ]
    total = (putting + working) * each
    rows.append(["everything else", "", "", total - sum(sum(spent) for spent in timed.samples.values()) * each])
    rows.append(["all", "", "", total])
    return table(("one thread, one reply", "commits a message", "median us", "us a message"), rows)


@contextmanager
def _simulator() -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = _spawn.Process(target=_simulate, args=(there,), daemon=True)
    process.start()
    try:
        yield f"{here.recv()}/v3"
    finally:
        here.close()
        process.join(_TIMEOUT)


def _simulate(pipe: Any) -> None:
    """The simulator's process, until the other end of the pipe is closed."""
    behaviour = Behaviour(core_limit=_UNLIMITED, standard_limit=_UNLIMITED)
    with Simulator(app_id=APP_ID, api_key="benchmark", behaviour=behaviour) as simulator:
        simulator.add_bot(BOT, "")
        for number in range(CONVERSATIONS):
            simulator.add_user(f"cometchat-uid-{number}")
        pipe.send(simulator.url)
        try:
            pipe.recv()
        except EOFError:
            return


if __name__ == "__main__":
    print(run())
