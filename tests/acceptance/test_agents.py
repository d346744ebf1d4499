"""A model that refunds an order, whose process is killed while the approval waits and after the press."""

from __future__ import annotations

import re

import pytest

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_dialogs import write

pytestmark = pytest.mark.process

BOT = f"{BOTS}/refunds.py:bot"


def test_killed_processes_refund_once(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_TEST_LEASES="8")
    write(server, platform, "maria", "I want my money back for order 17.")
    card = platform.wait_replies("maria", 2, server)[1]
    found = re.search(r"approve (\d+)", card)
    assert found is not None
    assert card.startswith("Run refund?\n\nNumber: 17\n\nEuros: 30")
    assert refunds(server) == []

    server.kill()
    server.start()
    write(server, platform, "maria", f"approve {found[1]}")
    server.kill()
    server.start()

    platform.wait_replies("maria", 3, server, 60)
    server.wait_until(lambda: server.query("SELECT * FROM dialogs") == server.query("SELECT * FROM steps") == [])
    replies = platform.replies("maria")
    assert (replies[0], replies[-1]) == ("Let me see.", "It is refunded.")
    assert len(refunds(server)) == 1
    assert [server.count_marks(name) for name in ("find", "request-0", "request-1")] == [1, 1, 1]
    assert server.dead_letters() == []
    server.close()


def refunds(server: Server) -> list[str]:
    """Return the refunds that were made, by the key that each call gave."""
    return [file.name for file in server.marks_folder.glob("refund-*")]
