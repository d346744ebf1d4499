"""CometChat's moderation asks a real server: what it answers in time, and what others notice of it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from cometbot.simulator import Simulator

from .conftest import BOTS, WAIT_TIMEOUT, CometChatDriver, Server, StartServer

LOGIN = ("mod", "s3cr3t-value-of-moderation")
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(
        COMETBOT_BOT=f"{BOTS}/judging.py:bot",
        COMETCHAT_MODERATION_USERNAME=LOGIN[0],
        COMETCHAT_MODERATION_PASSWORD=LOGIN[1],
        COMETCHAT_MODERATION_THREADS="8",
    )


def ask(server: Server, text: str, **options: Any) -> requests.Response:
    changes = options.pop("message", {})
    message = {
        "id": "1",
        "sender": "maria",
        "receiver": "tom",
        "receiverType": "user",
        "conversationId": "maria_user_tom",
        "category": "message",
        "type": "text",
        "data": {"text": text},
        "sentAt": 1767225600,
        **changes,
    }
    url = f"{server.callback_url}/moderation"
    options = {"json": {"contextMessages": [{"tom": message}]}, "auth": LOGIN, "timeout": WAIT_TIMEOUT, **options}
    return requests.post(url, headers={"Connection": "close"}, **options)


def count(server: Server, outcome: str) -> float:
    prefix = f'cometbot_moderations_total{{bot="trial",outcome="{outcome}"}} '
    lines = server.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(prefix)).removeprefix(prefix))


def test_decision_is_answered(server: Server) -> None:
    assert ask(server, "our casino").json() == {"isMatchingCondition": True, "confidence": 1.0, "reason": ""}
    assert ask(server, "lunch?").json() == {"isMatchingCondition": False, "confidence": 1.0, "reason": ""}
    assert ask(server, "", message={"type": "hologram", "data": 5}).json()["isMatchingCondition"] is True


@pytest.mark.parametrize("text", ["raise", "maybe", "sleep"])
def test_no_decision_is_invented(server: Server, text: str) -> None:
    answer = ask(server, text)
    assert answer.status_code == 503
    assert answer.elapsed.total_seconds() < 3, "it waited for the function, which sleeps 3 s"
    assert "cannot judge" not in server.log


def test_bad_requests_are_refused(server: Server) -> None:
    assert ask(server, "hi", auth=("mod", "wrong")).status_code == 401
    assert ask(server, "hi", auth=None).status_code == 401
    assert ask(server, "x" * 1024 * 1024).status_code == 413
    assert ask(server, "hi", json={"contextMessages": "none"}).status_code == 400
    assert LOGIN[1] not in server.log


def test_500_at_once_are_all_answered_in_time(server: Server, platform: CometChatDriver) -> None:
    busy = count(server, "busy")
    with ThreadPoolExecutor(500) as executor:
        answers = list(executor.map(lambda _: ask(server, "hold").status_code, range(500)))
    counted = Counter(answers)
    assert set(counted) == {200, 503}
    assert counted[503] == count(server, "busy") - busy
    # Others are served as before, and so is the next message to judge.
    assert server.post(platform.callback(platform.write("hello", "maria"))).status_code == 200
    assert platform.wait_replies("maria", 1, server) == ["re: hello"]
    assert ask(server, "lunch?").status_code == 200


def test_late_functions_leave_callbacks_alone(server: Server, platform: CometChatDriver) -> None:
    with ThreadPoolExecutor(16) as executor:
        late = [executor.submit(ask, server, "sleep") for _ in range(16)]
        assert server.post(platform.callback(platform.write("hello", "ben"))).status_code == 200
        assert platform.wait_replies("ben", 1, server) == ["re: hello"]
        assert {answer.result().status_code for answer in late} == {503}
    # They keep their threads until they end.
    server.wait_until(lambda: server.count_marks("slept") == count(server, "late"))


def test_waiting_handlers_leave_moderation_alone(server: Server, platform: CometChatDriver) -> None:
    for number in range(16):
        assert server.post(platform.callback(platform.write("wait", f"waiting-{number}"))).status_code == 200
    assert ask(server, "lunch?").status_code == 200


def test_nothing_is_stored(server: Server) -> None:
    ask(server, "our casino")
    assert server.query("SELECT count(*) FROM mailbox WHERE body LIKE '%casino%'") == [(0,)]


def test_server_does_not_start_without_credentials(tmp_path: Path, simulator: Simulator) -> None:
    app = {"COMETCHAT_APP_ID": simulator.app_id, "COMETCHAT_API_URL": simulator.api_url, "COMETCHAT_API_KEY": "key"}
    with pytest.raises(pytest.fail.Exception, match="Set COMETCHAT_MODERATION_USERNAME"):
        Server(tmp_path, {**app, "COMETBOT_BOT": f"{BOTS}/judging.py:bot"}).start()
