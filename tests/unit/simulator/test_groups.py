from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Refusal, Simulator


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def triggers(simulator: Simulator) -> list[str]:
    return [change.trigger for change in simulator.world.journal.changes]


def test_create_group_on_behalf_of_a_user_makes_them_its_owner(rest: Any) -> None:
    body = {"guid": "Shop", "name": "Shop", "type": "private", "members": {"participants": ["tom"]}}
    shown = rest("POST", "/groups", body, acting="maria").get_json()["data"]
    assert (shown["guid"], shown["owner"], shown["scope"], shown["membersCount"]) == ("shop", "maria", "admin", 2)
    assert shown["hasJoined"] is True
    assert shown["conversationId"] == "group_shop"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"guid": "ops-room", "name": "x", "type": "public"}, (400, "ERR_GUID_ALREADY_EXISTS")),
        ({"guid": "x", "name": "x", "type": "password"}, (400, "ERR_EMPTY_GROUP_PASS")),
        ({"guid": "x", "name": "x", "type": "secret"}, (400, "ERR_BAD_REQUEST")),
        ({"guid": "x!", "name": "x", "type": "public"}, (400, "ERR_BAD_REQUEST")),
        ({"guid": "x", "name": "x", "type": "public", "description": "d" * 256}, (400, "ERR_BAD_REQUEST")),
        ({"guid": "x", "name": "x", "type": "public", "owner": "nobody"}, (404, "ERR_UID_NOT_FOUND")),
    ],
)
def test_create_group_refuses_wrong_bodies(rest: Any, body: Any, expected: Any) -> None:
    assert code_of(rest("POST", "/groups", body)) == expected


def test_the_group_password_is_never_shown(rest: Any) -> None:
    body = {"guid": "vault", "name": "Vault", "type": "password", "password": "open-sesame"}
    assert "open-sesame" not in rest("POST", "/groups", body).get_data(as_text=True)
    assert "open-sesame" not in rest("GET", "/groups/vault").get_data(as_text=True)


def test_list_groups_filters_by_type_and_membership(rest: Any, simulator: Simulator) -> None:
    simulator.add_group("lab", type="private", members=["tom"])
    assert [g["guid"] for g in rest("GET", "/groups?types=private,password").get_json()["data"]] == ["lab"]
    joined = rest("GET", "/groups?hasJoined=true", acting="maria").get_json()["data"]
    assert [(g["guid"], g["scope"]) for g in joined] == [("ops-room", "admin")]


def test_update_and_delete_group_are_for_its_admins(rest: Any, simulator: Simulator) -> None:
    assert code_of(rest("PUT", "/groups/ops-room", {"name": "x"}, acting="tom")) == (400, "ERR_GROUP_NO_ADMIN_SCOPE")
    simulator.add_user("eve")
    assert code_of(rest("DELETE", "/groups/ops-room", acting="eve")) == (404, "ERR_GROUP_NOT_JOINED")
    shown = rest("PUT", "/groups/ops-room", {"name": "Ops 2", "owner": "tom"}, acting="maria").get_json()["data"]
    assert (shown["name"], shown["owner"]) == ("Ops 2", "maria")
    assert rest("DELETE", "/groups/ops-room").get_json()["data"]["success"] is True
    assert code_of(rest("GET", "/groups/ops-room")) == (404, "ERR_GUID_NOT_FOUND")
    assert triggers(simulator)[-2:] == ["group_updated", "group_deleted"]


def test_add_members_answers_for_each_user(rest: Any, simulator: Simulator) -> None:
    simulator.add_user("anna")
    body = {"admins": ["anna"], "participants": ["anna", "tom", "nobody"], "usersToBan": ["maria"]}
    answer = rest("POST", "/groups/ops-room/members", body).get_json()["data"]
    assert answer["admins"]["anna"]["success"] is True
    assert answer["admins"]["anna"]["data"]["data"]["action"] == "added"
    assert "anna" not in answer["participants"]
    assert answer["participants"]["tom"]["error"]["code"] == "ERR_ALREADY_JOINED"
    assert answer["participants"]["nobody"]["error"]["code"] == "ERR_UID_NOT_FOUND"
    assert answer["usersToBan"]["maria"]["success"] is True
    assert simulator.world.directory.groups["ops-room"].members["anna"].scope == "admin"


def test_add_members_takes_at_most_25_a_call(rest: Any) -> None:
    body = {"participants": [f"u{number}" for number in range(26)]}
    assert code_of(rest("POST", "/groups/ops-room/members", body)) == (400, "ERR_BAD_REQUEST")


def test_list_members_shows_scope_and_filters_by_it(rest: Any) -> None:
    everybody = rest("GET", "/groups/ops-room/members").get_json()["data"]
    assert {(m["uid"], m["scope"]) for m in everybody} == {
        ("maria", "admin"), ("tom", "participant"), ("helpdesk", "participant"),
    }  # fmt: skip
    admins = rest("GET", "/groups/ops-room/members?scopes=admin,moderator").get_json()["data"]
    assert [(m["uid"], bool(m["joinedAt"])) for m in admins] == [("maria", True)]


def test_change_scope_event_has_old_and_new_scope(rest: Any, simulator: Simulator) -> None:
    shown = rest("PUT", "/groups/ops-room/members/tom", {"scope": "moderator"}).get_json()["data"]
    assert (shown["guid"], shown["uid"], shown["scope"]) == ("ops-room", "tom", "moderator")
    change = simulator.world.journal.changes[-1]
    assert change.trigger == "group_member_scope_changed"
    assert change.data["members"]["tom"]["oldScope"] == "participant"
    assert code_of(rest("PUT", "/groups/ops-room/members/tom", {"scope": "moderator"})) == (400, "ERR_SAME_SCOPE")
    assert code_of(rest("PUT", "/groups/ops-room/members/eve", {"scope": "admin"})) == (404, "ERR_NOT_A_MEMBER")


def test_kick_lets_them_come_back_and_ban_does_not(rest: Any, simulator: Simulator) -> None:
    assert rest("DELETE", "/groups/ops-room/members/tom").status_code == 200
    assert code_of(rest("DELETE", "/groups/ops-room/members/tom")) == (404, "ERR_NOT_A_MEMBER")
    simulator.user("tom").join("ops-room")
    assert rest("POST", "/groups/ops-room/bannedusers/tom").status_code == 200
    assert code_of(rest("POST", "/groups/ops-room/bannedusers/tom")) == (400, "ERR_ALREADY_BANNED")
    assert [u["uid"] for u in rest("GET", "/groups/ops-room/bannedusers").get_json()["data"]] == ["tom"]
    answer = rest("POST", "/groups/ops-room/members", {"participants": ["tom"]}).get_json()["data"]
    assert answer["participants"]["tom"]["error"]["code"] == "ERR_BANNED_GROUPMEMBER"
    assert rest("DELETE", "/groups/ops-room/bannedusers/tom").status_code == 200
    assert code_of(rest("DELETE", "/groups/ops-room/bannedusers/tom")) == (404, "ERR_NOT_A_BANNED_USER")
    assert triggers(simulator)[-4:] == [
        "group_member_kicked", "group_member_joined", "group_member_banned", "group_member_unbanned",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("acting", "uid", "code"),
    [
        ("helpdesk", "maria", "ERR_GROUP_NO_CLEARANCE"),
        ("helpdesk", "helpdesk", "ERR_GROUP_NO_SELF_ACTION"),
        ("tom", "helpdesk", "ERR_GROUP_NO_CLEARANCE"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("DELETE", "members"), ("POST", "bannedusers")])
def test_nobody_removes_owners_itself_and_those_above(
    rest: Any, acting: str, uid: str, code: str, method: str, path: str
) -> None:
    rest("PUT", "/groups/ops-room/members/helpdesk", {"scope": "admin"})
    rest("PUT", "/groups/ops-room/members/tom", {"scope": "moderator"})
    rest("PUT", "/groups/ops-room", {"owner": "maria"})

    assert code_of(rest(method, f"/groups/ops-room/{path}/{uid}", acting=acting)) == (403, code)


def test_scope_is_set_for_members_and_others(simulator: Simulator) -> None:
    members = simulator.world.directory.groups["ops-room"].members
    simulator.add_user("eve")
    for uid, scope in (("tom", "moderator"), ("tom", "moderator"), ("eve", "admin")):
        simulator.set_scope("ops-room", uid, scope)
        assert members[uid].scope == scope
    with pytest.raises(Refusal, match="Expected one of"):
        simulator.set_scope("ops-room", "tom", "owner")


def test_a_participant_may_not_kick(rest: Any) -> None:
    answer = rest("DELETE", "/groups/ops-room/members/helpdesk", acting="tom")
    assert code_of(answer) == (403, "ERR_GROUP_NO_CLEARANCE")


@pytest.mark.parametrize(
    ("type_", "password", "code"),
    [
        ("password", "", "ERR_EMPTY_GROUP_PASS"),
        ("password", "wrong", "ERR_WRONG_GROUP_PASS"),
        ("private", "", "ERR_GROUP_JOIN_NOT_ALLOWED"),
    ],
)
def test_join_needs_the_password_or_an_open_group(simulator: Simulator, type_: Any, password: str, code: str) -> None:
    simulator.add_group("vault", type=type_, password="right")
    with pytest.raises(Exception, match="vault") as caught:
        simulator.user("tom").join("vault", password=password)
    assert getattr(caught.value, "code", "") == code


def test_join_and_leave_are_action_messages_with_entities(simulator: Simulator) -> None:
    simulator.add_group("vault", type="password", password="right")
    joined = simulator.user("tom").join("vault", password="right")
    assert (joined.category, joined.type, joined.data["action"]) == ("action", "groupMember", "joined")
    assert joined.data["entities"]["on"]["entity"]["uid"] == "tom"
    assert joined.data["entities"]["for"]["entityType"] == "group"
    assert simulator.user("tom").leave("vault").data["action"] == "left"
    assert "by" not in simulator.world.journal.changes[-1].data
