"""Stored messages rehearsed with today's code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.delivery import Delivery
from cometbot.delivery.dry_run import dry_run
from cometbot.errors import BotError, MessageError
from cometbot.messages import Text
from cometbot.store.tables import mailbox, outbox, state
from cometbot.testing import BotClient


def test_dry_run_shows_replies_in_order(greeted: Any) -> None:
    result = dry_run(greeted.delivery, "m1")
    assert [planned.text for planned in result.planned] == ["One moment.", "Hello!"]
    assert all(planned.requests for planned in result.planned)
    assert result.handler.endswith("greet")
    assert result.error is None


def test_dry_run_stores_and_sends_nothing(greeted: Any) -> None:
    before = [greeted.rows(table) for table in (mailbox, outbox, state)]
    said = len(greeted.channel.requests)
    dry_run(greeted.delivery, "m1")
    greeted.run_until_idle()
    assert [greeted.rows(table) for table in (mailbox, outbox, state)] == before
    assert len(greeted.channel.requests) == said


def test_dry_run_shows_changes_to_the_current_state(greeted: Any) -> None:
    changes = {
        change.name: (change.scope, change.before, change.after) for change in dry_run(greeted.delivery, "m1").changes
    }
    assert changes == {"count": ("conversation", "1", "2"), "greetings": ("user", "1", "2")}


def test_dry_run_shows_messages_to_other_conversations(harness: Any) -> None:
    @harness.bot.message("alarm")
    def alarm(ctx: Context) -> None:
        ctx.send("Fire!", to=ctx.conversation_with(group="team"))

    harness.enqueue("alarm")
    harness.run_until_idle()
    [planned] = dry_run(harness.delivery, "m1").planned
    assert (planned.text, planned.operation.conversation.target) == ("Fire!", "team")


def test_dry_run_has_the_turns_of_the_conversation(harness: Any) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return " | ".join(turn.text for turn in ctx.turns(limit=2))

    for text in ("one", "two"):
        harness.enqueue(text)
        harness.run_until_idle()
    result = dry_run(harness.delivery, "m2")
    assert [planned.text for planned in result.planned] == ["two"]
    assert result.changes == ()


def test_dry_run_shows_a_removed_key(harness: Any) -> None:
    @harness.bot.message("forget")
    def forget(ctx: Context) -> None:
        if "name" in ctx.state:
            del ctx.state["name"]
        else:
            ctx.state["name"] = "Maria"

    harness.enqueue("forget")
    harness.run_until_idle()
    [change] = dry_run(harness.delivery, "m1").changes
    assert (change.name, change.before, change.after) == ("name", '"Maria"', None)


def test_dry_run_shows_the_error_and_the_error_reply(harness: Any) -> None:
    @harness.bot.message("tea")
    def tea(ctx: Context) -> None:
        ctx.state["cups"] = 1
        raise ValueError("no tea")

    harness.enqueue("tea")
    harness.run_until_idle()
    result = dry_run(harness.delivery, "m1")
    assert str(result.error) == "no tea"
    assert [planned.text for planned in result.planned] == [harness.bot.error_text]
    assert result.changes == ()
    assert (result.message.state, result.message.error) == ("dead", "ValueError: no tea")


def test_dry_run_shows_the_delay_of_a_retry(harness: Any) -> None:
    @harness.bot.message("tea", retries=2)
    def tea(ctx: Context) -> None:
        raise ValueError("no tea")

    harness.enqueue("tea")
    assert dry_run(harness.delivery, "m1").retry_in == 1.0


def test_dry_run_uses_the_current_code(greeted: Any) -> None:
    other = Bot("helpdesk")

    @other.message()
    def anything(ctx: Context) -> str:
        return f"You wrote {ctx.text}."

    today = Delivery([other], [greeted.channel], greeted.delivery.database)
    assert [planned.text for planned in dry_run(today, "m1").planned] == ["You wrote hi."]


def test_dry_run_of_an_invalid_reply_fails(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @harness.bot.message("long")
    def long(ctx: Context) -> str:
        return "too long"

    harness.enqueue("long")
    render = harness.channel.render

    def refuse(operation: Any) -> Any:
        if operation.message == Text("too long"):
            raise MessageError("it is over the limit")
        return render(operation)

    monkeypatch.setattr(harness.channel, "render", refuse)
    result = dry_run(harness.delivery, "m1")
    assert isinstance(result.error, MessageError)
    assert [planned.text for planned in result.planned] == [harness.bot.error_text]


def test_dry_run_without_a_handler_shows_nothing(harness: Any) -> None:
    harness.enqueue("hi")
    result = dry_run(harness.delivery, "m1")
    assert (result.handler, result.planned, result.error) == ("", (), None)


def test_dry_run_names_the_middleware_that_stopped_it(greeted: Any) -> None:
    @greeted.bot.middleware
    def wall(ctx: Context, call_next: Callable[[], Any]) -> None:
        ctx.log.debug("stopped")

    assert dry_run(greeted.delivery, "m1").stopped_by.endswith("wall")


def test_dry_run_of_an_invalid_body_shows_the_error(greeted: Any) -> None:
    greeted.set_row(body=b"{")
    result = dry_run(greeted.delivery, "m1")
    assert result.error is not None
    assert result.event is None


def test_dry_run_captures_bot_send_until_it_ends(harness: Any) -> None:
    @harness.bot.message("order")
    def order(ctx: Context) -> None:
        assert harness.bot.send(user="tom", text="An order!") is None

    harness.bot.connect(harness.delivery)
    harness.enqueue("order")
    [planned] = dry_run(harness.delivery, "m1").planned
    assert (planned.operation.conversation.target, planned.text) == ("tom", "An order!")
    assert harness.rows(outbox) == []
    harness.bot.send(user="tom", text="For real.")
    assert len(harness.rows(outbox)) == 1


def test_dry_run_shows_the_error_of_an_unknown_channel(harness: Any) -> None:
    @harness.bot.message("order")
    def order(ctx: Context) -> None:
        harness.bot.send(user="tom", text="An order!", channel="pigeon")

    harness.enqueue("order")
    assert "pigeon" in str(dry_run(harness.delivery, "m1").error)


def test_dry_run_shows_edits_and_deletions(harness: Any) -> None:
    @harness.bot.message("count")
    def count(ctx: Context) -> None:
        sent = ctx.reply("1")
        assert sent.id is None
        sent.edit("2")
        sent.delete()
        ctx.react("👍")

    harness.enqueue("count")
    result = dry_run(harness.delivery, "m1")
    assert result.error is None
    assert [planned.operation.kind for planned in result.planned] == ["send", "edit", "delete", "react"]
    assert result.planned[-1].text == "👍"


def test_dry_run_removes_nobody() -> None:
    bot = Bot("helpdesk")

    @bot.fallback
    def moderate(ctx: Context) -> None:
        assert [member.uid for member in ctx.members()] == ["maria"]
        ctx.delete()
        ctx.kick("maria")
        ctx.ban("tom")

    with BotClient(bot, group="ops", raise_errors=False) as client:
        client.fake.set_bot_scope("ops", "participant")
        client.send("casino")
        requests = len(client.channel.requests)  # type: ignore[attr-defined]
        result = dry_run(client._harness.delivery, "m1")

        assert [(item.operation.kind, item.text) for item in result.planned] == [
            ("delete", ""),
            ("kick", "maria"),
            ("ban", "tom"),
        ]
        assert len(client.channel.requests) == requests  # type: ignore[attr-defined]
        assert client.scope == "participant"


def test_dry_run_for_an_unknown_bot_names_it(greeted: Any) -> None:
    other = Delivery([Bot("sales")], [greeted.channel], greeted.delivery.database)
    with pytest.raises(BotError, match=r"'helpdesk'.*sales"):
        dry_run(other, "m1")


def test_dry_run_for_an_unknown_channel_names_it(greeted: Any) -> None:
    other = Delivery([greeted.bot], [], greeted.delivery.database)
    with pytest.raises(BotError, match=r"fake.*COMETBOT_CHANNELS"):
        dry_run(other, "m1")


def test_dry_run_of_a_burst_has_all_its_messages() -> None:
    bot = Bot("helpdesk")

    @bot.fallback(concurrency="burst")
    def answer(ctx: Context) -> str:
        return " ".join(message.text for message in ctx.messages)

    with BotClient(bot) as client:
        client.send("one")
        client.send("two")
        client.advance(2)
        result = dry_run(client._harness.delivery, "m2")
    assert [planned.text for planned in result.planned] == ["one two"]
