from __future__ import annotations

from typing import Any

from cometbot.simulator import Simulator


def test_list_conversations_is_newest_first_with_unread(rest: Any, simulator: Simulator) -> None:
    maria = simulator.user("maria")
    maria.say("one", to="helpdesk")
    maria.say("two", to="helpdesk")
    last = maria.say("three", group="ops-room")
    shown = rest("GET", "/conversations", acting="helpdesk").get_json()["data"]
    assert [item["conversationId"] for item in shown] == ["group_ops-room", "helpdesk_user_maria"]
    assert [item["conversationType"] for item in shown] == ["group", "user"]
    assert shown[0]["lastMessage"]["id"] == last.id
    assert shown[1]["unreadMessageCount"] == "2"
    assert shown[1]["conversationWith"]["uid"] == "maria"
    only = rest("GET", "/conversations?conversationType=user", acting="helpdesk").get_json()["data"]
    assert [item["conversationId"] for item in only] == ["helpdesk_user_maria"]


def test_read_empties_the_count_and_unread_fills_it_again(rest: Any, simulator: Simulator) -> None:
    simulator.user("maria").say("one", to="helpdesk")
    second = simulator.user("maria").say("two", to="helpdesk")

    def count() -> str:
        return str(rest("GET", "/users/maria/conversation", acting="helpdesk").get_json()["data"]["unreadMessageCount"])

    assert rest("POST", "/users/maria/conversation/read", acting="helpdesk").get_json()["data"]["success"] is True
    assert count() == "0"
    assert rest("GET", "/conversations?unread=true", acting="helpdesk").get_json()["data"] == []
    rest("DELETE", "/users/maria/conversation/read", {"messageId": int(second.id)}, acting="helpdesk")
    assert count() == "1"


def test_group_conversation_can_be_read_and_delivered_by_members(rest: Any, simulator: Simulator) -> None:
    simulator.user("maria").say("x", group="ops-room")
    for what in ("read", "delivered"):
        assert rest("POST", f"/groups/ops-room/conversation/{what}", acting="helpdesk").status_code == 200
    assert (
        rest("GET", "/groups/ops-room/conversation", acting="helpdesk").get_json()["data"]["unreadMessageCount"] == "0"
    )
    assert rest("DELETE", "/groups/ops-room/conversation/read", acting="helpdesk").status_code == 200
    simulator.add_user("eve")
    answer = rest("POST", "/groups/ops-room/conversation/read", acting="eve")
    assert answer.get_json()["error"]["code"] == "ERR_GROUP_NOT_JOINED"


def test_a_conversation_without_messages_is_not_accessible(rest: Any) -> None:
    for method, path in (("GET", ""), ("POST", "/read"), ("POST", "/delivered")):
        answer = rest(method, f"/users/maria/conversation{path}", acting="tom")
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "ERR_CONVERSATION_NOT_ACCESSIBLE")


def test_receipts_need_who_they_are_of(rest: Any) -> None:
    error = rest("POST", "/users/maria/conversation/read").get_json()["error"]
    assert list(error["details"]) == ["onBehalfOf"]


def test_the_system_sees_every_conversation(rest: Any, simulator: Simulator) -> None:
    simulator.user("maria").say("x", to="tom")
    shown = rest("GET", "/conversations?conversationType=user").get_json()["data"]
    assert [item["conversationId"] for item in shown] == ["maria_user_tom"]
