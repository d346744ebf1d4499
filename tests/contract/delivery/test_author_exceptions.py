"""Whatever author code and platforms raise, and however they word it: one run, one dead letter, and life goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cometbot import error_text
from cometbot.context import Context
from cometbot.delivery.conversation_runner import ConversationRunner
from cometbot.delivery.delivery import Delivery
from cometbot.delivery.running_handlers import HandlerRun
from cometbot.errors import OutcomeUnknown, Rejected, StoreBusy
from cometbot.inspection.dead_letters import DeadLetter
from cometbot.messages import Operation

from .conftest import QUICK_POLICY, Harness, wait_until


class Panic(BaseException):
    """As of a library in another language, which does not want to be caught by mistake."""


class Unreadable(Exception):
    def __str__(self) -> str:
        raise Panic("not even that")


def answer_messages(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        return f"heard {ctx.text}"


def wait_until_healthy(delivery: Delivery) -> None:
    wait_until(lambda: all(check.ok for check in delivery.checks()))


def wait_for_dead_letters(delivery: Delivery, count: int) -> list[DeadLetter]:
    wait_until(lambda: len(delivery.dead_letters.list()) == count)
    return delivery.dead_letters.list()


def add_raising_handlers(harness: Harness, error: Callable[[], BaseException], runs: list[str]) -> list[str]:
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

    @harness.bot.middleware
    def around(ctx: Context, call_next: Callable[[], Any]) -> Any:
        return fail(ctx) if ctx.text == "middleware" else call_next()

    harness.bot.message("plain")(fail)
    harness.bot.message("async")(fail_later)
    harness.bot.message("stream")(stream)
    harness.bot.message(fail_at_once)(lambda ctx: "never")
    answer_messages(harness)
    return ["plain", "async", "matcher", "middleware", "stream"]


def fail_parse_and_render(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, parse_error: BaseException, render_error: BaseException
) -> None:
    """Has the channel raise ``reading`` for a message "unreadable", and ``saying`` for a reply with "unsayable"."""
    parse, render = harness.channel.parse, harness.channel.render

    def parse_some(incoming: Any) -> Any:
        if b"unreadable" in incoming.body:
            raise parse_error
        return parse(incoming)

    def render_some(operation: Operation) -> Any:
        if operation.message is not None and "unsayable" in operation.message.to_text():
            raise render_error
        return render(operation)

    monkeypatch.setattr(harness.channel, "parse", parse_some)
    monkeypatch.setattr(harness.channel, "render", render_some)


@pytest.mark.parametrize("kind_of_error", [Panic, KeyboardInterrupt, GeneratorExit])
def test_base_exception_fails_its_message_only(harness: Harness, kind_of_error: type[BaseException]) -> None:
    runs: list[str] = []
    places = add_raising_handlers(harness, lambda: kind_of_error("out of here"), runs)
    delivery = harness.start_process(threads=2)
    for place in places:
        harness.enqueue(delivery, place, user=place)
        harness.enqueue(delivery, "next", user=place)

    harness.channel.wait_for(lambda: harness.channel.texts().count("heard next") == len(places))
    assert sorted(runs) == sorted(places)
    assert harness.channel.texts().count(harness.bot.error_text or "") == len(places)
    found = wait_for_dead_letters(delivery, len(places))
    assert {letter.error for letter in found} == {f"{kind_of_error.__name__}: out of here"}
    wait_until_healthy(delivery)


def test_error_handler_gets_and_may_raise_base_exceptions(harness: Harness) -> None:
    @harness.bot.message("first")
    def first(ctx: Context) -> None:
        raise Panic("once")

    @harness.bot.message("second")
    def second(ctx: Context) -> None:
        raise KeyboardInterrupt

    @harness.bot.error(Panic)
    def explain(ctx: Context, error: Panic) -> str:
        return f"panicked {error}"

    @harness.bot.error(KeyboardInterrupt)
    async def fail_again(ctx: Context, error: KeyboardInterrupt) -> str:
        raise Panic("twice")

    answer_messages(harness)
    delivery = harness.start_process(threads=1)
    for text in ("first", "second", "third"):
        harness.enqueue(delivery, text)

    harness.channel.wait_for(lambda: len(harness.channel.said) == 3)
    assert harness.channel.texts() == ["panicked once", harness.bot.error_text, "heard third"]
    assert sorted(letter.error for letter in wait_for_dead_letters(delivery, 2)) == ["Panic: once", "Panic: twice"]
    wait_until_healthy(delivery)


def test_base_exception_of_a_channel_fails_its_message_only(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_parse_and_render(harness, monkeypatch, Panic("cannot read"), Panic("cannot say"))
    answer_messages(harness)
    harness.channel.faults.append(Panic("cannot send"))
    delivery = harness.start_process(threads=1)
    for text in ("unsent", "unreadable", "unsayable", "next"):
        harness.enqueue(delivery, text)

    harness.channel.wait_for(lambda: "heard next" in harness.channel.texts())
    assert harness.channel.texts() == [harness.bot.error_text, "heard next"]
    assert sorted(letter.error for letter in wait_for_dead_letters(delivery, 3)) == [
        "Panic: cannot read",
        "Panic: cannot say",
        "Panic: cannot send",
    ]
    wait_until_healthy(delivery)


def test_unexpected_error_in_find_counts_as_a_failed_attempt(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def find_sent(sending: Any, *, timeout: float) -> str | None:
        looks.append(sending.client_id)
        raise Panic("cannot look")

    monkeypatch.setattr(harness.channel, "find_sent", find_sent)
    answer_messages(harness)
    harness.channel.faults.append(OutcomeUnknown("no answer"))
    delivery = harness.start_process(threads=1)
    harness.enqueue(delivery, "first")
    harness.enqueue(delivery, "next")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["heard next"])
    assert len(looks) == QUICK_POLICY.max_attempts - 1
    assert wait_for_dead_letters(delivery, 1)[0].error == f"Panic: cannot look; tried {QUICK_POLICY.max_attempts} times"
    wait_until_healthy(delivery)


def test_error_reply_that_does_not_render_fails_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def render_nothing(operation: Operation) -> Any:
        raise ValueError("no words")

    monkeypatch.setattr(harness.channel, "render", render_nothing)

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        runs.append(ctx.text)
        return "hello"

    delivery = harness.start_process(threads=1)
    harness.enqueue(delivery, "one")
    harness.enqueue(delivery, "two")

    assert {letter.error for letter in wait_for_dead_letters(delivery, 2)} == {"ValueError: no words"}
    assert runs == ["one", "two"]


ODD_TEXTS = ["a\x00b", "a\ud800b", "x" * 200_000]


@pytest.mark.parametrize("retries", [0, 1])
def test_error_of_any_text_is_stored_and_answered(harness: Harness, retries: int) -> None:
    runs: list[str] = []

    @harness.bot.command("fail", retries=retries)
    def fail(ctx: Context, number: int) -> None:
        runs.append(ctx.text)
        raise ValueError(ODD_TEXTS[number]) if number < len(ODD_TEXTS) else Unreadable

    answer_messages(harness)
    delivery = harness.start_process()
    for number in range(len(ODD_TEXTS) + 1):
        harness.enqueue(delivery, f"/fail {number}", user=f"u{number}")
        harness.enqueue(delivery, "next", user=f"u{number}")

    harness.channel.wait_for(lambda: harness.channel.texts().count("heard next") == 4)
    assert harness.channel.texts().count(harness.bot.error_text or "") == 4
    assert len(runs) == 4 * (1 + retries)
    found = {letter.error for letter in wait_for_dead_letters(delivery, 4)}
    assert {"ValueError: a\ufffdb", "Unreadable: (its text is not available)"} < found
    assert max(map(len, found)) < error_text.MAX_TEXT_LENGTH + 100
    assert any("ValueError: xxx" in error and "more characters" in error for error in found)


def test_a_refusal_of_any_text_is_a_dead_letter_at_the_first_try(harness: Harness) -> None:
    answer_messages(harness)
    harness.channel.faults.extend(Rejected(text, code="ERR_X") for text in ODD_TEXTS)
    delivery = harness.start_process()
    for number in range(len(ODD_TEXTS)):
        harness.enqueue(delivery, str(number))
    harness.enqueue(delivery, "next")

    harness.channel.wait_for(lambda: harness.channel.texts() == ["heard next"])
    assert len(harness.channel.requests) == len(ODD_TEXTS) + 1
    found = [letter.error for letter in wait_for_dead_letters(delivery, len(ODD_TEXTS))]
    assert sorted(found)[:2] == ["ERR_X: a\ufffdb"] * 2
    assert max(map(len, found)) < error_text.MAX_TEXT_LENGTH + 100


def test_parse_and_render_errors_of_any_text_are_stored(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_parse_and_render(harness, monkeypatch, *[ValueError("a\x00\ud800b")] * 2)
    answer_messages(harness)
    delivery = harness.start_process()
    for text in ("unreadable", "unsayable", "next"):
        harness.enqueue(delivery, text)

    harness.channel.wait_for(lambda: "heard next" in harness.channel.texts())
    assert harness.channel.texts() == [harness.bot.error_text, "heard next"]
    assert {letter.error for letter in wait_for_dead_letters(delivery, 2)} == {"ValueError: a\ufffd\ufffdb"}


def test_matcher_timeout_makes_a_dead_letter(harness: Harness) -> None:
    release = threading.Event()
    ran: list[str] = []

    def hang(ctx: Context) -> bool:
        return ctx.text == "hang" and release.wait(60)

    @harness.bot.message(hang)
    def never(ctx: Context) -> str:
        ran.append(ctx.text)
        return "too late"

    answer_messages(harness)
    delivery = harness.start_process(threads=1, handler_timeout=0.2)
    harness.enqueue(delivery, "hang")
    harness.enqueue(delivery, "next")

    harness.channel.wait_for(lambda: "heard next" in harness.channel.texts())
    assert harness.channel.texts() == [harness.bot.error_text, "heard next"]
    [letter] = delivery.dead_letters.list()
    assert letter.error == "a matcher or middleware did not end within 0.2 s"
    release.set()
    harness.enqueue(delivery, "last")
    harness.channel.wait_for(lambda: "heard last" in harness.channel.texts())
    wait_until_healthy(delivery)
    assert ran == [], "the handler of a message that was given up does not begin"
    assert len(delivery.dead_letters.list()) == 1


def test_handler_timeouts_are_stored_although_one_fails(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    release, tried = threading.Event(), list[str]()

    abandon_handler = ConversationRunner.abandon_handler

    def give_up(runner: ConversationRunner, run: HandlerRun) -> bool:
        tried.append(run.message.key)
        if len(tried) < 3:
            raise (StoreBusy, Panic)[len(tried) - 1]
        return abandon_handler(runner, run)

    monkeypatch.setattr(ConversationRunner, "abandon_handler", give_up)

    @harness.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> None:
        release.wait(60)

    delivery = harness.start_process(threads=3)
    for user in ("ann", "ben", "cem"):
        harness.enqueue(delivery, "hang", user=user)
    try:
        assert len(wait_for_dead_letters(delivery, 3)) == 3
        harness.channel.wait_for(lambda: harness.channel.texts() == [harness.bot.error_text] * 3)
    finally:
        release.set()


def test_handler_timeout_is_stored_without_an_error_reply(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    release, render = threading.Event(), harness.channel.render

    def render_some(operation: Operation) -> Any:
        if operation.message is not None and operation.message.to_text() == harness.bot.error_text:
            raise Panic("no words")
        return render(operation)

    monkeypatch.setattr(harness.channel, "render", render_some)

    @harness.bot.message("hang", timeout=0.2)
    def hang(ctx: Context) -> None:
        release.wait(60)

    answer_messages(harness)
    delivery = harness.start_process(threads=1)
    harness.enqueue(delivery, "hang")
    harness.enqueue(delivery, "next")
    try:
        harness.channel.wait_for(lambda: harness.channel.texts() == ["heard next"])
        assert "did not end within 0.2 s" in wait_for_dead_letters(delivery, 1)[0].error
    finally:
        release.set()


def test_a_handlers_own_time_counts_from_when_it_is_found(harness: Harness) -> None:
    found, release = threading.Event(), threading.Event()

    def take_a_while(ctx: Context) -> bool:
        return found.wait(60)

    @harness.bot.message(take_a_while, timeout=60)
    def answer(ctx: Context) -> str:
        release.wait(60)
        return "in time"

    delivery = harness.start_process(handler_timeout=1.0)
    harness.enqueue(delivery, "hello")
    worker = delivery._workers.existing
    assert worker is not None
    running = worker._handlers
    wait_until(lambda: [run.timeout for run in list(running._runs.values())] == [1.0])
    found.set()
    wait_until(lambda: [run.timeout for run in list(running._runs.values())] == [60.0])
    release.set()

    harness.channel.wait_for(lambda: harness.channel.texts() == ["in time"])
    assert delivery.dead_letters.list() == []
