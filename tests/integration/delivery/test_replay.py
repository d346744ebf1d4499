"""Stored messages found by their ids and handled anew."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Context
from cometbot.delivery.replay import count_handling_processes, find_message, replay
from cometbot.errors import DeliveryError
from cometbot.store.tables import mailbox


def test_a_replayed_message_is_answered_again(greeted: Any) -> None:
    message = replay(greeted.delivery, "M1")
    assert (message.id, message.state, message.generation) == ("m1", "waiting", 1)
    greeted.run_until_idle()
    assert greeted.channel.texts() == ["One moment.", "Hello!", "One moment.", "Hello!"]
    assert find_message(greeted.delivery.store, "m1").state == "done"


def test_a_replayed_message_can_be_replayed_again(greeted: Any) -> None:
    for _ in range(2):
        replay(greeted.delivery, "m1")
        greeted.run_until_idle()
    assert greeted.channel.texts().count("Hello!") == 3


def test_replayed_message_is_handled_before_waiting_ones(greeted: Any) -> None:
    @greeted.bot.fallback
    def echo(ctx: Context) -> str:
        return ctx.text

    greeted.enqueue("later")
    replay(greeted.delivery, "m1")
    greeted.run_until_idle()
    assert greeted.channel.texts()[2:] == ["One moment.", "Hello!", "later"]


@pytest.mark.parametrize("ended", ["dead", "discarded"])
def test_dead_or_discarded_message_can_be_replayed(greeted: Any, ended: str) -> None:
    greeted.set_row(state=ended, error="ValueError: no tea", attempts=5)
    replay(greeted.delivery, "m1")
    greeted.run_until_idle()
    [row] = greeted.rows(mailbox)
    assert (row["state"], row["error"], row["attempts"]) == ("done", None, 1)
    assert greeted.delivery.dead_letters.list() == []


@pytest.mark.parametrize("undone", ["waiting", "running"])
def test_what_is_not_done_yet_is_not_replayed(greeted: Any, undone: str) -> None:
    greeted.set_row(state=undone)
    with pytest.raises(DeliveryError, match="not done yet"):
        replay(greeted.delivery, "m1")
    assert greeted.rows(mailbox)[0]["generation"] == 0


@pytest.mark.parametrize(
    ("name", "word"),
    [("m9", "no message m9"), ("r1", "deadletters retry"), ("seven", "no id"), ("m", "no id"), ("m-1", "no id")],
)
def test_an_id_that_is_none_says_what_one_looks_like(greeted: Any, name: str, word: str) -> None:
    with pytest.raises(DeliveryError, match=word):
        find_message(greeted.delivery.store, name)


def test_a_message_whose_body_is_gone_is_none_any_more(greeted: Any) -> None:
    greeted.set_row(body=b"")
    with pytest.raises(DeliveryError, match="COMETBOT_KEEP_DAYS"):
        replay(greeted.delivery, "m1")


def test_only_processes_that_live_and_handle_count(greeted: Any) -> None:
    assert count_handling_processes(greeted.delivery.store) == 1
    greeted.delivery.stop()
    assert count_handling_processes(greeted.delivery.store) == 0
