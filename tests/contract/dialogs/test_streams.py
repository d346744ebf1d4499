"""A stream is complete or marked as broken off, and there once, wherever its process dies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cometbot.messages import Capabilities
from cometbot.store.clock import LEASE_TTL
from cometbot.store.mailbox import MAX_CRASH_COUNT
from cometbot.testing.fake_channel import EVERYTHING
from tests.contract.dialogs.crashing import START, STEP_SECONDS, Databases, Say, Script, World, check_all_crashes

DELTAS = replace(EVERYTHING, deltas=True)
WHOLE = EVERYTHING.without_streams()

BROKEN = """
def words():
    yield "Half "
    yield "an answer "
    raise ValueError("lost")

@bot.command("order", retries={retries})
def order(ctx):
    ctx.reply("Wait")
    ctx.stream(words)
"""

CAUGHT = """
def words():
    yield "Half "
    yield "an answer "
    raise ValueError("lost")

@bot.command("order")
def order(ctx):
    try:
        ctx.stream(words)
    except ValueError:
        ctx.reply("Sorry")
    ctx.stream(["All ", "of it"])
    return ctx.ask("Well?")
"""

AGAIN = """
def words(name):
    yield f"{name} half "
    raise ValueError("lost")

@bot.command("order")
def order(ctx):
    for name in ("One", "Two"):
        try:
            ctx.stream(lambda: words(name))
        except ValueError:
            pass
    ctx.stream(["All ", "of it"])
    return ctx.ask("Well?")
"""

ONCE = """
def words():
    yield "Half "
    raise ValueError("lost")

@bot.command("order")
def order(ctx):
    try:
        ctx.stream(words)
    except ValueError:
        pass
    ctx.once(lambda: call("charge"))
    ctx.reply("Sorry")
    return ctx.ask("Well?")
"""

REPLYING = """
def words(ctx):
    yield "One "
    ctx.reply("Inside")
    yield "two"

@bot.command("order")
def order(ctx):
    ctx.stream(lambda: words(ctx))
    return ctx.ask("Well?")
"""

KILLED = """
import os
from pathlib import Path

def words():
    yield "Half "
    call("stream")
    if len(Path({calls!r}).read_text().split()) <= {kills}:
        os._exit(0)
    yield "and half"

@bot.command("order")
def order(ctx):
    ctx.stream(words)
"""


@pytest.fixture(params=[EVERYTHING, DELTAS, WHOLE], ids=["edits", "deltas", "whole"])
def capabilities(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the platform show streams in each way."""
    make_platform = World.platform

    def platform(world: World) -> Any:
        channel = make_platform(world)
        channel.capabilities = request.param
        return channel

    monkeypatch.setattr(World, "platform", platform)
    return request.param


@pytest.mark.parametrize("retries", [0, 1])
def test_crash_at_any_commit_changes_no_broken_stream(
    databases: Databases, tmp_path: Path, capabilities: Capabilities, retries: int
) -> None:
    outcome = check_all_crashes(Script([BROKEN.format(retries=retries)], [Say("/order")]), databases, tmp_path)
    [texts] = outcome.transcript.values()
    assert [text for text, _ in texts][:2] == ["Wait", "Half an answer … (broken off)"]
    assert len(texts) == 3


def test_crash_at_any_commit_changes_no_stream_whose_error_was_caught(
    databases: Databases, tmp_path: Path, capabilities: Capabilities
) -> None:
    outcome = check_all_crashes(Script([CAUGHT], [Say("/order"), Say("fine")]), databases, tmp_path)
    [texts] = outcome.transcript.values()
    assert [text for text, _ in texts] == ["Half an answer … (broken off)", "Sorry", "All of it", "Well?", "fine"]


def test_crash_at_any_commit_changes_no_streams_that_break_off_in_a_row(
    databases: Databases, tmp_path: Path, capabilities: Capabilities
) -> None:
    outcome = check_all_crashes(Script([AGAIN], [Say("/order"), Say("fine")]), databases, tmp_path)
    [texts] = outcome.transcript.values()
    marked = ["One half … (broken off)", "Two half … (broken off)"]
    assert [text for text, _ in texts] == [*marked, "All of it", "Well?", "fine"]


def test_crash_at_any_commit_keeps_the_mark_before_a_call_of_once(
    databases: Databases, tmp_path: Path, capabilities: Capabilities
) -> None:
    outcome = check_all_crashes(Script([ONCE], [Say("/order"), Say("fine")]), databases, tmp_path)
    [texts] = outcome.transcript.values()
    assert [text for text, _ in texts] == ["Half … (broken off)", "Sorry", "Well?", "fine"]


def test_crash_at_any_commit_changes_no_stream_whose_source_replies(
    databases: Databases, tmp_path: Path, capabilities: Capabilities
) -> None:
    outcome = check_all_crashes(Script([REPLYING], [Say("/order"), Say("fine")]), databases, tmp_path)
    [texts] = outcome.transcript.values()
    assert sorted(text for text, _ in texts) == ["Inside", "One two", "Well?", "fine"]


@pytest.mark.parametrize("kills", [1, MAX_CRASH_COUNT])
def test_half_of_a_killed_process_is_marked_or_completed(
    databases: Databases, tmp_path: Path, capabilities: Capabilities, kills: int
) -> None:
    databases.clear()
    world = World(
        Script([KILLED.format(calls=str(tmp_path / "calls"), kills=kills)], [Say("/order")]), tmp_path, databases.open
    )
    for number in range(1, kills + 1):
        world.play_in_child(0)
        # The leases of the dead process run out.
        now = START + STEP_SECONDS + number * (LEASE_TTL + 5)
        (tmp_path / "position").write_text(json.dumps({"index": 0, "now": now}))
    world.play()
    texts = world.outcome().texts
    marked = [] if capabilities is WHOLE else ["Half … (broken off)"]
    assert texts == (["Half and half"] if kills < MAX_CRASH_COUNT else marked)
