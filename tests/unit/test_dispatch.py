from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import pytest

from cometbot import (
    ActionEvent,
    Bot,
    BotError,
    Card,
    Field,
    Form,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    UsageError,
    contains,
    pattern,
)
from cometbot.bot import ERROR_TEXT
from cometbot.dispatch import MAX_CONSECUTIVE_BOT_EVENTS, backoff
from cometbot.errors import LeaseLost
from cometbot.events import Event


def pressed(make_message: Any, name: str, **parts: Any) -> ActionEvent:
    said = make_message("")
    return ActionEvent(key="action:1", conversation=said.conversation, sender=said.sender, name=name, **parts)


def joined(make_message: Any) -> MembershipEvent:
    said = make_message("")
    return MembershipEvent(key="member:1", conversation=said.conversation, sender=said.sender, action="joined")


def test_returned_replies_are_in_outcome_others_in_sink(bot: Bot, harness: Any) -> None:
    @bot.message("hi")
    def greet(ctx: Any) -> list[Any]:
        ctx.reply("one")
        return ["two", Card("three")]

    assert harness.send_text("hi") == ["one", "two", "three"]
    assert [item.message.to_text() for item in harness.outcome.operations] == ["two", "three"]
    assert [item.reply_to for item in harness.outcome.operations] == ["712", "712"]
    assert harness.outcome.handler.endswith("greet")
    assert harness.outcome.error is None


def test_nobody_wants_the_event_the_outcome_is_empty(harness: Any) -> None:
    assert harness.send_text("hi") == []
    assert (harness.outcome.handler, harness.outcome.stopped_by, harness.outcome.error) == ("", "", None)
    assert harness.sink.started == [("", None)]


def test_order_is_action_command_message_event_fallback(bot: Bot, harness: Any, make_message: Any) -> None:
    bot.fallback(lambda ctx: "fallback")
    bot.event(MessageEvent)(lambda ctx: "event")
    bot.message(contains("a"))(lambda ctx: "first message")
    bot.message(contains("aa"))(lambda ctx: "second message")
    bot.command("a")(lambda ctx: "command")
    bot.action("a")(lambda ctx: "action")

    assert harness.send(pressed(make_message, "a")) == ["action"]
    assert harness.send(pressed(make_message, "b")) == ["fallback"]
    assert harness.send_text("/a") == ["command"]
    assert harness.send_text("aa") == ["first message"]
    assert harness.send_text("x") == ["event"]


def test_other_events_go_to_event_handlers_never_to_fallback(bot: Bot, harness: Any, make_message: Any) -> None:
    bot.fallback(lambda ctx: "fallback")
    bot.message()(lambda ctx: "message")
    assert harness.send(joined(make_message)) == []

    bot.event(ReactionEvent)(lambda ctx: "reaction")
    bot.event(Event)(lambda ctx: "any")
    assert harness.send(joined(make_message)) == ["any"]


@pytest.mark.parametrize(
    ("text", "is_called"),
    [
        ("/track 7", True),
        ("/TRACK 7", True),
        ("/t 7", True),
        ("<@uid:helpdesk> track 7", True),
        ("<@uid:helpdesk>, /track 7", True),
        ("track 7", False),
        ("/tracks 7", False),
        ("so /track 7", False),
        ("<@uid:other> track 7", False),
    ],
)
def test_command_needs_its_slash_or_a_leading_mention(bot: Bot, harness: Any, text: str, is_called: bool) -> None:
    @bot.command("Track", "t")
    def track(ctx: Any, number: int) -> str:
        return f"order {number + 1}"

    bot.fallback(lambda ctx: "fallback")
    assert harness.send_text(text) == (["order 8"] if is_called else ["fallback"])


def test_command_without_slash_runs_if_allowed(harness: Any) -> None:
    harness.bot = Bot("helpdesk", slash_optional=True)
    harness.bot.command("a")(lambda ctx: "a")
    harness.bot.command("b", slash_optional=False)(lambda ctx: "b")
    assert harness.send_text("a") == ["a"]
    assert harness.send_text("b") == []

    harness.bot = Bot("helpdesk")
    harness.bot.command("a", slash_optional=True)(lambda ctx: "a")
    assert harness.send_text("a") == ["a"]


def test_wrong_arguments_are_answered_with_usage(bot: Bot, harness: Any) -> None:
    @bot.command("track", retries=3)
    def track(ctx: Any, number: int) -> str:
        raise AssertionError("it must not run")

    assert harness.send_text("/track soon") == ["number must be a whole number, not “soon”.\nUsage: /track number"]
    assert harness.outcome.error is None
    assert harness.outcome.handler.endswith("track")


def test_usage_error_handler_is_registered_it_words_the_answer(bot: Bot, harness: Any) -> None:
    @bot.error(Exception)
    def other(ctx: Any, error: Exception) -> str:
        raise AssertionError("only a handler for UsageError itself is asked")

    @bot.error(UsageError)
    def explain(ctx: Any, error: UsageError) -> str:
        return f"Bitte so: {str(error).partition('Usage: ')[2]}"

    bot.command("track")(track_number)
    assert harness.send_text("/track") == ["Bitte so: /track number"]


def track_number(ctx: Any, number: int) -> str:
    return f"order {number}"


def test_help_lists_commands_and_one_of_them_when_named(harness: Any) -> None:
    harness.bot = Bot("helpdesk", description="Answers.")
    harness.bot.command("track", description="Where is it?")(track_number)
    harness.bot.command("debug", hidden=True)(lambda ctx: "x")
    assert harness.send_text("/help") == ["Answers.\n\n/track number: Where is it?"]
    assert harness.send_text("/help /Track") == ["/track number: Where is it?"]
    assert harness.send_text("/help debug") == ["Answers.\n\n/track number: Where is it?"]


def test_help_of_author_wins_and_needs_commands(bot: Bot, harness: Any) -> None:
    assert harness.send_text("/help") == []
    bot.command("help")(lambda ctx: "mine")
    assert harness.send_text("/help") == ["mine"]


def test_groups_of_a_pattern_fill_parameters_converted(bot: Bot, harness: Any) -> None:
    @bot.message(re.compile(r"order (?P<number>\d+)( in (?P<days>\d+) days)?"))
    def order(ctx: Any, number: int, days: int = 3) -> str:
        return f"{number + 1} {days} {ctx.match[0]}"

    assert harness.send_text("my order 7") == ["8 3 order 7"]
    assert harness.send_text("my order 7 in 2 days") == ["8 2 order 7 in 2 days"]


def test_unconvertible_group_falls_through_to_next_handler(bot: Bot, harness: Any) -> None:
    @bot.message(pattern(r"on (?P<day>\S+)"))
    def at(ctx: Any, day: int) -> str:
        return f"day {day}"

    bot.fallback(lambda ctx: "fallback")
    assert harness.send_text("on 5") == ["day 5"]
    assert harness.send_text("on monday") == ["fallback"]


def test_action_value_fills_parameters(bot: Bot, harness: Any, make_message: Any) -> None:
    bot.action("city")(lambda ctx, name: name)

    @bot.action("buy")
    def buy(ctx: Any, item: int, *, note: str = "-") -> str:
        return f"{item} {note}"

    assert harness.send(pressed(make_message, "city", value='New "York"')) == ['New "York"']
    assert harness.send(pressed(make_message, "buy", value="7 for Ann")) == ["7 for Ann"]
    assert harness.send(pressed(make_message, "buy", value="7")) == ["7 -"]


def test_form_fields_and_groups_fill_parameters_by_name(bot: Bot, harness: Any, make_message: Any) -> None:
    @bot.action(re.compile(r"order-(?P<kind>\w+)"))
    def order(ctx: Any, amount: int, kind: str, *, name: str, note: str = "-") -> str:
        return f"{kind} {amount} {name} {note}"

    values = {"amount": "3", "name": "Ann", "note": "", "other": "x"}
    assert harness.send(pressed(make_message, "order-tea", values=values)) == ["tea 3 Ann -"]


def test_action_value_does_not_fit_it_is_the_bots_error(bot: Bot, harness: Any, make_message: Any) -> None:
    @bot.action("buy")
    def buy(ctx: Any, item: int) -> None: ...

    assert harness.send(pressed(make_message, "buy", value="x")) == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, BotError)
    assert "value 'x' of the action 'buy' does not fit" in str(harness.outcome.error)


def test_unconvertible_form_field_is_answered_with_usage(bot: Bot, harness: Any, make_message: Any) -> None:
    @bot.action("buy")
    def buy(ctx: Any, *, item: int) -> None: ...

    assert harness.send(pressed(make_message, "buy", values={"item": "x"})) == ["item must be a whole number, not “x”."]
    assert harness.outcome.error is None


def test_error_handler_nearest_class_then_first_registered_wins(bot: Bot, harness: Any) -> None:
    bot.error(Exception)(lambda ctx, error: "any")
    bot.error(KeyError, LookupError)(lambda ctx, error: f"lookup {error}")
    bot.error(LookupError)(lambda ctx, error: "second")

    @bot.message()
    def fail(ctx: Any) -> None:
        raise {"i": IndexError("i"), "v": ValueError()}[ctx.text]

    assert harness.send_text("i") == ["lookup i"]
    assert harness.send_text("v") == ["any"]
    assert isinstance(harness.outcome.error, ValueError)


@pytest.mark.parametrize("reply", ["returned", "made", "none"])
def test_error_text_is_sent_unless_error_handler_replied(bot: Bot, harness: Any, reply: str) -> None:
    @bot.error
    def explain(ctx: Any, error: Exception) -> str | None:
        if reply == "made":
            ctx.reply("sorry")
        return "sorry" if reply == "returned" else None

    bot.message()(lambda ctx: 1 / 0)
    assert harness.send_text("x") == ([ERROR_TEXT] if reply == "none" else ["sorry"])


def test_error_text_none_sends_nothing(harness: Any, make_message: Any) -> None:
    harness.bot = Bot("helpdesk", error_text=None)
    harness.bot.message()(lambda ctx: 1 / 0)
    assert harness.send_text("x") == []
    assert isinstance(harness.outcome.error, ZeroDivisionError)


def test_error_in_unwritten_event_sends_nothing(bot: Bot, harness: Any, make_message: Any) -> None:
    bot.event(MembershipEvent)(lambda ctx: 1 / 0)
    assert harness.send(joined(make_message)) == []
    assert isinstance(harness.outcome.error, ZeroDivisionError)


def test_failing_error_handler_chains_errors(bot: Bot, harness: Any, caplog: pytest.LogCaptureFixture) -> None:
    @bot.error(ZeroDivisionError)
    def explain(ctx: Any, error: Exception) -> None:
        ctx.state["half"] = 1
        raise KeyError("second")

    bot.message()(lambda ctx: 1 / 0)
    assert harness.send_text("x") == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, KeyError)
    assert isinstance(harness.outcome.error.__context__, ZeroDivisionError)
    assert harness.outcome.changes == ()
    assert "failed to handle an error" in caplog.text


def test_error_handler_raises_the_error_again_it_stays_the_one(
    bot: Bot, harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.error(ZeroDivisionError)
    def explain(ctx: Any, error: Exception) -> None:
        raise error

    bot.message()(lambda ctx: 1 / 0)
    assert harness.send_text("x") == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, ZeroDivisionError)
    assert caplog.text == ""


def test_raising_handler_loses_state_but_not_replies(bot: Bot, harness: Any) -> None:
    @bot.message()
    def fail(ctx: Any) -> None:
        ctx.state["a"] = 1
        ctx.user_state["b"] = 2
        ctx.reply("begun")
        raise ValueError

    @bot.error
    def explain(ctx: Any, error: Exception) -> str:
        assert "a" not in ctx.state
        assert "b" not in ctx.user_state
        ctx.state["failed"] = True
        return "sorry"

    assert harness.send_text("x") == ["begun", "sorry"]
    assert [(change.scope, change.values) for change in harness.outcome.changes] == [
        ("conversation", {"failed": "true"})
    ]


def test_raising_handler_with_retries_is_silent(bot: Bot, harness: Any) -> None:
    bot.error(Exception)(lambda ctx, error: "sorry")

    @bot.message(retries=2)
    def fail(ctx: Any) -> None:
        ctx.state["a"] = 1
        raise ValueError

    for failures, seconds in ((0, 1), (1, 2)):
        assert harness.send_text("x", options={"failures": failures}) == []
        assert harness.outcome.retry_in == seconds
        assert isinstance(harness.outcome.error, ValueError)
        assert harness.outcome.changes == ()
    assert harness.send_text("x", options={"failures": 2}) == ["sorry"]
    assert harness.outcome.retry_in is None


def test_backoff_doubles_up_to_five_minutes() -> None:
    assert [backoff(failures) for failures in (0, 1, 2, 8, 9, 10_000)] == [1, 2, 4, 256, 300, 300]


class Panic(BaseException):
    """As of a library in another language."""


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), Panic("at the disco"), GeneratorExit()])
@pytest.mark.parametrize("is_async", [False, True])
def test_base_exception_in_handler_is_a_failure(bot: Bot, harness: Any, error: BaseException, is_async: bool) -> None:
    async def later(ctx: Any) -> None:
        raise error

    def now(ctx: Any) -> None:
        raise error

    bot.message()(later if is_async else now)
    assert harness.send_text("x") == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, type(error))


@pytest.mark.parametrize("error", [KeyboardInterrupt, LeaseLost])
def test_by_default_keyboard_interrupt_and_lost_lease_are_raised(
    bot: Bot, harness: Any, error: type[BaseException]
) -> None:
    bot.error(Exception)(lambda ctx, error: "sorry")

    @bot.message()
    def fail(ctx: Any) -> None:
        raise error

    with pytest.raises(error):
        harness.send_text("x")


@pytest.mark.parametrize("place", ["handler", "async handler", "middleware", "matcher", "error handler"])
@pytest.mark.parametrize("is_let_out", [False, True])
def test_keyboard_interrupt_is_raised_only_if_in_reraise(bot: Bot, harness: Any, place: str, is_let_out: bool) -> None:
    def fail(ctx: Any) -> Any:
        raise KeyboardInterrupt

    async def fail_later(ctx: Any) -> Any:
        fail(ctx)

    if place == "middleware":
        bot.middleware(lambda ctx, call_next: fail(ctx))
    if place == "error handler":
        bot.error(ZeroDivisionError)(lambda ctx, error: fail(ctx))
    matcher = [fail] if place == "matcher" else []
    bot.message(*matcher)({"handler": fail, "async handler": fail_later}.get(place, lambda ctx: 1 / 0))
    if is_let_out:
        with pytest.raises(KeyboardInterrupt):
            harness.send_text("x", options={"reraise": (KeyboardInterrupt,)})
    else:
        assert harness.send_text("x", options={"reraise": ()}) == [ERROR_TEXT]
        assert isinstance(harness.outcome.error, KeyboardInterrupt)


def test_error_handler_may_handle_base_exception(bot: Bot, harness: Any) -> None:
    @bot.message()
    def fail(ctx: Any) -> None:
        raise Panic("now")

    bot.error(Panic)(lambda ctx, error: f"panicked {error}")
    assert harness.send_text("x") == ["panicked now"]


def test_base_exception_in_error_handler_sends_error_text(
    bot: Bot, harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.error(ZeroDivisionError)
    def explain(ctx: Any, error: Exception) -> None:
        raise Panic

    bot.message()(lambda ctx: 1 / 0)
    assert harness.send_text("x") == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, Panic)
    assert "failed to handle an error" in caplog.text


def test_base_exception_in_middleware_is_a_failure(bot: Bot, harness: Any) -> None:
    @bot.middleware
    def around(ctx: Any, call_next: Any) -> None:
        raise Panic

    bot.message(retries=1)(lambda ctx: "never")
    assert harness.send_text("x") == []
    assert (harness.outcome.retry_in, type(harness.outcome.error)) == (1, Panic)


def test_base_exception_in_stream_is_a_failure(bot: Bot, harness: Any) -> None:
    def words() -> Any:
        yield "so far"
        raise Panic

    bot.message()(lambda ctx: ctx.stream(words()))
    assert harness.send_text("x")[-1] == ERROR_TEXT
    assert isinstance(harness.outcome.error, Panic)


def test_non_json_state_left_by_matcher_is_a_failure(bot: Bot, harness: Any) -> None:
    @bot.message(lambda ctx: ctx.state.setdefault("cart", []).append(object()))
    def never(ctx: Any) -> None: ...

    assert harness.send_text("x") == [ERROR_TEXT]
    assert "state 'cart' must be JSON" in str(harness.outcome.error)


def test_lease_is_lost_in_an_error_handler_it_is_raised(bot: Bot, harness: Any) -> None:
    harness.sink.error = LeaseLost()
    bot.message()(lambda ctx: 1 / 0)
    bot.error(lambda ctx, error: ctx.reply("sorry"))
    with pytest.raises(LeaseLost):
        harness.send_text("x")


def test_handler_returns_something_unusable_it_is_its_failure(bot: Bot, harness: Any) -> None:
    bot.message()(lambda ctx: {"text": "hi"})
    assert harness.send_text("x") == [ERROR_TEXT]
    assert "not dict" in str(harness.outcome.error)


def test_non_json_state_left_by_handler_is_a_failure(bot: Bot, harness: Any) -> None:
    @bot.message("x")
    def remember(ctx: Any) -> str:
        ctx.state["cart"] = []
        ctx.state["cart"].append(object())
        return "kept"

    assert harness.send_text("x") == [ERROR_TEXT]
    assert "state 'cart' must be JSON" in str(harness.outcome.error)


def test_matcher_raises_it_is_a_failure_of_its_handler(bot: Bot, harness: Any) -> None:
    @bot.message(lambda ctx: 1 / 0, retries=1)
    def never(ctx: Any) -> None: ...

    harness.send_text("x")
    assert harness.outcome.retry_in == 1
    assert harness.outcome.handler.endswith("never")
    assert harness.send_text("x", options={"failures": 1}) == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, ZeroDivisionError)


def test_begin_gets_handler_and_timeout_before_it_runs(harness: Any) -> None:
    harness.bot = Bot("helpdesk", handler_timeout=9)
    harness.bot.middleware(lambda ctx, call_next: call_next())
    harness.bot.message("a", timeout=2)(lambda ctx: f"begun {len(harness.sink.started)}")
    harness.bot.message("b")(lambda ctx: None)
    assert harness.send_text("a") == ["begun 2"]
    harness.send_text("b")
    harness.send_text("c")
    assert [seconds for _, seconds in harness.sink.started] == [9, 2, 9, 9, 9, 9]
    assert [bool(name) for name, _ in harness.sink.started] == [False, True, False, True, False, False]


def test_matchers_run_with_timeout_of_bot(harness: Any) -> None:
    started: list[Any] = []
    harness.bot = Bot("helpdesk", handler_timeout=9)
    harness.bot.message(lambda ctx: started.extend(harness.sink.started), timeout=2)(lambda ctx: None)
    harness.bot.middleware(lambda ctx, call_next: call_next())
    harness.send_text("a")
    assert started == [("", 9)]


def test_lease_lost_during_matching_runs_no_handler(bot: Bot, harness: Any) -> None:
    ran: list[str] = []
    start_handler = harness.sink.start_handler

    def give_up(handler: str, timeout: float | None, **options: bool) -> None:
        start_handler(handler, timeout, **options)
        if handler:
            raise LeaseLost

    harness.sink.start_handler = give_up
    bot.message()(lambda ctx: ran.append(ctx.text))
    with pytest.raises(LeaseLost):
        harness.send_text("x")
    assert ran == []


def test_own_message_is_not_handled(harness: Any, make_message: Any) -> None:
    harness.bot = Bot("helpdesk", cometchat_uid="Demo_Bot")
    harness.bot.message()(lambda ctx: "hello")
    for uid in ("demo_bot", "helpdesk"):
        own = make_message("hi", sender=type(make_message("").sender)(uid))
        assert harness.send(own) == []
        assert harness.outcome.stopped_by == "own"


def test_bots_are_stopped_after_ten_consecutive_events(harness: Any) -> None:
    harness.bot = Bot("helpdesk", handle_bots=True)

    @harness.bot.message()
    def answer(ctx: Any) -> str:
        if ctx.text == "fail":
            raise ValueError
        return "pong"

    for number in range(MAX_CONSECUTIVE_BOT_EVENTS):
        assert harness.send_text("fail" if number % 2 else "ping", options={"sender_is_bot": True})
    assert harness.send_text("ping", options={"sender_is_bot": True}) == []
    assert harness.outcome.stopped_by == "brake"
    assert harness.send_text("human") == ["pong"]
    assert harness.send_text("ping", options={"sender_is_bot": True}) == ["pong"]


def test_dispatch_of_plain_text_makes_few_calls(bot: Bot, harness: Any, make_message: Any) -> None:
    bot.message("hi")(lambda ctx: "hello")
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    event = make_message("hi")
    harness.send(event)
    sys.setprofile(count)
    try:
        harness.send(event)
    finally:
        sys.setprofile(None)
    assert calls < 120  # calls of Python functions: counted, because a clock would depend on the machine


def test_form_with_invalid_option_stays_open(bot: Bot, harness: Any) -> None:
    filled: list[str] = []

    @bot.message("order")
    def order(ctx: Any) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["Small", "Large"])], action="order")

    @bot.action("order")
    def take(ctx: Any, size: str) -> str:
        filled.append(size)
        return f"{size} is on its way"

    harness.send_text("order")
    assert harness.send_text("Size: Huge") == ["Size: “Huge” is not on offer. Choose one of: Small, Large."]
    assert filled == []
    assert harness.outcome.error is None
    assert harness.send_text("Size: large") == ["Large is on its way"]


def test_form_with_invalid_option_calls_usage_error_handler(bot: Bot, harness: Any) -> None:
    @bot.message("order")
    def order(ctx: Any) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["Small", "Large"])], action="order")

    @bot.action("order")
    def take(ctx: Any, size: str) -> str:
        return size

    @bot.error(UsageError)
    def explain(ctx: Any, error: UsageError) -> str:
        return f"Sorry: {error}"

    harness.send_text("order")
    assert harness.send_text("Size: Huge") == ["Sorry: Size: “Huge” is not on offer. Choose one of: Small, Large."]
    assert harness.send_text("Size: Small") == ["Small"]


def test_form_without_a_handler_leaves_its_answer_a_message(bot: Bot, harness: Any) -> None:
    @bot.message("order")
    def order(ctx: Any) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["Small", "Large"])], action="order")

    @bot.fallback
    def other(ctx: Any) -> str:
        return "What?"

    harness.send_text("order")
    assert harness.send_text("Size: Huge") == ["What?"]
