"""The client for tests of handlers that wait: second runs, what is waiting, restarts and time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from cometbot import Bot, BotError, Context, ModerationItem, Verdict
from cometbot.errors import RegistrationError
from cometbot.testing import BotClient, WaitingStep


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


def make_shop(greeting: str = "Welcome!") -> Bot:
    bot = Bot("shop")

    @bot.command
    def order(ctx: Context) -> str:
        ctx.reply(greeting)
        size = ctx.ask("Which size?", choices=["S", "M"])
        ctx.sleep("2h")
        return f"{size} is ready."

    return bot


Turns = Iterator[int]
"""0 in the first run of a handler, and 1 in the second."""


def ask_at_random(_: Turns) -> Callable[[Context], str]:
    return lambda ctx: ctx.ask(f"What is {random.random()} times two?", key=str(random.random()))


def ask_or_sleep(turns: Turns) -> Callable[[Context], str]:
    def handle(ctx: Context) -> str:
        if next(turns) == 0:
            return ctx.ask("Which?")
        ctx.sleep("1h")
        return "slept"

    return handle


def ask_or_return(turns: Turns) -> Callable[[Context], str]:
    return lambda ctx: ctx.ask("Which?") if next(turns) == 0 else "nothing to ask"


def ask_or_raise(turns: Turns) -> Callable[[Context], str]:
    def handle(ctx: Context) -> str:
        if next(turns) == 0:
            return ctx.ask("Which?")
        raise KeyError("x")

    return handle


def ask_or_hide(turns: Turns) -> Callable[[Context], str]:
    def handle(ctx: Context) -> str:
        try:
            return ctx.ask("Which?") if next(turns) == 0 else str(ctx.once(list))
        except BotError:
            return "hidden"

    return handle


@pytest.mark.parametrize("raise_errors", [True, False])
@pytest.mark.parametrize("make_handler", [ask_at_random, ask_or_sleep, ask_or_return, ask_or_raise, ask_or_hide])
def test_second_run_on_another_path_fails(bot: Bot, make_handler: Any, raise_errors: bool) -> None:
    bot.fallback(make_handler(itertools.cycle([0, 1])))
    client = BotClient(bot, raise_errors=raise_errors)
    with pytest.raises(BotError, match=r"waits at step 1, ctx.ask, and a second run .* took another path"):
        client.send("hi")


def test_second_run_is_made_for_each_step_and_has_no_effect(bot: Bot) -> None:
    calls: list[str] = []

    @bot.command
    def order(ctx: Context) -> str:
        ctx.state["runs"] = ctx.state.get("runs", 0) + 1
        sent = ctx.reply("Welcome!")
        size = ctx.ask("Which size?")
        sent.edit("Hello!")
        ctx.once(calls.append, size)
        ctx.stream(["a", "b"])
        ctx.react("👍")
        count = ctx.ask("How many?", type=int)
        ctx.sleep("1h")
        return f"{count} × {size}"

    client = BotClient(bot)
    client.send("/order")
    client.send("M")
    client.send("many")
    client.send("3")
    assert client.advance("1h").text == "3 × M"
    assert calls == ["M"]
    assert client.state["runs"] == 1
    assert [said.text for said in client.said()][:3] == ["Hello!", "Which size?", "ab"]


def test_second_run_after_an_answer_names_the_step(bot: Bot) -> None:
    runs = itertools.count()

    @bot.command
    def order(ctx: Context) -> str:
        size = ctx.ask("Which size?")
        return ctx.ask(f"{size}?", key=str(next(runs)))

    client = BotClient(bot)
    client.send("/order")
    with pytest.raises(BotError, match=r"order waits at step 2, ctx.ask"):
        client.send("M")


def test_paths_are_not_checked_on_request(bot: Bot) -> None:
    bot.fallback(ask_or_return(itertools.cycle([0, 1])))
    client = BotClient(bot, check_paths=False)
    assert client.send("hi").text == "Which?"


def test_waiting_shows_the_open_step() -> None:
    client = BotClient(make_shop())
    assert client.waiting is None
    client.send("/order")
    assert client.waiting is not None
    assert client.waiting == WaitingStep(client.waiting.handler, "ask", "Which size?", ("S", "M"))
    assert client.waiting.handler.endswith("order")
    assert client.as_user("tom").waiting is None
    client.press("M")
    assert client.waiting is not None
    assert (client.waiting.kind, client.waiting.text, client.waiting.choices) == ("sleep", "", ())
    client.advance("2h")
    assert client.waiting is None


def test_waiting_shows_the_own_steps_in_a_group() -> None:
    maria = BotClient(make_shop(), group="ops")
    maria.send("/order")
    maria.press("M")
    tom = maria.as_user("tom", group="ops")
    assert tom.waiting is None
    tom.send("/order")
    assert (maria.waiting and maria.waiting.kind, tom.waiting and tom.waiting.kind) == ("sleep", "ask")


@pytest.mark.parametrize("channel", ["fake", "cometchat", "chat_api", "platform", "simplex", "agui"])
def test_restart_goes_on_with_new_code(channel: Any) -> None:
    with BotClient(make_shop(), channel=channel) as client:
        client.send("/order")
        client.restart(make_shop("Good morning!"))
        assert client.waiting is not None
        client.press("M")
        client.restart()
        assert client.advance(timedelta(hours=2)).text == "M is ready."
        assert client.send("/order")[0].text == "Good morning!"


def test_restart_uses_the_new_bot_everywhere() -> None:
    client = BotClient(make_shop(), user="maria")
    tom = client.as_user("tom")
    new = make_shop("New!")
    client.restart(new)
    assert client.bot is tom.bot is new
    assert tom.send("/order")[0].text == "New!"
    new.send(user="tom", text="Hello")
    assert tom.said()[-1].text == "Hello"


def test_restart_takes_a_bot_of_the_same_name(bot: Bot) -> None:
    with pytest.raises(BotError, match="restart: expected a bot named 'shop', got 'other'"):
        BotClient(bot).restart(Bot("other"))


def test_restart_checks_the_new_bot(bot: Bot) -> None:
    client = BotClient(bot)
    new = Bot("shop")

    @new.fallback
    def handle(ctx: Context, other: Bot) -> None: ...

    with pytest.raises(RegistrationError, match="nor provided"):
        client.restart(new)


@pytest.mark.parametrize("wrong", ["soon", "-1h", timedelta(0)])
def test_wrong_duration_is_refused(bot: Bot, wrong: Any) -> None:
    with pytest.raises(BotError, match="advance: expected a duration"):
        BotClient(bot).advance(wrong)


@pytest.fixture(params=["fake", "cometchat"])
def judged(bot: Bot, request: pytest.FixtureRequest) -> Iterator[BotClient]:
    @bot.moderate
    def check(item: ModerationItem) -> Verdict:
        if item.text == "raise":
            raise LookupError
        content = item.attachments[0].read() if item.attachments else b""
        where = item.group.guid if item.group else "direct"
        context = "|".join(f"{said.uid}:{said.text}" for said in item.context)
        return Verdict(True, 0.5, f"{item.sender.name} {where} {item.type} {content.decode()} {context}")

    with BotClient(bot, channel=request.param) as client:
        yield client


def test_moderation_judges_a_text_with_its_context(judged: BotClient) -> None:
    verdict = judged.moderate("hi", context=["before", ("tom", "after that")])
    assert verdict == Verdict(True, 0.5, "Maria direct text  maria:before|tom:after that")


def test_moderation_judges_files_and_groups(judged: BotClient) -> None:
    verdict = judged.as_user("tom", group="ops").moderate("look", file=b"content", name="a.png")
    assert verdict.reason == "Tom ops image content "


def test_moderation_raises_errors_of_the_function(judged: BotClient) -> None:
    with pytest.raises(LookupError):
        judged.moderate("raise")


def test_bot_without_moderation_is_named(bot: Bot) -> None:
    with pytest.raises(BotError, match=r"decorate a function with @bot.moderate"):
        BotClient(bot).moderate("hi")
