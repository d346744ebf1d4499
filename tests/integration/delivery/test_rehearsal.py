"""Stored messages rehearsed with today's code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.delivery import Delivery
from cometbot.delivery.rehearsal import rehearse
from cometbot.errors import BotError, MessageError
from cometbot.messages import Text
from cometbot.store.tables import mailbox, outbox, state


def test_rehearsing_says_what_would_be_said_in_order(greeted: Any) -> None:
    rehearsal = rehearse(greeted.delivery, "m1")
    assert [spoken.text for spoken in rehearsal.said] == ["One moment.", "Hello!"]
    assert all(spoken.requests for spoken in rehearsal.said)
    assert rehearsal.handler.endswith("greet")
    assert rehearsal.error is None


def test_rehearsing_stores_and_sends_nothing(greeted: Any) -> None:
    before = [greeted.rows(table) for table in (mailbox, outbox, state)]
    said = len(greeted.channel.requests)
    rehearse(greeted.delivery, "m1")
    greeted.work()
    assert [greeted.rows(table) for table in (mailbox, outbox, state)] == before
    assert len(greeted.channel.requests) == said


def test_rehearsing_shows_changes_against_the_state_of_today(greeted: Any) -> None:
    changes = {
        change.name: (change.scope, change.before, change.after) for change in rehearse(greeted.delivery, "m1").changes
    }
    assert changes == {"count": ("conversation", "1", "2"), "greetings": ("user", "1", "2")}


def test_rehearsing_shows_what_would_be_said_elsewhere(shop: Any) -> None:
    @shop.bot.message("alarm")
    def alarm(ctx: Context) -> None:
        ctx.send("Fire!", to=ctx.conversation_with(group="team"))

    shop.take("alarm")
    shop.work()
    [spoken] = rehearse(shop.delivery, "m1").said
    assert (spoken.text, spoken.operation.conversation.target) == ("Fire!", "team")


def test_rehearsing_shows_a_removed_key(shop: Any) -> None:
    @shop.bot.message("forget")
    def forget(ctx: Context) -> None:
        if "name" in ctx.state:
            del ctx.state["name"]
        else:
            ctx.state["name"] = "Maria"

    shop.take("forget")
    shop.work()
    [change] = rehearse(shop.delivery, "m1").changes
    assert (change.name, change.before, change.after) == ("name", '"Maria"', None)


def test_rehearsing_shows_what_failed_with_the_apology(shop: Any) -> None:
    @shop.bot.message("tea")
    def tea(ctx: Context) -> None:
        ctx.state["cups"] = 1
        raise ValueError("no tea")

    shop.take("tea")
    shop.work()
    rehearsal = rehearse(shop.delivery, "m1")
    assert str(rehearsal.error) == "no tea"
    assert [spoken.text for spoken in rehearsal.said] == [shop.bot.error_text]
    assert rehearsal.changes == ()
    assert (rehearsal.message.state, rehearsal.message.error) == ("dead", "ValueError: no tea")


def test_rehearsing_a_handler_with_retries_tells_when_it_would_run_again(shop: Any) -> None:
    @shop.bot.message("tea", retries=2)
    def tea(ctx: Context) -> None:
        raise ValueError("no tea")

    shop.take("tea")
    assert rehearse(shop.delivery, "m1").retry_in == 1.0


def test_rehearsing_uses_the_code_of_today(greeted: Any) -> None:
    other = Bot("helpdesk")

    @other.message()
    def anything(ctx: Context) -> str:
        return f"You wrote {ctx.text}."

    today = Delivery([other], [greeted.channel], greeted.delivery.database)
    assert [spoken.text for spoken in rehearse(today, "m1").said] == ["You wrote hi."]


def test_rehearsing_an_answer_that_cannot_be_said_fails_as_in_production(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @shop.bot.message("long")
    def long(ctx: Context) -> str:
        return "too long"

    shop.take("long")
    render = shop.channel.render

    def refuse(operation: Any) -> Any:
        if operation.message == Text("too long"):
            raise MessageError("it is over the limit")
        return render(operation)

    monkeypatch.setattr(shop.channel, "render", refuse)
    rehearsal = rehearse(shop.delivery, "m1")
    assert isinstance(rehearsal.error, MessageError)
    assert [spoken.text for spoken in rehearsal.said] == [shop.bot.error_text]


def test_rehearsing_what_nobody_wants_says_nothing(shop: Any) -> None:
    shop.take("hi")
    rehearsal = rehearse(shop.delivery, "m1")
    assert (rehearsal.handler, rehearsal.said, rehearsal.error) == ("", (), None)


def test_rehearsing_names_the_middleware_that_stopped_it(greeted: Any) -> None:
    @greeted.bot.middleware
    def wall(ctx: Context, call_next: Callable[[], Any]) -> None:
        ctx.log.debug("stopped")

    assert rehearse(greeted.delivery, "m1").stopped_by.endswith("wall")


def test_rehearsing_a_body_that_does_not_parse_tells_why(greeted: Any) -> None:
    greeted.set_row(body=b"{")
    rehearsal = rehearse(greeted.delivery, "m1")
    assert rehearsal.error is not None
    assert rehearsal.event is None


def test_what_a_rehearsed_handler_sends_by_the_bot_is_caught_and_later_sends_are_not(shop: Any) -> None:
    @shop.bot.message("order")
    def order(ctx: Context) -> None:
        assert shop.bot.send(user="tom", text="An order!") is None

    shop.bot.connect(shop.delivery)
    shop.take("order")
    [spoken] = rehearse(shop.delivery, "m1").said
    assert (spoken.operation.conversation.target, spoken.text) == ("tom", "An order!")
    assert shop.rows(outbox) == []
    shop.bot.send(user="tom", text="For real.")
    assert len(shop.rows(outbox)) == 1


def test_a_rehearsed_handler_that_sends_through_an_unknown_channel_gets_the_error(shop: Any) -> None:
    @shop.bot.message("order")
    def order(ctx: Context) -> None:
        shop.bot.send(user="tom", text="An order!", channel="pigeon")

    shop.take("order")
    assert "pigeon" in str(rehearse(shop.delivery, "m1").error)


def test_a_rehearsed_handler_edits_and_deletes_what_it_would_have_said(shop: Any) -> None:
    @shop.bot.message("count")
    def count(ctx: Context) -> None:
        sent = ctx.reply("1")
        assert sent.id is None
        sent.edit("2")
        sent.delete()
        ctx.react("👍")

    shop.take("count")
    rehearsal = rehearse(shop.delivery, "m1")
    assert rehearsal.error is None
    assert [spoken.operation.kind for spoken in rehearsal.said] == ["send", "edit", "delete", "react"]
    assert rehearsal.said[-1].text == "👍"


def test_rehearsing_for_a_bot_that_is_not_here_names_it(greeted: Any) -> None:
    other = Delivery([Bot("sales")], [greeted.channel], greeted.delivery.database)
    with pytest.raises(BotError, match=r"'helpdesk'.*sales"):
        rehearse(other, "m1")


def test_rehearsing_for_a_channel_that_is_not_here_names_it(greeted: Any) -> None:
    other = Delivery([greeted.bot], [], greeted.delivery.database)
    with pytest.raises(BotError, match=r"fake.*COMETBOT_CHANNELS"):
        rehearse(other, "m1")
