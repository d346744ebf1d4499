"""Users add nothing to a full database; reading, deleting and what bots say go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.channels.platform.conftest import Site, wait_until

MakeSite = Callable[..., Site]


def test_full_database_refuses_what_users_add(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site()
    maria = site.sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, "/track 4711", clientId="known")
    monkeypatch.setattr(site.platform.chat.quota, "_max_size", 1)
    monkeypatch.setattr(site.platform.chat.quota, "_measured_at", float("-inf"))

    message = {"chatId": chat, "body": "more"}
    answers = [
        site.app.test_client().post("/v1/client-api/user", json={"nickname": "Eve"}),
        maria.post("client-api/chat", {"botId": "helpdesk"}),
        maria.post("client-api/chat/message", message),
        maria.post(f"page-api/chat/{chat}/messages", {"body": "more"}),
    ]
    refusal = (507, {"message": "There is no room to store this. Delete something first."})
    assert [(answer.status_code, answer.json) for answer in answers] == [refusal] * 4
    assert "cometbot_writes_without_room_total 4.0" in site.app.test_client().get("/metrics").text
    assert caplog.text.count("raise COMETBOT_DATABASE_SIZE") == 1

    assert maria.send_message(chat, "/track 4711", clientId="known")["body"] == "/track 4711"
    assert maria.messages(chat)
    wait_until(lambda: len(maria.messages(chat)) == 2)
    assert maria.call_api("DELETE", f"client-api/chat/{chat}").status_code == 200
