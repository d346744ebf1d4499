"""A dialog loses and doubles nothing, whatever happens to it, and at whichever commit its process dies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.contract.dialogs.crashing import (
    Databases,
    Outcome,
    PostgreSQLDatabases,
    Press,
    Say,
    Script,
    Wait,
    World,
)
from tests.contract.dialogs.scripts import scripts, write_bot

IS_FULL = os.environ.get("COMETBOT_TEST_FAULTS") == "full"
EXAMPLES = 200 if IS_FULL else 2
# The same scripts each time; a failing one is shown as it is, since the search for a shorter one takes many minutes.
SETTINGS = settings(derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@settings(SETTINGS, max_examples=10 * EXAMPLES)
@given(script=scripts())
def test_nothing_stays_of_dialogs_that_ended(script: Script, databases: Databases, tmp_path: Path) -> None:
    databases.clear()
    world = World(script, tmp_path, databases.open)
    world.play()
    check_end(world.outcome())


@settings(SETTINGS, max_examples=EXAMPLES)
@given(script=scripts())
def test_crash_at_any_commit_changes_nothing(script: Script, databases: Databases, tmp_path: Path) -> None:
    check_all_crashes(script, databases, tmp_path)


def check_all_crashes(script: Script, databases: Databases, tmp_path: Path) -> None:
    """Play the script, and once more for each point at which a process may end, with a process that ends there."""
    databases.clear()
    world = World(script, tmp_path, databases.open)
    points = world.play()
    calls, expected = Counter(world.called()), world.outcome()
    check_end(expected)
    for point in range(1, points + 1):
        databases.clear()
        world = World(script, tmp_path, databases.open)
        world.play_in_child(point)
        world.play()
        assert world.outcome() == expected, f"after a crash at point {point} of {points}"
        assert count_calls(world.called()) == calls, f"after a crash at point {point} of {points}"


def test_crash_changes_nothing_that_outgoing_middleware_passed(databases: Databases, tmp_path: Path) -> None:
    """It drops a reply and a stream, which keep their places, and changes the rest."""
    parts = ["reply", "stream", "choose", "edit", "reply"]
    source = write_bot([(kind, number) for number, kind in enumerate(parts)]) + OUTGOING
    check_all_crashes(Script([source], [Say("/order"), Say("M")]), databases, tmp_path)


OUTGOING = """
from cometbot import Text

@bot.outgoing
def change(message, outgoing):
    if message.to_text().startswith(("Reply 0", "Stream")):
        return None
    return Text(message.text + "!") if isinstance(message, Text) else message
"""


def test_crash_in_a_form_loses_no_field(databases: Databases, tmp_path: Path) -> None:
    words = ["/order", "M", "2"]
    bot = write_bot([("form", 1)]).replace("timeout=2100", "timeout=9000")
    script = Script([bot], [Say(word) for word in words])
    databases.clear()
    world = World(script, tmp_path, databases.open)
    points, expected = world.play(), world.outcome()
    answers = "[{'size': 'M', 'count': 2}]"
    assert [text for texts in expected.transcript.values() for text, _ in texts][-1] == f"done {answers}"
    for point in range(1, points + 1):
        databases.clear()
        world = World(script, tmp_path, databases.open)
        world.play_in_child(point)
        world.play()
        assert world.outcome() == expected, f"after a crash at point {point} of {points}"


def test_crash_around_an_approval_changes_nothing(databases: Databases, tmp_path: Path) -> None:
    """A card goes out, is decided and edited once, wherever the process dies."""
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    source = write_bot([("approve", 0), ("once", 1)])
    check_all_crashes(Script([source], [Say("/order"), Press(0, user="tom")]), databases, tmp_path)


@pytest.mark.skipif(not IS_FULL, reason="takes minutes")
@pytest.mark.parametrize("group", ["", "team"], ids=["elsewhere", "here"])
def test_crash_around_all_ends_of_approvals_changes_nothing(databases: Databases, tmp_path: Path, group: str) -> None:
    parts = ["reply", "approve", "once", "choose", "approve", "edit"]
    source = write_bot([(kind, number) for number, kind in enumerate(parts)])
    decided = [Press(0, user="tom"), Say("S", group=group), Press(1, user="tom")]
    for rest in (decided, [Say("/cancel", group=group)], [Wait()]):
        check_all_crashes(Script([source], [Say("/order", group=group), *rest]), databases, tmp_path)


def check_end(outcome: Outcome) -> None:
    """Check that nothing is left of the dialogs."""
    assert {name: rows for name, rows in outcome.rest.items() if rows} == {}


def count_calls(words: Sequence[str]) -> Counter[str]:
    """Count the calls.

    One whose process died before it was stored counts once with its second time. So does one that failed, because an
    exception is stored with the next step only.
    """
    crash = next(index for index, word in enumerate(words) if word.startswith("crash-"))
    before, after = list(words[:crash]), list(words[crash + 1 :])
    failed = {word for word in before if word.startswith("failing-")}
    after = [word for word in after if word not in failed]
    if words[crash] == "crash-before" and before and before[-1:] == after[:1]:
        after.pop(0)
    return Counter(before + after)
