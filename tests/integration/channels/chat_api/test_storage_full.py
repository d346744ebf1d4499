"""Users add nothing to a full database; reading and deleting go on."""

from __future__ import annotations

import pytest

from cometbot.channels.chat_api.routes import ROUTES
from tests.integration.channels.chat_api.conftest import MakeSite, Site
from tests.integration.channels.chat_api.test_operations import check_error


def fill(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.channel.chat.quota, "_max_size", 1)
    monkeypatch.setattr(site.channel.chat.quota, "_measured_at", float("-inf"))


def test_full_database_refuses_what_users_add(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site()
    ann, bob = site.sign_up(), site.sign_up()
    place = ann.create_conversation()
    ann.send_text(place, "before")
    fill(site, monkeypatch)

    message = {"conversationId": place, "payload": {"type": "text", "text": "more"}}
    answers = {
        "createUser": site.call_api("POST", "/users", {}),
        "updateUser": ann.call_api("PUT", "/users/me", {"name": "Eve"}),
        "getOrCreateUser": ann.post("/users/get-or-create", {"name": "Eve"}),
        "createConversation": ann.post("/conversations", {}),
        "getOrCreateConversation": ann.post("/conversations/get-or-create", {"id": "new"}),
        "addParticipant": ann.post(f"/conversations/{place}/participants", {"userId": bob.id}),
        "createMessage": ann.post("/messages", message),
        "createEvent": ann.post("/events", {"conversationId": place, "payload": {}}),
    }
    for answer in answers.values():
        assert "no room" in check_error(answer, 507, "Internal")
    assert set(answers) == {route.name for route in ROUTES if 507 in route.errors}
    assert "cometbot_writes_without_room_total 8.0" in site.app.test_client().get("/metrics").text
    assert caplog.text.count("raise COMETBOT_DATABASE_SIZE") == 1

    assert ann.post("/users/get-or-create", {}).json["user"].get("name") != "Eve"
    assert ann.post("/conversations/get-or-create", {"id": place}).json["conversation"]["id"] == place
    assert ann.messages(place)
    assert ann.delete(f"/conversations/{place}").status_code == 200
    assert ann.delete("/users/me").status_code == 200


def test_disk_that_is_almost_full_refuses_new_users(make_site: MakeSite) -> None:
    check_error(make_site(free_space=10**15).call_api("POST", "/users", {}), 507, "Internal")
