"""Broadcasts reach each user at most once, over every database and with every engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Bot, BotError, Button, Card, Context, Media, Text
from cometbot.broadcasts import CHUNK_SIZE
from cometbot.delivery import Delivery
from cometbot.errors import DeliveryError, Rejected
from cometbot.inspection.broadcast_list import BroadcastInfo
from cometbot.store.erasure import Erasure
from cometbot.store.outbox import OldReplyPurge
from cometbot.store.tables import broadcast_recipients, broadcasts, outbox
from tests.contract.delivery.conftest import Harness, wait_until

FAST = "1000/second"


def start(harness: Harness, **options: Any) -> Delivery:
    """Start a process, through which the bot sends."""
    delivery = harness.start_process(**options)
    harness.bot.connect(delivery)
    return delivery


def wait_done(delivery: Delivery, name: str) -> BroadcastInfo:
    """Return a broadcast of which nothing is left to do."""

    def is_done() -> bool:
        found = delivery.broadcasts.get(name)
        return found.status == "done" and not found.sending

    wait_until(is_done)
    return delivery.broadcasts.get(name)


def count_targets(harness: Harness, text: str = "") -> Counter[str]:
    return Counter(
        said.conversation.target for said in harness.channel.said if not text or said.message.to_text() == text
    )


def count_rows(delivery: Delivery, table: sa.Table) -> int:
    with delivery.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_each_user_gets_the_message_once(harness: Harness) -> None:
    first = start(harness)
    harness.start_process()
    users = [f"user{number}" for number in range(60)]
    found = harness.bot.broadcast(users=iter([*users, "user3", "user4"]), text="News", name="news", pace=FAST)
    assert (found.name, found.recipients) == ("news", 60)
    done = wait_done(first, "news")
    assert (done.recipients, done.sent, done.waiting, done.refused) == (60, 60, 0, 0)
    assert (done.text, done.channel, done.pace, done.id) == ("News", "fake", FAST, "b1")
    assert count_targets(harness) == Counter(users)


def test_repeated_call_adds_only_the_users_who_are_missing(harness: Harness) -> None:
    delivery = start(harness)
    bot = harness.bot
    assert bot.broadcast(users=["maria", "tom"], text="News", name="news").recipients == 2
    wait_done(delivery, "news")
    assert bot.broadcast(users=["tom", "paul", "maria"], text="News", name="news").recipients == 3
    wait_until(lambda: count_targets(harness)["paul"])
    assert wait_done(delivery, "news").sent == 3
    assert bot.broadcast(users=[], text="News", name="news").recipients == 3
    assert count_targets(harness) == Counter(["maria", "tom", "paul"])


def test_name_stands_for_one_message(harness: Harness) -> None:
    start(harness)
    harness.bot.broadcast(users=["maria"], text="News", name="news")
    with pytest.raises(BotError, match="the broadcast 'news' of helpdesk has another message, channel or app"):
        harness.bot.broadcast(users=["tom"], text="Other news", name="news")
    assert harness.bot.broadcast(users=["tom"], text="Other news").recipients == 1


def test_call_that_fails_between_two_chunks_is_completed_by_the_next(harness: Harness) -> None:
    delivery = start(harness)
    users = [f"user{number}" for number in range(CHUNK_SIZE + 20)]

    def fail() -> Iterator[str]:
        yield from users[: CHUNK_SIZE + 10]
        raise OSError("the list of customers is gone")

    with pytest.raises(OSError, match="customers"):
        harness.bot.broadcast(users=fail(), text="News", name="news", pace=FAST)
    found = delivery.broadcasts.get("news")
    assert (found.status, found.waiting) == ("preparing", CHUNK_SIZE)
    assert harness.bot.broadcast(users=users, text="News", name="news", pace=FAST).recipients == CHUNK_SIZE + 20


def test_broadcast_without_users_is_done_at_once(harness: Harness) -> None:
    delivery = start(harness)
    assert harness.bot.broadcast(users=[], text="News", name="news").recipients == 0
    found = delivery.broadcasts.get("news")
    assert (found.status, found.recipients) == ("done", 0)
    assert found.ended_at is not None


def test_handler_that_runs_again_repeats_no_broadcast(harness: Harness) -> None:
    runs = []

    @harness.bot.command("publish", retries=2)
    def publish(ctx: Context) -> str:
        runs.append(ctx.event.key)
        sent = harness.bot.broadcast(users=["maria", "tom"], text="News", pace=FAST)
        if len(runs) < 3:
            raise OSError("again")
        return f"To {sent.recipients}."

    delivery = start(harness)
    harness.enqueue(delivery, "/publish", user="paul")
    harness.channel.wait_for(lambda: count_targets(harness)["paul"])
    wait_until(lambda: count_targets(harness, "News") == Counter(["maria", "tom"]))
    assert len(runs) == 3
    assert [item.recipients for item in delivery.broadcasts.list()] == [2]
    assert "To 2." in harness.channel.texts()


def test_handler_that_runs_again_may_broadcast_another_text(harness: Harness) -> None:
    runs = []

    @harness.bot.command("publish", retries=1)
    def publish(ctx: Context) -> str:
        runs.append(ctx.event.key)
        sent = harness.bot.broadcast(users=["tom"], text=f"News {len(runs)}", pace=FAST)
        if len(runs) < 2:
            raise OSError("again")
        return f"To {sent.recipients}."

    delivery = start(harness)
    harness.enqueue(delivery, "/publish", user="paul")
    harness.channel.wait_for(lambda: "To 1." in harness.channel.texts())
    wait_until(lambda: delivery.broadcasts.list()[0].sent == 1)
    assert count_targets(harness, "News 1") == Counter(["tom"])
    assert len(delivery.broadcasts.list()) == 1


def test_file_of_a_broadcast_may_be_deleted_before_the_handler_goes_on(tmp_path: Path) -> None:
    from cometbot.testing import BotClient

    bot, path = Bot("helpdesk"), tmp_path / "news.txt"
    path.write_text("News")

    @bot.command("publish")
    def publish(ctx: Context) -> str:
        unnamed = bot.broadcast(users=["tom"], message=Media(path=str(path)))
        named = bot.broadcast(users=["tom"], message=Media(path=str(path)), name="news")
        return f"{ctx.ask('Sure?')}, to {unnamed.recipients} and {named.recipients}."

    with BotClient(bot, user="maria") as maria:
        maria.send("/publish")
        path.unlink()
        assert maria.send("Yes").text == "Yes, to 1 and 1."
        tom = maria.as_user("tom")
        assert [tom.download(said) for said in tom.said()] == [b"News", b"News"]


def test_users_who_opt_out_while_it_runs_get_nothing(harness: Harness) -> None:
    harness.bot.opt_outs = Bot("words", opt_out_words=["unsubscribe"]).opt_outs
    delivery = start(harness)
    harness.enqueue(delivery, "Unsubscribe", user="tom")
    harness.channel.wait_for(lambda: count_targets(harness)["tom"])
    harness.bot.broadcast(users=["maria", "tom"], text="News", name="news")
    found = wait_done(delivery, "news")
    assert (found.sent, found.opted_out) == (1, 1)
    harness.enqueue(delivery, "subscribe", user="tom")
    harness.channel.wait_for(lambda: count_targets(harness)["tom"] == 2)
    harness.bot.broadcast(users=["maria", "tom"], text="More", name="more")
    assert wait_done(delivery, "more").sent == 2
    assert count_targets(harness, "News") == Counter(["maria"])


def test_refusals_are_counted_with_their_reasons(harness: Harness) -> None:
    def refuse(message: Any, outgoing: Any) -> Any:
        if outgoing.conversation.target == "tom":
            raise ValueError("no news for tom")
        return None if outgoing.conversation.target == "paul" else message

    harness.bot.outgoing(refuse)
    harness.channel.faults.extend([Rejected("no such user", code="ERR_UID_NOT_FOUND")])
    delivery = start(harness)
    harness.bot.broadcast(users=["maria", "tom", "paul", "ann"], text="News", name="news", pace="1/second")
    found = wait_done(delivery, "news")
    assert (found.sent, found.refused, found.dropped) == (1, 2, 1)
    assert sorted(found.reasons.values()) == [1, 1]
    assert any("no news for tom" in reason for reason in found.reasons)
    assert any("no such user" in reason for reason in found.reasons)
    letter = delivery.dead_letters.list()[0]
    assert delivery.retry(letter.id)
    wait_until(lambda: delivery.broadcasts.get("news").sent == 2)


def test_pace_is_kept_by_all_processes_together(harness: Harness) -> None:
    first = start(harness)
    harness.start_process()
    harness.bot.broadcast(users=map(str, range(6)), text="News", name="news", pace="5/second")
    wait_done(first, "news")
    query = sa.select(broadcast_recipients.c.at).order_by(broadcast_recipients.c.at)
    with first.database.read() as connection:
        times = list(connection.execute(query).scalars())
    assert len(set(times[:5])) == 1
    assert times[5] - times[0] >= 0.99


def test_paused_broadcast_goes_on_where_it_was(harness: Harness) -> None:
    delivery = start(harness)
    harness.bot.broadcast(users=map(str, range(4)), text="News", name="news", pace="2/second")
    harness.channel.wait_for(lambda: len(harness.channel.said) >= 2)
    delivery.broadcasts.pause("news")
    found = delivery.broadcasts.get("news")
    assert (found.status, found.waiting) == ("paused", 2)
    with pytest.raises(DeliveryError, match="paused already"):
        delivery.broadcasts.pause("b1")
    harness.bot.broadcast(users=["tom"], text="News", name="news", pace="2/second")
    assert delivery.broadcasts.get("news").status == "paused"
    delivery.resume_broadcast("news")
    assert wait_done(delivery, "news").sent == 5
    assert set(count_targets(harness).values()) == {1}
    with pytest.raises(DeliveryError, match="is not paused but done"):
        delivery.resume_broadcast("news")


def test_cancelled_broadcast_sends_nothing_more(harness: Harness) -> None:
    delivery = start(harness)
    harness.bot.broadcast(users=map(str, range(4)), text="News", name="news", pace="1/hour")
    wait_until(lambda: delivery.broadcasts.get("b1").sent == 1)
    delivery.broadcasts.cancel("b1")
    found = delivery.broadcasts.get("b1")
    assert (found.status, found.waiting, found.sent) == ("cancelled", 3, 1)
    assert harness.bot.broadcast(users=["5"], text="News", name="news", pace="1/hour").recipients == 5
    with pytest.raises(DeliveryError, match="is cancelled already"):
        delivery.broadcasts.cancel("news")
    with pytest.raises(DeliveryError, match="is no broadcast 'other'"):
        delivery.broadcasts.cancel("other")
    assert len(harness.channel.said) == 1


def test_process_that_starts_goes_on_with_a_broadcast(harness: Harness) -> None:
    stored = harness.start_process(start=False)
    stored.database.open()
    harness.bot.connect(stored)
    harness.bot.broadcast(users=["maria", "tom"], text="News", name="news")
    assert harness.channel.said == []
    assert wait_done(harness.start_process(), "news").sent == 2


def test_message_is_in_the_order_in_which_its_conversation_got_it(harness: Harness) -> None:
    go_on = threading.Event()

    @harness.bot.message()
    def answer(ctx: Context) -> Sequence[str]:
        go_on.wait(10)
        return ["one", "two"]

    delivery = start(harness)
    harness.enqueue(delivery, "hello", user="maria")
    harness.bot.broadcast(users=["maria", "tom"], text="News", name="news")
    wait_until(lambda: count_targets(harness)["tom"])
    go_on.set()
    harness.channel.wait_for(lambda: "two" in harness.channel.texts("helpdesk_user_maria"))
    assert harness.channel.texts("helpdesk_user_maria") == ["News", "one", "two"]


def test_buttons_of_a_broadcast_are_answered(harness: Harness) -> None:
    @harness.bot.action("book")
    def book(ctx: Context) -> str:
        return f"Booked {ctx.value} for {ctx.sender.uid}."

    delivery = start(harness)
    card = Card("Yoga", buttons=[Button("Monday", action="book", value="mon")], once=True, expires="1d")
    harness.bot.broadcast(users=["maria", "tom"], message=card, name="yoga")
    wait_done(delivery, "yoga")
    harness.enqueue(delivery, "Monday", user="tom")
    harness.channel.wait_for(lambda: "Booked mon for tom." in harness.channel.texts())


def test_what_became_of_it_outlives_the_messages(harness: Harness) -> None:
    delivery = start(harness)
    harness.bot.broadcast(users=["maria", "tom"], text="News", name="news")
    wait_done(delivery, "news")
    before = delivery.database.clock() + 10
    with delivery.database.write() as connection:
        assert delivery.store.broadcasts.settle_ended(connection, before, 10) == 2
        assert delivery.store.broadcasts.settle_ended(connection, before, 10) == 0
        OldReplyPurge(before).delete_batch(connection, 10)
    assert count_rows(delivery, outbox) == 0
    assert delivery.broadcasts.get("news").sent == 2
    delivery._retention = -10.0
    delivery.purge()
    assert (count_rows(delivery, broadcasts), count_rows(delivery, broadcast_recipients)) == (0, 0)


def test_broadcast_is_kept_as_long_as_its_dead_letters(harness: Harness) -> None:
    harness.channel.faults.extend([Rejected("no such user")])
    delivery = start(harness)
    harness.bot.broadcast(users=["maria", "tom"], text="News", name="news")
    assert wait_done(delivery, "news").refused == 1
    delivery._retention = -10.0
    delivery.purge()
    assert (delivery.broadcasts.get("news").sent, delivery.broadcasts.get("news").refused) == (1, 1)
    delivery.dead_letters.discard(delivery.dead_letters.list()[0].id)
    delivery.purge()
    assert (count_rows(delivery, broadcasts), count_rows(delivery, broadcast_recipients)) == (0, 0)


def test_erased_user_is_no_recipient_any_more(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    delivery.database.open()
    harness.bot.connect(delivery)
    harness.bot.broadcast(users=["maria", "tom"], text="News", name="news")
    with delivery.database.write() as connection:
        Erasure(delivery.database).erase_recipient(connection, "fake", "tom", "other")
        assert delivery.store.broadcasts.count_recipients(connection, 1) == 2
        Erasure(delivery.database).erase_recipient(connection, "fake", "tom")
        assert delivery.store.broadcasts.count_recipients(connection, 1) == 1


def test_channel_that_is_gone_is_tried_again(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    delivery = start(harness)
    with delivery.database.write() as connection:
        row = delivery.store.broadcasts.create(
            connection, harness.bot.name, "old", channel="telex", account="", digest="", pace="1/second"
        )
        delivery.store.broadcasts.set_content(connection, row.id, {"class": "Text", "text": "News"})
        delivery.store.broadcasts.add_recipients(connection, row.id, ["maria"])
        delivery.store.broadcasts.start(connection, row.id)
    delivery.notify(f"jobs/cometbot/helpdesk/#broadcast-{row.id}")
    wait_until(lambda: "cannot go on with a broadcast" in caplog.text)
    assert delivery.broadcasts.get("old").waiting == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": "maria", "text": "News"}, "users: expected uids"),
        ({"users": 5, "text": "News"}, "users: expected uids"),
        ({"users": ["maria", 5], "text": "News"}, "or users; got 5"),
        ({"users": ["maria", " "], "text": "News"}, "or users; got ' '"),
        ({"users": ["x" * 256], "text": "News"}, "1 to 255 printable characters"),
        ({"users": ["maria"], "text": "News", "channel": "telex"}, "the channel 'telex' is not configured here"),
    ],
)
def test_wrong_users_and_channels_are_errors(options: Any, message: str) -> None:
    from cometbot.testing import BotClient

    bot = Bot("helpdesk")
    with BotClient(bot), pytest.raises(BotError, match=message):
        bot.broadcast(name="news", **options)


def test_text_message_is_stored_as_it_is(harness: Harness) -> None:
    delivery = start(harness)
    harness.bot.broadcast(users=["maria"], message=Text("News", tags=("x",)), name="news")
    wait_done(delivery, "news")
    assert harness.channel.said[0].message == Text("News", tags=("x",))
