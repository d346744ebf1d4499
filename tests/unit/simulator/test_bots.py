from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Simulator

URL = "https://bots.example.org/cometchat/shop"


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def test_minimal_bot_is_disabled_and_omits_empty_fields(rest: Any) -> None:
    shown = rest("POST", "/bots", {"uid": "maria", "webhookURL": URL}).get_json()["data"]
    assert shown == {
        "uid": "maria", "webhookURL": URL, "groupChatSetting": "none", "createdAt": shown["createdAt"],
    }  # fmt: skip


def test_get_bot_answers_the_password_in_clear(rest: Any) -> None:
    shown = rest("GET", "/bots/helpdesk").get_json()["data"]
    assert (shown["username"], shown["password"], shown["useBasicAuth"]) == ("cc", "s3cr3t-value", True)
    assert shown["enabled"] is True


def test_create_bot_keeps_credentials_only_with_basic_auth(rest: Any) -> None:
    body = {"uid": "maria", "webhookURL": URL, "username": "u", "password": "p"}
    assert "username" not in rest("POST", "/bots", body).get_json()["data"]


def test_update_bot_always_stores_credentials(rest: Any) -> None:
    shown = rest("PUT", "/bots/helpdesk", {"useBasicAuth": False, "username": "new"}).get_json()["data"]
    assert (shown["username"], shown["password"]) == ("new", "s3cr3t-value")
    assert "useBasicAuth" not in shown
    assert shown["updatedAt"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"uid": "nobody", "webhookURL": URL}, (404, "ERR_UID_NOT_FOUND")),
        ({"uid": "helpdesk", "webhookURL": URL}, (400, "ERR_BOT_ALREADY_EXISTS")),
        ({"uid": "maria", "webhookURL": "nowhere"}, (400, "ERR_BAD_REQUEST")),
        ({"uid": "maria", "webhookURL": f"https://x.example/{'a' * 255}"}, (400, "ERR_BAD_REQUEST")),
        ({"uid": "maria", "webhookURL": URL, "groupChatSetting": "some"}, (400, "ERR_BAD_REQUEST")),
        ({"uid": "maria", "webhookURL": URL, "password": "p" * 51}, (400, "ERR_BAD_REQUEST")),
        ({"uid": "maria", "webhookURL": URL, "enabled": "yes"}, (400, "ERR_BAD_REQUEST")),
        ({"webhookURL": URL}, (400, "ERR_BAD_REQUEST")),
    ],
)
def test_create_bot_refuses_wrong_bodies(rest: Any, body: Any, expected: Any) -> None:
    assert code_of(rest("POST", "/bots", body)) == expected


def test_create_bot_refuses_a_uid_of_over_50_characters(rest: Any, simulator: Simulator) -> None:
    simulator.add_user("u" * 51)
    assert code_of(rest("POST", "/bots", {"uid": "u" * 51, "webhookURL": URL})) == (400, "ERR_BAD_REQUEST")


def test_the_26th_bot_is_refused(rest: Any, simulator: Simulator) -> None:
    for number in range(24):
        simulator.add_bot(f"bot-{number}", URL)
    assert code_of(rest("POST", "/bots", {"uid": "maria", "webhookURL": URL})) == (403, "ERR_PLAN_QUOTA_RESTRICTION")


def test_list_bots_is_sorted_and_searched_by_uid_prefix(rest: Any, simulator: Simulator) -> None:
    simulator.add_bot("answers", URL, name="Helpdesk two")
    answer = rest("GET", "/bots").get_json()
    assert [bot["uid"] for bot in answer["data"]] == ["answers", "helpdesk"]
    assert answer["meta"]["pagination"]["total"] == 2
    assert [bot["uid"] for bot in rest("GET", "/bots?searchKey=help").get_json()["data"]] == ["helpdesk"]
    assert rest("GET", "/bots?isAIBot=true").get_json()["data"] == []


def test_delete_bot_keeps_its_user(rest: Any) -> None:
    assert rest("DELETE", "/bots/helpdesk").get_json()["data"]["success"] is True
    assert rest("GET", "/users/helpdesk").status_code == 200
    for method, path in (("GET", "/bots/helpdesk"), ("PUT", "/bots/helpdesk"), ("DELETE", "/bots/helpdesk")):
        assert code_of(rest(method, path)) == (404, "ERR_BOT_NOT_FOUND")


def test_send_bot_message_of_a_user_who_is_no_bot_is_refused(rest: Any) -> None:
    body = {"receiver": "tom", "receiverType": "user", "category": "message", "type": "text", "data": {"text": "x"}}
    assert code_of(rest("POST", "/bots/maria/messages", body)) == (404, "ERR_BOT_NOT_FOUND")
