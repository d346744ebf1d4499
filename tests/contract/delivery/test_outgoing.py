"""Outgoing middleware over every database: what it drops and holds back, and error texts that no handler sends."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import apologies
from cometbot.context import Context
from cometbot.messages import Message, Text
from cometbot.outgoing import Outgoing
from cometbot.store.tables import outbox
from tests.contract.delivery.conftest import Harness, wait_until


def shout(message: Message, outgoing: Outgoing) -> Message:
    return replace(message, text=message.text.upper()) if isinstance(message, Text) else message


def stored_rows(harness: Harness) -> list[str]:
    """Return the payloads of all replies that are stored."""
    with harness.start_process(start=False).database.read() as connection:
        return [str(payload) for payload in connection.execute(sa.select(outbox.c.payload)).scalars()]


def test_dropped_reply_keeps_its_place_when_the_handler_runs_again(harness: Harness) -> None:
    # Else the reply behind it would take its place, and be said twice or not at all.
    runs: list[int] = []

    @harness.bot.outgoing
    def drop_in_first_run(message: Message, outgoing: Outgoing) -> Message | None:
        return None if len(runs) == 1 and "first" in message.to_text() else message

    @harness.bot.message("go", retries=1)
    def go(ctx: Context) -> str:
        runs.append(1)
        ctx.reply("first")
        ctx.reply(f"second of run {len(runs)}")
        if len(runs) == 1:
            raise ValueError("interrupted")
        return "done"

    delivery = harness.start_process()
    harness.enqueue(delivery, "go")
    harness.channel.wait_for(lambda: "done" in harness.channel.texts())
    assert harness.channel.texts() == ["second of run 1", "first", "done"]


def test_failed_reply_is_not_stored_and_can_be_retried(harness: Harness) -> None:
    is_broken = True

    @harness.bot.outgoing
    def check(message: Message, outgoing: Outgoing) -> Message:
        if is_broken and "number" in message.to_text():
            raise LookupError("cannot check")
        return message

    harness.bot.fallback(lambda ctx: ["first", "the number"])
    delivery = harness.start_process()
    harness.enqueue(delivery, "go")
    wait_until(delivery.dead_letters.list)
    [letter] = delivery.dead_letters.list()
    assert letter.error == "LookupError: cannot check"
    harness.channel.wait_for(lambda: harness.channel.texts() == [harness.bot.error_text])
    assert not any("first" in row or "number" in row for row in stored_rows(harness))

    is_broken = False
    delivery.retry(letter.id)
    harness.channel.wait_for(lambda: harness.channel.texts() == [harness.bot.error_text, "first", "the number"])


def test_bot_send_returns_none_for_a_dropped_message(harness: Harness) -> None:
    harness.bot.outgoing(lambda message, outgoing: None if "secret" in message.to_text() else message)
    harness.bot.outgoing(shout)
    seen: list[Outgoing] = []
    harness.bot.outgoing(lambda message, outgoing: seen.append(outgoing) or message)
    delivery = harness.start_process()
    harness.bot.connect(delivery)
    assert harness.bot.send(user="tom", text="a secret") is None
    assert harness.bot.send(user="tom", text="open") is not None
    harness.channel.wait_for(lambda: harness.channel.texts() == ["OPEN"])
    assert [(item.bot, item.conversation.target, item.event) for item in seen] == [(harness.bot, "tom", None)]


def test_bot_send_raises_and_stores_nothing(harness: Harness) -> None:
    @harness.bot.outgoing
    def fail(message: Message, outgoing: Outgoing) -> Message:
        raise LookupError("cannot check")

    delivery = harness.start_process()
    harness.bot.connect(delivery)
    with pytest.raises(LookupError):
        harness.bot.send(user="tom", text="hello")
    assert stored_rows(harness) == []


def test_error_text_after_a_timeout_is_passed(harness: Harness) -> None:
    release = threading.Event()
    events: list[Any] = []

    @harness.bot.outgoing
    def loud(message: Message, outgoing: Outgoing) -> Message:
        events.append(outgoing.event)
        return shout(message, outgoing)

    harness.bot.message("hang", timeout=0.2)(lambda ctx: release.wait(60) and None)
    harness.bot.fallback(lambda ctx: f"echo {ctx.text}")
    delivery = harness.start_process(threads=1)
    harness.enqueue(delivery, "hang", id="1")
    harness.enqueue(delivery, "next", id="2")
    harness.channel.wait_for(lambda: "ECHO NEXT" in harness.channel.texts())
    release.set()
    assert harness.channel.texts() == [str(harness.bot.error_text).upper(), "ECHO NEXT"]
    assert events[0].text == "hang"


@pytest.mark.parametrize("way", ["hangs", "raises", "drops"])
def test_error_text_that_cannot_be_passed_is_held_back(
    harness: Harness, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread that gives up handlers also renews the leases: middleware that hangs must not keep it.
    monkeypatch.setattr(apologies, "OUTGOING_TIMEOUT", 0.1)
    release = threading.Event()

    @harness.bot.outgoing
    def check(message: Message, outgoing: Outgoing) -> Message | None:
        if message.to_text() != harness.bot.error_text:
            return message
        if way == "raises":
            raise LookupError("cannot check")
        if way == "hangs":
            release.wait(60)
        return None

    harness.bot.message("hang", timeout=0.2)(lambda ctx: release.wait(60) and None)
    harness.bot.fallback(lambda ctx: f"echo {ctx.text}")
    delivery = harness.start_process(threads=2)
    for user in ("maria", "tom"):
        harness.enqueue(delivery, "hang", user=user)
        harness.enqueue(delivery, "next", user=user)
    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    release.set()
    assert harness.channel.texts() == ["echo next", "echo next"]
    letters = delivery.dead_letters.list()
    assert len(letters) == 2
    assert all("did not end within 0.2 s" in letter.error for letter in letters)


def test_error_text_for_a_reply_that_cannot_be_rendered_is_passed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = harness.channel.render

    def render_some(operation: Any) -> Any:
        if "UNSAYABLE" in operation.message.to_text():
            raise LookupError("cannot render")
        return render(operation)

    monkeypatch.setattr(harness.channel, "render", render_some)
    harness.bot.outgoing(shout)
    harness.bot.fallback(lambda ctx: "unsayable")
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    harness.channel.wait_for(lambda: harness.channel.texts() == [str(harness.bot.error_text).upper()])
