"""The client's operations against the simulator: what they return and which errors they raise."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from cometbot.channels.cometchat import CometChatClient
from cometbot.errors import NotFound, Rejected
from cometbot.simulator import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as started:
        yield started.seed_demo()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[CometChatClient]:
    made = CometChatClient(simulator.api_url, simulator.api_key, app_id=simulator.app_id, timeout=30)
    yield made
    made.close()


def test_friends_of_a_user_can_be_added_listed_and_removed(client: CometChatClient) -> None:
    results = client.add_friends("maria", ["tom", "nobody"])
    assert results["tom"]["success"] is True
    assert results["nobody"]["error"]["code"] == "ERR_UID_NOT_FOUND"
    assert [friend["uid"] for friend in client.friends("tom")] == ["maria"]
    assert list(client.friends("tom", search="nobody")) == []
    assert client.remove_friends("maria", ["tom"])["success"] is True
    assert list(client.friends("maria")) == []


def test_blocked_users_cannot_be_written_to_until_unblocked(client: CometChatClient) -> None:
    text = {"receiverType": "user", "category": "message", "type": "text", "data": {"text": "hi"}}
    assert client.block_users("maria", ["helpdesk"])["helpdesk"]["success"] is True
    with pytest.raises(Rejected) as raised:
        client.send_bot_message("helpdesk", {**text, "receiver": "maria"})
    assert raised.value.code == "ERR_BLOCKED_RECEIVER"
    assert [user["uid"] for user in client.blocked_users("maria")] == ["helpdesk"]
    client.unblock_users("maria", ["helpdesk"])
    assert client.send_bot_message("helpdesk", {**text, "receiver": "maria"})["id"]


def test_many_users_are_deactivated_and_reactivated_together(client: CometChatClient) -> None:
    assert client.deactivate_users(["maria", "tom"]) == ["maria", "tom"]
    assert [user["uid"] for user in client.users()] == ["helpdesk"]
    with pytest.raises(NotFound):
        client.deactivate_users(["helpdesk", "nobody"])
    assert client.reactivate_users(["tom"]) == ["tom"]


def test_tokens_of_a_user_are_never_logged(client: CometChatClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = client.create_auth_token("maria")["authToken"]
    assert client.update_auth_token("maria", token, {"platform": "web"})["platform"] == "web"
    assert [one["authToken"] for one in client.auth_tokens("maria")] == [token]
    assert token not in repr(client.get_auth_token("maria", token))
    client.delete_auth_token("maria", token)
    with pytest.raises(NotFound) as raised:
        client.get_auth_token("maria", token)
    client.delete_auth_tokens("maria")
    assert token not in str(raised.value)
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("cometbot.channels")]
    assert any("/auth_tokens/***" in text for text in logged)
    assert token not in "".join(logged)


def test_conversations_are_tagged_pinned_and_deleted(client: CometChatClient, simulator: Simulator) -> None:
    for name in ("maria", "tom"):
        simulator.user(name).say("hi", to="helpdesk")
    bot = "helpdesk"
    assert client.tag_conversation(["vip"], on_behalf_of=bot, user="maria")["tags"] == ["vip"]
    assert client.pin_conversation(on_behalf_of=bot, user="maria")["pinnedBy"] == bot
    listed = [record["conversationId"] for record in client.conversations(on_behalf_of=bot)]
    assert listed == ["helpdesk_user_maria", "helpdesk_user_tom", "group_ops-room"]
    assert "pinnedBy" not in client.unpin_conversation(on_behalf_of=bot, user="maria")
    assert client.delete_conversation(on_behalf_of=bot, user="maria", permanent=True)["success"] is True
    assert client.messages(user="maria", on_behalf_of=bot) == []
    pinned = client.pin_conversations_for_all(users=["tom"], groups=["ops-room"])
    assert [pin["conversationType"] for pin in pinned] == ["group", "user"]
    assert client.pinned_conversations() == pinned
