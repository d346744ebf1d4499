"""Dialogs whose processes are killed after each question, and between the fields of a form."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import BOTS, CometChatDriver, Server, StartServer, is_group_alive
from .test_postgresql import ServeCommand

pytestmark = pytest.mark.process

DIALOGS = 4 if os.environ.get("COMETBOT_TEST_FAULTS") == "full" else 1
"""The number of dialogs, each with five questions: ``make faults`` kills twenty times, ``make test`` five times."""

BOT = f"{BOTS}/interview.py:bot"
ANSWERS = ["one", "two", "three", "four", "five"]
TRANSCRIPT = [
    "Welcome.",
    *(f"Question {number}?" for number in range(1, 4)),
    "The rest.\n\nQuestion 4?",
    "Question 5?",
    f"Thank you: {', '.join(ANSWERS)}.",
]


class Machine(ServeCommand):
    """``cometbot serve`` on PostgreSQL, whose gunicorn and worker are sessions of their own."""

    def kill(self) -> None:
        """End all processes at once, those first that would start others."""
        assert self._process is not None
        family = [self._process.pid]
        for process in family:
            family += find_children(process)
        for process in family:
            os.kill(process, signal.SIGKILL)
        super().kill()
        self.wait_until(lambda: not any(map(is_group_alive, family)))


def find_children(process: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def interview(servers: Sequence[Server], platform: CometChatDriver, user: str) -> None:
    """Answer all questions, each to the server after the one that was killed when it had asked."""
    for server in servers:
        if not server.is_running:
            server.start()
    write(servers[0], platform, user, "/interview")
    for number, answer in enumerate(ANSWERS):
        asked, answered = servers[number % len(servers)], servers[(number + 1) % len(servers)]
        platform.wait_replies(user, number + 2, asked)
        asked.kill()
        if asked is answered:
            asked.start()
        write(answered, platform, user, answer)
        if asked is not answered and number + 1 < len(ANSWERS):
            asked.start()
    platform.wait_replies(user, len(TRANSCRIPT), servers[0])
    assert platform.replies(user) == TRANSCRIPT
    assert [servers[0].count_marks(f"{user}-{number}") for number in range(1, 6)] == [1] * 5


def write(server: Server, platform: CometChatDriver, user: str, text: str) -> None:
    assert server.post(platform.callback(platform.write(text, user))).status_code == 200


def test_killed_processes_of_a_machine_lose_no_answer(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_TEST_LEASES="8")
    for number in range(DIALOGS):
        interview([server], platform, f"sqlite-{number}")
    assert server.dead_letters() == []
    assert server.query("SELECT * FROM dialogs") == server.query("SELECT * FROM steps") == []
    assert server.query("SELECT * FROM timers") == []
    server.close()


def test_killed_machine_leaves_its_dialogs_to_the_other(
    start_server: StartServer, platform: CometChatDriver, make_postgres_database: Callable[[], str]
) -> None:
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database(), "COMETBOT_PROCESSES": "1", "COMETBOT_BOT": BOT}
    variables["COMETBOT_TEST_LEASES"] = "8"
    first = start_server(kind=Machine, **variables)
    marks = str(first.marks_folder)
    second = start_server(kind=Machine, **variables, COMETBOT_TEST_MARKS=marks)
    for number in range(DIALOGS):
        interview([first, second], platform, f"postgresql-{number}")
    first.close()
    second.close()
