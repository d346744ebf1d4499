"""A model that refunds an order: killed while the approval waits, after the press, and while the answer is streamed."""

from __future__ import annotations

import pytest

from .conftest import BOTS, CometChatDriver, Server, StartServer
from .test_approvals import find_number
from .test_dialogs import write

pytestmark = pytest.mark.process

BOT = f"{BOTS}/refunds.py:bot"
HALF = "It is refunded. "
WHOLE = f"{HALF}Good bye."


def test_killed_processes_refund_once_and_answer_once(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_BOT=BOT, COMETBOT_TEST_LEASES="8")
    write(server, platform, "maria", "I want my money back for order 17.")
    card = platform.wait_replies("maria", 2, server)[1]
    assert card.startswith("Run refund?\n\nNumber: 17\n\nEuros: 30")
    assert refunds(server) == []

    server.kill()
    server.start()
    write(server, platform, "maria", f"approve {find_number(card)}")
    server.kill()
    server.start()

    platform.wait_replies("maria", 3, server, 60)
    server.kill()
    replies = platform.replies("maria")
    assert (replies[0], replies[2:]) == ("Let me see.", [HALF])
    [refund] = refunds(server)
    calls = server.count_marks(refund)
    server.start()
    server.open_gate()
    server.wait_until(lambda: platform.replies("maria")[2:] == [WHOLE])
    server.wait_until(lambda: server.query("SELECT * FROM dialogs") == server.query("SELECT * FROM steps") == [])
    assert (refunds(server), server.count_marks(refund)) == ([refund], calls)
    assert [server.count_marks(name) for name in ("find", "request-0", "request-1")] == [1, 1, 1]

    write(server, platform, "maria", "Once more.")
    replies = platform.wait_replies("maria", 5, server)
    assert replies[2:4] == [WHOLE, "Let me see."]
    assert server.dead_letters() == []
    server.close()


def refunds(server: Server) -> list[str]:
    """Return the refunds that were made, by the key that each call gave."""
    return [file.name for file in server.marks_folder.glob("refund-*")]
