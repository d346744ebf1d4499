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
    LeaseLost,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    UsageError,
    contains,
    pattern,
)
from cometbot.bot import ERROR_TEXT
from cometbot.dispatch import BOTS_IN_A_ROW, backoff
from cometbot.events import Event


def pressed(say_of: Any, name: str, **parts: Any) -> ActionEvent:
    said = say_of("")
    return ActionEvent(key="action:1", conversation=said.conversation, sender=said.sender, name=name, **parts)


def joined(say_of: Any) -> MembershipEvent:
    said = say_of("")
    return MembershipEvent(key="member:1", conversation=said.conversation, sender=said.sender, action="joined")


def test_returned_replies_are_in_the_outcome_and_made_ones_at_the_outlet(bot: Bot, talk: Any) -> None:
    @bot.message("hi")
    def greet(ctx: Any) -> list[Any]:
        ctx.reply("one")
        return ["two", Card("three")]

    assert talk.say("hi") == ["one", "two", "three"]
    assert [item.message.to_text() for item in talk.outcome.operations] == ["two", "three"]
    assert [item.answers for item in talk.outcome.operations] == ["712", "712"]
    assert talk.outcome.handler.endswith("greet")
    assert talk.outcome.error is None


def test_nobody_wants_the_event_the_outcome_is_empty(talk: Any) -> None:
    assert talk.say("hi") == []
    assert (talk.outcome.handler, talk.outcome.stopped_by, talk.outcome.error) == ("", "", None)
    assert talk.outlet.begun == [("", None)]


def test_order_is_action_command_message_event_fallback(bot: Bot, talk: Any, say_of: Any) -> None:
    bot.fallback(lambda ctx: "fallback")
    bot.event(MessageEvent)(lambda ctx: "event")
    bot.message(contains("a"))(lambda ctx: "first message")
    bot.message(contains("aa"))(lambda ctx: "second message")
    bot.command("a")(lambda ctx: "command")
    bot.action("a")(lambda ctx: "action")

    assert talk.send(pressed(say_of, "a")) == ["action"]
    assert talk.send(pressed(say_of, "b")) == ["fallback"]
    assert talk.say("/a") == ["command"]
    assert talk.say("aa") == ["first message"]
    assert talk.say("x") == ["event"]


def test_event_of_another_class_goes_to_handlers_of_it_or_its_base_never_to_the_fallback(
    bot: Bot, talk: Any, say_of: Any
) -> None:
    bot.fallback(lambda ctx: "fallback")
    bot.message()(lambda ctx: "message")
    assert talk.send(joined(say_of)) == []

    bot.event(ReactionEvent)(lambda ctx: "reaction")
    bot.event(Event)(lambda ctx: "any")
    assert talk.send(joined(say_of)) == ["any"]


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
def test_command_needs_its_slash_or_a_leading_mention(bot: Bot, talk: Any, text: str, is_called: bool) -> None:
    @bot.command("Track", "t")
    def track(ctx: Any, number: int) -> str:
        return f"order {number + 1}"

    bot.fallback(lambda ctx: "fallback")
    assert talk.say(text) == (["order 8"] if is_called else ["fallback"])


def test_command_without_its_slash_runs_if_the_bot_or_the_command_allows_it(talk: Any) -> None:
    talk.bot = Bot("helpdesk", slash_optional=True)
    talk.bot.command("a")(lambda ctx: "a")
    talk.bot.command("b", slash_optional=False)(lambda ctx: "b")
    assert talk.say("a") == ["a"]
    assert talk.say("b") == []

    talk.bot = Bot("helpdesk")
    talk.bot.command("a", slash_optional=True)(lambda ctx: "a")
    assert talk.say("a") == ["a"]


def test_arguments_do_not_fit_the_usage_is_the_answer_and_the_event_handled(bot: Bot, talk: Any) -> None:
    @bot.command("track", retries=3)
    def track(ctx: Any, number: int) -> str:
        raise AssertionError("it must not run")

    assert talk.say("/track soon") == ["number must be a whole number, not “soon”.\nUsage: /track number"]
    assert talk.outcome.error is None
    assert talk.outcome.handler.endswith("track")


def test_usage_error_handler_is_registered_it_words_the_answer(bot: Bot, talk: Any) -> None:
    @bot.error(Exception)
    def other(ctx: Any, error: Exception) -> str:
        raise AssertionError("only a handler for UsageError itself is asked")

    @bot.error(UsageError)
    def explain(ctx: Any, error: UsageError) -> str:
        return f"Bitte so: {str(error).partition('Usage: ')[2]}"

    bot.command("track")(track_number)
    assert talk.say("/track") == ["Bitte so: /track number"]


def track_number(ctx: Any, number: int) -> str:
    return f"order {number}"


def test_help_lists_commands_and_one_of_them_when_named(talk: Any) -> None:
    talk.bot = Bot("helpdesk", description="Answers.")
    talk.bot.command("track", description="Where is it?")(track_number)
    talk.bot.command("debug", hidden=True)(lambda ctx: "x")
    assert talk.say("/help") == ["Answers.\n\n/track number: Where is it?"]
    assert talk.say("/help /Track") == ["/track number: Where is it?"]
    assert talk.say("/help debug") == ["Answers.\n\n/track number: Where is it?"]


def test_help_of_the_author_wins_and_without_commands_there_is_none(bot: Bot, talk: Any) -> None:
    assert talk.say("/help") == []
    bot.command("help")(lambda ctx: "mine")
    assert talk.say("/help") == ["mine"]


def test_groups_of_a_pattern_fill_parameters_converted(bot: Bot, talk: Any) -> None:
    @bot.message(re.compile(r"order (?P<number>\d+)( in (?P<days>\d+) days)?"))
    def order(ctx: Any, number: int, days: int = 3) -> str:
        return f"{number + 1} {days} {ctx.match[0]}"

    assert talk.say("my order 7") == ["8 3 order 7"]
    assert talk.say("my order 7 in 2 days") == ["8 2 order 7 in 2 days"]


def test_group_does_not_convert_the_next_handler_gets_the_message(bot: Bot, talk: Any) -> None:
    @bot.message(pattern(r"on (?P<day>\S+)"))
    def at(ctx: Any, day: int) -> str:
        return f"day {day}"

    bot.fallback(lambda ctx: "fallback")
    assert talk.say("on 5") == ["day 5"]
    assert talk.say("on monday") == ["fallback"]


def test_action_value_fills_one_parameter_whole_and_several_by_words(bot: Bot, talk: Any, say_of: Any) -> None:
    bot.action("city")(lambda ctx, name: name)

    @bot.action("buy")
    def buy(ctx: Any, item: int, *, note: str = "-") -> str:
        return f"{item} {note}"

    assert talk.send(pressed(say_of, "city", value='New "York"')) == ['New "York"']
    assert talk.send(pressed(say_of, "buy", value="7 for Ann")) == ["7 for Ann"]
    assert talk.send(pressed(say_of, "buy", value="7")) == ["7 -"]


def test_action_form_fields_and_pattern_groups_fill_parameters_by_name(bot: Bot, talk: Any, say_of: Any) -> None:
    @bot.action(re.compile(r"order-(?P<kind>\w+)"))
    def order(ctx: Any, amount: int, kind: str, *, name: str, note: str = "-") -> str:
        return f"{kind} {amount} {name} {note}"

    values = {"amount": "3", "name": "Ann", "note": "", "other": "x"}
    assert talk.send(pressed(say_of, "order-tea", values=values)) == ["tea 3 Ann -"]


def test_action_value_does_not_fit_it_is_the_bots_error(bot: Bot, talk: Any, say_of: Any) -> None:
    @bot.action("buy")
    def buy(ctx: Any, item: int) -> None: ...

    assert talk.send(pressed(say_of, "buy", value="x")) == [ERROR_TEXT]
    assert isinstance(talk.outcome.error, BotError)
    assert "value 'x' of the action 'buy' does not fit" in str(talk.outcome.error)


def test_action_form_field_does_not_convert_its_writer_is_told(bot: Bot, talk: Any, say_of: Any) -> None:
    @bot.action("buy")
    def buy(ctx: Any, *, item: int) -> None: ...

    assert talk.send(pressed(say_of, "buy", values={"item": "x"})) == ["item must be a whole number, not “x”."]
    assert talk.outcome.error is None


def test_error_handler_nearest_class_then_first_registered_wins(bot: Bot, talk: Any) -> None:
    bot.error(Exception)(lambda ctx, error: "any")
    bot.error(KeyError, LookupError)(lambda ctx, error: f"lookup {error}")
    bot.error(LookupError)(lambda ctx, error: "second")

    @bot.message()
    def fail(ctx: Any) -> None:
        raise {"i": IndexError("i"), "v": ValueError()}[ctx.text]

    assert talk.say("i") == ["lookup i"]
    assert talk.say("v") == ["any"]
    assert isinstance(talk.outcome.error, ValueError)


@pytest.mark.parametrize("reply", ["returned", "made", "none"])
def test_error_text_is_said_unless_an_error_handler_replied(bot: Bot, talk: Any, reply: str) -> None:
    @bot.error
    def explain(ctx: Any, error: Exception) -> str | None:
        if reply == "made":
            ctx.reply("sorry")
        return "sorry" if reply == "returned" else None

    bot.message()(lambda ctx: 1 / 0)
    assert talk.say("x") == ([ERROR_TEXT] if reply == "none" else ["sorry"])


def test_error_text_is_none_nothing_is_said(talk: Any, say_of: Any) -> None:
    talk.bot = Bot("helpdesk", error_text=None)
    talk.bot.message()(lambda ctx: 1 / 0)
    assert talk.say("x") == []
    assert isinstance(talk.outcome.error, ZeroDivisionError)


def test_error_in_an_event_that_nobody_wrote_says_nothing(bot: Bot, talk: Any, say_of: Any) -> None:
    bot.event(MembershipEvent)(lambda ctx: 1 / 0)
    assert talk.send(joined(say_of)) == []
    assert isinstance(talk.outcome.error, ZeroDivisionError)


def test_error_handler_fails_both_errors_are_kept_and_the_error_text_said(
    bot: Bot, talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.error(ZeroDivisionError)
    def explain(ctx: Any, error: Exception) -> None:
        ctx.state["half"] = 1
        raise KeyError("second")

    bot.message()(lambda ctx: 1 / 0)
    assert talk.say("x") == [ERROR_TEXT]
    assert isinstance(talk.outcome.error, KeyError)
    assert isinstance(talk.outcome.error.__context__, ZeroDivisionError)
    assert talk.outcome.changes == ()
    assert "failed to handle an error" in caplog.text


def test_error_handler_raises_the_error_again_it_stays_the_one(
    bot: Bot, talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.error(ZeroDivisionError)
    def explain(ctx: Any, error: Exception) -> None:
        raise error

    bot.message()(lambda ctx: 1 / 0)
    assert talk.say("x") == [ERROR_TEXT]
    assert isinstance(talk.outcome.error, ZeroDivisionError)
    assert caplog.text == ""


def test_handler_raises_its_state_changes_are_dropped_and_replies_stay(bot: Bot, talk: Any) -> None:
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

    assert talk.say("x") == ["begun", "sorry"]
    assert [(change.scope, change.values) for change in talk.outcome.changes] == [("conversation", {"failed": "true"})]


def test_handler_with_retries_raises_it_is_to_be_tried_again_without_a_word(bot: Bot, talk: Any) -> None:
    bot.error(Exception)(lambda ctx, error: "sorry")

    @bot.message(retries=2)
    def fail(ctx: Any) -> None:
        ctx.state["a"] = 1
        raise ValueError

    for failures, seconds in ((0, 1), (1, 2)):
        assert talk.say("x", options={"failures": failures}) == []
        assert talk.outcome.retry_in == seconds
        assert isinstance(talk.outcome.error, ValueError)
        assert talk.outcome.changes == ()
    assert talk.say("x", options={"failures": 2}) == ["sorry"]
    assert talk.outcome.retry_in is None


def test_backoff_doubles_up_to_five_minutes() -> None:
    assert [backoff(failures) for failures in (0, 1, 2, 8, 9, 10_000)] == [1, 2, 4, 256, 300, 300]


class Panic(BaseException):
    """As of a library in another language."""


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), Panic("at the disco"), GeneratorExit()])
@pytest.mark.parametrize("is_async", [False, True])
def test_handler_leaves_by_what_is_no_exception_it_is_a_failure_like_others(
    bot: Bot, talk: Any, error: BaseException, is_async: bool
) -> None:
    async def later(ctx: Any) -> None:
        raise error

    def now(ctx: Any) -> None:
        raise error

    bot.message()(later if is_async else now)
    assert talk.say("x") == [ERROR_TEXT]
    assert isinstance(talk.outcome.error, type(error))


@pytest.mark.parametrize("error", [KeyboardInterrupt, LeaseLost])
def test_by_default_keyboard_interrupt_and_lost_lease_are_raised(
    bot: Bot, talk: Any, error: type[BaseException]
) -> None:
    bot.error(Exception)(lambda ctx, error: "sorry")

    @bot.message()
    def fail(ctx: Any) -> None:
        raise error

    with pytest.raises(error):
        talk.say("x")


@pytest.mark.parametrize("place", ["handler", "async handler", "middleware", "matcher", "error handler"])
@pytest.mark.parametrize("is_let_out", [False, True])
def test_keyboard_interrupt_comes_out_only_where_it_is_let_out(
    bot: Bot, talk: Any, place: str, is_let_out: bool
) -> None:
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
            talk.say("x", options={"lets_out": (KeyboardInterrupt,)})
    else:
        assert talk.say("x", options={"lets_out": ()}) == [ERROR_TEXT]
        assert isinstance(talk.outcome.error, KeyboardInterrupt)


def test_error_handler_takes_what_is_no_exception(bot: Bot, talk: Any) -> None:
    @bot.message()
    def fail(ctx: Any) -> None:
        raise Panic("now")

    bot.error(Panic)(lambda ctx, error: f"panicked {error}")
    assert talk.say("x") == ["panicked now"]


def test_error_handler_raises_what_is_no_exception_the_bot_apologises(
    bot: Bot, talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.error(ZeroDivisionError)
    def explain(ctx: Any, error: Exception) -> None:
        raise Panic

    bot.message()(lambda ctx: 1 / 0)
    assert talk.say("x") == [ERROR_TEXT]
    assert isinstance(talk.outcome.error, Panic)
    assert "failed to handle an error" in caplog.text


def test_middleware_raises_what_is_no_exception_it_is_a_failure_of_the_handler(bot: Bot, talk: Any) -> None:
    @bot.middleware
    def around(ctx: Any, call_next: Any) -> None:
        raise Panic

    bot.message(retries=1)(lambda ctx: "never")
    assert talk.say("x") == []
    assert (talk.outcome.retry_in, type(talk.outcome.error)) == (1, Panic)


def test_what_is_streamed_raises_what_is_no_exception_it_is_a_failure(bot: Bot, talk: Any) -> None:
    def words() -> Any:
        yield "so far"
        raise Panic

    bot.message()(lambda ctx: ctx.stream(words()))
    assert talk.say("x")[-1] == ERROR_TEXT
    assert isinstance(talk.outcome.error, Panic)


def test_matcher_leaves_a_state_that_is_no_json_it_is_a_failure_even_if_nobody_wants_the_event(
    bot: Bot, talk: Any
) -> None:
    @bot.message(lambda ctx: ctx.state.setdefault("cart", []).append(object()))
    def never(ctx: Any) -> None: ...

    assert talk.say("x") == [ERROR_TEXT]
    assert "state 'cart' must be JSON" in str(talk.outcome.error)


def test_lease_is_lost_in_an_error_handler_it_is_raised(bot: Bot, talk: Any) -> None:
    talk.outlet.error = LeaseLost()
    bot.message()(lambda ctx: 1 / 0)
    bot.error(lambda ctx, error: ctx.reply("sorry"))
    with pytest.raises(LeaseLost):
        talk.say("x")


def test_handler_returns_something_unusable_it_is_its_failure(bot: Bot, talk: Any) -> None:
    bot.message()(lambda ctx: {"text": "hi"})
    assert talk.say("x") == [ERROR_TEXT]
    assert "not dict" in str(talk.outcome.error)


def test_handler_leaves_a_state_that_is_no_json_it_is_its_failure(bot: Bot, talk: Any) -> None:
    @bot.message("x")
    def remember(ctx: Any) -> str:
        ctx.state["cart"] = []
        ctx.state["cart"].append(object())
        return "kept"

    assert talk.say("x") == [ERROR_TEXT]
    assert "state 'cart' must be JSON" in str(talk.outcome.error)


def test_matcher_raises_it_is_a_failure_of_its_handler(bot: Bot, talk: Any) -> None:
    @bot.message(lambda ctx: 1 / 0, retries=1)
    def never(ctx: Any) -> None: ...

    talk.say("x")
    assert talk.outcome.retry_in == 1
    assert talk.outcome.handler.endswith("never")
    assert talk.say("x", options={"failures": 1}) == [ERROR_TEXT]
    assert isinstance(talk.outcome.error, ZeroDivisionError)


def test_begin_names_the_handler_and_its_time_before_anything_runs(talk: Any) -> None:
    talk.bot = Bot("helpdesk", handler_timeout=9)
    talk.bot.middleware(lambda ctx, call_next: call_next())
    talk.bot.message("a", timeout=2)(lambda ctx: f"begun {len(talk.outlet.begun)}")
    talk.bot.message("b")(lambda ctx: None)
    assert talk.say("a") == ["begun 2"]
    talk.say("b")
    talk.say("c")
    assert [seconds for _, seconds in talk.outlet.begun] == [9, 2, 9, 9, 9, 9]
    assert [bool(name) for name, _ in talk.outlet.begun] == [False, True, False, True, False, False]


def test_the_search_for_a_handler_has_the_bots_time_before_any_matcher_runs(talk: Any) -> None:
    begun: list[Any] = []
    talk.bot = Bot("helpdesk", handler_timeout=9)
    talk.bot.message(lambda ctx: begun.extend(talk.outlet.begun), timeout=2)(lambda ctx: None)
    talk.bot.middleware(lambda ctx, call_next: call_next())
    talk.say("a")
    assert begun == [("", 9)]


def test_a_lease_that_is_lost_while_a_handler_is_searched_is_raised_and_no_handler_runs(bot: Bot, talk: Any) -> None:
    ran: list[str] = []
    begin = talk.outlet.begin

    def give_up(handler: str, timeout: float | None) -> None:
        begin(handler, timeout)
        if handler:
            raise LeaseLost

    talk.outlet.begin = give_up
    bot.message()(lambda ctx: ran.append(ctx.text))
    with pytest.raises(LeaseLost):
        talk.say("x")
    assert ran == []


def test_own_message_is_not_handled(talk: Any, say_of: Any) -> None:
    talk.bot = Bot("helpdesk", cometchat_uid="Demo_Bot")
    talk.bot.message()(lambda ctx: "hello")
    for uid in ("demo_bot", "helpdesk"):
        own = say_of("hi", sender=type(say_of("").sender)(uid))
        assert talk.send(own) == []
        assert talk.outcome.stopped_by == "own"


def test_brake_stops_bots_after_ten_in_a_row_until_a_human_writes(talk: Any) -> None:
    talk.bot = Bot("helpdesk", handle_bots=True)

    @talk.bot.message()
    def answer(ctx: Any) -> str:
        if ctx.text == "fail":
            raise ValueError
        return "pong"

    for number in range(BOTS_IN_A_ROW):
        assert talk.say("fail" if number % 2 else "ping", options={"sender_is_bot": True})
    assert talk.say("ping", options={"sender_is_bot": True}) == []
    assert talk.outcome.stopped_by == "brake"
    assert talk.say("human") == ["pong"]
    assert talk.say("ping", options={"sender_is_bot": True}) == ["pong"]


def test_dispatch_of_a_plain_text_takes_far_less_than_a_callback_may(bot: Bot, talk: Any, say_of: Any) -> None:
    bot.message("hi")(lambda ctx: "hello")
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    event = say_of("hi")
    talk.send(event)
    sys.setprofile(count)
    try:
        talk.send(event)
    finally:
        sys.setprofile(None)
    assert calls < 120  # calls of Python functions: counted, because a clock would depend on the machine


def test_form_with_an_option_not_offered_is_answered_and_stays_open(bot: Bot, talk: Any) -> None:
    filled: list[str] = []

    @bot.message("order")
    def order(ctx: Any) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["Small", "Large"])], action="order")

    @bot.action("order")
    def take(ctx: Any, size: str) -> str:
        filled.append(size)
        return f"{size} is on its way"

    talk.say("order")
    assert talk.say("Size: Huge") == ["Size: “Huge” is not on offer. Choose one of: Small, Large."]
    assert filled == []
    assert talk.outcome.error is None
    assert talk.say("Size: large") == ["Large is on its way"]


def test_form_with_an_option_not_offered_can_be_answered_by_the_author(bot: Bot, talk: Any) -> None:
    @bot.message("order")
    def order(ctx: Any) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["Small", "Large"])], action="order")

    @bot.action("order")
    def take(ctx: Any, size: str) -> str:
        return size

    @bot.error(UsageError)
    def explain(ctx: Any, error: UsageError) -> str:
        return f"Sorry: {error}"

    talk.say("order")
    assert talk.say("Size: Huge") == ["Sorry: Size: “Huge” is not on offer. Choose one of: Small, Large."]
    assert talk.say("Size: Small") == ["Small"]


def test_form_without_a_handler_leaves_its_answer_a_message(bot: Bot, talk: Any) -> None:
    @bot.message("order")
    def order(ctx: Any) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["Small", "Large"])], action="order")

    @bot.fallback
    def other(ctx: Any) -> str:
        return "What?"

    talk.say("order")
    assert talk.say("Size: Huge") == ["What?"]
