"""A bot whose stored messages can be rehearsed and handled anew, over SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Bot, Context
from cometbot.delivery import Delivery
from cometbot.store.tables import mailbox
from cometbot.testing.fake_channel import FakeChannel
from cometbot.testing.immediate_engine import ImmediateEngine


class DeliveryHarness:
    """A bot, its platform, and a delivery whose work is done when :meth:`run_until_idle` is called."""

    def __init__(self, url: str) -> None:
        self.bot = Bot("helpdesk")
        self.channel = FakeChannel()
        self.engine = ImmediateEngine()
        self.delivery = Delivery([self.bot], [self.channel], url, engine=self.engine)
        self.delivery.start()

    def enqueue(self, text: str, **more: Any) -> None:
        self.delivery.enqueue(self.channel.incoming(self.bot, text, **more))

    def run_until_idle(self) -> None:
        self.engine.run_until_idle()

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        with self.delivery.database.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(table)).mappings()]

    def set_row(self, **values: Any) -> None:
        with self.delivery.database.write() as connection:
            connection.execute(sa.update(mailbox).values(**values))


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[DeliveryHarness]:
    made = DeliveryHarness(f"sqlite:///{tmp_path}/cometbot.db")
    yield made
    made.delivery.close()


def greet(harness: DeliveryHarness) -> None:
    """A handler that replies, returns, and counts."""

    @harness.bot.message("hi")
    def greet(ctx: Context) -> str:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        ctx.user_state.increment("greetings")
        ctx.reply("One moment.")
        return "Hello!"


@pytest.fixture
def greeted(harness: DeliveryHarness) -> DeliveryHarness:
    """The shop after ``hi`` was handled as m1."""
    greet(harness)
    harness.enqueue("hi")
    harness.run_until_idle()
    return harness
