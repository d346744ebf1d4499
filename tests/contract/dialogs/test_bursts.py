"""Each message is handed over once, or superseded on record, however messages arrive and processes die."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cometbot import Context
from cometbot.store.tables import mailbox
from tests.contract.delivery.conftest import TIMEOUT, wait_until
from tests.contract.dialogs.crashing import (
    Databases,
    PostgreSQLDatabases,
    Redeliver,
    Say,
    Script,
    ScriptEvent,
    Wait,
    World,
    check_end,
)
from tests.contract.dialogs.processes import Processes

IS_FULL = os.environ.get("COMETBOT_TEST_FAULTS") == "full"
EXAMPLES = 50 if IS_FULL else 1
SETTINGS = settings(derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))

SOURCE = """
bot.burst_pause = 1500.0


def handed(ctx):
    texts = [message.text for message in ctx.messages]
    if "meanwhile" in ctx.text:
        for time in ("once", "twice"):
            write(f"{texts[-1].partition(' ')[0]}-{time}")
    return f"got {' '.join(text.partition(' ')[0] for text in texts)}"


@bot.message("ignored")
def ignore(ctx):
    pass


@bot.message(lambda ctx: "plain" in ctx.text)
def plain(ctx):
    return handed(ctx)


@bot.fallback(concurrency=CONCURRENCY)
def gathered(ctx):
    if "state" in ctx.text:
        ctx.state["seen"] = ctx.text
    ctx.reply("first, " + handed(ctx))
"""


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Users write alone and in a group, with pauses of any length, also while a handler runs."""
    concurrency = draw(st.sampled_from(["burst", "latest", "queue"]))
    count = draw(st.integers(2, 7))
    events: list[ScriptEvent] = []
    for number in range(count):
        kind = draw(st.sampled_from(["", "", "", " plain", " state", " meanwhile"]))
        user, group = draw(
            st.sampled_from([("maria", ""), ("maria", ""), ("ben", ""), ("maria", "ops"), ("ben", "ops")])
        )
        events.append(Say(f"t{number}{kind}", user, group))
        if draw(st.integers(0, 2)) == 0:
            events.append(Wait(draw(st.sampled_from([100.0, 400.0, 600.0, 5000.0]))))
        if draw(st.integers(0, 5)) == 0:
            events.append(Redeliver(draw(st.integers(0, len(events) - 1))))
    return Script([f"CONCURRENCY = {concurrency!r}\n{SOURCE}"], events)


def check_each_once(world: World) -> Counter[str]:
    """Check that each message was handed over once or is recorded as superseded. Return how often each happened."""
    outcome = world.outcome()
    check_end(outcome)
    assert outcome.letters == []
    handed = [word for text in outcome.texts for word in text.partition("got ")[2].split()]
    database = world.open_database()
    with database.read() as connection:
        rows = connection.execute(sa.select(mailbox.c.seq, mailbox.c.body, mailbox.c.handler)).all()
    database.close()
    by_id = {f"m{row.seq}": row for row in rows}
    superseded = []
    for row in rows:
        if named := re.fullmatch(r"superseded by (m\d+)", row.handler):
            superseded.append(_first_word(row.body))
            assert int(named[1][1:]) > row.seq
            assert named[1] in by_id
    written = [_first_word(row.body) for row in rows]
    assert len(written) == len(set(written))
    assert sorted(handed + superseded) == sorted(written)
    return Counter(handed=len(handed), superseded=len(superseded), messages=len(written))


def _first_word(body: bytes) -> str:
    return str(json.loads(body)["text"]).partition(" ")[0]


@settings(SETTINGS, max_examples=20 * EXAMPLES)
@given(script=scripts())
def test_each_message_is_handed_over_once_or_superseded(script: Script, databases: Databases, tmp_path: Path) -> None:
    databases.clear()
    world = World(script, tmp_path, databases.open)
    world.play()
    check_each_once(world)


@settings(SETTINGS, max_examples=EXAMPLES)
@given(script=scripts())
def test_crash_at_any_commit_loses_and_doubles_no_message(script: Script, databases: Databases, tmp_path: Path) -> None:
    check_crashes(script, databases, tmp_path)


@pytest.mark.parametrize("concurrency", ["burst", "latest"])
def test_crash_around_a_burst_loses_and_doubles_no_message(
    concurrency: str, databases: Databases, tmp_path: Path
) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    says = [Say("a"), Say("b"), Say("c meanwhile"), Say("d plain"), Wait()]
    seen = check_crashes(Script([f"CONCURRENCY = {concurrency!r}\n{SOURCE}"], says), databases, tmp_path)
    assert seen["messages"] == 6
    assert seen["superseded"] == (1 if concurrency == "latest" else 0)


def check_crashes(script: Script, databases: Databases, tmp_path: Path) -> Counter[str]:
    databases.clear()
    world = World(script, tmp_path, databases.open)
    points = world.play()
    seen = check_each_once(world)
    for point in range(1, points + 1):
        databases.clear()
        world = World(script, tmp_path, databases.open)
        world.play_in_child(point)
        world.play()
        check_each_once(world)
    return seen


def test_burst_of_several_threads_and_processes_is_one_call(processes: Processes) -> None:
    calls: list[list[str]] = []
    processes.bot.burst_pause = 1.0
    processes.bot.fallback(concurrency="burst")(lambda ctx: calls.append([item.text for item in ctx.messages]))
    processes.start()
    for number in range(6):
        processes.write(str(number), process=number % 2)
    wait_until(lambda: processes.delivery.is_idle)
    assert sum(map(len, calls)) == 6
    assert [text for call in calls for text in call] == [str(number) for number in range(6)]
    processes.check_nothing_left()


def test_newest_message_stops_the_stream_and_supersedes_the_others(processes: Processes) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    @processes.bot.fallback(concurrency="latest")
    def answer(ctx: Context) -> None:
        def parts() -> object:
            yield f"{ctx.text}: one "
            if ctx.text == "a":
                begun.set()
                assert may_go_on.wait(TIMEOUT)
                wait_until(lambda: ctx.cancelled)
            yield "two"

        ctx.stream(parts())

    processes.start()
    processes.write("a")
    assert begun.wait(TIMEOUT)
    for text in "bcd":
        processes.write(text, process=1)
    may_go_on.set()
    processes.wait_texts("a: one ", "d: one two")
    query = sa.select(mailbox.c.handler).order_by(mailbox.c.seq)
    with processes.database.read() as connection:
        by_b, by_c = list(connection.execute(query).scalars())[1:3]
    assert by_b == by_c == "superseded by m4"
    processes.check_nothing_left()
