"""The table of CometChat's operations, and the checks of requests and answers against it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cometbot.channels.cometchat.api_request import ApiRequest
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.simulator import Simulator
from cometbot.simulator.app import _ROUTES
from tests.cometchat_operations import (
    check_answer,
    check_request,
    collect_faults,
    documented_operations,
    find_documented,
)

ROOT = Path(__file__).parents[2]


def paths(rule: str) -> list[str]:
    """Return a route's paths in the form of the table: one for users and one for groups where it is for both."""
    kinds = ("users", "groups") if "<any(users,groups):kind>" in rule else ("",)
    made = [rule.replace("<any(users,groups):kind>", kind) for kind in kinds]
    return [re.sub(r"<(?:\w+:)?(\w+)>", "x", path) for path in made]


def test_the_simulator_has_exactly_the_operations_of_the_table() -> None:
    served = {str(find_documented(route.method, path)) for route in _ROUTES for path in paths(route.rule)}
    assert served == {str(row) for row in documented_operations()}


def test_the_simulator_takes_on_behalf_of_where_the_table_says() -> None:
    for route in _ROUTES:
        for path in paths(route.rule):
            row = find_documented(route.method, path)
            assert row is not None
            assert (str(row), route.acting) == (str(row), row.on_behalf_of)


def test_each_row_names_a_source_of_the_protocol_page() -> None:
    page = (ROOT / "docs" / "protocols" / "cometchat.md").read_text()
    sources = set(re.findall(r"^\| ([A-Z]\d?) \|", page, re.MULTILINE))
    for row in documented_operations():
        assert row.source.partition(" ")[0] in sources, str(row)


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "acting", "fault"),
    [
        ("PATCH", "/users/maria", None, {}, "", "has no row"),
        ("POST", "/users", {"uid": "m"}, {}, "", "lacks the field name"),
        ("POST", "/users", {"uid": "m", "name": "M", "age": 5}, {}, "", "unknown field age"),
        ("GET", "/users", None, {"size": 5}, "", "unknown query parameter size"),
        ("GET", "/users/maria/conversation", None, {}, "", "needs onBehalfOf"),
        ("GET", "/bots", None, {}, "maria", "does not take onBehalfOf"),
    ],
)
def test_a_request_that_is_not_documented_is_a_fault(
    method: str, path: str, body: Any, query: Mapping[str, object], acting: str, fault: str
) -> None:
    (found,) = check_request(method, path, body, query, acting)
    assert fault in found


@pytest.mark.parametrize(
    ("path", "answer", "fault"),
    [
        ("/users/maria", {"uid": "maria"}, "has no data"),
        ("/users/maria", {"data": []}, "is no object"),
        ("/users", {"data": {}}, "is no list"),
        ("/ai-agents/agents", {"data": []}, "is no list"),
        ("/conversations", {"data": [{}]}, "lacks conversationId"),
        ("/nowhere", {"data": {}}, "has no row"),
    ],
)
def test_an_answer_of_another_form_is_a_fault(path: str, answer: Any, fault: str) -> None:
    assert fault in check_answer("GET", path, answer)[0]


def test_a_path_without_parameters_is_found_before_one_with_them() -> None:
    assert str(find_documented("GET", "/conversations/pinned")) == "GET /conversations/pinned"


@pytest.mark.undocumented
def test_each_client_and_simulator_of_a_test_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    client = CometChatClient("http://127.0.0.1:1/v3", "key")
    simulator = Simulator()
    with collect_faults() as faults:
        with pytest.raises(Exception, match="CometChat"):
            client.send_request(ApiRequest("GET", "/nowhere"))
        assert len(faults) == 1
        monkeypatch.setattr("cometbot.simulator.rest.users.user_json", lambda user, **options: {"uid": user.uid})
        simulator.add_user("maria")
        simulator.app.test_client().get("/v3/users/maria", headers={"apikey": simulator.api_key})
    client.close()
    assert "has no row" in faults[0]
    assert any("lacks name" in fault for fault in faults)
