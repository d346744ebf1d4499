"""Jobs while processes are killed in turn and the clock jumps: each occurrence runs once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_dialogs import Machine, find_children

pytestmark = pytest.mark.process

BOT = f"{BOTS}/ticking.py:bot"
COUNT = 24
JUMPS = (3600.0, 0.0, -3600.0, 7200.0, 0.0)
"""The seconds by which the wall clock is wrong, one after the other."""

PAUSE = 1.5
"""Seconds between two kills, in which jobs run."""


def play(
    servers: Sequence[Server],
    platform: CometChatDriver,
    user: str,
    listener: str,
    kill: Callable[[int], None],
    offset: Path,
    jumps: Sequence[float] = JUMPS,
) -> None:
    """Plan jobs, kill processes and set the clock, and check what has come of it.

    ``listener`` gets a message for each second, by its time.
    """
    platform.simulator.user(listener)
    (offset.parent / "listener").write_text(listener)
    callback = platform.callback(platform.write(f"/plan {COUNT}", user))
    assert servers[0].post(callback).status_code == 200
    for number, jump in enumerate(jumps):
        time.sleep(PAUSE)
        kill(number)
        offset.write_text(str(jump))
    server = servers[-1]
    platform.wait_replies(user, COUNT + 2, server)
    ticks = len(platform.replies(listener))
    server.wait_until(lambda: len(platform.replies(listener)) > ticks + 2)
    assert sorted(platform.replies(user)) == sorted(
        ["Planned.", "last", *(f"ring {number}" for number in range(COUNT))]
    )
    assert {text: count for text, count in Counter(platform.replies(listener)).items() if count > 1} == {}


def test_killed_processes_of_a_machine_run_each_job_once(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_PROCESSES="2", COMETBOT_TEST_LEASES="8")

    def kill(number: int) -> None:
        assert server._process is not None
        children = find_children(server._process.pid)
        with suppress(ProcessLookupError):
            os.kill(children[number % len(children)], signal.SIGKILL)

    play([server], platform, "maria", "tom", kill, server.marks_folder / "offset")
    assert server.dead_letters() == []
    server.close()


@pytest.mark.parametrize(("count", "jumps"), [(2, JUMPS[:2]), pytest.param(4, JUMPS, marks=pytest.mark.long)])
def test_killed_machines_run_each_job_once(
    count: int,
    jumps: Sequence[float],
    start_server: StartServer,
    platform: CometChatDriver,
    make_postgres_database: Callable[[], str],
) -> None:
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database(), "COMETBOT_PROCESSES": "1", "COMETBOT_BOT": BOT}
    variables["COMETBOT_TEST_LEASES"] = "8"
    machines = [start_server(kind=Machine, **variables)]
    marks = machines[0].marks_folder
    while len(machines) < count:
        machines.append(start_server(kind=Machine, **variables, COMETBOT_TEST_MARKS=str(marks)))

    def kill(number: int) -> None:
        machine = machines[number % count]
        machine.kill()
        machine.start()

    play(machines, platform, f"ann-{count}", f"tom-{count}", kill, marks / "offset", jumps)
    for machine in machines:
        machine.close()
