"""Handlers that get the messages of a burst at once, or only the newest."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Bot, Context, MessageEvent
from cometbot.errors import RegistrationError
from cometbot.sinks import WaitingMessage
from cometbot.store.tables import mailbox
from cometbot.testing import BotClient
from tests.unit.conftest import DispatchHarness, FakeReplySink, message


def make_bot(concurrency: Any = "burst", **options: Any) -> Bot:
    bot = Bot("helpdesk", **options)

    @bot.fallback(concurrency=concurrency)
    def answer(ctx: Context) -> str:
        return f"{ctx.text}: {[message.text for message in ctx.messages]}"

    return bot


def test_burst_is_handed_over_when_the_user_pauses() -> None:
    client = BotClient(make_bot())
    assert client.send("one").texts == []
    assert client.advance(1).texts == []
    assert client.send("two").texts == []
    assert client.advance(1.5).texts == []
    assert client.send("three").texts == []
    assert client.advance(2).texts == ["three: ['one', 'two', 'three']"]
    client.send("four")
    assert client.advance(2).texts == ["four: ['four']"]


def test_burst_that_never_pauses_is_handed_over_in_parts() -> None:
    client = BotClient(make_bot(burst_pause="1s"))
    said = [text for number in range(16) for text in (*client.send(str(number)).texts, *client.advance(0.5).texts)]
    assert [len(text.split(",")) for text in said] == [10]
    assert client.advance(5).texts == ["15: ['10', '11', '12', '13', '14', '15']"]


def test_other_handler_ends_a_burst_at_once() -> None:
    bot = make_bot()
    bot.command("now")(lambda ctx: "12:00")
    client = BotClient(bot)
    client.send("one")
    client.send("two")
    assert client.send("/now").texts == ["two: ['one', 'two']", "12:00"]


def test_other_user_ends_a_burst_at_once() -> None:
    client = BotClient(make_bot(), group="ops")
    ben = client.as_user("ben", group="ops")
    client.send("one")
    assert ben.send("hi").texts == ["one: ['one']"]
    assert client.send("two").texts == ["hi: ['hi']"]
    assert client.advance(2).texts == ["two: ['two']"]


def test_commands_presses_and_other_events_are_not_held() -> None:
    bot = make_bot()
    bot.command("now")(lambda ctx: str(len(ctx.messages)))
    client = BotClient(bot)
    assert client.send("/now").texts == ["1"]


def test_burst_asks_and_still_has_its_messages() -> None:
    bot = Bot("helpdesk")

    @bot.fallback(concurrency="burst")
    def order(ctx: Context) -> str:
        size = ctx.ask("Which size?")
        return f"{size} for {[message.text for message in ctx.messages]}"

    client = BotClient(bot)
    client.send("a shirt")
    client.send("a blue one")
    assert client.advance(2).texts == ["Which size?"]
    assert client.send("M").texts == ["M for ['a shirt', 'a blue one']"]


def test_messages_of_a_burst_are_kept_while_its_dialog_is_open() -> None:
    bot = Bot("helpdesk")

    @bot.fallback(concurrency="burst")
    def order(ctx: Context) -> str:
        size = ctx.ask("Which size?", timeout="30d")
        return f"{size} for {len(ctx.messages)}"

    client = BotClient(bot)
    client.send("a shirt")
    client.send("a blue one")
    client.advance("20d")
    delivery = client._harness.delivery
    assert delivery.purge() == 0
    assert client.send("M").texts == ["M for 2"]
    client.advance("20d")
    delivery.purge()
    with delivery.database.read() as connection:
        assert connection.execute(sa.select(mailbox.c.seq)).all() == []


def test_handler_that_fails_gets_the_same_burst_again() -> None:
    bot = Bot("helpdesk", error_text=None)
    seen: list[list[str]] = []

    @bot.fallback(concurrency="burst", retries=1)
    def answer(ctx: Context) -> str:
        seen.append([message.text for message in ctx.messages])
        if len(seen) == 1:
            raise ValueError
        return "done"

    client = BotClient(bot, raise_errors=False)
    client.send("one")
    client.send("two")
    client.advance(2)
    client.send("three")
    assert client.advance(10).texts == ["done", "done"]
    assert seen == [["one", "two"], ["one", "two"], ["three"]]


class BurstSink(FakeReplySink):
    """A sink behind whose message another one waits, and which may be the newest of a burst that has ended."""

    def __init__(self, *joined: MessageEvent) -> None:
        super().__init__()
        self.joined = joined

    def waiting_messages(self, limit: int) -> list[WaitingMessage]:
        return [WaitingMessage(713, 1_700_000_000.0, message("later", key="message:713"))]

    def joined_messages(self, message: str) -> tuple[MessageEvent, ...]:
        assert message == "m712"
        return self.joined


def test_burst_that_was_stored_gets_nothing_more() -> None:
    earlier = message("earlier", key="message:711")
    harness = DispatchHarness(make_bot(), BurstSink(earlier))
    assert harness.send_text("now") == ["now: ['earlier', 'now']"]
    harness = DispatchHarness(make_bot(), BurstSink())
    assert harness.send_text("now") == []
    assert (harness.outcome.held_for or 0) > 0
    harness = DispatchHarness(make_bot("latest"), BurstSink(earlier))
    assert harness.send_text("now") == []
    assert harness.outcome.stopped_by == "superseded by m713"


def test_burst_has_fifty_messages_at_most() -> None:
    bot = Bot("helpdesk")
    sizes: list[int] = []
    bot.fallback(concurrency="burst")(lambda ctx: sizes.append(len(ctx.messages)))
    client = BotClient(bot)
    for number in range(60):
        client.send(str(number))
    client.advance(10)
    assert sizes == [50, 10]


@pytest.mark.parametrize("concurrency", ["burst", "latest"])
def test_limits_bound_bursts(concurrency: str) -> None:
    client = BotClient(make_bot(concurrency, maintenance="Soon."))
    assert client.send("one").texts == ["Soon."]


def test_registration_checks_concurrency() -> None:
    bot = Bot("helpdesk")
    with pytest.raises(
        RegistrationError, match=r'concurrency of .*: expected "queue", "burst" or "latest", got "?\'all'
    ):
        bot.message("hi", concurrency="all")(lambda ctx: None)  # type: ignore[call-overload,arg-type]
    with pytest.raises(RegistrationError, match="a command has the words of one message"):
        bot.command("hi", concurrency="burst")(lambda ctx: None)
    bot.command("hi", concurrency="latest")(lambda ctx: None)
    assert bot.handlers[0].stop_on_new
