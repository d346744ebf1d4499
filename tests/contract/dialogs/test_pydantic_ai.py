"""An agent of Pydantic AI over both databases: nothing is said, called or approved twice, wherever it crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydantic_ai", reason="needs Python 3.11")

from tests.contract.dialogs.crashing import (
    Databases,
    Outcome,
    PostgreSQLDatabases,
    Press,
    Say,
    Script,
    ScriptEvent,
    check_all_crashes,
)
from tests.contract.dialogs.test_crashes import IS_FULL

BOT = '''
from cometbot import Context, Group, Turn
from cometbot.pydantic_ai import PydanticAgent
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

PLAN = {plan}

async def stream(messages, info):
    """Answer by the plan: as many answers as were given before are over."""
    number = sum(message.kind == "response" for message in messages)
    for index, piece in enumerate(PLAN[number]):
        id = f"c{{number}}-{{index}}"
        yield piece if isinstance(piece, str) else {{index: DeltaToolCall(*piece, tool_call_id=id)}}
    if number == len(PLAN) - 1:
        yield " ".join(str(part.content) for part in messages[-1].parts)

agent = Agent(FunctionModel(stream_function=stream), deps_type=Context)

@agent.tool
async def find_order(run: RunContext[Context], number: int) -> str:
    run.deps.state["found"] = run.deps.state.get("found", 0) + 1
    if number > 100:
        call(f"retry-{{number}}")
        raise ModelRetry("too high")
    return call(f"find-{{number}}")

@agent.tool_plain(requires_approval=True)
def refund(number: int) -> str:
    return call(f"refund-{{number}}")

assistant = PydanticAgent(agent, approvers=Group("team"))

@bot.command("order")
{kind} order(ctx):
    result = assistant.run(ctx, turns=[Turn("user", ctx.text)])
    ctx.reply(f"The end of {{len(result.all_messages())}}.")
'''

FIND, OTHER, HIGH = ("find_order", '{"number": 1}'), ("find_order", '{"number": 3}'), ("find_order", '{"number": 101}')
REFUND = ("refund", '{"number": 2}')
APPROVED = Press(0, user="tom")


def play_all_crashes(
    plan: list[list[str | tuple[str, str]]], events: list[ScriptEvent], databases: Databases, path: Path, kind: str
) -> Outcome:
    """Return what can be seen after a script with the model's answers of ``plan``, whichever process ended."""
    script = Script([BOT.format(plan=plan, kind=kind)], [Say("/order"), *events])
    outcome = check_all_crashes(script, databases, path)
    assert outcome.letters == []
    return outcome


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_crash_around_calls_calls_no_tool_again(kind: str, databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes half a minute")
    plan: list[list[str | tuple[str, str]]] = [["Let me ", "see.", FIND, OTHER], [HIGH], ["Done: "]]
    texts = play_all_crashes(plan, [], databases, tmp_path, kind).texts
    assert texts[0] == "Let me see."
    assert texts[1].startswith("Done: too high")
    assert texts[2] == "The end of 6."


def test_crash_around_an_approved_call_makes_it_once(databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    plan: list[list[str | tuple[str, str]]] = [["Let me see.", FIND, REFUND], ["Done: "]]
    texts = play_all_crashes(plan, [APPROVED], databases, tmp_path, "def").texts
    assert "Done: result of find-1 result of refund-2" in texts
    assert "The end of 4." in texts
