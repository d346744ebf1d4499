"""What a context counts and refuses, over a sink in memory, whose clock is at the beginning of 1970."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Bot, Context, TokenBudgetExceeded
from cometbot.context import check_token_budget
from cometbot.errors import BotError
from cometbot.events import ContactEvent, MessageEvent
from cometbot.models import User
from cometbot.token_meter import find_exceeded

KEY = "cometbot:tokens:day:1970-01-01T00"


@pytest.fixture
def bot() -> Bot:
    return Bot("helpdesk", token_budget="100/day")


def test_without_budget_tokens_are_only_counted(sink: Any, make_message: Any) -> None:
    ctx = Context(Bot("helpdesk"), make_message("hi"), sink)
    ctx.usage(model="m", input=1_000_000)
    check_token_budget(ctx)
    assert ctx.tokens_left is None
    assert [item.change for item in sink.pending_usage] == [None]
    assert sink.loads == []


def test_tokens_that_are_not_stored_yet_count(sink: Any, context: Any) -> None:
    ctx = context("hi")
    ctx.usage(model="m", input=30, output=20, cached=25)
    assert ctx.tokens_left == 50
    ctx.usage(model="m", output=80)
    assert ctx.tokens_left == 0


def test_tokens_of_other_runs_count(sink: Any, context: Any) -> None:
    ctx = context("hi")
    sink.stored["user", ctx.user_state._owner] = {KEY: "70"}
    assert ctx.tokens_left == 30
    check_token_budget(ctx)
    ctx.usage(model="m", input=30)
    with pytest.raises(TokenBudgetExceeded) as raised:
        check_token_budget(ctx)
    assert str(raised.value.renewed_at) == "1970-01-02 00:00:00+00:00"


def test_tokens_of_other_periods_do_not_count(sink: Any, context: Any) -> None:
    ctx = context("hi")
    sink.stored["user", ctx.user_state._owner] = {KEY.replace("day", "month"): "100", KEY[:-6] + "02T00": "100"}
    assert ctx.tokens_left == 100


def test_change_is_an_increment_that_ends_with_the_period(sink: Any, context: Any) -> None:
    ctx = context("hi")
    ctx.usage(model="m", input=30, output=20)
    change = sink.pending_usage[0].change
    assert (change.scope, change.owner) == ("user", ctx.user_state._owner)
    assert (change.increments, change.lifetimes, change.values) == ({KEY: 50}, {KEY: 86400.0}, {})


def test_call_without_tokens_changes_nothing(sink: Any, context: Any) -> None:
    context("hi").usage(model="m", cached=5)
    assert sink.pending_usage[0].change is None


def test_event_that_nobody_caused_has_no_budget(bot: Bot, sink: Any, make_message: Any) -> None:
    conversation = make_message("hi").conversation
    ctx = Context(bot, ContactEvent(key="c", conversation=conversation, sender=User(""), action="request"), sink)
    ctx.usage(model="m", input=1000)
    assert (ctx.tokens_left, sink.pending_usage[0].change) == (None, None)


def test_wrong_usage_is_refused_also_in_a_past_run(sink: Any, context: Any) -> None:
    sink.is_past = True
    with pytest.raises(BotError, match="usage: input"):
        context("hi").usage(model="m", input=-1)


def test_group_of_exceeded_budgets_is_one() -> None:
    class Group(Exception):
        """As ExceptionGroup, which Python 3.10 does not have."""

        def __init__(self, *exceptions: Exception) -> None:
            self.exceptions = exceptions

    first = TokenBudgetExceeded()
    assert find_exceeded(Group(Group(first), TokenBudgetExceeded())) is first
    assert find_exceeded(Group(first, ValueError())) is None
    assert find_exceeded(Group()) is None
    assert find_exceeded(ValueError()) is None


def exceed(ctx: Context) -> None:
    ctx.usage(model="m", input=100)
    check_token_budget(ctx)


def test_handler_without_tokens_ends_with_the_text(harness: Any) -> None:
    harness.bot.fallback(exceed)
    assert harness.send_text("hi") == ["You have reached your limit for now. Please try again in 24 hours."]
    outcome = harness.outcome
    assert (outcome.error, outcome.retry_in, outcome.handler.rpartition(".")[2]) == (None, None, "exceed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, []),
        ("", []),
        ("No more {x} {} until {renewed_at}.", ["No more {x} {} until 1970-01-02 00:00 UTC."]),
        ("Again {renewed}, {renewed}.", ["Again in 24 hours, in 24 hours."]),
    ],
)
def test_text_is_the_bot_s(harness: Any, text: str | None, said: list[str]) -> None:
    harness.bot.token_budget_text = text
    harness.bot.fallback(exceed)
    assert harness.send_text("hi") == said


def test_neither_retries_nor_error_handlers_get_an_exceeded_budget(harness: Any) -> None:
    harness.bot.message(retries=3)(exceed)
    harness.bot.error(Exception)(lambda ctx, error: "It failed.")
    assert len(harness.send_text("hi")) == 1
    assert harness.outcome.retry_in is None


def test_middleware_may_check_the_budget(harness: Any) -> None:
    @harness.bot.middleware
    def moderate(ctx: Context, call_next: Any) -> None:
        exceed(ctx)

    assert len(harness.send_text("hi")) == 1
    assert harness.outcome.error is None


def test_caught_exceeded_budget_is_the_handler_s_own(harness: Any) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        try:
            exceed(ctx)
        except TokenBudgetExceeded as error:
            return f"until {error.renewed_at}"
        return ""

    assert harness.send_text("hi") == ["until 1970-01-02 00:00:00+00:00"]


def test_text_is_no_reply_to_what_is_no_message(harness: Any, make_message: Any) -> None:
    harness.bot.event(exceed)
    said = make_message("hi")
    assert isinstance(said, MessageEvent)
    assert harness.send(ContactEvent(key="c", conversation=said.conversation, sender=said.sender, action="x")) == []
    assert harness.outcome.error is None
