"""Files of bots at real processes: served by all of them, in parts too, and not lost with the one that made them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from .conftest import BOTS, CometChatDriver, Server, StartServer

pytestmark = pytest.mark.process

CONTENT = bytes(range(256)) * 4000
"""What the bot sends."""

VARIABLES = {
    "COMETBOT_BOT": f"{BOTS}/reporting.py:bot",
    "COMETBOT_TEST_LEASES": "8",
    "COMETBOT_PUBLIC_URL": "https://bots.test",
}


class ServeCommand(Server):
    """``cometbot serve``, which runs a worker beside the web processes on PostgreSQL."""

    command = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')", "serve")


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path) -> Server:
    variables = {**VARIABLES, "COMETBOT_DATA": str(tmp_path / "data")}
    if request.param == "sqlite":
        return start_server(**variables)
    make_database: Callable[[], str] = request.getfixturevalue("make_postgres_database")
    return start_server(kind=ServeCommand, **{**variables, "COMETBOT_DATABASE_URL": make_database()})


@pytest.fixture
def user(platform: CometChatDriver) -> str:
    """A user of this test alone."""
    uid = f"user-{len(platform.simulator.world.directory.users)}"
    platform.simulator.add_user(uid)
    return uid


def ask(server: Server, platform: CometChatDriver, user: str, text: str) -> dict[str, Any]:
    """Write to the bot for the first time, and return the attachment of its first message."""
    assert server.post(platform.callback(platform.write(text, user))).status_code == 200
    platform.wait_replies(user, 1, server)
    found = [message.data for message in platform.simulator.messages(between=(user, platform.bot))]
    (attachment,) = [item for data in found for item in data.get("attachments", ())]
    return dict(attachment)


def load(server: Server, attachment: dict[str, Any], **headers: str) -> requests.Response:
    """Load a file. After a kill, processes of ``cometbot serve`` may still end, and others take their place."""
    assert attachment["url"].startswith("https://bots.test/files/")

    def attempt() -> list[requests.Response]:
        try:
            return [requests.get(server.url + urlsplit(attachment["url"]).path, headers=headers, timeout=60)]
        except requests.ConnectionError:
            return []

    return server.wait_until(attempt)[0]


def test_file_is_served_by_every_process_and_after_a_kill(server: Server, platform: CometChatDriver, user: str) -> None:
    attachment = ask(server, platform, user, "/report")
    assert (attachment["name"], attachment["size"]) == ("report.bin", len(CONTENT))

    for _ in range(6):
        answer = load(server, attachment)
        assert (answer.status_code, answer.content) == (200, CONTENT)
    part = load(server, attachment, Range="bytes=300000-700000")
    assert (part.status_code, part.content) == (206, CONTENT[300000:700001])

    server.kill()
    server.start()
    assert load(server, attachment).content == CONTENT
    changed = {**attachment, "url": attachment["url"].replace("/report.bin", "/other.bin")}
    assert load(server, changed).status_code == 404
    assert urlsplit(attachment["url"]).path.split("/")[2] not in server.log
    server.close()


def test_file_of_a_killed_handler_is_sent_once(server: Server, platform: CometChatDriver, user: str) -> None:
    attachment = ask(server, platform, user, "/slow")
    server.wait_until(lambda: server.count_marks("slow") == 1)
    server.kill()
    server.start()
    server.wait_until(lambda: server.count_marks("slow") == 2)
    server.open_gate()

    assert platform.wait_replies(user, 2, server) == ["First", "done"]
    assert load(server, attachment).content == CONTENT[::-1]
    server.close()
