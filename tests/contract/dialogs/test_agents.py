"""A model and its tools over both databases: nothing is answered, called or approved twice, wherever a process dies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from cometbot import AgentLimit, Bot, Context, Tool, ToolCall, Turn
from cometbot.delivery.dry_run import dry_run
from cometbot.testing import BotClient
from tests.contract.dialogs.conftest import delivery_of
from tests.contract.dialogs.crashing import (
    Databases,
    Outcome,
    PostgreSQLDatabases,
    Press,
    Say,
    Script,
    ScriptEvent,
    Wait,
    World,
    check_all_crashes,
)
from tests.contract.dialogs.test_crashes import IS_FULL, SETTINGS

BOT = '''
from cometbot import Group, ToolCall, Turn

PLAN = {plan}

def model(turns, tools):
    """Answer by the plan: as many answers as were given before are over."""
    number = sum(turn.role == "assistant" for turn in turns)
    for piece in PLAN[number]:
        yield ToolCall(*piece) if isinstance(piece, tuple) else piece
    if number == len(PLAN) - 1:
        yield " ".join(turn.text for turn in turns if turn.role == "tool")

@bot.tool
def find_order(ctx, number: int):
    """Find an order."""
    ctx.state["found"] = ctx.state.get("found", 0) + 1
    return call(f"find-{{number}}")

@bot.tool(requires_approval=Group("team"))
def refund(ctx, number: int):
    """Refund an order."""
    ctx.state["refunded"] = ctx.state.get("refunded", 0) + 1
    return call(f"refund-{{number}}")

@bot.tool
def fail(number: int):
    return call(f"failing-{{number}}")

@bot.command("order")
def order(ctx):
    sent = ctx.run_agent(model, turns=[Turn("user", ctx.text)])
    ctx.reply("The end.")
'''

FIND, REFUND = ("find_order", {"number": 1}), ("refund", {"number": 2})
FIND_OTHER = ("find_order", {"number": 3})
UNKNOWN, WRONG = ("delete_all", {}), ("find_order", {"number": "x"})

ALL_AT_ONCE = [["Let me ", "see. ", FIND, REFUND, FIND_OTHER], ["Done: "]]
ONE_BY_ONE = [["Let me see. ", FIND], [REFUND], ["Done: "]]
APPROVED, DECLINED = Press(0, user="tom"), Press(1, user="tom")


def play_all_crashes(
    plan: list[list[str | tuple[str, dict[str, object]]]], events: list[ScriptEvent], databases: Databases, path: Path
) -> Outcome:
    """Return what can be seen after a script with the model's answers of ``plan``, whichever process ended."""
    outcome = check_all_crashes(Script([BOT.format(plan=plan)], [Say("/order"), *events]), databases, path)
    assert outcome.letters == []
    return outcome


def test_crash_around_calls_calls_no_tool_again(databases: Databases, tmp_path: Path) -> None:
    outcome = play_all_crashes([[UNKNOWN, WRONG, FIND], [FIND_OTHER], ["Done: "]], [], databases, tmp_path)
    [done, end] = outcome.texts
    assert done.startswith("Done: error: there is no tool")
    assert done.endswith("result of find-1 result of find-3")
    assert end == "The end."


def test_crash_around_an_approved_call_makes_it_once(databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    texts = play_all_crashes(ALL_AT_ONCE, [APPROVED], databases, tmp_path).texts
    assert "Done: result of find-1 result of refund-2 result of find-3" in texts
    assert "The end." in texts


@strategies.composite
def plans(draw: strategies.DrawFn) -> tuple[list[Any], list[ScriptEvent]]:
    """Return the answers of a model, each call with a number of its own, and what becomes of each refund."""
    names = strategies.sampled_from(["find_order", "refund", "fail", "delete_all"])
    answers = draw(strategies.lists(strategies.lists(names, min_size=1, max_size=2), min_size=1, max_size=2))
    numbers = itertools.count(1)
    plan: list[Any] = [
        [*draw(strategies.sampled_from([[], ["Wait."]])), *((name, {"number": next(numbers)}) for name in answer)]
        for answer in answers
    ]
    refunds = sum(answer.count("refund") for answer in answers)
    decisions = draw(strategies.lists(strategies.integers(0, 1), min_size=refunds, max_size=refunds))
    return [*plan, ["Done: "]], [Press(option, user="tom") for option in decisions]


@settings(SETTINGS, max_examples=20 if IS_FULL else 1)
@given(drawn=plans())
def test_crash_at_any_commit_of_an_agent_changes_nothing(
    drawn: tuple[list[Any], list[ScriptEvent]], databases: Databases, tmp_path: Path
) -> None:
    plan, events = drawn
    assert "The end." in play_all_crashes(plan, events, databases, tmp_path).texts


@pytest.mark.skipif(not IS_FULL, reason="takes minutes")
@pytest.mark.parametrize(
    "events",
    [[APPROVED], [DECLINED], [Wait(200_000)], [Say("/cancel")]],
    ids=["approved", "declined", "late", "cancel"],
)
def test_crash_around_all_ends_of_an_approval_changes_nothing(
    events: list[ScriptEvent], databases: Databases, tmp_path: Path
) -> None:
    outcome = play_all_crashes(ONE_BY_ONE, events, databases, tmp_path)
    assert ("refunded" in str(outcome.state)) == (events == [APPROVED])


def test_dry_run_calls_no_tool(bot: Bot) -> None:
    calls: list[int] = []

    @bot.tool
    def find_order(number: int) -> None:
        calls.append(number)

    def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
        yield "Let me see."
        yield ToolCall("find_order", {"number": len(calls)})

    @bot.message()
    def answer(ctx: Context) -> None:
        with suppress(AgentLimit):
            ctx.run_agent(model, turns=[], limit=2)

    client = BotClient(bot)
    client.send("hi")
    result = dry_run(delivery_of(client), "m1")
    assert {planned.text for planned in result.planned} == {"Let me see."}
    assert result.blocked_calls == ("the tool find_order",)
    assert calls == [0]


def test_tool_that_raises_is_called_once(databases: Databases, tmp_path: Path) -> None:
    source = BOT.format(plan=[[("fail", {"number": 1}), FIND], ["Done: "]])
    world = World(Script([source], [Say("/order")]), tmp_path, databases.open)
    databases.clear()
    world.play()
    assert world.called() == ["failing-1", "find-1"]
    [texts] = world.outcome().transcript.values()
    assert texts[0][0] == "Done: error: LookupError: failing-1 result of find-1"
