"""Jobs that are due at once: how soon 10,000 have begun and are done, and what messages of users wait meanwhile.

One process with four threads, on SQLite and on PostgreSQL; the platform is in memory. Each job was scheduled in a
conversation of its own, and writes one message there; a message that was sent with ``at=`` is one that handlers have
stored. Beside them, another user writes twenty times a second, before the jobs are due and until the last is done.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from benchmarks.load import percentile
from benchmarks.services import postgresql
from benchmarks.tables import table
from cometbot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.context import Context
from cometbot.delivery import Delivery
from cometbot.jobs import JobChange, PlannedJob, make_content, make_inner_conversation
from cometbot.messages import Operation, Text
from cometbot.models import Conversation, User
from cometbot.store.tables import jobs as jobs_table
from cometbot.testing.fake_channel import FakeChannel

_THREADS = 4
_INTERVAL = 0.05
_BEFORE = 3.0
"""Seconds before the jobs are due, in which messages are measured for comparison."""

_TIMEOUT = 600.0
_TALKER = "talker"


class _Channel(FakeChannel):
    """A platform that only notes when a message has come, by its user."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: dict[str, float] = {}
        self.count = 0

    def new_id(self) -> str:
        return uuid.uuid4().hex

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        text = sending.payload["message"]["text"]
        if text.startswith("echo"):
            self.arrived[text] = time.perf_counter()
        else:
            self.count += 1
        return self.new_id()


class _Server:
    def __init__(self, url: str) -> None:
        self.bot, self.channel = Bot("shop"), _Channel()
        self.job = self.bot.job(_ring)
        self.bot.fallback(lambda ctx: f"echo {ctx.text}")
        self.delivery = Delivery([self.bot], [self.channel], url, threads=_THREADS)
        self.delivery.database.open()

    def plan(self, count: int, due_at: float, *, are_messages: bool) -> None:
        """Store what ``count`` handlers have scheduled."""
        with self.delivery.database.write() as connection:
            for number in range(count):
                user = f"user-{number}"
                origin = self.channel.conversation(self.bot, user=user)
                plan = self._plan_message if are_messages else self._plan_job
                change = JobChange(self.bot.name, origin.key_text, "#ring", plan(origin, user, due_at))
                self.delivery.store.jobs.apply(connection, change)

    def _plan_job(self, origin: Conversation, user: str, due_at: float) -> PlannedJob:
        where = make_inner_conversation(self.bot.name, origin.key_text)
        content = make_content({"what": "tea"}, origin, User(user))
        return PlannedJob("#ring", self.bot.handlers[0].name, where, due_at, False, content)

    def _plan_message(self, origin: Conversation, user: str, due_at: float) -> PlannedJob:
        payloads = self.channel.render(Operation(conversation=origin, message=Text("ready")))
        content = {"text": "ready", "offers": [], "has_limits": False, "payloads": payloads}
        return PlannedJob("#ring", "", origin, due_at, False, content)

    def make_due(self, seconds: float) -> float:
        """Let all that is planned be due in so many seconds; return when."""
        due_at = self.delivery.database.clock() + seconds
        with self.delivery.database.write() as connection:
            connection.execute(sa.update(jobs_table).values(due_at=due_at))
        return due_at

    def count_waiting(self) -> int:
        """Return the number of jobs that have not begun."""
        with self.delivery.database.read() as connection:
            query = sa.select(sa.func.count()).select_from(jobs_table)
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        self.delivery.stop(5)
        self.delivery.close()


def _ring(ctx: Context, what: str) -> None:
    ctx.send(f"Time for {what}!")


class _Talker(threading.Thread):
    """A user who writes twenty times a second."""

    def __init__(self, server: _Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._is_over = threading.Event()
        self.sent: dict[str, float] = {}

    def run(self) -> None:
        while not self._is_over.wait(_INTERVAL):
            text = f"{len(self.sent)}"
            self.sent[f"echo {text}"] = time.perf_counter()
            self._server.delivery.enqueue(self._server.channel.incoming(self._server.bot, text, user=_TALKER))

    def stop(self) -> None:
        self._is_over.set()
        self.join()
        _wait(lambda: len(self._server.channel.arrived) == len(self.sent))

    def waits(self, begin: float, end: float) -> list[float]:
        """Return the milliseconds from a message to its reply, of those that were written between two times."""
        arrived = self._server.channel.arrived
        return [1000 * (arrived[text] - sent) for text, sent in self.sent.items() if begin <= sent < end]


def _measure(url: str, count: int, *, are_messages: bool) -> list[object]:
    with closing(_Server(url)) as server:
        server.plan(count, sys.float_info.max, are_messages=are_messages)
        server.delivery.start()
        talker = _Talker(server)
        time.sleep(1)
        due_at = server.make_due(_BEFORE)
        begun_at = time.perf_counter()
        talker.start()
        time.sleep(max(0.0, due_at - server.delivery.database.clock()))
        due = time.perf_counter()
        _wait(lambda: server.count_waiting() == 0, pause=0.05)
        begun = time.perf_counter() - due
        _wait(lambda: server.channel.count >= count)
        done = time.perf_counter() - due
        talker.stop()
        assert server.channel.count == count
        before, beside = talker.waits(begun_at, due), talker.waits(due, due + done)
    figures = [percentile(waits, part) for waits in (before, beside) for part in (0.5, 0.99)]
    return [begun, done, count / done, *figures, max(beside)]


def _wait(condition: object, pause: float = 0.02) -> None:
    end = time.monotonic() + _TIMEOUT
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError("the jobs did not come to their end")
        time.sleep(pause)


def run(count: int = 10_000) -> str:
    """Return the table: when they had begun and were done, and what messages waited."""
    head = ("due at once", "begun after s", "done after s", "a second", "reply before: p50 ms", "p99", "beside: p50 ms")
    return table((*head, "p99", "max"), ([name, *figures] for name, figures in _rows(count)))


def _rows(count: int) -> Iterator[tuple[str, list[object]]]:
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        for are_messages in (False, True):
            name = f"SQLite, {count:,} {'messages' if are_messages else 'jobs'}"
            yield name, _measure(f"sqlite:///{Path(folder) / name}.db", count, are_messages=are_messages)
    with postgresql() as databases:
        for are_messages in (False, True):
            name = f"PostgreSQL, {count:,} {'messages' if are_messages else 'jobs'}"
            yield name, _measure(databases.make(), count, are_messages=are_messages)


if __name__ == "__main__":
    print(f"load average {os.getloadavg()[0]:.1f}")
    print(run(int(os.environ.get("BENCH_JOBS", "10000"))))
