"""Broadcasts while processes are killed in turn: each user gets the message once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_dialogs import Machine, find_children

pytestmark = pytest.mark.process

BOT = f"{BOTS}/publishing.py:bot"
COUNT = 100
KILLS = 4

PAUSE = 1.2
"""Seconds between two kills, in which messages are sent."""


def play(servers: Sequence[Server], platform: CometChatDriver, user: str, kill: Callable[[int], None]) -> None:
    """Begin a broadcast, kill processes, and check who has got it."""
    readers = [f"reader{number}" for number in range(COUNT)]
    for reader in readers:
        platform.simulator.user(reader)
    before = {reader: len(platform.replies(reader)) for reader in readers}
    assert servers[0].post(platform.callback(platform.write(f"/publish {COUNT}", user))).status_code == 200
    for number in range(KILLS):
        time.sleep(PAUSE)
        kill(number)
    server = servers[-1]
    platform.wait_replies(user, 1, server)
    server.wait_until(lambda: all(len(platform.replies(reader)) > before[reader] for reader in readers))
    time.sleep(PAUSE)
    wrong = [reader for reader in readers if platform.replies(reader)[before[reader] :] != ["News"]]
    assert wrong == []
    assert platform.replies(user)[-1] == f"To {COUNT}."


def test_killed_processes_of_a_machine_reach_each_user_once(
    start_server: StartServer, platform: CometChatDriver
) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_PROCESSES="2", COMETBOT_TEST_LEASES="8")

    def kill(number: int) -> None:
        assert server._process is not None
        children = find_children(server._process.pid)
        with suppress(ProcessLookupError):
            os.kill(children[number % len(children)], signal.SIGKILL)

    play([server], platform, "maria", kill)
    assert server.dead_letters() == []
    server.close()


@pytest.mark.long
def test_killed_machines_reach_each_user_once(
    start_server: StartServer, platform: CometChatDriver, make_postgres_database: Callable[[], str]
) -> None:
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database(), "COMETBOT_PROCESSES": "1", "COMETBOT_BOT": BOT}
    variables["COMETBOT_TEST_LEASES"] = "8"
    first = start_server(kind=Machine, **variables)
    second = start_server(kind=Machine, **variables, COMETBOT_TEST_MARKS=str(first.marks_folder))
    machines = [first, second]

    def kill(number: int) -> None:
        machine = machines[number % 2]
        machine.kill()
        machine.start()

    play(machines, platform, "ann", kill)
    first.close()
    second.close()
