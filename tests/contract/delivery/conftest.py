"""Delivery over every database and with every engine: the same promises everywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.approvals import APPROVALS_KEY
from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.delivery import Backoff, Delivery, SendPolicy, ThreadEngine
from cometbot.errors import StoreBusy
from cometbot.store.database import Database
from cometbot.store.leases import ProcessRegistration
from cometbot.store.tables import dialogs, mailbox, state, steps, timers
from cometbot.testing.fake_channel import FakeChannel

QUICK_POLICY = SendPolicy(
    timeout=0.2,
    retry_backoff=Backoff(0.01, 0.05),
    outage_backoff=Backoff(0.01, 0.05),
    rate_limit_backoff=Backoff(0.05, 0.05),
)


TIMEOUT = 60.0
"""Seconds after which a test gives up what takes a moment; the machine may do ten other things as well."""


def wait_until(condition: Callable[[], Any], timeout: float = TIMEOUT) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)


def count_dialog_rows(connection: sa.Connection) -> tuple[int, ...]:
    """Return the numbers of dialogs, steps and timers."""
    tables = (dialogs, steps, timers)
    return tuple(int(connection.execute(sa.select(sa.func.count()).select_from(each)).scalar_one()) for each in tables)


def check_no_dialogs(connection: sa.Connection) -> None:
    """Check that the tables of dialogs are empty, that no message is kept for one, and that no approval waits."""
    assert count_dialog_rows(connection) == (0, 0, 0)
    kept = sa.select(mailbox.c.seq).where(mailbox.c.state == "done", mailbox.c.ended_at.is_(None))
    assert connection.execute(kept).all() == []
    approvals = sa.select(state.c.value).where(state.c.name == APPROVALS_KEY)
    for value in connection.execute(approvals).scalars():
        assert json.loads(value).get("open", {}) == {}


class Harness:
    """Processes (simulated by several deliveries) around one database and one platform."""

    def __init__(self, url: str, kind: str) -> None:
        self.url = url
        self.bot = Bot("helpdesk")
        self.channel = FakeChannel()
        self._kind = kind
        self._deliveries: list[Delivery] = []

    def start_process(
        self,
        *,
        start: bool = True,
        threads: int = 4,
        max_threads: int = 0,
        channels: Sequence[Channel] = (),
        **options: Any,
    ) -> Delivery:
        """One more process; its bots, channel (unless it gets its own) and database are the same as the others'."""
        engine = ThreadEngine(threads, max_threads) if self._kind == "threads" else None
        sizes = {"threads": threads, "max_threads": max_threads}
        options = {"policy": QUICK_POLICY, "engine": engine, **sizes, **options}
        delivery = Delivery([self.bot], channels or [self.channel], self.url, **options)
        self._deliveries.append(delivery)
        if start:
            delivery.start()
        return delivery

    def enqueue(self, delivery: Delivery, text: str, *, channel: FakeChannel | None = None, **more: Any) -> bool:
        """Put a message; again, as a platform does, where the database of a busy machine has no time for it."""
        incoming = (channel or self.channel).incoming(self.bot, text, **more)
        end = time.monotonic() + TIMEOUT
        while True:
            try:
                return delivery.enqueue(incoming)
            except StoreBusy:
                if time.monotonic() > end:
                    raise

    def make_dead_process(self, database: Database) -> str:
        """The token of a process that showed no sign of life for longer than a lease lasts."""
        process = ProcessRegistration(database)
        return process.token

    def close(self) -> None:
        for delivery in self._deliveries:
            delivery.stop(5)
            delivery.close()


KINDS = [("sqlite", "threads"), ("postgresql", "threads"), ("postgresql", "procrastinate")]


@pytest.fixture(params=KINDS, ids=["-".join(kind) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A database and an engine."""
    return request.param


@pytest.fixture
def harness(kind: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    url = request.getfixturevalue("postgres_url") if kind[0] == "postgresql" else f"sqlite:///{tmp_path}/cometbot.db"
    made = Harness(url, kind[1])
    yield made
    made.close()
