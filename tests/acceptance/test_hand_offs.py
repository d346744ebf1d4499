"""Bursts and hand-offs whose processes are killed between messages: each is handed over, or relayed, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from cometbot.simulator import Simulator, StoredMessage

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_dialogs import Machine, write

pytestmark = pytest.mark.process

BOT = f"{BOTS}/gathering.py:bot"
WORDS = [f"word-{number}" for number in range(10)]
IS_FULL = os.environ.get("COMETBOT_TEST_FAULTS") == "full"


class Support:
    """The group of the people: Ben, and the bot."""

    def __init__(self, simulator: Simulator, platform: CometChatDriver) -> None:
        self._simulator = simulator
        self._platform = platform
        simulator.add_user("ben", "Ben")
        simulator.add_group("support", members=["ben", platform.bot])

    def said(self) -> list[StoredMessage]:
        """Return what the bot has said in the group, oldest first."""
        messages = self._simulator.messages("group_support")
        return [message for message in messages if message.sender == self._platform.bot]

    def answer(self, server: Server, text: str, thread: StoredMessage) -> None:
        said = self._simulator.user("ben").say(text, parent=thread)
        assert server.post(self._platform.callback(said)).status_code == 200


@pytest.fixture(scope="module")
def support(simulator: Simulator, platform: CometChatDriver) -> Support:
    return Support(simulator, platform)


def kill(servers: Sequence[Server], number: int) -> None:
    """Kill a server, and start it again."""
    killed = servers[number % len(servers)]
    killed.kill()
    killed.start()


def write_bursts(servers: Sequence[Server], platform: CometChatDriver, user: str) -> None:
    """Write words, to one server after the other, and kill some of them meanwhile; each word is answered once."""
    for number, word in enumerate(WORDS):
        write(servers[number % len(servers)], platform, user, word)
        if number % 3 == 2 and (IS_FULL or number == 5):
            kill(servers, number)
    said = servers[0].wait_until(lambda: find_words(platform, user)[len(WORDS) - 1 :] and find_words(platform, user))
    assert said == WORDS
    assert len(platform.replies(user)) < len(WORDS)


def find_words(platform: CometChatDriver, user: str) -> list[str]:
    return [word for text in platform.replies(user) for word in text.removeprefix("got ").split()]


def hand_over(servers: Sequence[Server], platform: CometChatDriver, support: Support, user: str) -> None:
    """Let a user and Ben write to each other until he hands back, and kill servers after his messages."""
    before, last = len(support.said()), servers[-1]
    write(servers[0], platform, user, "/human")
    thread = last.wait_until(lambda: support.said()[before:])[0]
    for number in range(3):
        write(servers[number % len(servers)], platform, user, f"question {number}")
        support.answer(last, f"answer {number}", thread)
        if IS_FULL or number == 1:
            kill(servers, number)
    last.wait_until(lambda: len(support.said()) == before + 4)
    platform.wait_replies(user, 4, last)
    support.answer(last, "/done", thread)
    kill(servers, 3)
    platform.wait_replies(user, 5, last)
    last.wait_until(lambda: len(support.said()) == before + 5)
    relayed = support.said()[before + 1 :]
    assert [message.text.partition(": ")[2] for message in relayed[:-1]] == [f"question {n}" for n in range(3)]
    assert relayed[-1].text == "Handed back by Ben."
    assert {message.parent_id for message in relayed} == {thread.id}
    assert platform.replies(user) == [
        "A person will answer you here.",
        *(f"Ben: answer {number}" for number in range(3)),
        "The bot again: done by Ben.",
    ]


def test_killed_processes_of_a_machine_lose_and_double_nothing(
    start_server: StartServer, platform: CometChatDriver, support: Support
) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_TEST_LEASES="8")
    write_bursts([server], platform, "maria")
    hand_over([server], platform, support, "tom")
    assert server.dead_letters() == []
    assert server.query("SELECT * FROM dialogs") == server.query("SELECT * FROM steps") == []
    server.close()


@pytest.mark.long
def test_killed_machines_lose_and_double_nothing(
    start_server: StartServer,
    platform: CometChatDriver,
    support: Support,
    make_postgres_database: Callable[[], str],
) -> None:
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database(), "COMETBOT_PROCESSES": "1", "COMETBOT_BOT": BOT}
    variables["COMETBOT_TEST_LEASES"] = "8"
    machines = [start_server(kind=Machine, **variables) for _ in range(2)]
    write_bursts(machines, platform, "ann")
    hand_over(machines, platform, support, "bob")
    for machine in machines:
        machine.close()
