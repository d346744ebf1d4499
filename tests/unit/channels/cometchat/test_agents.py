"""Which agent is a bot's, what differs from the settings, and that no text shows the token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometbot.channels.cometchat.agents import AgentSyncPlan, RegisteredAgent, agent_url, find_agent
from cometbot.errors import ConfigurationError
from cometbot.settings import Secret

URL = "https://bots.example.org/agui/shop"
TOKEN = Secret("t0ken-" * 6)
BEARER = f"Bearer {TOKEN.reveal()}"


def make_agent(uid: str = "1", url: str = URL, **changes: Any) -> RegisteredAgent:
    meta = {"url": url, "headers": {"Authorization": BEARER}, **changes.pop("meta", {})}
    record = {"uid": uid, "name": "Shop", "integrateWith": "ag-ui", "isActive": True, "integrationMeta": meta}
    return RegisteredAgent.from_record(record | changes)


def make_plan(registered: RegisteredAgent | None) -> AgentSyncPlan:
    icon = "https://example.com/a.png"
    return AgentSyncPlan(bot="shop", url=URL, token=TOKEN, name="Shop", icon=icon, registered=registered)


def differing(registered: RegisteredAgent | None) -> list[str]:
    return [item.field for item in make_plan(registered).differences]


class Client:
    """Remembers the bodies that a plan sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def create_agent(self, body: Any) -> Any:
        self.sent.append(("", body))
        return {"uid": "new"}

    def update_agent(self, uid: str, changes: Any) -> Any:
        self.sent.append((uid, changes))


def apply(registered: RegisteredAgent | None) -> tuple[str, Any]:
    client = Client()
    uid = make_plan(registered).apply(client)  # type: ignore[arg-type]
    ((sent_to, body),) = client.sent
    assert sent_to == (registered.uid if registered else "")
    return uid, body


@pytest.mark.parametrize("record", [{}, {"integrationMeta": None}, {"uid": 5, "integrationMeta": {"headers": ["x"]}}])
def test_properties_of_wrong_types_are_ignored(record: Any) -> None:
    agent = RegisteredAgent.from_record(record)
    assert (agent.uid, agent.url, agent.headers, agent.enabled) == ("", "", {}, False)


def test_token_shows_nowhere() -> None:
    agent = make_agent(url=f"{URL}?key={TOKEN.reveal()}")
    plan = make_plan(agent)
    assert "t0ken" not in f"{agent!r} {json.dumps(agent.to_json())} {plan!r} {plan.differences}"
    assert agent.to_json()["headers"] == {"Authorization": "***"}


@pytest.mark.parametrize(("provider", "speaks"), [("ag-ui", True), ("AG_UI", True), ("agui", True), ("mastra", False)])
def test_provider_in_any_spelling(provider: str, speaks: bool) -> None:
    assert make_agent(integrateWith=provider).speaks_agui is speaks


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": BEARER}, True),
        ({"authorization": f"bearer  {TOKEN.reveal()}"}, True),
        ({"X-API-Key": TOKEN.reveal()}, True),
        ({"Authorization": f"Basic {TOKEN.reveal()}"}, False),
        ({"Authorization": "Bearer other"}, False),
        ({"X-Other": TOKEN.reveal()}, False),
        ({}, False),
    ],
)
def test_token_is_found_in_the_headers_that_are_read(headers: dict[str, str], expected: bool) -> None:
    assert make_agent(meta={"headers": headers}).sends(TOKEN) is expected


def test_what_differs() -> None:
    assert differing(make_agent()) == []
    assert differing(None) == ["agent", "picture", "URL", "token"]
    assert differing(make_agent(isActive=False)) == ["enabled"]
    assert differing(make_agent(url="https://old.example.org/agui/shop")) == ["URL"]
    assert differing(make_agent(meta={"headers": {}})) == ["token"]
    assert differing(make_agent(integrateWith="mastra")) == ["provider"]


def test_new_agent_has_name_picture_url_and_token() -> None:
    uid, body = apply(None)
    assert uid == "new"
    assert body == {
        "name": "Shop", "icon": "https://example.com/a.png", "integrateWith": "ag-ui", "integrationType": "agent",
        "integrationMeta": {"url": URL, "headers": {"Authorization": BEARER}}, "isActive": True,
    }  # fmt: skip


def test_update_keeps_what_the_dashboard_has_set() -> None:
    meta = {"deploymentUrl": "https://old.example.org/agui/shop", "url": "", "context": "x"}
    headers = {"X-Client": "c", "x-api-key": "old"}
    uid, body = apply(make_agent("7", integrateWith="AG_UI", meta={**meta, "headers": headers}))
    assert uid == "7"
    assert body == {
        "integrateWith": "AG_UI", "integrationType": "agent", "isActive": True,
        "integrationMeta": {
            "deploymentUrl": URL, "url": "", "context": "x", "headers": {"X-Client": "c", "Authorization": BEARER},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("urls", "uid", "expected"),
    [
        ([], "", None),
        (["https://a.example/agui/other"], "", None),
        (["https://a.example/agui/shop"], "", "0"),
        ([f"{URL}/"], "", "0"),
        (["https://a.example/agui/shop", URL], "", "1"),
        (["https://a.example/mine", URL], "0", "0"),
    ],
)
def test_agent_of_a_bot(urls: list[str], uid: str, expected: str | None) -> None:
    agents = [make_agent(str(number), url) for number, url in enumerate(urls)]
    found = find_agent(agents, "shop", URL, uid=uid)
    assert (found.uid if found else None) == expected


@pytest.mark.parametrize(
    ("urls", "uid", "text"),
    [
        (["https://a.example/agui/shop", "https://b.example/agui/shop"], "", "several agents.*0, 1.*--uid"),
        ([URL, URL], "", "several agents"),
        ([URL], "9", "no agent 9.*cometbot agents list"),
    ],
)
def test_agent_that_is_not_clear_is_asked_for(urls: list[str], uid: str, text: str) -> None:
    agents = [make_agent(str(number), url) for number, url in enumerate(urls)]
    with pytest.raises(ConfigurationError, match=text):
        find_agent(agents, "shop", URL, uid=uid)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h.example", "https://h.example/agui/shop"),
        ("https://h.example/bots/", "https://h.example/bots/agui/shop"),
        ("https://h.example/agui", "https://h.example/agui/shop"),
        ("https://h.example/agui/shop", "https://h.example/agui/shop"),
    ],
)
def test_agent_url_is_the_servers_url_and_the_bots_path(base: str, expected: str) -> None:
    assert agent_url(base, "shop") == expected
