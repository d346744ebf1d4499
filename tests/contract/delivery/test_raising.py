"""Whatever author code and platforms raise, and however they word it: one run, one dead letter, and life goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cometbot.context import Context
from cometbot.delivery import causes, crew
from cometbot.delivery.deadletters import DeadLetter
from cometbot.delivery.delivery import Delivery
from cometbot.delivery.lane import Equipment, abandon
from cometbot.delivery.running import Run
from cometbot.errors import Rejected, StoreBusy, Uncertain
from cometbot.messages import Operation

from .conftest import QUICK, World, wait_until


class Panic(BaseException):
    """As of a library in another language, which does not want to be caught by mistake."""


class Unreadable(Exception):
    def __str__(self) -> str:
        raise Panic("not even that")


def hear(world: World) -> None:
    @world.bot.fallback
    def answer(ctx: Context) -> str:
        return f"heard {ctx.text}"


def check_all_lives(delivery: Delivery) -> None:
    wait_until(lambda: all(check.ok for check in delivery.checks()))


def letters(delivery: Delivery, count: int) -> list[DeadLetter]:
    wait_until(lambda: len(delivery.dead_letters.list()) == count)
    return delivery.dead_letters.list()


def raising_bot(world: World, error: Callable[[], BaseException], runs: list[str]) -> list[str]:
    """Has the bot raise in every place where an author's code runs; returns what to write for each."""

    def fail(ctx: Context) -> Any:
        runs.append(ctx.text)
        raise error()

    async def fail_later(ctx: Context) -> Any:
        fail(ctx)

    def fail_at_once(ctx: Context) -> bool:
        return ctx.text == "matcher" and fail(ctx)

    def words(ctx: Context) -> Iterator[str]:
        yield "so far"
        fail(ctx)

    def stream(ctx: Context) -> None:
        ctx.stream(words(ctx))

    @world.bot.middleware
    def around(ctx: Context, call_next: Callable[[], Any]) -> Any:
        return fail(ctx) if ctx.text == "middleware" else call_next()

    world.bot.message("plain")(fail)
    world.bot.message("async")(fail_later)
    world.bot.message("stream")(stream)
    world.bot.message(fail_at_once)(lambda ctx: "never")
    hear(world)
    return ["plain", "async", "matcher", "middleware", "stream"]


def fail_to_read_and_say(
    world: World, monkeypatch: pytest.MonkeyPatch, reading: BaseException, saying: BaseException
) -> None:
    """Has the channel raise ``reading`` for a message "unreadable", and ``saying`` for a reply with "unsayable"."""
    parse, render = world.channel.parse, world.channel.render

    def parse_some(incoming: Any) -> Any:
        if b"unreadable" in incoming.body:
            raise reading
        return parse(incoming)

    def render_some(operation: Operation) -> Any:
        if operation.message is not None and "unsayable" in operation.message.to_text():
            raise saying
        return render(operation)

    monkeypatch.setattr(world.channel, "parse", parse_some)
    monkeypatch.setattr(world.channel, "render", render_some)


@pytest.mark.parametrize("kind_of_error", [Panic, KeyboardInterrupt, GeneratorExit])
def test_what_is_no_exception_fails_its_message_alone_wherever_it_is_raised(
    world: World, kind_of_error: type[BaseException]
) -> None:
    runs: list[str] = []
    places = raising_bot(world, lambda: kind_of_error("out of here"), runs)
    delivery = world.process(threads=2)
    for place in places:
        world.say(delivery, place, user=place)
        world.say(delivery, "next", user=place)

    world.channel.wait_for(lambda: world.channel.texts().count("heard next") == len(places))
    assert sorted(runs) == sorted(places)
    assert world.channel.texts().count(world.bot.error_text or "") == len(places)
    found = letters(delivery, len(places))
    assert {letter.error for letter in found} == {f"{kind_of_error.__name__}: out of here"}
    check_all_lives(delivery)


def test_an_error_handler_gets_what_is_no_exception_and_may_raise_the_like(world: World) -> None:
    @world.bot.message("first")
    def first(ctx: Context) -> None:
        raise Panic("once")

    @world.bot.message("second")
    def second(ctx: Context) -> None:
        raise KeyboardInterrupt

    @world.bot.error(Panic)
    def explain(ctx: Context, error: Panic) -> str:
        return f"panicked {error}"

    @world.bot.error(KeyboardInterrupt)
    async def fail_again(ctx: Context, error: KeyboardInterrupt) -> str:
        raise Panic("twice")

    hear(world)
    delivery = world.process(threads=1)
    for text in ("first", "second", "third"):
        world.say(delivery, text)

    world.channel.wait_for(lambda: len(world.channel.said) == 3)
    assert world.channel.texts() == ["panicked once", world.bot.error_text, "heard third"]
    assert sorted(letter.error for letter in letters(delivery, 2)) == ["Panic: once", "Panic: twice"]
    check_all_lives(delivery)


def test_a_channel_that_raises_what_is_no_exception_loses_that_reply_and_that_message_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_read_and_say(world, monkeypatch, Panic("cannot read"), Panic("cannot say"))
    hear(world)
    world.channel.faults.append(Panic("cannot send"))
    delivery = world.process(threads=1)
    for text in ("unsent", "unreadable", "unsayable", "next"):
        world.say(delivery, text)

    world.channel.wait_for(lambda: "heard next" in world.channel.texts())
    assert world.channel.texts() == [world.bot.error_text, "heard next"]
    assert sorted(letter.error for letter in letters(delivery, 3)) == [
        "Panic: cannot read",
        "Panic: cannot say",
        "Panic: cannot send",
    ]
    check_all_lives(delivery)


def test_a_look_that_raises_what_nobody_foresaw_is_tried_as_often_as_one_that_fails_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def find(sending: Any, *, timeout: float) -> str | None:
        looks.append(sending.client_id)
        raise Panic("cannot look")

    monkeypatch.setattr(world.channel, "find", find)
    hear(world)
    world.channel.faults.append(Uncertain("no answer"))
    delivery = world.process(threads=1)
    world.say(delivery, "first")
    world.say(delivery, "next")

    world.channel.wait_for(lambda: world.channel.texts() == ["heard next"])
    assert len(looks) == QUICK.tries - 1
    assert letters(delivery, 1)[0].error == f"Panic: cannot look; tried {QUICK.tries} times"
    check_all_lives(delivery)


def test_a_channel_that_cannot_even_render_the_apology_has_the_message_fail_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []

    def render_nothing(operation: Operation) -> Any:
        raise ValueError("no words")

    monkeypatch.setattr(world.channel, "render", render_nothing)

    @world.bot.fallback
    def answer(ctx: Context) -> str:
        runs.append(ctx.text)
        return "hello"

    delivery = world.process(threads=1)
    world.say(delivery, "one")
    world.say(delivery, "two")

    assert {letter.error for letter in letters(delivery, 2)} == {"ValueError: no words"}
    assert runs == ["one", "two"]


TEXTS = ["a\x00b", "a\ud800b", "x" * 200_000]


@pytest.mark.parametrize("retries", [0, 1])
def test_an_error_of_any_text_is_stored_and_its_user_told(world: World, retries: int) -> None:
    runs: list[str] = []

    @world.bot.command("fail", retries=retries)
    def fail(ctx: Context, number: int) -> None:
        runs.append(ctx.text)
        raise ValueError(TEXTS[number]) if number < len(TEXTS) else Unreadable

    hear(world)
    delivery = world.process()
    for number in range(len(TEXTS) + 1):
        world.say(delivery, f"/fail {number}", user=f"u{number}")
        world.say(delivery, "next", user=f"u{number}")

    world.channel.wait_for(lambda: world.channel.texts().count("heard next") == 4)
    assert world.channel.texts().count(world.bot.error_text or "") == 4
    assert len(runs) == 4 * (1 + retries)
    found = {letter.error for letter in letters(delivery, 4)}
    assert {"ValueError: a\ufffdb", "Unreadable: (its text cannot be read)"} < found
    assert max(map(len, found)) < causes.LONGEST + 100
    assert any("ValueError: xxx" in error and "more characters" in error for error in found)


def test_a_refusal_of_any_text_is_a_dead_letter_at_the_first_try(world: World) -> None:
    hear(world)
    world.channel.faults.extend(Rejected(text, code="ERR_X") for text in TEXTS)
    delivery = world.process()
    for number in range(len(TEXTS)):
        world.say(delivery, str(number))
    world.say(delivery, "next")

    world.channel.wait_for(lambda: world.channel.texts() == ["heard next"])
    assert len(world.channel.requests) == len(TEXTS) + 1
    found = [letter.error for letter in letters(delivery, len(TEXTS))]
    assert sorted(found)[:2] == ["ERR_X: a\ufffdb"] * 2
    assert max(map(len, found)) < causes.LONGEST + 100


def test_an_answer_or_a_message_that_cannot_be_rendered_or_read_for_a_reason_of_any_text_is_a_dead_letter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_read_and_say(world, monkeypatch, *[ValueError("a\x00\ud800b")] * 2)
    hear(world)
    delivery = world.process()
    for text in ("unreadable", "unsayable", "next"):
        world.say(delivery, text)

    world.channel.wait_for(lambda: "heard next" in world.channel.texts())
    assert world.channel.texts() == [world.bot.error_text, "heard next"]
    assert {letter.error for letter in letters(delivery, 2)} == {"ValueError: a\ufffd\ufffdb"}


def test_a_matcher_past_the_deadline_is_given_up_like_a_handler(world: World) -> None:
    let_go = threading.Event()
    ran: list[str] = []

    def hang(ctx: Context) -> bool:
        return ctx.text == "hang" and let_go.wait(60)

    @world.bot.message(hang)
    def never(ctx: Context) -> str:
        ran.append(ctx.text)
        return "too late"

    hear(world)
    delivery = world.process(threads=1, handler_timeout=0.2)
    world.say(delivery, "hang")
    world.say(delivery, "next")

    world.channel.wait_for(lambda: "heard next" in world.channel.texts())
    assert world.channel.texts() == [world.bot.error_text, "heard next"]
    [letter] = delivery.dead_letters.list()
    assert letter.error == "a matcher or middleware did not end within 0.2 s"
    let_go.set()
    world.say(delivery, "last")
    world.channel.wait_for(lambda: "heard last" in world.channel.texts())
    check_all_lives(delivery)
    assert ran == [], "the handler of a message that was given up does not begin"
    assert len(delivery.dead_letters.list()) == 1


def test_handlers_past_their_deadlines_are_given_up_even_if_one_cannot_be_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, tried = threading.Event(), list[str]()

    def give_up(equipment: Equipment, run: Run) -> bool:
        tried.append(run.mail.key)
        if len(tried) < 3:
            raise (StoreBusy, Panic)[len(tried) - 1]
        return abandon(equipment, run)

    monkeypatch.setattr(crew, "abandon", give_up)

    @world.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> None:
        let_go.wait(60)

    delivery = world.process(threads=3)
    for user in ("ann", "ben", "cem"):
        world.say(delivery, "hang", user=user)
    try:
        assert len(letters(delivery, 3)) == 3
        world.channel.wait_for(lambda: world.channel.texts() == [world.bot.error_text] * 3)
    finally:
        let_go.set()


def test_a_handler_past_its_deadline_is_given_up_though_its_user_cannot_be_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, render = threading.Event(), world.channel.render

    def render_some(operation: Operation) -> Any:
        if operation.message is not None and operation.message.to_text() == world.bot.error_text:
            raise Panic("no words")
        return render(operation)

    monkeypatch.setattr(world.channel, "render", render_some)

    @world.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> None:
        let_go.wait(60)

    hear(world)
    delivery = world.process(threads=1)
    world.say(delivery, "hang")
    world.say(delivery, "next")
    try:
        world.channel.wait_for(lambda: world.channel.texts() == ["heard next"])
        assert "did not end within 0.2 s" in letters(delivery, 1)[0].error
    finally:
        let_go.set()


def test_a_handlers_own_time_counts_from_when_it_is_found(world: World) -> None:
    found, let_go = threading.Event(), threading.Event()

    def take_a_while(ctx: Context) -> bool:
        return found.wait(60)

    @world.bot.message(take_a_while, timeout=60)
    def answer(ctx: Context) -> str:
        let_go.wait(60)
        return "in time"

    delivery = world.process(handler_timeout=1.0)
    world.say(delivery, "hello")
    crew = delivery._crew
    assert crew is not None
    running = crew._equipment.running
    wait_until(lambda: [run.timeout for run in list(running._runs.values())] == [1.0])
    found.set()
    wait_until(lambda: [run.timeout for run in list(running._runs.values())] == [60.0])
    let_go.set()

    world.channel.wait_for(lambda: world.channel.texts() == ["in time"])
    assert delivery.dead_letters.list() == []
