"""Answers, timers and erasures that meet in one conversation, on both databases."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cometbot import Context
from cometbot.delivery.transactions import Transactions
from cometbot.store.erasure import Erasure
from cometbot.store.tables import conversations, dialogs, outbox, timers
from tests.contract.delivery.conftest import wait_until
from tests.contract.dialogs.processes import CALLS, Processes, at_once


def test_only_one_of_two_answers_at_once_is_taken(processes: Processes) -> None:
    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        return f"{ctx.ask('Which?')}, {ctx.ask('Sure?')}"

    processes.bot.fallback(lambda ctx: "no answer")
    processes.start()
    for user in [f"user{number}" for number in range(CALLS)]:
        processes.write("/order", user)
        processes.wait_texts("Which?", user=user)
        at_once(lambda user=user: processes.write("tea", user, 0), lambda user=user: processes.write("tea", user, 1))
        wait_until(lambda user=user: len(processes.texts(user)) >= 3)  # type: ignore[misc]
        wait_until(lambda: processes.delivery.is_idle)
        said = processes.texts(user)
        # The second one was written before the second question, or, if a process was slow, it answers that.
        assert sorted(said[1:]) in (["Sure?", "no answer"], ["Sure?", "tea, tea"])


def test_redelivered_answer_is_taken_once(processes: Processes) -> None:
    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        return f"{ctx.ask('Which?')}, {ctx.ask('Sure?')}"

    processes.start()
    processes.write("/order")
    processes.wait_texts("Which?")
    at_once(lambda: processes.write("tea", process=0, message_id="x"), lambda: processes.write("tea", message_id="x"))
    processes.wait_texts("Which?", "Sure?")
    processes.write("tea", process=1, message_id="x")
    processes.wait_texts("Which?", "Sure?")


def test_answer_or_timeout_ends_a_question_not_both(processes: Processes) -> None:
    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        answer = ctx.ask("Which?", timeout=0.3, default="nothing")
        return f"{answer}, {ctx.ask('Sure?')}"

    processes.bot.fallback(lambda ctx: "no answer")
    processes.start()
    users = [f"user{number}" for number in range(CALLS)]
    for user in users:
        processes.write("/order", user)
        wait_until(lambda user=user: processes.texts(user) == ["Which?"])  # type: ignore[misc]
    due = threading.Event()
    due.wait(0.3)
    fire = processes.delivery.store.fire_timers
    at_once(*(lambda user=user: processes.write("tea", user) for user in users), fire, fire)
    for user in users:
        wait_until(lambda user=user: "Sure?" in processes.texts(user))  # type: ignore[misc]
    wait_until(lambda: processes.delivery.is_idle)
    for user in users:
        assert processes.texts(user).count("Sure?") == 1
        processes.write("yes", user)
    for user in users:
        wait_until(lambda user=user: processes.texts(user)[-1].endswith(", yes"))  # type: ignore[misc]
    processes.check_nothing_left()


def test_two_processes_fire_a_timer_once(processes: Processes) -> None:
    @processes.bot.command("remind")
    def remind(ctx: Context) -> str:
        ctx.sleep(0.2)
        return "Now!"

    processes.start()
    users = [f"user{number}" for number in range(CALLS)]
    at_once(*(lambda user=user: processes.write("/remind", user) for user in users))
    for user in users:
        wait_until(lambda user=user: processes.texts(user) == ["Now!"])  # type: ignore[misc]
    processes.check_nothing_left()
    assert all(processes.texts(user) == ["Now!"] for user in users)


def test_erasure_ends_a_waiting_dialog(processes: Processes) -> None:
    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        ctx.once(lambda: "kept for the dialog")
        return ctx.ask("Which?", timeout="1h")

    processes.bot.fallback(lambda ctx: f"re: {ctx.text}")
    processes.start()
    processes.write("/order")
    processes.wait_texts("Which?")
    erase(processes)
    processes.check_nothing_left()
    assert processes.count(conversations) == 0
    processes.write("tea")
    processes.wait_texts("Which?", "re: tea")


def test_erasure_beside_answers_and_timers_leaves_nothing(processes: Processes) -> None:
    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        answer = ctx.ask("Which?", timeout=0.2, default="nothing")
        return f"{ctx.once(lambda: answer)}, {ctx.ask('Sure?', timeout=0.2, default='no')}"

    processes.start()
    fire = processes.delivery.store.fire_timers
    for number in range(CALLS):
        user = f"user{number}"
        processes.write("/order", user)
        wait_until(lambda user=user: processes.texts(user) == ["Which?"])  # type: ignore[misc]
        threading.Event().wait(0.2 * (number % 2))
        at_once(lambda user=user: processes.write("tea", user), fire, lambda user=user: erase(processes, user))
    wait_until(lambda: processes.count(timers) == 0)
    wait_until(lambda: processes.count(dialogs) == 0)
    processes.check_nothing_left()


def erase(processes: Processes, user: str = "maria") -> None:
    """Erase a user's conversation, as a channel does that has removed it."""
    conversation_key = processes.channel.conversation(processes.bot, user=user).key_text
    with processes.database.write() as transaction:
        Erasure(processes.database).erase(transaction, [conversation_key])


def test_running_handler_whose_conversation_is_erased_opens_no_dialog(processes: Processes) -> None:
    entered, goes_on = threading.Event(), threading.Event()

    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        ctx.once(lambda: entered.set())
        goes_on.wait(60)
        ctx.once(lambda: "stored after the erasure")
        return ctx.ask("Which?")

    processes.start()
    processes.write("/order")
    assert entered.wait(60)
    erase(processes)
    goes_on.set()
    processes.check_nothing_left()
    assert processes.count(outbox, outbox.c.state.in_(["ready", "sending", "held", "unknown"])) == 0


def test_state_of_once_is_stored_once(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is repeated, as after an unknown outcome, and the handler fails later."""

    @processes.bot.command("order")
    def order(ctx: Context) -> str:
        for _ in range(2):
            ctx.once(lambda: ctx.state.increment("orders"))
        raise ValueError("broken")

    save = Transactions.save_steps

    def save_twice(*args: Any, **options: Any) -> None:
        save(*args, **options)
        save(*args, **options)

    monkeypatch.setattr(Transactions, "save_steps", save_twice)
    processes.start()
    processes.write("/order")
    wait_until(lambda: processes.delivery.dead_letters.list())
    conversation_key = processes.channel.conversation(processes.bot, user="maria").key_text
    with processes.database.read() as connection:
        assert processes.delivery.store.state.load(connection, "conversation", conversation_key) == {"orders": "2"}
