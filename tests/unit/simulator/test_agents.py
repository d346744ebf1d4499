from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from cometbot.simulator import Simulator

PATH = "/ai-agents/agents"
AGENT = {
    "name": "Help desk",
    "icon": "https://example.com/agent.png",
    "integrateWith": "ag-ui",
    "integrationType": "agent",
    "integrationMeta": {"url": "https://bots.example.org/agui/shop", "headers": {"Authorization": "Bearer s3cr3t"}},
}


def create(rest: Any, **changes: Any) -> Any:
    return rest("POST", PATH, {**AGENT, **changes})


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def test_created_agent_has_a_uuid_and_is_active(rest: Any) -> None:
    response = create(rest)
    agent = response.get_json()["agent"]
    assert response.status_code == 201
    assert UUID(agent["uid"]).version == 4
    assert (agent["name"], agent["isActive"], agent["integrationMeta"]) == (
        "Help desk", True, AGENT["integrationMeta"],
    )  # fmt: skip
    assert agent["createdAt"] == agent["updatedAt"] == "2026-01-01T00:00:00.000Z"


def test_list_has_no_envelope_and_the_order_of_creation(rest: Any) -> None:
    assert rest("GET", PATH).get_json() == []
    uids = [create(rest, name=name).get_json()["agent"]["uid"] for name in ("b", "a")]
    assert [agent["uid"] for agent in rest("GET", PATH).get_json()] == uids


def test_patch_changes_only_what_it_names(rest: Any) -> None:
    uid = create(rest).get_json()["agent"]["uid"]
    assert rest("PATCH", f"{PATH}/{uid}", {"isActive": False}).get_json() == {"success": True}
    (agent,) = rest("GET", PATH).get_json()
    assert (agent["isActive"], agent["name"], agent["integrationMeta"]) == (
        False, "Help desk", AGENT["integrationMeta"],
    )  # fmt: skip


def test_deleted_agent_is_gone(rest: Any) -> None:
    uid = create(rest).get_json()["agent"]["uid"]
    assert rest("DELETE", f"{PATH}/{uid}").get_json() == {
        "success": True, "message": f"Agent with UID '{uid}' has been deleted successfully",
    }  # fmt: skip
    assert rest("GET", PATH).get_json() == []
    for method, body in (("DELETE", None), ("PATCH", {"isActive": True})):
        assert code_of(rest(method, f"{PATH}/{uid}", body)) == (404, "ERR_AGENT_NOT_FOUND")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "x" * 101},
        {"icon": "nowhere"},
        {"integrateWith": "telepathy"},
        {"integrationType": "llm"},
        {"isActive": "yes"},
        {"integrationMeta": {"url": "http://bots.example.org/agui/shop"}},
        {"integrationMeta": {"url": "https://[bad"}},
    ],
)
def test_wrong_bodies_are_refused_and_change_nothing(rest: Any, changes: dict[str, Any]) -> None:
    assert code_of(create(rest, **changes)) == (400, "ERR_BAD_REQUEST")
    assert rest("GET", PATH).get_json() == []


def test_agent_on_this_machine_needs_no_tls(rest: Any) -> None:
    assert create(rest, integrationMeta={"url": "http://127.0.0.1:8000/agui/shop"}).status_code == 201


@pytest.mark.parametrize("missing", ["name", "icon", "integrateWith", "integrationType"])
def test_required_fields_are_required(rest: Any, missing: str) -> None:
    assert code_of(rest("POST", PATH, {key: AGENT[key] for key in AGENT if key != missing})) == (400, "ERR_BAD_REQUEST")


def test_the_log_masks_the_headers(rest: Any, simulator: Simulator) -> None:
    create(rest)
    rest("GET", PATH)
    shown = [str(entry.to_json()) for entry in simulator.requests]
    assert len(shown) == 2
    assert "s3cr3t" not in "".join(shown)


def test_reset_deletes_agents(rest: Any, simulator: Simulator) -> None:
    create(rest)
    simulator.reset()
    assert rest("GET", PATH).get_json() == []
