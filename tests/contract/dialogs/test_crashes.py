"""A dialog loses and doubles nothing, whatever happens to it, and at whichever commit its process dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cometbot.bot import STOP_TEXT
from cometbot.store import sent_files
from tests.contract.dialogs.crashing import (
    Databases,
    PostgreSQLDatabases,
    Press,
    Say,
    Script,
    Wait,
    World,
    check_all_crashes,
    check_end,
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


def test_crash_loses_and_doubles_no_file(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All worlds have the same addresses, so that their transcripts can be compared.
    make_id = sent_files._make_id
    monkeypatch.setattr(sent_files, "get_or_create_metadata", lambda *args: "secret")
    monkeypatch.setattr(sent_files, "_make_id", lambda said, *rest: make_id(said._replace(event="m1"), *rest))
    outcome = check_all_crashes(Script([FILES], [Say("/report"), Say("/check")]), databases, tmp_path)
    assert outcome.texts[-1] == "march.csv=day,cups april.csv=day,cups may.txt=none"


FILES = """
from cometbot import Media

@bot.command("report")
def report(ctx):
    ctx.reply(Media(data=b"day,cups", name="march.csv"))
    return [Media(data=b"day,cups", name="april.csv"), Media(data=b"none", name="may.txt")]

@bot.command("check")
def check(ctx):
    files = [file for message in ctx.history() for file in message.attachments]
    return " ".join(f"{file.name}={file.text()}" for file in files)
"""


def test_crash_in_a_form_loses_no_field(databases: Databases, tmp_path: Path) -> None:
    words = ["/order", "M", "2"]
    bot = write_bot([("form", 1)]).replace("timeout=2100", "timeout=9000")
    outcome = check_all_crashes(Script([bot], [Say(word) for word in words]), databases, tmp_path)
    answers = "[{'size': 'M', 'count': 2}]"
    assert outcome.texts[-1] == f"done {answers}"


def test_crash_around_a_stop_answers_it_once_and_keeps_the_path(databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    outcome = check_all_crashes(Script([STOPPED], [Say("/tell"), Say("yes")]), databases, tmp_path)
    [texts] = outcome.transcript.values()
    assert [text for text, _ in texts] == ["one", STOP_TEXT, "Is that enough?", "cancelled: False", "You said yes."]


STOPPED = """
bot.broken_off_text = ""  # what a crash leaves of a stopped stream is marked


@bot.command("tell")
def tell(ctx):
    def parts():
        yield "one"
        write("/stop")
        yield "two"

    ctx.once(call, "begin")
    ctx.stream(parts)
    if not ctx.cancelled:
        return "That was all."
    ctx.once(call, "tidy")
    answer = ctx.ask("Is that enough?")
    ctx.reply(f"cancelled: {ctx.cancelled}")
    return f"You said {answer}."
"""


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
