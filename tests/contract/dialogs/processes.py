"""Two processes around one database, and calls that meet in them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa

from cometbot import Bot
from cometbot.delivery import Delivery, ThreadEngine
from cometbot.errors import StoreBusy
from cometbot.store.database import Database
from cometbot.store.tables import dialogs, mailbox, state, steps, timers
from cometbot.testing.fake_channel import FakeChannel
from tests.contract.delivery.conftest import QUICK_POLICY, wait_until

CALLS = 8


class Processes:
    """Two processes, simulated by two deliveries, around one database and one platform."""

    def __init__(self, url: str) -> None:
        self.bot = Bot("helpdesk")
        self.channel = FakeChannel()
        self._url = url
        self._deliveries: list[Delivery] = []

    def start(self) -> None:
        for _ in range(2):
            delivery = Delivery([self.bot], [self.channel], self._url, engine=ThreadEngine(4), policy=QUICK_POLICY)
            self._deliveries.append(delivery)
            delivery.start()

    def close(self) -> None:
        for delivery in self._deliveries:
            delivery.stop(5)
            delivery.close()

    @property
    def delivery(self) -> Delivery:
        return self._deliveries[0]

    @property
    def database(self) -> Database:
        return self.delivery.database

    def write(self, text: str, user: str = "maria", process: int = 0, message_id: str = "", *, group: str = "") -> None:
        incoming = self.channel.incoming(self.bot, text, user=user, group=group, id=message_id or None)
        self._deliveries[process].enqueue(incoming)

    def texts(self, user: str = "maria") -> list[str]:
        """Return the first lines of what the bot said to a user."""
        return [text.partition("\n")[0] for text in self.channel.texts(f"helpdesk_user_{user}")]

    def wait_texts(self, *texts: str, user: str = "maria") -> None:
        wait_until(lambda: len(self.texts(user)) >= len(texts))
        wait_until(lambda: self.delivery.is_idle)
        assert self.texts(user) == list(texts)

    def count(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(*conditions)
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def check_nothing_left(self) -> None:
        wait_until(lambda: self.delivery.is_idle)
        assert [self.count(table) for table in (dialogs, steps, timers)] == [0, 0, 0]
        assert self.count(mailbox, mailbox.c.state == "done", mailbox.c.ended_at.is_(None)) == 0
        assert self.count(mailbox, mailbox.c.state.in_(["waiting", "running"])) == 0
        assert self.count(state, state.c.name == "cometbot:dialogs") == 0


def at_once(*actions: Callable[[], object]) -> None:
    """Call all at the same moment, each in a thread."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            action()
        except StoreBusy:  # on a busy machine, the sender tries again
            action()

    threads = [threading.Thread(target=run, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
