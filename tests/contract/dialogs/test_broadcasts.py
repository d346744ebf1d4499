"""A broadcast of a handler reaches each user once, at whichever commit a process dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contract.dialogs.crashing import Databases, PostgreSQLDatabases, Say, Script, check_all_crashes

IS_FULL = os.environ.get("COMETBOT_TEST_FAULTS") == "full"

PUBLISHING = """
bot.opt_outs = type(bot)("words", opt_out_words=["unsubscribe"]).opt_outs


@bot.command("publish")
def publish(ctx):
    first = bot.broadcast(users=["tom", "paul"], text="News", pace="1/second")
    answer = ctx.ask("Really?")
    second = bot.broadcast(users=["tom"], text=f"More: {answer}", name="more", pace="2/second")
    return f"{first.recipients} and {second.recipients}"
"""


@pytest.fixture(autouse=True)
def quick(databases: Databases) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")


def test_crash_at_any_commit_sends_each_message_once(databases: Databases, tmp_path: Path) -> None:
    steps = [Say("unsubscribe", user="paul"), Say("/publish"), Say("yes")]
    outcome = check_all_crashes(Script([PUBLISHING], steps), databases, tmp_path)
    texts = {key: [text for text, _ in said] for key, said in outcome.transcript.items()}
    assert texts["helpdesk_user_tom"] == ["News", "More: yes"]
    assert len(texts["helpdesk_user_paul"]) == 1
    assert texts["helpdesk_user_maria"][-1] == "2 and 1"
