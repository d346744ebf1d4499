"""What handlers schedule, and what jobs may do, through the whole path of a bot under test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from cometbot import Bot, BotError, Button, Card, Context, Conversation, Group, Job, JobEvent, Text
from cometbot.testing import TEXT_ONLY, BotClient

NOW = 1_700_000_000.0


@pytest.fixture
def bot() -> Bot:
    return Bot("helper")


def run_job(bot: Bot, function: Callable[..., Any], **arguments: Any) -> BotClient:
    """Run a function as a job that a handler has scheduled in Maria's conversation, a minute later."""
    job = bot.job(function)

    @bot.command("go")
    def go(ctx: Context) -> None:
        ctx.later("1m", job, **arguments)

    client = BotClient(bot, now=NOW)
    client.send("/go")
    client.advance("1m")
    return client


def test_job_knows_its_event(bot: Bot) -> None:
    seen: list[JobEvent] = []

    def ring(ctx: Context, what: str) -> None:
        assert isinstance(ctx.event, JobEvent)
        seen.append(ctx.event)

    client = run_job(bot, ring, what="tea")
    [event] = seen
    assert (event.name, event.due_at, event.arguments, event.origin) == (
        "#m1.0.j0",
        NOW + 60,
        {"what": "tea"},
        client.conversation,
    )
    assert event.handler.endswith("ring")
    assert event.sender.uid == "maria"


def test_job_shares_the_state_of_its_user(bot: Bot) -> None:
    def ring(ctx: Context) -> None:
        ctx.user_state["rings"] = ctx.user_state.get("rings", 0) + 1
        ctx.state["mine"] = True

    client = run_job(bot, ring)
    assert client.user_state["rings"] == 1
    assert "mine" not in client.state


def test_job_sends_anywhere_and_edits_what_it_sent(bot: Bot) -> None:
    def ring(ctx: Context, to: Conversation) -> None:
        sent = ctx.send("Working …", to=to)
        sent.edit("Done.")
        bot.send(user="tom", text="Hello Tom.")

    client = BotClient(bot, now=NOW)
    job = bot.job(ring)

    @bot.command("go")
    def go(ctx: Context) -> None:
        ctx.later(1, job, to=ctx.conversation_with(user="ann"))

    client.send("/go")
    client.advance(2)
    assert client.said(user="ann").text == "Done."
    assert client.said(user="tom").text == "Hello Tom."


@pytest.mark.parametrize("reply", ["return", "reply", "ask", "ask of", "stream", "hand_off"])
def test_job_cannot_reply(bot: Bot, reply: str) -> None:
    def ring(ctx: Context) -> Any:
        if reply == "reply":
            ctx.reply("hi")
        if reply == "ask":
            ctx.ask("How are you?")
        if reply == "ask of":
            ctx.ask("How are you?", of="maria")
        if reply == "stream":
            ctx.stream(["hi"])
        if reply == "hand_off":
            ctx.hand_off(to=Group("support"))
        return "hi" if reply == "return" else None

    with pytest.raises(BotError, match=r"answers no message.*ctx\.send\(…, to=…\)"):
        run_job(bot, ring)


def test_job_of_the_code_needs_an_addressee(bot: Bot) -> None:
    @bot.job
    def tick(ctx: Context) -> None:
        ctx.send("hi")

    bot.every("1m", tick)
    client = BotClient(bot, now=NOW)
    with pytest.raises(BotError, match="the job tick answers no message"):
        client.advance("1m")


def test_job_sleeps_and_goes_on(bot: Bot) -> None:
    calls: list[str] = []

    def ring(ctx: Context) -> None:
        ctx.once(calls.append, "first")
        ctx.send("One.")
        ctx.sleep("1h")
        ctx.once(calls.append, "second")
        ctx.send("Two.")

    client = run_job(bot, ring)
    assert [said.text for said in client.said()] == ["One."]
    assert client.advance("1h").text == "Two."
    assert calls == ["first", "second"]
    assert client.dead_letters == []


def test_job_that_names_an_unknown_channel_is_told_the_others(bot: Bot) -> None:
    @bot.job
    def ring(ctx: Context) -> None:
        ctx.send("ring", to=ctx.conversation_with(user="maria", channel="telegram"))

    bot.every("1m", ring)
    with pytest.raises(BotError, match=r"'telegram' is not configured here; there is: fake\. Add it"):
        BotClient(bot).advance("1m")


def test_job_asks_for_an_approval(bot: Bot) -> None:
    def ring(ctx: Context) -> None:
        approval = ctx.approve("Pay?", to=ctx.conversation_with(user="tom"), timeout="1h")
        ctx.send(f"It was {approval.status}.")

    client = run_job(bot, ring)
    tom = client.as_user("tom")
    tom.press("Approve")
    assert client.said().text == "It was approved."


def test_handler_that_asks_schedules_once(bot: Bot) -> None:
    @bot.job
    def ring(ctx: Context, number: int) -> None:
        ctx.send(f"ring {number}")

    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.later("1h", ring, number=1)
        size = ctx.ask("Which size?")
        ctx.later("1h", ring, number=2)
        color = ctx.ask("Which color?")
        return f"{size} {color}"

    client = BotClient(bot, now=NOW)
    client.send("/order")
    client.advance("30m")
    client.send("M")
    assert client.send("red").text == "M red"
    assert [said.text for said in client.advance("30m")] == ["ring 1"]
    assert [said.text for said in client.advance("30m")] == ["ring 2"]
    assert client.advance("1d").text == ""


def test_messages_are_replaced_by_name_and_cancelled(bot: Bot) -> None:
    @bot.command("at")
    def at(ctx: Context, what: str, hours: int) -> str:
        job = ctx.send(what, at=timedelta(hours=hours), name="the one")
        assert isinstance(job, Job)
        return f"{job.name} {job.at:%H:%M}"

    @bot.command("cancel_it")
    def cancel_it(ctx: Context) -> str:
        found = ctx.jobs()
        for job in found:
            job.cancel()
            job.cancel()
        return str(len(found))

    client = BotClient(bot, now=NOW)
    assert client.send("/at tea 1").text == "the one 23:13"
    client.send("/at coffee 2")
    assert client.as_user("tom").send("/at milk 1").text == "the one 23:13"
    assert client.advance("1h").text == ""
    assert client.said(user="tom").text.endswith("milk")
    assert client.advance("1h").text == "coffee"
    client.send("/at tea 1")
    assert client.send("/cancel_it").text == "1"
    assert client.send("/cancel_it").text == "0"
    assert client.advance("2h").text == ""


def test_time_that_is_over_means_now(bot: Bot) -> None:
    @bot.command("at")
    def at(ctx: Context) -> None:
        ctx.send("late", at=datetime(2020, 1, 1, tzinfo=timezone.utc))

    client = BotClient(bot, now=NOW)
    client.send("/at")
    assert client.advance(1).text == "late"


def test_buttons_of_a_later_message_are_pressed_then(bot: Bot) -> None:
    @bot.action("buy")
    def buy(ctx: Context, what: str) -> str:
        return f"{what} is yours."

    @bot.command("offer")
    def offer(ctx: Context) -> None:
        ctx.send(Card("Tea", buttons=[Button("Buy", "buy", "tea")], expires="1h"), at="1d")

    for options in ({}, {"capabilities": TEXT_ONLY}):
        client = BotClient(bot, now=NOW, **options)  # type: ignore[arg-type]
        client.send("/offer")
        assert client.advance("1d")
        assert client.press("Buy").text == "tea is yours."


def test_outgoing_middleware_sees_later_messages_when_they_are_stored(bot: Bot) -> None:
    @bot.outgoing
    def censor(message: Any, outgoing: Any) -> Any:
        return None if "secret" in message.text else Text(message.text.upper())

    @bot.command("at")
    def at(ctx: Context, what: str) -> None:
        ctx.send(what, at="1h")

    client = BotClient(bot, now=NOW)
    client.send("/at tea")
    client.send("/at secret")
    assert [said.text for said in client.advance("2h")] == ["TEA"]


def test_dropped_message_replaces_none(bot: Bot) -> None:
    @bot.outgoing
    def drop(message: Any, outgoing: Any) -> Any:
        return None if "secret" in message.text else message

    @bot.command("at")
    def at(ctx: Context, what: str) -> None:
        ctx.send(what, at="1h", name="it")

    client = BotClient(bot, now=NOW)
    client.send("/at tea")
    client.send("/at secret")
    assert [said.text for said in client.advance("2h")] == ["tea"]


def test_jobs_schedule_jobs(bot: Bot) -> None:
    @bot.job
    def ring(ctx: Context, left: int) -> None:
        ctx.send(f"{left} left, {len(ctx.jobs())} planned")
        if left:
            ctx.later("1m", ring, left=left - 1)

    @bot.command("go")
    def go(ctx: Context) -> None:
        ctx.later("1m", ring, left=2)

    client = BotClient(bot, now=NOW)
    client.send("/go")
    assert [said.text for said in client.advance("5m")] == [
        "2 left, 0 planned",
        "1 left, 0 planned",
        "0 left, 0 planned",
    ]


def test_every_occurrence_runs_while_time_passes(bot: Bot) -> None:
    times: list[float] = []

    @bot.job
    def tick(ctx: Context, step: int = 0) -> None:
        assert isinstance(ctx.event, JobEvent)
        times.append(ctx.event.due_at)
        ctx.state["count"] = ctx.state.get("count", 0) + step

    bot.every("5m", tick, step=2)
    client = BotClient(bot, now=NOW)
    client.advance("1h")
    assert times == [NOW + 100 + 300 * number for number in range(12)]


def test_single_time_of_the_code_that_is_over_does_not_run(bot: Bot) -> None:
    runs: list[int] = []

    @bot.job
    def tick(ctx: Context, number: int) -> None:
        runs.append(number)

    bot.at(datetime.fromtimestamp(NOW - 1, timezone.utc), tick, number=1)
    bot.at(datetime.fromtimestamp(NOW + 60, timezone.utc), tick, number=2)
    client = BotClient(bot, now=NOW)
    client.advance("1h")
    client.restart()
    client.advance("1h")
    assert runs == [2]


def test_maintenance_does_not_hold_back_jobs() -> None:
    bot = Bot("helper", maintenance="Back soon.")
    runs: list[int] = []

    @bot.job
    def tick(ctx: Context) -> None:
        runs.append(1)

    bot.every("1m", tick)
    BotClient(bot, now=NOW).advance("1m")
    assert runs == [1]


def test_event_handler_for_everything_gets_no_jobs(bot: Bot) -> None:
    seen: list[object] = []

    @bot.event
    def everything(ctx: Context) -> None:
        seen.append(ctx.event)

    @bot.job
    def tick(ctx: Context) -> None: ...

    bot.every("1m", tick)
    BotClient(bot, now=NOW).advance("1m")
    assert seen == []


def test_middleware_surrounds_jobs(bot: Bot) -> None:
    around: list[str] = []

    @bot.middleware
    def watch(ctx: Context, call_next: Callable[[], Any]) -> Any:
        around.append(type(ctx.event).__name__)
        return call_next()

    @bot.job
    async def tick(ctx: Context) -> None:
        ctx.send("hi", to=ctx.conversation_with(user="maria"))

    bot.every("1m", tick)
    client = BotClient(bot, now=NOW)
    assert client.advance("1m").text == "hi"
    assert around == ["JobEvent"]


@pytest.mark.parametrize(
    ("when", "words"),
    [("soon", "later: expected a duration"), (-1, "later: expected"), (datetime(2027, 1, 1), "a time with a zone")],
)
def test_wrong_time_is_refused(bot: Bot, when: Any, words: str) -> None:
    @bot.job
    def ring(ctx: Context) -> None: ...

    @bot.command("go")
    def go(ctx: Context) -> None:
        ctx.later(when, ring)

    with pytest.raises(BotError, match=words):
        BotClient(bot).send("/go")


def test_nothing_is_scheduled_inside_once(bot: Bot) -> None:
    @bot.job
    def ring(ctx: Context) -> None: ...

    @bot.command("go")
    def go(ctx: Context) -> None:
        ctx.once(lambda: ctx.later("1h", ring))

    with pytest.raises(BotError, match=r"cannot be called inside ctx\.once"):
        BotClient(bot).send("/go")


def test_job_that_raises_sends_no_error_text(bot: Bot) -> None:
    def ring(ctx: Context) -> None:
        raise RuntimeError("broken")

    job = bot.job(ring)

    @bot.command("go")
    def go(ctx: Context) -> None:
        ctx.later("1m", job)

    client = BotClient(bot, now=NOW, raise_errors=False)
    client.send("/go")
    assert client.advance("1m").text == ""
    [letter] = client.dead_letters
    assert "broken" in letter.error


def test_handler_that_runs_again_cancels_no_newer_jobs(bot: Bot) -> None:
    @bot.command("plan")
    def plan(ctx: Context, what: str) -> None:
        ctx.send(what, at="1d")

    @bot.command("forget")
    def forget(ctx: Context) -> str:
        found = ctx.jobs()
        for job in found:
            job.cancel()
        ctx.send("forgotten", at="2d")
        answer = ctx.ask("Why?", listen=True)
        return f"{answer}; {[job.text for job in ctx.jobs()]}"

    client = BotClient(bot, now=NOW)
    client.send("/plan first")
    client.send("/forget")
    client.send("/plan second")
    assert client.send("just so").text == "just so; ['second', 'forgotten']"
    assert [said.text for said in client.advance("3d")] == ["second", "forgotten"]


def test_planned_job_is_cancelled_at_once(bot: Bot) -> None:
    @bot.command("plan")
    def plan(ctx: Context) -> str:
        first = ctx.send("first", at="1h", name="it")
        second = ctx.send("second", at="1h", name="it")
        first.cancel()  # it is replaced already
        third = ctx.send("third", at="1h")
        third.cancel()
        return f"{second.text} {len(ctx.jobs())}"

    client = BotClient(bot, now=NOW)
    assert client.send("/plan").text == "second 1"
    assert client.advance("1h").text == "second"
