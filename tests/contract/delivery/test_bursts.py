"""Bursts and limits with every engine: nothing waits in a thread, and all processes count together."""

from __future__ import annotations

import threading

from cometbot.context import Context
from cometbot.rates import Rate
from tests.contract.delivery.conftest import TIMEOUT, Harness, wait_until


def test_burst_is_handed_over_by_any_process(harness: Harness) -> None:
    calls: list[list[str]] = []
    harness.bot.burst_pause = 1.0
    harness.bot.fallback(concurrency="burst")(lambda ctx: calls.append([item.text for item in ctx.messages]))
    first, second = harness.start_process(), harness.start_process()
    for number in range(4):
        harness.enqueue((first, second)[number % 2], str(number))
    wait_until(lambda: first.is_idle)
    assert [text for call in calls for text in call] == ["0", "1", "2", "3"]


def test_burst_that_waits_holds_no_thread(harness: Harness) -> None:
    harness.bot.burst_pause = 2.0
    answered = threading.Event()

    @harness.bot.message("now")
    def now(ctx: Context) -> None:
        answered.set()

    handed: list[str] = []
    harness.bot.fallback(concurrency="burst")(lambda ctx: handed.append(ctx.text))
    delivery = harness.start_process(threads=1, max_threads=1)
    for user in ("a", "b", "c"):
        harness.enqueue(delivery, f"hello of {user}", user=user)
    harness.enqueue(delivery, "now", user="d")
    assert answered.wait(TIMEOUT)
    wait_until(lambda: len(handed) == 3)


def test_limit_of_a_user_counts_over_processes(harness: Harness) -> None:
    bot = harness.bot
    bot.user_limit, bot.user_limit_text = Rate(5, "day"), "Enough."
    bot.fallback(lambda ctx: "ok")
    first, second = harness.start_process(), harness.start_process()
    for number in range(8):
        harness.enqueue((first, second)[number % 2], str(number))
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 6)
    wait_until(lambda: first.is_idle)
    assert harness.channel.texts() == ["ok"] * 5 + ["Enough."]
