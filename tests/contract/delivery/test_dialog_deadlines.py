"""A handler that continues a dialog and does not end in time."""

from __future__ import annotations

import threading

from cometbot import Context
from cometbot.observer import Observer
from cometbot.steps import FAILED, DialogId
from tests.contract.delivery.conftest import Harness, wait_until


def test_dialog_fails_with_the_answer_that_ran_out_of_time(harness: Harness) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    @harness.bot.command("order", timeout=0.5)
    def order(ctx: Context) -> str:
        is_asked.set()
        answer = ctx.ask("Which?")
        go_on.wait(60)
        return answer

    ends: list[str] = []
    observer = Observer()
    observer.dialog_ended = lambda bot, outcome: ends.append(outcome)  # type: ignore[method-assign]
    delivery = harness.start_process(observer=observer)
    harness.enqueue(delivery, "/order")
    wait_until(lambda: is_asked.is_set() and delivery.is_idle)
    harness.enqueue(delivery, "tea")

    def has_failed() -> bool:
        with delivery.database.read() as connection:
            found = delivery.store.dialogs.load(connection, DialogId("m1"))
        return found is not None and (found.status, found.failed_seq) == (FAILED, 2)

    wait_until(has_failed)
    wait_until(lambda: ends == ["failed"])
    go_on.set()
    [letter] = delivery.dead_letters.list()
    assert letter.id == "m2"
    assert delivery.retry("m2")
    wait_until(lambda: "tea" in harness.channel.texts())
