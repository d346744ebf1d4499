"""What handlers schedule comes once, at whichever commit a process dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contract.dialogs.crashing import Databases, PostgreSQLDatabases, Say, Script, check_all_crashes

IS_FULL = os.environ.get("COMETBOT_TEST_FAULTS") == "full"

PLANNING = """
from cometbot import Choices


@bot.job
def ring(ctx, number):
    ctx.once(call, f"ring-{number}")
    ctx.send(f"Ring {number}.")
    if number < 2:
        ctx.later(300, ring, number=number + 1)


@bot.command("plan")
def plan(ctx):
    ctx.later(100, ring, number=1)
    ctx.later(1500, ring, number=9, name="gone")
    ctx.send(Choices("Which size?", ["S", "M"]), at=200)
    answer = ctx.ask("Really?", key="really")
    for job in ctx.jobs():
        job.cancel()
    ctx.send(f"You said {answer}.", at=300, name="said")
    ctx.send("Tell it.", at=400, to=ctx.conversation_with(user="boss"))
    return f"{len(ctx.jobs())} planned."
"""

REPEATED = """
@bot.job
def tick(ctx):
    ctx.once(call, f"tick-{int(ctx.event.due_at)}")
    ctx.sleep(100)
    ctx.send(f"Tick {int(ctx.event.due_at)}.", to=ctx.conversation_with(user="maria"))


bot.every(432_000, tick, missed="skip")
"""


@pytest.fixture(autouse=True)
def quick(databases: Databases) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")


def test_crash_at_any_commit_repeats_and_loses_no_job(databases: Databases, tmp_path: Path) -> None:
    outcome = check_all_crashes(Script([PLANNING], [Say("/plan"), Say("yes")]), databases, tmp_path)
    assert outcome.transcript["helpdesk_user_boss"] == [("Tell it.", False)]
    assert [text.partition("\n")[0] for text, _ in outcome.transcript["helpdesk_user_maria"]] == [
        "Really?",
        "Ring 1.",
        "Which size?",
        "Ring 2.",
        "2 planned.",
        "You said yes.",
    ]


def test_crash_at_any_commit_runs_each_occurrence_once(databases: Databases, tmp_path: Path) -> None:
    outcome = check_all_crashes(Script([REPEATED], [Say("hello")]), databases, tmp_path)
    assert len(outcome.texts) == 2
