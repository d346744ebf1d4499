"""Presses at real processes: acknowledged ones survive a kill, and are handled once."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from cometbot.presses import REFUSAL_TEXTS

from .conftest import BOTS, CometChatDriver, Server, StartServer

pytestmark = pytest.mark.process

VARIABLES = {
    "COMETBOT_BOT": f"{BOTS}/pressing.py:bot",
    "COMETBOT_TEST_LEASES": "8",
    "COMETCHAT_RICH": "card",
    "COMETCHAT_CARD_BUTTONS": "url",
    "COMETBOT_PUBLIC_URL": "https://bots.test",
}


def call(server: Server, address: str, **options: Any) -> requests.Response:
    return requests.post(f"{server.url}{urlsplit(address).path}", timeout=20, **options)


def test_press_survives_a_kill_and_is_handled_once(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(**VARIABLES)
    assert server.post(platform.callback(platform.write("/refund", "maria"))).status_code == 200
    platform.wait_replies("maria", 1, server)
    [card] = [item for item in platform.simulator.messages(between=("maria", platform.bot)) if "card" in item.data]
    [address] = [item["action"]["url"] for item in card.data["card"]["body"] if item["type"] == "button"]

    assert call(server, address, json={}).status_code == 200
    server.wait_until(lambda: server.count_marks("decided") == 1)
    server.kill()
    server.start()
    assert call(server, address).status_code == 409
    server.wait_until(lambda: server.count_marks("decided") == 2)
    server.open_gate()
    assert server.post(platform.callback(platform.write("Approve", "maria"))).status_code == 200

    assert platform.wait_replies("maria", 3, server)[1:] == ["decided True", REFUSAL_TEXTS["used"]]
    assert server.count_marks("decided") == 2
    assert server.dead_letters() == []
    assert urlsplit(address).path.rpartition("/")[2] not in server.log
    server.close()
