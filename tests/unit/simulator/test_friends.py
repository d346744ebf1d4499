"""Friends of users."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Simulator
from cometbot.simulator.rest import friends


def uids_of_friends(rest: Any, uid: str, query: str = "") -> list[str]:
    return [user["uid"] for user in rest("GET", f"/users/{uid}/friends{query}").get_json()["data"]]


def test_friends_are_friends_of_each_other(rest: Any) -> None:
    answer = rest("POST", "/users/maria/friends", {"accepted": ["TOM", "nobody", "maria"]}).get_json()["data"]
    assert answer["accepted"]["tom"] == {"success": True, "message": "Created relationship with status accepted."}
    assert answer["accepted"]["nobody"]["error"]["code"] == "ERR_UID_NOT_FOUND"
    assert answer["accepted"]["maria"]["success"] is False
    assert (uids_of_friends(rest, "maria"), uids_of_friends(rest, "tom")) == (["tom"], ["maria"])


def test_list_of_friends_is_searched_by_uid_and_name(rest: Any) -> None:
    rest("POST", "/users/maria/friends", {"accepted": ["tom", "helpdesk"]})
    assert uids_of_friends(rest, "maria", "?searchKey=berg") == ["tom"]
    assert uids_of_friends(rest, "maria", "?searchKey=desk") == ["helpdesk"]


def test_removed_friends_are_gone_on_both_sides(rest: Any) -> None:
    rest("POST", "/users/maria/friends", {"accepted": ["tom"]})
    assert rest("DELETE", "/users/tom/friends", {"friends": ["Maria", "nobody"]}).get_json()["data"]["success"] is True
    assert (uids_of_friends(rest, "maria"), uids_of_friends(rest, "tom")) == ([], [])


def test_a_deleted_user_is_nobodys_friend(rest: Any) -> None:
    rest("POST", "/users/maria/friends", {"accepted": ["tom"]})
    rest("DELETE", "/users/tom", {"permanent": True})
    assert uids_of_friends(rest, "maria") == []


def test_more_friends_than_a_request_or_a_user_may_have(
    rest: Any, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rest("POST", "/users/maria/friends", {"accepted": ["tom"] * 26}).status_code == 400
    monkeypatch.setattr(friends, "MAX_FRIENDS", 1)
    simulator.add_user("anna")
    answer = rest("POST", "/users/maria/friends", {"accepted": ["tom", "anna"]}).get_json()["data"]["accepted"]
    assert [answer[uid]["success"] for uid in ("tom", "anna")] == [True, False]
