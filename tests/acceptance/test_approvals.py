"""An expense that a group approves, whose processes are killed between the card and the press, and after the press."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable

import pytest

from cometbot.simulator import Simulator

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_dialogs import Machine, write

pytestmark = pytest.mark.process

BOT = f"{BOTS}/expenses.py:bot"


class Managers:
    """The group that approves: tom and ann, and the bot."""

    def __init__(self, simulator: Simulator, platform: CometChatDriver) -> None:
        self._simulator = simulator
        self._platform = platform
        for uid in ("tom", "ann"):
            simulator.add_user(uid, uid.title())
        simulator.add_group("managers", members=["tom", "ann", platform.bot])

    def cards(self) -> list[str]:
        """Return the texts of the bot's messages in the group as they are now, oldest first."""
        messages = self._simulator.messages("group_managers")
        return [message.text for message in messages if message.sender == self._platform.bot]

    def write(self, server: Server, user: str, text: str) -> None:
        said = self._simulator.user(user).say(text, group="managers")
        assert server.post(self._platform.callback(said)).status_code == 200


@pytest.fixture(scope="module")
def managers(simulator: Simulator, platform: CometChatDriver) -> Managers:
    return Managers(simulator, platform)


def ask(server: Server, platform: CometChatDriver, managers: Managers, user: str, euros: int) -> int:
    """Fill in an expense, and return the number of its approval."""
    before = len(managers.cards())
    write(server, platform, user, "/expense")
    platform.wait_replies(user, 1, server)
    write(server, platform, user, str(euros))
    server.wait_until(lambda: len(managers.cards()) > before)
    return find_number(managers.cards()[-1])


def find_number(card: str) -> int:
    """Return the number of an approval from the text of its card."""
    found = re.search(r"approve (\d+)", card)
    assert found is not None
    return int(found[1])


def check_paid_once(servers: list[Server], platform: CometChatDriver, managers: Managers, user: str) -> None:
    alive = servers[-1]
    platform.wait_replies(user, 2, alive, 60)
    assert platform.replies(user)[1:] == [f"Approved by Tom: receipt of {user}"]
    alive.wait_until(lambda: managers.cards()[-1].endswith("Approved by Tom."))
    assert servers[0].count_marks(user) == 1


def test_press_on_another_machine_after_a_kill_pays_once(
    start_server: StartServer,
    platform: CometChatDriver,
    managers: Managers,
    make_postgres_database: Callable[[], str],
) -> None:
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database(), "COMETBOT_PROCESSES": "1", "COMETBOT_BOT": BOT}
    variables["COMETBOT_TEST_LEASES"] = "8"
    first = start_server(kind=Machine, **variables)
    second = start_server(kind=Machine, **variables, COMETBOT_TEST_MARKS=str(first.marks_folder))
    number = ask(first, platform, managers, "maria", 30)
    first.kill()
    managers.write(second, "tom", f"approve {number}")

    check_paid_once([first, second], platform, managers, "maria")
    first.start()
    number = ask(second, platform, managers, "bob", 50)
    presses = [
        threading.Thread(target=managers.write, args=(server, user, f"{word} {number}"))
        for server, user, word in ((first, "ann", "decline"), (second, "tom", "approve"))
    ]
    for press in presses:
        press.start()
    for press in presses:
        press.join()
    outcome = platform.wait_replies("bob", 2, second)[1]
    decided = {"declined.": "Declined by Ann.", "Approved by Tom: receipt of bob": "Approved by Tom."}[outcome]
    second.wait_until(lambda: managers.cards()[-1] == f"{number} is closed. {decided}")
    second.wait_until(lambda: managers.cards()[-2].endswith(decided))
    assert len(platform.replies("bob")) == 2
    assert first.count_marks("bob") == (outcome != "declined.")
    first.close()
    second.close()


@pytest.mark.skipif(os.environ.get("COMETBOT_TEST_FAULTS") != "full", reason="contract/dialogs kills more often")
def test_kill_right_after_the_press_loses_no_decision(
    start_server: StartServer, platform: CometChatDriver, managers: Managers
) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_TEST_LEASES="8")
    number = ask(server, platform, managers, "eve", 40)
    server.kill()
    server.start()
    managers.write(server, "tom", f"approve {number}")
    server.kill()
    server.start()

    check_paid_once([server], platform, managers, "eve")
    assert server.dead_letters() == []
    assert server.query("SELECT * FROM dialogs") == server.query("SELECT * FROM timers") == []
    server.close()
