"""What became of the newest events, as it stands in the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot.channels.base import IncomingEvent
from cometbot.delivery import Delivery
from cometbot.delivery.recent_events import list_recent_events
from cometbot.models import Conversation

MARIA = Conversation("cometchat", "app1", "shop", "maria_user_shop", "maria")


@pytest.fixture
def delivery(tmp_path: Path) -> Iterator[Delivery]:
    delivery = Delivery([], [], f"sqlite:///{tmp_path / 'bot.db'}")
    yield delivery
    delivery.close()


def enqueue(delivery: Delivery, key: str) -> None:
    delivery.enqueue(IncomingEvent(MARIA, key, b"{}", "maria", 1_700_000_000.0))


def end_oldest(delivery: Delivery, handler: str, error: str = "") -> None:
    """End the oldest event that has not ended, badly if there is an error."""
    mailbox = delivery.store.mailbox
    with delivery.database.write() as connection:
        message = mailbox.get_oldest(connection, str(MARIA.key))
        assert message is not None
        mailbox.mark_running(connection, message)
        if error:
            mailbox.mark_dead(connection, message, handler, error)
        else:
            mailbox.mark_done(connection, message, handler)


def test_an_empty_mailbox_has_nothing_recent(delivery: Delivery) -> None:
    assert list_recent_events(delivery.database) == []


def test_the_newest_come_first_with_state_handler_and_cause(delivery: Delivery) -> None:
    for key in ("message:1", "message:2", "message:3"):
        enqueue(delivery, key)
    end_oldest(delivery, "shop.track")
    end_oldest(delivery, "shop.buy", "ValueError: no shoes")

    waiting, dead, done = list_recent_events(delivery.database)
    assert (waiting.event, waiting.state, waiting.handler, waiting.seconds) == ("message:3", "waiting", "", 0.0)
    assert (dead.bot, dead.state, dead.handler, dead.error) == ("shop", "dead", "shop.buy", "ValueError: no shoes")
    assert (done.state, done.handler, done.attempts) == ("done", "shop.track", 1)
    assert [row.id for row in (done, dead, waiting)] == ["m1", "m2", "m3"]
    assert 0 <= done.seconds < 60


def test_no_more_are_read_than_asked_for(delivery: Delivery) -> None:
    for number in range(4):
        enqueue(delivery, f"message:{number}")
    assert [row.event for row in list_recent_events(delivery.database, limit=2)] == ["message:3", "message:2"]
