"""/stop reaches the process that runs the handler, and is answered once, also if processes are killed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest

from cometbot.bot import BROKEN_OFF_TEXT, NOTHING_TO_STOP_TEXT, STOP_TEXT

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_dialogs import Machine, write

pytestmark = pytest.mark.process

BOT = f"{BOTS}/stopping.py:bot"


def stop_all(servers: Sequence[Server], platform: CometChatDriver, name: str) -> None:
    """Let the handler of each user be stopped by a callback to the last server."""
    users = [f"{name}-{number}" for number in range(6)]
    for user in users:
        write(servers[0], platform, user, "/work")
    for user in users:
        platform.wait_replies(user, 1, servers[0])
        write(servers[-1], platform, user, "/stop")
    for user in users:
        platform.wait_replies(user, 3, servers[0])
        assert platform.replies(user) == ["I work.", "I have tidied up.", STOP_TEXT]
        write(servers[-1], platform, user, "/stop")
    for user in users:
        assert platform.wait_replies(user, 4, servers[0])[3:] == [NOTHING_TO_STOP_TEXT]


def test_stop_reaches_the_process_that_runs_the_handler(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_PROCESSES="2")
    stop_all([server], platform, "sqlite")
    assert server.dead_letters() == []
    server.close()


def test_stop_reaches_the_machine_that_runs_the_handler(
    start_server: StartServer, platform: CometChatDriver, make_postgres_database: Callable[[], str]
) -> None:
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database(), "COMETBOT_PROCESSES": "1", "COMETBOT_BOT": BOT}
    first = start_server(kind=Machine, **variables)
    second = start_server(kind=Machine, **variables)
    stop_all([first, second], platform, "postgresql")
    first.close()
    second.close()


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.3])
def test_stop_is_answered_once_if_all_is_killed_meanwhile(
    start_server: StartServer, platform: CometChatDriver, delay: float
) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_TEST_LEASES="8")
    user = f"killed-{delay * 10:g}"
    write(server, platform, user, "/tell")
    platform.wait_replies(user, 1, server)
    write(server, platform, user, "/stop")
    time.sleep(delay)  # for whatever the process does meanwhile; each moment must do
    server.kill()
    server.start()
    platform.wait_replies(user, 2, server)
    server.wait_until(lambda: server.query("SELECT * FROM mailbox WHERE state <> 'done'") == [])
    told, answer = platform.replies(user)
    assert set(told.removesuffix(BROKEN_OFF_TEXT).split()) == {"word"}
    assert answer in (STOP_TEXT, NOTHING_TO_STOP_TEXT)  # the second if the handler had just ended
    assert server.dead_letters() == []
    server.close()
