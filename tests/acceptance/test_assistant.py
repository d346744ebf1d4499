"""An assistant whose process is killed while an approval waits, and again while the model's answer is streamed."""

from __future__ import annotations

import pytest

from cometbot.simulator import Simulator

from .conftest import BOTS, CometChatDriver, StartServer
from .test_approvals import Managers, find_number
from .test_dialogs import write

pytestmark = pytest.mark.process

HALF = "Done: 30 € refunded. "
WHOLE = f"{HALF}Good bye."


def test_killed_assistant_refunds_once_and_answers_once(
    start_server: StartServer, platform: CometChatDriver, simulator: Simulator
) -> None:
    managers = Managers(simulator, platform)
    server = start_server(COMETBOT_BOT=f"{BOTS}/assistant.py:bot", COMETBOT_TEST_LEASES="8")
    write(server, platform, "maria", "Please refund my order.")
    server.wait_until(managers.cards)
    server.kill()
    server.start()
    assert (platform.replies("maria"), server.count_marks("refund-maria")) == ([], 0)

    managers.write(server, "tom", f"approve {find_number(managers.cards()[-1])}")
    platform.wait_replies("maria", 1, server)
    server.kill()
    assert platform.replies("maria") == [HALF]
    server.start()
    server.open_gate()
    server.wait_until(lambda: platform.replies("maria") == [WHOLE])
    assert server.count_marks("refund-maria") == 1

    cards = len(managers.cards())
    write(server, platform, "maria", "Once more.")
    server.wait_until(lambda: len(managers.cards()) > cards)
    assert platform.replies("maria") == [WHOLE]
    assert server.dead_letters() == []
    server.close()
