from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot.simulator import Simulator


@pytest.fixture
def control(simulator: Simulator) -> Callable[..., Any]:
    client = simulator.app.test_client()
    return lambda method, path, body=None, **more: client.open(f"/simulator{path}", method=method, json=body, **more)


def test_about_lists_contents_without_keys(control: Any, simulator: Simulator) -> None:
    answer = control("GET", "")
    assert answer.get_json()["data"]["bots"] == ["helpdesk"]
    assert answer.get_json()["data"]["behaviour"]["standard_limit"] == 20_000
    assert simulator.api_key not in answer.get_data(as_text=True)


def test_users_groups_bots_and_webhooks_can_be_made(control: Any, simulator: Simulator) -> None:
    assert control("POST", "/users", {"uid": "anna", "tags": ["x"]}).get_json() == {"data": {"uid": "anna"}}
    assert control("POST", "/groups", {"guid": "Lab", "members": ["anna"]}).get_json() == {"data": {"guid": "lab"}}
    bot = {"uid": "shop", "webhook_url": "http://127.0.0.1:1/", "username": "u", "password": "p"}
    assert control("POST", "/bots", bot).get_json() == {"data": {"uid": "shop"}}
    webhook = {"url": "http://127.0.0.1:1/", "triggers": ["message_edited"], "id": "mine"}
    assert control("POST", "/webhooks", webhook).get_json() == {"data": {"id": "mine"}}
    assert simulator.world.directory.bots["shop"].credentials == ("u", "p")


def test_say_and_act_do_what_the_user_would(control: Any, simulator: Simulator) -> None:
    said = control("POST", "/users/maria/say", {"text": "helo", "to": "helpdesk", "tags": ["t"]}).get_json()["data"]
    assert (said["sender"], said["tags"]) == ("maria", ["t"])
    edited = control("POST", "/users/maria/act", {"act": "edit", "message": said["id"], "text": "hello"})
    assert edited.get_json()["data"]["data"]["text"] == "hello"
    control("POST", "/users/tom/act", {"act": "leave", "group": "ops-room"})
    assert "tom" not in simulator.world.directory.groups["ops-room"].members
    control("POST", "/users/tom/act", {"act": "join", "group": "ops-room"})
    for act in ("react", "unreact"):
        assert (
            control("POST", "/users/maria/act", {"act": act, "message": said["id"], "reaction": "a"}).status_code == 200
        )
    deleted = control("POST", "/users/maria/act", {"act": "delete", "message": said["id"]}).get_json()["data"]
    assert deleted["data"]["action"] == "deleted"
    body = {
        "receiver": "tom",
        "receiverType": "user",
        "category": "custom",
        "type": "x",
        "data": {"customData": {"a": 1}},
    }
    assert control("POST", "/users/maria/write", body).get_json()["data"]["category"] == "custom"


def test_messages_can_be_read(control: Any, simulator: Simulator) -> None:
    first = simulator.user("maria").say("1", to="helpdesk")
    second = simulator.user("maria").say("2", to="helpdesk")
    simulator.user("maria").say("3", group="ops-room")
    for query in (f"between=maria,helpdesk&after={first.id}", f"conversation=helpdesk_user_maria&after={first.id}"):
        assert [m["id"] for m in control("GET", f"/messages?{query}").get_json()["data"]] == [second.id]


def test_logs_can_be_followed_by_id(control: Any, rest: Any, simulator: Simulator) -> None:
    rest("GET", "/bots")
    rest("GET", "/users")
    entries = control("GET", "/requests").get_json()
    assert [entry["path"] for entry in entries["data"]] == ["/v3/bots", "/v3/users"]
    assert entries["meta"] == {"dropped": 0}
    later = control("GET", f"/requests?after={entries['data'][0]['id']}").get_json()["data"]
    assert [entry["path"] for entry in later] == ["/v3/users"]
    assert control("GET", "/callbacks").get_json()["data"] == []
    last = simulator.world.journal.last_id
    simulator.user("maria").say("x", to="tom")
    assert [(e["kind"], e["trigger"]) for e in control("GET", f"/log?after={last}").get_json()["data"]] == [
        ("change", "message_sent")
    ]
    assert control("GET", "/log?after=999&wait=0.01").get_json()["data"] == []


def test_misbehaviour_is_set_listed_and_cleared(control: Any, rest: Any) -> None:
    rules = [{"kind": "fail", "status": 503, "times": 1, "routes": ["GET *"]}, {"kind": "drop", "before": False}]
    listed = control("POST", "/misbehave", {"rules": rules}).get_json()["data"]
    assert [(rule["kind"], rule["after"], rule["hits"]) for rule in listed] == [("fail", False, 0), ("drop", True, 0)]
    assert rest("GET", "/bots").status_code == 503
    assert control("GET", "/misbehave").get_json()["data"][0]["hits"] == 1
    assert control("DELETE", "/misbehave").get_json()["data"] == []
    assert len(control("POST", "/misbehave", {"kind": "slow", "seconds": 1}).get_json()["data"]) == 1


def test_behaviour_can_be_changed(control: Any, simulator: Simulator) -> None:
    answer = control("PATCH", "/behaviour", {"redeliver": [0.5, 1], "media_access": "token"})
    assert answer.get_json()["data"]["media_access"] == "token"
    assert simulator.world.behaviour.redeliver == (0.5, 1.0)


def test_files_can_be_added(control: Any, simulator: Simulator) -> None:
    answer = control("POST", "/files/a.png", data=b"png", headers={"Content-Type": "image/x-own"})
    loaded = simulator.app.test_client().get(answer.get_json()["data"]["url"])
    assert (loaded.data, loaded.mimetype) == (b"png", "image/x-own")


def test_reset_forgets_everything(control: Any, simulator: Simulator) -> None:
    assert control("POST", "/reset", {}).status_code == 200
    assert simulator.world.directory.users == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/maria/say", {"txt": "hi", "to": "tom"}),
        ("/users/maria/say", []),
        ("/users/maria/act", {"act": "dance"}),
        ("/misbehave", {"kind": "explode"}),
        ("/misbehave", {"rules": [{"kind": "slow"}, {"kind": "fail", "status": 200}]}),
        ("/bots", {"uid": "x", "webhook_url": "nowhere"}),
        ("/webhooks", {"url": "http://127.0.0.1:1/", "triggers": ["x"]}),
    ],
)
def test_wrong_bodies_are_refused_and_change_nothing(control: Any, simulator: Simulator, path: str, body: Any) -> None:
    answer = control("POST", path, body)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["details"]
    assert (simulator.messages(), simulator.misbehave.active_rules) == ([], [])


def test_a_body_of_another_type_is_refused(control: Any) -> None:
    assert control("POST", "/reset", data="x").status_code == 200
    assert control("POST", "/users", data='{"uid": "x"}').status_code == 400


@pytest.mark.parametrize(
    "more",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"headers": {"Host": "evil.example"}},
        {"headers": {"Origin": "https://evil.example"}},
        {"headers": {"Origin": "null"}},
    ],
)
def test_only_this_machine_may_use_it(control: Any, more: Any) -> None:
    answer = control("POST", "/reset", {}, **more)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "AUTH_ERR_NO_ACCESS")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost"},
        {"Host": "localhost:80", "Origin": "http://localhost"},
        {"Host": "localhost:443", "Origin": "https://localhost"},
        {"Host": "localhost:8000", "Origin": "http://localhost:8000"},
    ],
)
def test_its_own_page_may_use_it(control: Any, headers: dict[str, str]) -> None:
    assert control("GET", "", headers=headers).status_code == 200


def test_an_unknown_path_is_a_json_error(control: Any) -> None:
    assert control("GET", "/nothing").get_json()["error"]["message"]
    assert control("PUT", "/reset").status_code == 405
