"""Messages a second on SQLite and on PostgreSQL with one, two and four workers, beside Celery with Redis.

Then what single messages wait at low load, what a backlog and a table full of old messages cost, and what a message
waits for while old ones are purged.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

from benchmarks.load import percentile
from benchmarks.payloads import BOT
from benchmarks.servers import ROOT
from benchmarks.services import Databases, postgresql, redis
from benchmarks.tables import table
from cometbot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.delivery import Delivery
from cometbot.errors import StoreBusy
from cometbot.testing.fake_channel import FakeChannel

THREADS = 4
CONVERSATIONS = 200
RATE = 20
_TIMEOUT = 300.0
_spawn = multiprocessing.get_context("spawn")


def make_bot(completions_file: str) -> Bot:
    """A bot that says nothing, and notes when it handled a message and how long after that was sent."""
    bot = Bot(BOT)
    file = os.open(completions_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @bot.fallback
    def save_completion(ctx: Any) -> None:
        now = time.time()
        os.write(file, f"{now} {now - float(ctx.text)}\n".encode())

    return bot


class Candidate(ABC):
    """Something that takes messages in and has them handled by workers, which all start at the same moment."""

    def __init__(self, name: str, folder: Path, workers: int) -> None:
        self.name = name
        self.folder = folder
        self.workers = workers
        self.completions_file = folder / "ends"

    @abstractmethod
    def enqueue(self, number: int) -> None:
        """Take a message in, durably."""

    @contextmanager
    @abstractmethod
    def run_workers(self) -> Iterator[None]:
        """Workers handle what there is."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""

    def enqueue_all(self, count: int) -> float:
        """Messages a second taken in from eight threads."""
        began = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.enqueue, range(count)))
        return count / (time.perf_counter() - began)

    def list_completions(self) -> list[tuple[float, float]]:
        """When each message was handled, and the seconds that it had waited."""
        if not self.completions_file.exists():
            return []
        lines = self.completions_file.read_text().splitlines()
        return sorted((float(at), float(waited)) for at, waited in map(str.split, lines))

    def wait_for_completions(self, count: int) -> list[tuple[float, float]]:
        """What :meth:`handled` returns, when so many were. Raises RuntimeError if they are not in time."""
        end = time.monotonic() + _TIMEOUT
        while len(found := self.list_completions()) < count:
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name}: {len(found)} of {count} messages were handled")
            time.sleep(0.1)
        return found


class Cometbot(Candidate):
    """Worker processes of four threads, on the database of ``url``."""

    def __init__(self, name: str, folder: Path, workers: int, url: str) -> None:
        super().__init__(name, folder, workers)
        self.url = url
        self.channel = FakeChannel()
        self.bot = make_bot(str(self.completions_file))
        self.intake = Delivery([self.bot], [self.channel], url, threads=THREADS)
        self.intake.database.open()

    def incoming(self, number: int) -> IncomingEvent:
        user = f"user-{number % CONVERSATIONS}"
        return self.channel.incoming(self.bot, str(time.time()), user=user, id=f"{number}-{time.time_ns()}")

    def enqueue(self, number: int) -> None:
        incoming = self.incoming(number)
        while True:
            try:
                self.intake.enqueue(incoming)
                return
            except StoreBusy:  # a 503: the platform sends it again
                continue

    @contextmanager
    def run_workers(self) -> Iterator[None]:
        over = _spawn.Event()
        processes = [
            _spawn.Process(target=_work, args=(self.url, str(self.completions_file), over)) for _ in range(self.workers)
        ]
        for process in processes:
            process.start()
        try:
            yield
        finally:
            over.set()
            for process in processes:
                process.join(30)
                process.kill()

    def close(self) -> None:
        self.intake.close()


def _work(url: str, completions_file: str, over: Event) -> None:
    logging.disable(logging.WARNING)
    # Nothing is purged but where that is what is measured.
    with closing(
        Delivery([make_bot(completions_file)], [FakeChannel()], url, threads=THREADS, keep_days=365)
    ) as delivery:
        delivery.start()
        over.wait(_TIMEOUT)


class Celery(Candidate):
    """``celery worker`` with four processes each, one task a message."""

    def __init__(self, name: str, folder: Path, workers: int, url: str) -> None:
        super().__init__(name, folder, workers)
        self._environ = {
            **os.environ,
            "BENCH_REDIS_URL": url,
            "BENCH_ENDS": str(self.completions_file),
            "PYTHONPATH": _path(),
        }
        os.environ["BENCH_REDIS_URL"] = url
        from benchmarks.peers.tasks import app, handle

        app.conf.broker_url = url
        app.control.purge()
        self._handle = handle

    def enqueue(self, number: int) -> None:
        self._handle.delay({"sent": time.time(), "user": f"user-{number % CONVERSATIONS}", "text": "x" * 900})

    @contextmanager
    def run_workers(self) -> Iterator[None]:
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "benchmarks.peers.tasks", "worker", "--concurrency"]
        options = [str(THREADS), "--loglevel", "error", "--without-gossip", "--without-mingle"]
        processes = [
            subprocess.Popen(
                [*command, *options, "-n", f"w{number}@bench"], cwd=ROOT, env=self._environ, stderr=subprocess.DEVNULL
            )
            for number in range(self.workers)
        ]
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)

    def close(self) -> None:
        """Nothing: Redis ends with the benchmark."""


def _path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])])


MakeCandidate = Callable[[Path], Candidate]


def make_candidates(databases: Databases, redis_url: str) -> dict[str, MakeCandidate]:
    """What is compared; each is made anew for each round."""

    def on_postgresql(workers: int) -> MakeCandidate:
        name = f"PostgreSQL, {workers} worker{'s' * (workers > 1)}"
        return lambda folder: Cometbot(name, folder, workers, databases.make())

    return {
        "SQLite, 2 processes": lambda folder: Cometbot("SQLite, 2 processes", folder, 2, f"sqlite:///{folder}/bot.db"),
        **{f"PostgreSQL, {workers} workers": on_postgresql(workers) for workers in (1, 2, 4)},
        "Celery + Redis, 2 workers": lambda folder: Celery("Celery + Redis, 2 workers", folder, 2, redis_url),
    }


def run(rounds: int = 3, messages: int = 4000, backlog: int = 100_000, done: int = 1_000_000) -> str:
    """Four tables. Rounds are interleaved: each contestant once, then all again."""
    with postgresql() as databases, redis() as redis_url:
        made = make_candidates(databases, redis_url)
        return "\n\n".join(
            [
                _measure_throughput(made, rounds, messages),
                _measure_latency(made, rounds, max(20, messages // 40)),
                _measure_growth(made, messages // 2, backlog, done),
                _measure_purge(made, backlog),
            ]
        )


@contextmanager
def _one(make: MakeCandidate) -> Iterator[Candidate]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cometbot-bench-")))
        yield stack.enter_context(closing(make(folder)))


def _measure_throughput(made: dict[str, MakeCandidate], rounds: int, messages: int) -> str:
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, make in made.items():
            with _one(make) as candidate:
                stored = candidate.enqueue_all(messages)
                with candidate.run_workers():
                    ends = candidate.wait_for_completions(messages)
                rates[name].append((messages / (ends[-1][0] - ends[0][0]), stored))
    peers = rates[list(made)[-1]]
    rows = [
        [
            name,
            median(handled for handled, _ in found),
            median(mine[0] / peer[0] for mine, peer in zip(found, peers, strict=True)),
            median(stored for _, stored in found),
        ]
        for name, found in rates.items()
    ]
    return table(
        (f"{messages} messages that wait, {THREADS} at a time a worker", "handled/s", "of Celery", "stored/s"), rows
    )


def _measure_latency(made: dict[str, MakeCandidate], rounds: int, messages: int) -> str:
    waits: dict[str, list[list[float]]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, make in made.items():
            with _one(make) as candidate, candidate.run_workers():
                candidate.enqueue(0)
                candidate.wait_for_completions(1)
                began = time.monotonic()
                for number in range(1, messages + 1):
                    time.sleep(max(0.0, began + number / RATE - time.monotonic()))
                    candidate.enqueue(number)
                waits[name].append([waited for _, waited in candidate.wait_for_completions(messages + 1)[1:]])
    rows = [
        [name, *(median(percentile(found, part) * 1000 for found in rounds_) for part in (0.5, 0.9, 0.99))]
        for name, rounds_ in waits.items()
    ]
    return table((f"from put to handler, {RATE} messages/s", "p50 ms", "p90 ms", "p99 ms"), rows)


def _measure_growth(made: dict[str, MakeCandidate], messages: int, backlog: int, done: int) -> str:
    """Messages a second while others wait in thousands of conversations, and among a table full of old ones."""
    rows = []
    for name in ("SQLite, 2 processes", "PostgreSQL, 2 workers"):
        for waiting, old in ((0, 0), (backlog // 10, 0), (backlog, 0), (0, done), (backlog, done)):
            with _one(made[name]) as candidate:
                assert isinstance(candidate, Cometbot)
                candidate.enqueue_all(messages)
                add_rows(candidate, waiting, old)
                with candidate.run_workers():
                    ends = candidate.wait_for_completions(messages)[:messages]
                    rows.append([name, waiting, old, messages / (ends[-1][0] - ends[0][0])])
    return table(("", "more that wait", "done before", "handled/s"), rows)


def add_rows(candidate: Cometbot, waiting: int, old: int, days: float = 1.0) -> None:
    """Messages of the same bot that wait, ten in a conversation, and such as were done so many days ago."""
    is_server = bool(candidate.intake.database.server_url)
    numbers = "generate_series(1, :n) AS n" if is_server else (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :n) SELECT n FROM s) AS s"
    )  # fmt: skip
    body = candidate.incoming(0).body
    at = time.time() - days * 86400
    keys = f"'fake/test/{BOT}/late-' || (n / 10)"
    columns = "channel, account, bot, event_key, conversation_key, sender, body, received_at"
    statements = [
        (f"INSERT INTO mailbox ({columns}) SELECT 'fake', 'test', '{BOT}', 'late:' || n, {keys}, 'u', :body, :at "
         f"FROM {numbers}", waiting),
        ("INSERT INTO conversations (conversation_key, channel, account, bot, conversation, target, is_group, mail) "
         f"SELECT DISTINCT {keys}, 'fake', 'test', '{BOT}', 'late-' || (n / 10), 'late-' || (n / 10), false, true "
         f"FROM {numbers}", waiting),
        (f"INSERT INTO mailbox ({columns}, state, ended_at) SELECT 'fake', 'test', '{BOT}', 'old:' || n, "
         f"'fake/test/{BOT}/old-' || (n % 20000), 'u', :body, :at, 'done', :at FROM {numbers}", old),
    ]  # fmt: skip
    with candidate.intake.database.write() as connection:
        for statement, count in statements:
            if count:
                given = {"n": count, "body": body, "at": at}
                used = {name: value for name, value in given.items() if f":{name}" in statement}
                connection.execute(sa.text(statement), used)


def _measure_purge(made: dict[str, MakeCandidate], old: int) -> str:
    """What a put waits for while old messages are purged, and on PostgreSQL the table is vacuumed."""
    rows = []
    for name in ("SQLite, 2 processes", "PostgreSQL, 2 workers"):
        with _one(made[name]) as candidate:
            assert isinstance(candidate, Cometbot)
            add_rows(candidate, 0, old, days=30)
            over = threading.Event()
            with candidate.run_workers(), ThreadPoolExecutor(1) as pool:
                loading = pool.submit(_enqueue_steadily, candidate, over)
                began = time.perf_counter()
                removed = candidate.intake.purge()
                _vacuum(candidate)
                seconds = time.perf_counter() - began
                over.set()
                waits = loading.result()
            parts = [percentile(waits, part) * 1000 for part in (0.5, 0.99, 1.0)]
            rows.append([name, removed, seconds, len(waits), *parts])
    return table(("100 puts/s meanwhile", "purged", "in s", "puts", "p50 ms", "p99 ms", "slowest ms"), rows)


def _enqueue_steadily(candidate: Candidate, over: threading.Event) -> list[float]:
    waits: list[float] = []
    began = time.monotonic()
    while not over.is_set() or len(waits) < 100:
        time.sleep(max(0.0, began + len(waits) / 100 - time.monotonic()))
        asked = time.perf_counter()
        candidate.enqueue(len(waits))
        waits.append(time.perf_counter() - asked)
    return waits


def _vacuum(candidate: Cometbot) -> None:
    if candidate.url.startswith("postgresql"):
        import psycopg

        with psycopg.connect(candidate.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE mailbox")


if __name__ == "__main__":
    print(run())
