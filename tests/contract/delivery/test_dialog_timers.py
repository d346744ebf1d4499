"""What a dialog waits for comes by itself, over every database and with every engine."""

from __future__ import annotations

import threading

from cometbot import Context
from tests.contract.delivery.conftest import Harness, wait_until


def test_question_without_an_answer_ends_at_its_time(harness: Harness) -> None:
    @harness.bot.command("name")
    def name(ctx: Context) -> str:
        return f"Hello {ctx.ask('What is your name?', timeout=0.2, default='stranger')}."

    delivery = harness.start_process()
    harness.enqueue(delivery, "/name")
    harness.channel.wait_for(lambda: "Hello stranger." in harness.channel.texts())
    assert harness.channel.texts() == ["What is your name?", "Hello stranger."]


def test_dialog_fails_with_a_run_past_its_deadline(harness: Harness) -> None:
    go_on, calls = threading.Event(), list[str]()

    @harness.bot.command("name")
    def name(ctx: Context) -> str:
        answer = ctx.ask("What is your name?")
        ctx.once(calls.append, answer)
        go_on.wait(10)
        return f"Hello {answer}."

    delivery = harness.start_process(handler_timeout=0.3)
    harness.enqueue(delivery, "/name")
    harness.channel.wait_for(lambda: "What is your name?" in harness.channel.texts())
    harness.enqueue(delivery, "Maria")
    wait_until(lambda: delivery.dead_letters.list())
    harness.enqueue(delivery, "Tom")
    wait_until(lambda: delivery.is_idle)
    go_on.set()
    [letter] = delivery.dead_letters.list()
    assert delivery.retry(letter.id)
    harness.channel.wait_for(lambda: "Hello Maria." in harness.channel.texts())
    assert calls == ["Maria"]
