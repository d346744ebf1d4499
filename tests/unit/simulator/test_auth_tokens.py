"""The tokens with which clients log in."""

from __future__ import annotations

from typing import Any

from cometbot.simulator import Simulator


def create(rest: Any, uid: str = "maria") -> str:
    return str(rest("POST", f"/users/{uid}/auth_tokens", {"force": True}).get_json()["data"]["authToken"])


def test_tokens_are_listed_changed_and_deleted(rest: Any) -> None:
    first, second = create(rest), create(rest)
    listed = rest("GET", "/users/maria/auth_tokens").get_json()["data"]
    assert [token["authToken"] for token in listed] == [first, second]
    changed = rest("PUT", f"/users/maria/auth_tokens/{first}", {"platform": "web", "appInfo": {"v": 2}})
    assert changed.get_json()["data"]["platform"] == "web"
    assert rest("GET", f"/users/maria/auth_tokens/{first}").get_json()["data"]["appInfo"] == {"v": 2}
    assert rest("DELETE", f"/users/maria/auth_tokens/{first}").get_json()["data"]["success"] is True
    gone = rest("GET", f"/users/maria/auth_tokens/{first}")
    assert (gone.status_code, gone.get_json()["error"]["code"]) == (401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND")


def test_all_tokens_of_a_user_are_deleted_at_once(rest: Any) -> None:
    create(rest)
    kept = create(rest, "tom")
    rest("DELETE", "/users/maria/auth_tokens")
    assert rest("GET", "/users/maria/auth_tokens").get_json()["data"] == []
    assert rest("GET", f"/users/tom/auth_tokens/{kept}").status_code == 200


def test_a_token_belongs_to_one_user(rest: Any) -> None:
    token = create(rest)
    assert rest("DELETE", f"/users/tom/auth_tokens/{token}").status_code == 401


def test_the_log_of_requests_shows_no_token(rest: Any, simulator: Simulator) -> None:
    token = create(rest)
    rest("GET", f"/users/maria/auth_tokens/{token}")
    assert simulator.requests[-1].path == "/v3/users/maria/auth_tokens/***"
    assert token not in str([entry.to_json() for entry in simulator.requests])
