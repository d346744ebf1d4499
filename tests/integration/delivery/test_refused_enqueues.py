"""An event whose storing was refused, and that is stored all the same: it is handled once, however often it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.delivery import Delivery, delivery
from cometbot.errors import StoreBusy
from cometbot.store import database_files
from cometbot.testing.fake_channel import FakeChannel

TIMEOUT = 60.0
"""Seconds after which a test gives up."""


def wait_until(condition: Callable[[], Any]) -> None:
    ends_at = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def test_event_refused_during_a_slow_sync_is_handled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes longer than the time limit for a commit that two callbacks share."""
    monkeypatch.setattr(delivery, "ACK_TIMEOUT", 3.0)
    may_continue, to_disk = threading.Event(), database_files._fdatasync
    bot, channel, handled = Bot("helpdesk"), FakeChannel(), []

    @bot.fallback
    def count(ctx: Context) -> None:
        handled.append(ctx.text)

    shop = Delivery([bot], [channel], f"sqlite:///{tmp_path}/cometbot.db")
    outcomes: list[object] = []

    def enqueue(text: str) -> None:
        try:
            outcomes.append(shop.enqueue(channel.incoming(bot, text, id=text)))
        except StoreBusy as error:
            outcomes.append(error)

    with closing(shop):
        shop.database.open()
        database: Any = shop.database
        threads = [threading.Thread(target=enqueue, args=(text,)) for text in ("one", "two")]
        with shop.database.write(durable=False):
            for thread in threads:
                thread.start()
            wait_until(lambda: len(database._group_commit._pending) == 2)
            monkeypatch.setattr(database_files, "_fdatasync", lambda file: may_continue.wait(TIMEOUT) and to_disk(file))
        wait_until(lambda: outcomes)  # the one that waits for the other's sync gives up
        may_continue.set()
        for thread in threads:
            thread.join(TIMEOUT)
        refused = [one for one in outcomes if isinstance(one, StoreBusy)]
        assert len(refused) == 1, outcomes
        monkeypatch.undo()

        assert not shop.enqueue(channel.incoming(bot, "one", id="one"))
        assert not shop.enqueue(channel.incoming(bot, "two", id="two"))
        shop.start()
        wait_until(lambda: len(handled) == 2)
        assert sorted(handled) == ["one", "two"]
