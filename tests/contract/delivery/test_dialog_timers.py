"""What a dialog waits for comes by itself, over every database and with every engine."""

from __future__ import annotations

from cometbot import Context
from tests.contract.delivery.conftest import Harness


def test_question_without_an_answer_ends_at_its_time(harness: Harness) -> None:
    @harness.bot.command("name")
    def name(ctx: Context) -> str:
        return f"Hello {ctx.ask('What is your name?', timeout=0.2, default='stranger')}."

    delivery = harness.start_process()
    harness.enqueue(delivery, "/name")
    harness.channel.wait_for(lambda: "Hello stranger." in harness.channel.texts())
    assert harness.channel.texts() == ["What is your name?", "Hello stranger."]
