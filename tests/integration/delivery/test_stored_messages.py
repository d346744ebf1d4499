"""Stored messages: find one, list the newest, and handle one again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot import Context
from cometbot.channels.base import IncomingEvent
from cometbot.delivery import Delivery
from cometbot.errors import DeliveryError
from cometbot.inspection.stored_messages import find_message, list_recent_events
from cometbot.models import Conversation
from cometbot.store.tables import mailbox


def test_a_replayed_message_is_answered_again(greeted: Any) -> None:
    message = greeted.delivery.replay("M1")
    assert (message.id, message.state, message.generation) == ("m1", "waiting", 1)
    greeted.run_until_idle()
    assert greeted.channel.texts() == ["One moment.", "Hello!", "One moment.", "Hello!"]
    assert find_message(greeted.delivery.store, "m1").state == "done"


def test_a_replayed_message_can_be_replayed_again(greeted: Any) -> None:
    for _ in range(2):
        greeted.delivery.replay("m1")
        greeted.run_until_idle()
    assert greeted.channel.texts().count("Hello!") == 3


def test_replayed_message_is_handled_before_waiting_ones(greeted: Any) -> None:
    @greeted.bot.fallback
    def echo(ctx: Context) -> str:
        return ctx.text

    greeted.enqueue("later")
    greeted.delivery.replay("m1")
    greeted.run_until_idle()
    assert greeted.channel.texts()[2:] == ["One moment.", "Hello!", "later"]


@pytest.mark.parametrize("ended", ["dead", "discarded"])
def test_dead_or_discarded_message_can_be_replayed(greeted: Any, ended: str) -> None:
    greeted.set_row(state=ended, error="ValueError: no tea", attempts=5)
    greeted.delivery.replay("m1")
    greeted.run_until_idle()
    [row] = greeted.rows(mailbox)
    assert (row["state"], row["error"], row["attempts"]) == ("done", None, 1)
    assert greeted.delivery.dead_letters.list() == []


@pytest.mark.parametrize("undone", ["waiting", "running"])
def test_what_is_not_done_yet_is_not_replayed(greeted: Any, undone: str) -> None:
    greeted.set_row(state=undone)
    with pytest.raises(DeliveryError, match="not done yet"):
        greeted.delivery.replay("m1")
    assert greeted.rows(mailbox)[0]["generation"] == 0


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("m9", "no message m9"),
        ("r1", "deadletters retry"),
        ("seven", "is not a message id"),
        ("m", "is not a message id"),
        ("m-1", "is not a message id"),
    ],
)
def test_an_id_that_is_none_says_what_one_looks_like(greeted: Any, name: str, word: str) -> None:
    with pytest.raises(DeliveryError, match=word):
        find_message(greeted.delivery.store, name)


def test_a_message_whose_body_is_gone_is_none_any_more(greeted: Any) -> None:
    greeted.set_row(body=b"")
    with pytest.raises(DeliveryError, match="COMETBOT_KEEP_DAYS"):
        greeted.delivery.replay("m1")


def test_only_processes_that_live_and_handle_count(greeted: Any) -> None:
    assert greeted.delivery.count_handling_processes() == 1
    greeted.delivery.stop()
    assert greeted.delivery.count_handling_processes() == 0


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
        mailbox.end(connection, message, "dead" if error else "done", handler, error)


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
