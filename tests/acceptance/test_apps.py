"""Two simulated CometChat apps under load, whose bot one process serves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from cometbot.simulator import Simulator

from .conftest import API_KEY, APP_ID, BOT_NAME, LOGIN, WAIT_TIMEOUT, CometChatDriver, Server, StartServer

OTHER_LOGIN = ("us", "another-password-of-tests")
USERS, MESSAGES = 20, 5

pytestmark = pytest.mark.process


@pytest.fixture
def us() -> Iterator[Simulator]:
    """The app ``shop_us``; ``shop_eu`` is the usual simulator."""
    with Simulator(app_id="a1b2c3d4e5f60002", api_key="2" * 40) as us:
        us.configure(standard_limit=10**9)
        us.add_bot(BOT_NAME, "http://127.0.0.1:9/unused", enabled=False)
        yield us


@pytest.fixture
def server(start_server: StartServer, us: Simulator) -> Server:
    return start_server(
        COMETBOT_PROCESSES="1",
        COMETCHAT_APPS="shop_eu,shop_us",
        COMETCHAT_APP_ID__SHOP_EU=APP_ID,
        COMETCHAT_API_KEY__SHOP_EU=API_KEY,
        COMETCHAT_APP_ID__SHOP_US=us.app_id,
        COMETCHAT_API_KEY__SHOP_US=us.api_key,
        COMETCHAT_API_URL__SHOP_US=us.api_url,
        COMETBOT_CALLBACK_USERNAME__SHOP_US=OTHER_LOGIN[0],
        COMETBOT_CALLBACK_PASSWORD__SHOP_US=OTHER_LOGIN[1],
    )


class App:
    """One of the apps: its users write, and its callbacks are carried to the server."""

    def __init__(self, name: str, simulator: Simulator, login: tuple[str, str], server: Server) -> None:
        self.name = name
        self.driver = CometChatDriver(simulator)
        self._login = login
        self._url = f"{server.url}/cometchat/{name}/{BOT_NAME}"

    def write(self, user: str) -> list[int]:
        """Write the messages of a user, one behind the other, and return the statuses of their callbacks."""
        return [self._post(f"{self.name} {number}", user) for number in range(MESSAGES)]

    def _post(self, text: str, user: str) -> int:
        callback = self.driver.callback(self.driver.write(text, user))
        return requests.post(self._url, json=callback, auth=self._login, timeout=WAIT_TIMEOUT).status_code

    def wait_for_replies(self, server: Server) -> None:
        for number in range(USERS):
            expected = [f"re: {self.name} {index}" for index in range(MESSAGES)]
            assert self.driver.wait_replies(f"user{number}", MESSAGES, server) == expected


def test_two_apps_under_load_get_their_own_replies(simulator: Simulator, us: Simulator, server: Server) -> None:
    apps = [App("shop_eu", simulator, LOGIN, server), App("shop_us", us, OTHER_LOGIN, server)]
    # One app is paused in the middle; the other is not to notice.
    simulator.misbehave.rate_limit(retry_after=5, skip=10, times=1)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        written = [pool.submit(app.write, f"user{number}") for number in range(USERS) for app in apps]
        statuses = [status for future in written for status in future.result()]
    assert statuses == [200] * (2 * USERS * MESSAGES)
    apps[1].wait_for_replies(server)
    us_took = time.monotonic() - began
    apps[0].wait_for_replies(server)
    assert any(request.status == 429 for request in simulator.requests), us_took
    assert not any(request.status == 429 for request in us.requests)
    assert {row[0] for row in server.query("SELECT DISTINCT account FROM pauses")} <= {f"cometchat/{APP_ID}"}
    assert server.query("SELECT account, count(*) FROM mailbox GROUP BY account ORDER BY account") == [
        (APP_ID, USERS * MESSAGES),
        (us.app_id, USERS * MESSAGES),
    ]
    metrics = server.get("/metrics").text
    for name in ("shop_eu", "shop_us"):
        assert f'cometbot_events_received_total{{app="{name}",bot="{BOT_NAME}",outcome="received"}} 100.0' in metrics


def test_revoked_key_stops_one_app_alone(simulator: Simulator, us: Simulator, server: Server) -> None:
    eu, other = App("shop_eu", simulator, LOGIN, server), App("shop_us", us, OTHER_LOGIN, server)
    simulator.misbehave.fail(401, code="AUTH_ERR_APIKEY_NOT_FOUND")
    try:
        assert eu.write("ann") == other.write("ann") == [200] * MESSAGES
        assert other.driver.wait_replies("ann", MESSAGES, server)[-1] == f"re: shop_us {MESSAGES - 1}"
        dead = "SELECT count(*) FROM outbox WHERE state = 'dead' AND conversation_key LIKE 'cometchat/{}/%'"
        server.wait_until(lambda: server.query(dead.format(APP_ID)) == [(MESSAGES,)])
        assert server.query(dead.format(us.app_id)) == [(0,)]
    finally:
        simulator.misbehave.clear()
