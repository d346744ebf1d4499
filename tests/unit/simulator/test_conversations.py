from __future__ import annotations

import dataclasses
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


def uids(rest: Any, uid: str, query: str = "") -> list[str]:
    shown = rest("GET", f"/conversations{query}", acting=uid).get_json()["data"]
    return [item["conversationWith"].get("uid") or item["conversationWith"]["guid"] for item in shown]


def test_tags_of_a_conversation_are_its_users_own(rest: Any, simulator: Simulator) -> None:
    simulator.user("maria").say("x", to="helpdesk")
    simulator.user("tom").say("x", to="helpdesk")
    tagged = rest("PUT", "/users/maria/conversation", {"tags": ["vip"]}, acting="helpdesk").get_json()["data"]
    assert tagged["tags"] == ["vip"]
    assert uids(rest, "helpdesk", "?tags=vip") == ["maria"]
    listed = rest("GET", "/conversations?withTags=true&conversationType=user", acting="helpdesk").get_json()["data"]
    assert [item.get("tags", []) for item in listed] == [[], ["vip"]]
    assert "tags" not in rest("GET", "/users/helpdesk/conversation", acting="maria").get_json()["data"]


def test_conversations_are_searched_by_name_and_by_tags_of_the_other_side(rest: Any, simulator: Simulator) -> None:
    simulator.add_user("anna", "Anna", tags=["staff"])
    for name in ("maria", "anna"):
        simulator.user(name).say("x", to="helpdesk")
    assert uids(rest, "helpdesk", "?searchKey=kell") == ["maria"]
    assert uids(rest, "helpdesk", "?userTags=staff&conversationType=user") == ["anna"]


def test_a_deleted_conversation_is_gone_for_one_user_until_the_next_message(rest: Any, simulator: Simulator) -> None:
    maria = simulator.user("maria")
    maria.say("old", to="helpdesk")
    answer = rest("DELETE", "/users/maria/conversation", acting="helpdesk").get_json()["data"]
    assert answer["message"].endswith("has been deleted successfully for UID helpdesk.")
    assert uids(rest, "helpdesk", "?conversationType=user") == []
    assert rest("GET", "/users/maria/conversation", acting="helpdesk").status_code == 404
    assert rest("GET", "/users/maria/messages", acting="helpdesk").get_json()["data"] == []
    assert rest("GET", "/messages?category=message", acting="helpdesk").get_json()["data"] == []
    assert uids(rest, "maria", "?conversationType=user") == ["helpdesk"]
    maria.say("new", to="helpdesk")
    shown = rest("GET", "/users/maria/messages", acting="helpdesk").get_json()["data"]
    assert [message["data"]["text"] for message in shown] == ["new"]


def test_a_permanent_deletion_removes_the_messages_of_both(rest: Any, simulator: Simulator) -> None:
    simulator.user("maria").say("x", to="helpdesk")
    body = {"conversationWith": "maria", "deleteMessagesPermanently": True}
    wrong = rest("DELETE", "/users/maria/conversation", {**body, "conversationWith": "tom"}, acting="helpdesk")
    assert wrong.status_code == 400
    rest("DELETE", "/users/maria/conversation", body, acting="helpdesk")
    assert rest("GET", "/users/helpdesk/messages", acting="maria").get_json()["data"] == []


def test_pinned_conversations_come_first(rest: Any, simulator: Simulator) -> None:
    for name in ("maria", "tom"):
        simulator.user(name).say("x", to="helpdesk")
    simulator.user("maria").say("x", group="ops-room")
    pinned = rest("POST", "/users/maria/conversation/pin", acting="helpdesk").get_json()["data"]
    assert (pinned["pinnedBy"], pinned["pinnedAt"]) == ("helpdesk", int(simulator.world.clock()))
    assert uids(rest, "helpdesk") == ["maria", "ops-room", "tom"]
    rest("PUT", "/conversations/pinned", {"pinnedConversations": [{"uid": "tom"}]})
    assert uids(rest, "helpdesk") == ["tom", "maria", "ops-room"]
    refused = rest("DELETE", "/users/tom/conversation/pin", acting="helpdesk")
    assert refused.get_json()["error"]["code"] == "ERR_SYSTEM_PINNED_CONVERSATION"
    unpinned = rest("DELETE", "/users/maria/conversation/pin", acting="helpdesk").get_json()["data"]
    assert "pinnedAt" not in unpinned


def test_pins_have_limits(rest: Any, simulator: Simulator) -> None:
    for number in range(6):
        simulator.user(f"user{number}").say("x", to="helpdesk")
    answers = [rest("POST", f"/users/user{number}/conversation/pin", acting="helpdesk") for number in range(6)]
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    assert answers[5].get_json()["error"]["code"] == "ERR_PINNED_CONVERSATIONS_LIMIT_EXCEEDED"
    assert rest("POST", "/users/user0/conversation/pin", acting="helpdesk").status_code == 200
    peers = [{"uid": f"user{number}"} for number in range(6)]
    refused = rest("PUT", "/conversations/pinned", {"pinnedConversations": peers}).get_json()["error"]
    assert refused["code"] == "ERR_SYSTEM_PINNED_CONVERSATIONS_LIMIT_EXCEEDED"
    assert rest("PUT", "/conversations/pinned", {"pinnedConversations": [{}]}).status_code == 400
    kept = rest("PUT", "/conversations/pinned", {"pinnedConversations": [*peers[:1], {"guid": "ops-room"}]})
    assert [pin["conversationType"] for pin in kept.get_json()["data"]] == ["user", "group"]
    assert rest("GET", "/conversations/pinned").get_json() == kept.get_json()


def test_a_conversation_without_messages_cannot_be_pinned(rest: Any) -> None:
    refused = rest("POST", "/users/tom/conversation/pin", acting="helpdesk").get_json()["error"]
    assert refused["code"] == "ERR_CONVERSATION_NOT_ACCESSIBLE"


def test_a_conversation_whose_last_message_was_deleted_shows_none(rest: Any, simulator: Simulator) -> None:
    message = simulator.user("maria").say("x", to="helpdesk")
    gone = simulator.world.message_store.get(message.id)
    simulator.world.message_store.update(dataclasses.replace(gone, deleted_at=1))
    assert "lastMessage" not in rest("GET", "/users/maria/conversation", acting="helpdesk").get_json()["data"]
