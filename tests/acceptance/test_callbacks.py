"""From a callback over HTTP to a reply at CometChat, through real processes."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cometbot.simulator import Simulator

from .conftest import API_KEY, BOTS, LOGIN, CometChatDriver, Server, StartServer, wait_for

SAMPLE = json.loads((Path(__file__).parents[1] / "data" / "sample_callback.json").read_text())

pytestmark = pytest.mark.process


def test_sample_payload_causes_one_request(start_server: StartServer) -> None:
    with Simulator(app_id=SAMPLE["appId"], api_key=API_KEY) as cometchat:
        for uid in ("cometchat-uid-1", "cometchat-uid-2"):
            cometchat.add_user(uid)
        cometchat.add_bot("demo_bot", "http://127.0.0.1:9/unused")
        server = start_server(
            "demo",
            COMETBOT_BOT=f"{BOTS}/sample.py:bot",
            COMETCHAT_API_URL=cometchat.api_url,
            COMETCHAT_APP_ID=SAMPLE["appId"],
        )
        answer = server.post(SAMPLE)
        assert (answer.status_code, answer.json()) == (200, {"data": {"success": True}})
        wait_for(lambda: cometchat.messages(), or_show=lambda: server.log)
        server.wait_until(lambda: server.query("SELECT 1 FROM outbox WHERE state = 'sent'"))
        assert server.terminate() == 0
        # Which bots there are is asked once a while, whatever is said.
        requests = [request for request in cometchat.requests if (request.method, request.path) != ("GET", "/v3/bots")]
    [request] = requests
    assert (request.method, request.path, request.query, request.status) == (
        "POST",
        "/v3/bots/demo_bot/messages",
        {},
        200,
    )
    assert request.headers["apikey"] == "***"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert "onbehalfof" not in request.headers
    assert isinstance(request.body.pop("muid"), str)
    assert request.body == {
        "receiver": "cometchat-uid-1",
        "receiverType": "user",
        "category": "message",
        "type": "text",
        "data": {"text": "Hello, Andrew Joseph."},
    }


def test_five_redeliveries_at_once_bring_one_reply(server: Server, platform: CometChatDriver) -> None:
    callback = platform.callback(platform.write("five", "paul"))
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: server.post(callback), range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    server.post(platform.callback(platform.write("and then", "paul")))
    assert platform.wait_replies("paul", 2, server) == ["re: five", "re: and then"]


def test_redelivery_after_the_reply_is_not_answered(server: Server, platform: CometChatDriver) -> None:
    callback = platform.callback(platform.write("once", "petra"))
    assert server.post(callback).status_code == 200
    platform.wait_replies("petra", 1, server)
    assert server.post(callback).status_code == 200
    server.post(platform.callback(platform.write("and then", "petra")))
    assert platform.wait_replies("petra", 2, server) == ["re: once", "re: and then"]


def test_endless_handler_delays_nobody_else(server: Server, platform: CometChatDriver) -> None:
    assert server.post(platform.callback(platform.write("/gate", "zoe"))).status_code == 200
    server.wait_until(lambda: server.count_marks("gate"))
    assert server.post(platform.callback(platform.write("are you there?", "zoe"))).status_code == 200
    for number in range(10):
        callback = platform.callback(platform.write(f"hello {number}", f"guest-{number}"))
        assert server.post(callback).status_code == 200
    for number in range(10):
        assert platform.wait_replies(f"guest-{number}", 1, server) == [f"re: hello {number}"]
    assert platform.replies("zoe") == []
    server.open_gate()
    assert platform.wait_replies("zoe", 2, server) == ["came through", "re: are you there?"]


def test_numbers_of_both_processes_add_up_after_forty_messages(
    start_server: StartServer, platform: CometChatDriver
) -> None:
    server = start_server()
    for number in range(40):
        callback = platform.callback(platform.write(f"count {number}", f"counted-{number % 8}"))
        assert server.post(callback).status_code == 200
    assert server.post(callback).status_code == 200
    assert server.post(callback, auth=("cc", "wrong")).status_code == 401
    for number in range(8):
        platform.wait_replies(f"counted-{number}", 5, server)
    counted = {
        'cometbot_events_received_total{bot="trial",outcome="received"}': 40,
        'cometbot_events_received_total{bot="trial",outcome="duplicate"}': 1,
        'cometbot_events_received_total{bot="trial",outcome="refused"}': 1,
        'cometbot_events_handled_total{bot="trial",outcome="done"}': 40,
        'cometbot_sends_total{bot="trial",outcome="sent"}': 40,
        'cometbot_handler_seconds_count{bot="trial"}': 40,
        'cometbot_send_seconds_count{bot="trial"}': 40,
        'cometbot_waiting{bot="trial"}': 0,
        'cometbot_dead_letters{bot="trial"}': 0,
    }
    server.wait_until(lambda: counted.items() <= _metrics(server).items())
    answer = server.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})
    ready = server.get("/readyz").json()
    assert ready["ready"] is True
    assert {"database", "schema", "threads", "handlers", "maintenance"} <= ready["checks"].keys()


def test_a_callback_without_credentials_stores_nothing(server: Server, platform: CometChatDriver) -> None:
    callback = platform.callback(platform.write("let me in", "mallory"))
    answer = server.post(callback, auth=None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert server.query(f"SELECT 1 FROM mailbox WHERE event_key = 'message:{callback['data']['id']}'") == []


def test_no_secret_is_in_the_log(server: Server) -> None:
    assert [secret for secret in (LOGIN[1], API_KEY) if secret in server.log] == []


def _metrics(server: Server) -> dict[str, float]:
    found = re.findall(r"^(cometbot_\S+) (\S+)$", server.get("/metrics").text, re.MULTILINE)
    return {name: float(value) for name, value in found}
