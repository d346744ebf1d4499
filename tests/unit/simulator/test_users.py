from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Simulator

NEW = {"uid": "Anna-K", "name": "Anna K", "tags": ["staff"], "metadata": {"floor": 2, "@private": {"email": "a@b.c"}}}


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def test_create_user_returns_public_user_with_lowercase_uid(rest: Any) -> None:
    shown = rest("POST", "/users", NEW).get_json()["data"]
    assert shown["uid"] == "anna-k"
    assert shown["metadata"] == {"floor": 2}
    assert shown["role"] == "default"
    assert shown["tags"] == ["staff"]
    assert "avatar" not in shown


def test_create_user_with_auth_token_answers_one(rest: Any) -> None:
    shown = rest("POST", "/users", {**NEW, "withAuthToken": True}).get_json()["data"]
    assert shown["authToken"].startswith("anna-k_")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"uid": "maria", "name": "M"}, (400, "ERR_UID_ALREADY_EXISTS")),
        ({"uid": "a b", "name": "M"}, (400, "ERR_INVALID_UID")),
        ({"uid": "x" * 101, "name": "M"}, (400, "ERR_BAD_REQUEST")),
        ({"name": "M"}, (400, "ERR_BAD_REQUEST")),
        ({"uid": "x", "name": "M", "avatar": "nowhere"}, (400, "ERR_BAD_REQUEST")),
        ({"uid": "x", "name": "M", "tags": ["t"] * 26}, (400, "ERR_BAD_REQUEST")),
    ],
)
def test_create_user_refuses_wrong_bodies(rest: Any, body: Any, expected: Any) -> None:
    assert code_of(rest("POST", "/users", body)) == expected


def test_a_refused_body_names_each_field_in_details(rest: Any) -> None:
    error = rest("POST", "/users", {"uid": "x", "avatar": 5}).get_json()["error"]
    assert set(error["details"]) == {"name", "avatar"}
    assert error["source"] == "chat-api"
    assert all(isinstance(texts, list) for texts in error["details"].values())


def test_get_user_on_behalf_of_another_has_conversation(rest: Any) -> None:
    assert rest("GET", "/users/MARIA", acting="tom").get_json()["data"]["conversationId"] == "maria_user_tom"
    assert "conversationId" not in rest("GET", "/users/maria").get_json()["data"]


def test_get_user_who_is_unknown_answers_404(rest: Any) -> None:
    assert code_of(rest("GET", "/users/nobody")) == (404, "ERR_UID_NOT_FOUND")


def test_list_users_pages_and_searches(rest: Any) -> None:
    answer = rest("GET", "/users?perPage=2&page=2").get_json()
    assert [user["uid"] for user in answer["data"]] == ["tom"]
    assert answer["meta"]["pagination"] == {
        "total": 3, "count": 1, "per_page": 2, "current_page": 2, "total_pages": 2,
    }  # fmt: skip
    found = rest("GET", "/users?searchKey=berg&searchIn[]=name").get_json()["data"]
    assert [user["uid"] for user in found] == ["tom"]
    assert rest("GET", "/users?searchKey=berg&searchIn=uid").get_json()["data"] == []


def test_list_users_refuses_more_than_a_thousand_a_page(rest: Any) -> None:
    assert code_of(rest("GET", "/users?perPage=1001")) == (400, "ERR_BAD_REQUEST")


def test_update_user_changes_and_unsets(rest: Any) -> None:
    rest("PUT", "/users/maria", {"avatar": "https://cdn.example.org/m.png", "statusMessage": "busy"})
    shown = rest("PUT", "/users/maria", {"unset": ["avatar"], "name": "Maria L"}).get_json()["data"]
    assert shown["name"] == "Maria L"
    assert shown["statusMessage"] == "busy"
    assert "avatar" not in shown
    assert shown["updatedAt"]


def test_delete_user_deactivates_unless_permanent(rest: Any, simulator: Simulator) -> None:
    assert rest("DELETE", "/users/tom").get_json()["data"]["success"] is True
    assert code_of(rest("GET", "/users/tom")) == (404, "ERR_UID_NOT_FOUND")
    hidden = rest("GET", "/users?onlyDeactivated=true").get_json()["data"]
    assert [user["uid"] for user in hidden] == ["tom"]
    assert rest("PUT", "/users", {"uidsToActivate": ["tom"]}).get_json()["data"] == {"nonDeactivatedUids": ["tom"]}
    rest("DELETE", "/users/tom", {"permanent": True})
    assert "tom" not in simulator.world.directory.users
    assert "tom" not in simulator.world.directory.groups["ops-room"].members


def test_deactivating_many_with_one_unknown_changes_none(rest: Any) -> None:
    answer = rest("DELETE", "/users", {"uidsToDeactivate": ["tom", "nobody"]})
    assert code_of(answer) == (404, "ERR_UID_NOT_FOUND")
    assert rest("GET", "/users/tom").status_code == 200
    assert rest("DELETE", "/users", {"uidsToDeactivate": ["tom"]}).get_json()["data"] == {"deactivatedUids": ["tom"]}


def test_with_deactivated_lists_both(rest: Any) -> None:
    rest("DELETE", "/users/tom")
    listed = rest("GET", "/users?withDeactivated=true").get_json()["data"]
    assert [user["uid"] for user in listed] == ["helpdesk", "maria", "tom"]
    assert [user["uid"] for user in rest("GET", "/users").get_json()["data"]] == ["helpdesk", "maria"]


def test_auth_token_is_the_same_until_forced(rest: Any) -> None:
    first = rest("POST", "/users/maria/auth_tokens").get_json()["data"]
    assert set(first) == {"uid", "authToken", "createdAt"}
    assert rest("POST", "/users/maria/auth_tokens").get_json()["data"] == first
    forced = rest("POST", "/users/maria/auth_tokens", {"force": True}).get_json()["data"]
    assert forced["authToken"] != first["authToken"]


def test_a_blocked_user_cannot_write_to_who_blocked_them(rest: Any) -> None:
    answer = rest("POST", "/users/maria/blockedusers", {"blockedUids": ["tom", "maria", "nobody"]}).get_json()["data"]
    assert answer["tom"]["success"] is True
    assert answer["tom"]["message"] == "The user with UID maria has blocked user with UID tom successfully."
    assert answer["maria"]["error"]["code"] == "ERR_CANNOT_BLOCK_SELF"
    assert answer["nobody"]["error"]["code"] == "ERR_UID_NOT_FOUND"
    body = {"receiverType": "user", "category": "message", "type": "text", "data": {"text": "hi"}}
    assert code_of(rest("POST", "/messages", {**body, "receiver": "maria"}, acting="tom"))[1] == "ERR_BLOCKED_RECEIVER"
    assert code_of(rest("POST", "/messages", {**body, "receiver": "tom"}, acting="maria"))[1] == "ERR_BLOCKED_SENDER"
    listed = rest("GET", "/users/maria/blockedusers").get_json()["data"]
    assert [(user["uid"], user["blockedByMe"], user["conversationId"]) for user in listed] == [
        ("tom", True, "maria_user_tom")
    ]
    assert rest("GET", "/users/tom", acting="maria").get_json()["data"]["blockedByMeAt"] == listed[0]["blockedAt"]
    rest("DELETE", "/users/maria/blockedusers", {"blockedUids": ["tom"]})
    assert rest("POST", "/messages", {**body, "receiver": "maria"}, acting="tom").status_code == 200
