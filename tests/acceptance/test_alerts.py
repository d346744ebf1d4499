"""Alerts of a server with two processes, and the test that ``cometbot doctor`` sends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from .conftest import API_KEY, APP_ID, BOT_NAME, CometChatDriver, StartServer

pytestmark = pytest.mark.process

SECRET_PATH = "/services/T0/B0/secret"


def test_a_dead_letter_is_reported_once_to_a_webhook_and_to_a_group(
    start_server: StartServer, platform: CometChatDriver, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(SECRET_PATH, method="POST").respond_with_data("ok")
    platform.simulator.add_group("ops", members=[BOT_NAME])
    targets = f"{httpserver.url_for(SECRET_PATH)},cometchat:group:ops"
    server = start_server(COMETBOT_ALERTS=targets)
    for text in ("/raise", "/raise"):
        assert server.post(platform.callback(platform.write(text))).status_code == 200
    server.wait_until(lambda: len(server.dead_letters()) == 2)
    server.wait_until(lambda: httpserver.log)
    said = server.wait_until(lambda: platform.simulator.messages("group_ops"))
    # Both processes look again: neither sends what the other has sent.
    checked = "SELECT value FROM facts WHERE name LIKE 'alerts_checked_at%'"
    before = server.query(checked)
    server.wait_until(lambda: server.query(checked) != before)
    alerts = [request.get_json() for request, _ in httpserver.log]
    assert [(alert["alert"], alert["bot"]) for alert in alerts] == [("dead_letters", BOT_NAME)]
    assert [message.text for message in said] == [alerts[0]["text"]]
    assert "does not like" not in alerts[0]["text"]
    assert server.terminate() == 0
    assert "secret" not in server.log


def test_doctor_sends_a_test_from_the_command_line(tmp_path: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(SECRET_PATH, method="POST").respond_with_data("ok")
    (tmp_path / "bot.py").write_text(
        'from cometbot import Bot\n\nbot = Bot("shop")\n\n\n@bot.message()\ndef hi(ctx):\n    return "hi"\n'
    )
    variables = {
        "COMETBOT_ALERTS": httpserver.url_for(SECRET_PATH),
        "COMETCHAT_APP_ID": APP_ID,
        "COMETCHAT_API_KEY": API_KEY,
        "COMETCHAT_API_URL": "http://127.0.0.1:9/v3",
        "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS": "1",
        "PATH": "/usr/bin",
    }
    command = [sys.executable, "-m", "cometbot.cli"]
    subprocess.run([*command, "db", "upgrade"], cwd=tmp_path, env=variables, check=True, capture_output=True)
    ended = subprocess.run(
        [*command, "doctor", "--test-alerts"], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert f"✓ alerts sent a test to http://localhost:{httpserver.port}/…" in " ".join(ended.stdout.split())
    assert "secret" not in ended.stdout + ended.stderr
    assert [request.get_json()["alert"] for request, _ in httpserver.log] == ["test"]
