"""Buttons with limits on both databases: pressed by two at once, and at processes that die."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Bot, Button, Card, Context
from cometbot.presses import PRESS_SCOPE, REFUSAL_TEXTS
from cometbot.store.tables import state
from cometbot.testing.replies import SentMessage
from tests.contract.delivery.conftest import wait_until
from tests.contract.dialogs.crashing import Databases, Press, Say, Script, check_all_crashes
from tests.contract.dialogs.processes import CALLS, Processes, at_once

USED = REFUSAL_TEXTS["used"]


def press(processes: Processes, process: int, said: SentMessage, number: int, user: str = "maria") -> None:
    offer = said.offers[number]
    group = said.conversation.target if said.conversation.is_group else ""
    values: dict[str, Any] = {"action": offer.name, "value": offer.value, "message_id": said.id}
    incoming = processes.channel.incoming(processes.bot, user=user, group=group, **values)
    processes._deliveries[process].enqueue(incoming)


def add_decision(bot: Bot, decisions: list[str]) -> None:
    @bot.command("ask")
    def ask(ctx: Context, name: str) -> None:
        card = Card(name, buttons=[Button("Approve", "decide", True), Button("Decline", "decide", False)], once=True)
        ctx.send(card, to=ctx.conversation_with(group="managers"))

    @bot.action("decide")
    def decide(ctx: Context, approved: bool) -> str:
        decisions.append(f"{ctx.sender.uid} {approved}")
        return "decided"


def test_two_presses_at_once_in_two_processes_run_one_handler(processes: Processes) -> None:
    decisions: list[str] = []
    add_decision(processes.bot, decisions)
    processes.start()
    for number in range(CALLS):
        processes.write(f"/ask card{number}")
        wait_until(lambda number=number: len(cards(processes)) == number + 1)
        card = cards(processes)[-1]
        at_once(
            lambda card=card: press(processes, 0, card, 0, "tom"), lambda card=card: press(processes, 1, card, 1, "ann")
        )
        wait_until(lambda number=number: len(decided(processes)) == 2 * number + 2)
    wait_until(lambda: processes.delivery.is_idle)

    assert sorted(decided(processes)) == sorted([USED, "decided"] * CALLS)
    assert len(decisions) == CALLS


def cards(processes: Processes) -> list[SentMessage]:
    return [said for said in processes.channel.said if isinstance(said.message, Card)]


def decided(processes: Processes) -> list[str]:
    return [said.text for said in processes.channel.said if not isinstance(said.message, Card)]


def test_card_sent_elsewhere_is_pressed_before_its_handler_has_ended(processes: Processes) -> None:
    decisions: list[str] = []
    add_decision(processes.bot, decisions)

    @processes.bot.command("slow")
    def slow(ctx: Context) -> str:
        ask_again(ctx)
        wait_until(lambda: decisions)
        return "done"

    def ask_again(ctx: Context) -> None:
        card = Card("?", buttons=[Button("Approve", "decide", True)], by=["tom"], expires="1h")
        ctx.send(card, to=ctx.conversation_with(group="managers"))

    processes.start()
    processes.write("/slow")
    wait_until(lambda: cards(processes))
    press(processes, 1, cards(processes)[0], 0, "tom")

    processes.wait_texts("done")
    assert decisions == ["tom True"]


def test_failed_press_does_not_use_the_button_up(processes: Processes) -> None:
    is_broken = True

    @processes.bot.command("ask")
    def ask(ctx: Context) -> Card:
        return Card("?", buttons=[Button("Pay", "pay", 5)], once=True)

    @processes.bot.action("pay")
    def pay(ctx: Context, amount: int) -> str:
        if is_broken:
            raise ValueError("the bank is closed")
        return f"paid {amount}"

    processes.start()
    processes.write("/ask")
    processes.wait_texts("?")
    press(processes, 0, cards(processes)[0], 0)
    processes.wait_texts("?", str(processes.bot.error_text))
    is_broken = False
    press(processes, 1, cards(processes)[0], 0)
    processes.wait_texts("?", str(processes.bot.error_text), "paid 5")

    [letter] = processes.delivery.dead_letters.list()
    processes.delivery.retry(letter.id)
    processes.wait_texts("?", str(processes.bot.error_text), "paid 5", USED)


def test_press_that_asks_uses_the_button_up_at_once(processes: Processes) -> None:
    @processes.bot.command("ask")
    def ask(ctx: Context) -> Card:
        return Card("?", buttons=[Button("Pay", "pay", 5)], once=True)

    @processes.bot.action("pay")
    def pay(ctx: Context, amount: int) -> str:
        return f"paid {amount} for {ctx.ask('What for?')} {ctx.value}"

    processes.start()
    processes.write("/ask")
    processes.wait_texts("?")
    press(processes, 0, cards(processes)[0], 0)
    processes.wait_texts("?", "What for?")
    press(processes, 1, cards(processes)[0], 0)
    processes.wait_texts("?", "What for?", USED)
    processes.write("tea")
    processes.wait_texts("?", "What for?", USED, "paid 5 for tea 5")
    processes.check_nothing_left()


def test_marks_end_with_their_buttons(processes: Processes) -> None:
    @processes.bot.command("ask")
    def ask(ctx: Context) -> Card:
        return Card("?", buttons=[Button("Pay", "pay")], once=True, expires="1h")

    processes.bot.action("pay")(lambda ctx: "paid")
    processes.start()
    processes.write("/ask")
    processes.wait_texts("?")
    press(processes, 0, cards(processes)[0], 0)
    processes.wait_texts("?", "paid")

    assert processes.count(state, state.c.scope == PRESS_SCOPE) == 1
    with processes.database.read() as connection:
        [ends] = connection.execute(sa.select(state.c.expires_at).where(state.c.scope == PRESS_SCOPE)).scalars()
    assert ends - processes.database.clock() == pytest.approx(3600 + 86400, abs=60)


SOURCE = """
from cometbot import Choices

@bot.command("offer")
def offer(ctx):
    return Choices("Tea?", ["Yes", "No"], "decide", once=True, expires="1h")

@bot.action("decide")
def decide(ctx, answer):
    return f"decided {answer}"
"""
SCRIPT = Script([SOURCE], [Say("/offer"), Press(0), Press(1)])
TRANSCRIPT = ["Tea?", "decided Yes", USED]


def test_crash_at_any_commit_loses_and_repeats_no_press(databases: Databases, tmp_path: Path) -> None:
    [transcript] = check_all_crashes(SCRIPT, databases, tmp_path).transcript.values()
    assert [text.partition("\n")[0] for text, _ in transcript] == TRANSCRIPT
