"""Delivery over every database and with every engine: the same promises everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.delivery import Backoff, Delivery, Engine, SendPolicy, ThreadEngine
from cometbot.delivery.leases import Process
from cometbot.store.database import Database, database
from cometbot.testing.channel import FakeChannel

QUICK = SendPolicy(timeout=0.2, backoff=Backoff(0.01, 0.05), outage=Backoff(0.01, 0.05))


def wait_until(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)


class World:
    """Processes (simulated by several deliveries) around one database and one platform."""

    def __init__(self, url: str, make_engine: Callable[[int], Engine]) -> None:
        self.url = url
        self.bot = Bot("helpdesk")
        self.channel = FakeChannel()
        self._make_engine = make_engine
        self._opened: list[Delivery] = []

    def process(self, *, start: bool = True, threads: int = 4, **options: Any) -> Delivery:
        """One more process; its bots, channel and database are the same as the others'."""
        options = {"policy": QUICK, "engine": self._make_engine(threads), **options}
        delivery = Delivery([self.bot], [self.channel], self.url, **options)
        self._opened.append(delivery)
        if start:
            delivery.start()
        return delivery

    def say(self, delivery: Delivery, text: str, **more: Any) -> bool:
        return delivery.put(self.channel.incoming(self.bot, text, **more))

    def dead_process(self, database: Database) -> str:
        """The token of a process that showed no sign of life for longer than a lease lasts."""
        process = Process(database)
        return process.token

    def close(self) -> None:
        for delivery in self._opened:
            delivery.stop(5)
            delivery.close()


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/cometbot.db"


@pytest.fixture(params=[ThreadEngine], ids=["threads"])
def make_engine(request: pytest.FixtureRequest) -> Callable[[int], Engine]:
    return request.param


@pytest.fixture
def world(database_url: str, make_engine: Callable[[int], Engine]) -> Iterator[World]:
    made = World(database_url, make_engine)
    yield made
    made.close()


@pytest.fixture
def opened(database_url: str) -> Iterator[Database]:
    made = database(database_url)
    made.open()
    yield made
    made.close()
