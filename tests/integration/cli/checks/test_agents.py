"""The lines about the bot as an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cometbot import Bot
from cometbot.cli.checks import CheckResult
from cometbot.cli.checks.agents import ExpectedAgent, check_agents
from cometbot.cli.checks.http_client import CheckClient
from cometbot.settings import Secret
from cometbot.simulator.records import AgentRecord

TOKEN = "t0ken-" * 8
STREAM = b'data: {"type":"RUN_STARTED"}\n\ndata: {"type":"RUN_ERROR","message":"empty"}\n\n'


def serve_agent(setup: Any, *, path: str = "/agui/helpdesk", token: str = TOKEN) -> None:
    """Serve a stand-in of the route; an empty ``token`` lets everybody in."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        if environ["PATH_INFO"] != path:
            start_response("404 Not Found", [])
            return [b""]
        if token and environ.get("HTTP_AUTHORIZATION") != f"Bearer {token}":
            start_response("401 Unauthorized", [("Content-Type", "application/json")])
            return [b"{}"]
        start_response("200 OK", [("Content-Type", "text/event-stream; charset=utf-8")])
        return [STREAM]

    setup.serve(app)


def register(setup: Any, **changes: Any) -> None:
    settings = {"url": f"{setup.url}/agui/helpdesk", "headers": {"Authorization": f"Bearer {TOKEN}"}}
    fields = {"uid": "a1", "name": "Help", "icon": "https://x/i", "provider": "ag-ui", "settings": settings, **changes}
    setup.simulator.world.agents["a1"] = AgentRecord(**fields)


@pytest.fixture
def agent_setup(bare_setup: Any) -> Any:
    bare_setup.set_variables(COMETBOT_CHANNELS="agui", AGUI_TOKEN=TOKEN)
    serve_agent(bare_setup)
    register(bare_setup)
    return bare_setup


def run(setup: Any) -> dict[str, CheckResult]:
    results: dict[str, CheckResult] = setup.run_checks(url=setup.url)
    return results


def test_agent_that_is_well_passes(agent_setup: Any) -> None:
    results = run(agent_setup)
    assert [results[name].ok for name in ("agent", "agent refused", "agent accepted", "reachable")] == [True] * 4
    assert TOKEN not in str(results)


def test_bot_of_cometbot_passes_and_stores_nothing(bare_setup: Any) -> None:
    bare_setup.set_variables(COMETBOT_CHANNELS="agui", AGUI_TOKEN=f"{TOKEN},{'older-' * 8}")
    bare_setup.serve_bot()
    register(bare_setup)
    results = run(bare_setup)
    assert [name for name, result in results.items() if result.ok is False] == []
    assert results["agent accepted"].ok
    with bare_setup._running[0].delivery.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mailbox").scalar() == 0


def test_agents_are_checked_only_with_the_channel(agent_setup: Any) -> None:
    agent_setup.set_variables(COMETBOT_CHANNELS="chat_api")
    assert "agent" not in run(agent_setup)


def test_missing_token_is_the_only_line(agent_setup: Any) -> None:
    agent_setup.unset_variables("AGUI_TOKEN")
    results = run(agent_setup)
    assert results["AGUI_TOKEN"].ok is False
    assert "agent" not in results


def test_bot_that_is_no_agent_needs_none(agent_setup: Any) -> None:
    agent_setup.simulator.world.agents.clear()
    result = run(agent_setup)["agent"]
    assert (result.ok, f"cometbot agents sync --url {agent_setup.url}" in result.cause) == (None, True)


def test_agent_without_settings_of_cometchat_is_not_looked_for(agent_setup: Any) -> None:
    agent_setup.unset_variables("COMETCHAT_API_KEY")
    results = run(agent_setup)
    assert results["agent"].ok is None
    assert results["agent accepted"].ok


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"is_active": False}, "not active"),
        ({"provider": "mastra"}, "expected the provider AG-UI, got mastra"),
        ({"settings": {"url": "https://old.example/agui/helpdesk"}}, "got https://old.example/agui/helpdesk"),
        ({"settings": {"url": "{url}", "headers": {"Authorization": "Bearer other"}}}, "another token"),
    ],
)
def test_what_is_wrong_with_the_registration(agent_setup: Any, changes: dict[str, Any], cause: str) -> None:
    if changes.get("settings", {}).get("url") == "{url}":
        changes["settings"]["url"] = f"{agent_setup.url}/agui/helpdesk"
    register(agent_setup, **changes)
    result = run(agent_setup)["agent"]
    assert (result.ok, cause in result.cause) == (False, True), result
    assert "cometbot agents sync" in result.remedy


def test_several_agents_of_one_path_are_named(agent_setup: Any) -> None:
    register(agent_setup, settings={"url": "https://a.example/agui/helpdesk"})
    agents = agent_setup.simulator.world.agents
    agents["a2"] = AgentRecord("a2", "x", "", "ag-ui", {"url": "https://b.example/agui/helpdesk"})
    result = run(agent_setup)["agent"]
    assert (result.ok, "a1, a2" in result.cause, "--uid" in result.remedy) == (False, True, True)


def test_refusal_of_cometchat_is_shown(agent_setup: Any) -> None:
    agent_setup.simulator.misbehave.fail(500, routes=["GET /ai-agents/agents"])
    result = run(agent_setup)["agent"]
    assert (result.ok, "500" in result.cause) == (False, True)


def test_route_that_is_open_to_everybody_fails(agent_setup: Any) -> None:
    serve_agent(agent_setup, token="")
    results = run(agent_setup)
    assert results["agent refused"].ok is False
    assert "anyone" in results["agent refused"].cause


def test_service_with_another_token_fails(agent_setup: Any) -> None:
    serve_agent(agent_setup, token="another-" * 5)
    result = run(agent_setup)["agent accepted"]
    assert (result.ok, "the token of AGUI_TOKEN is refused" in result.cause) == (False, True)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        ("404 Not Found", "", "agui is not in the COMETBOT_CHANNELS"),
        ("404 Not Found", '{"error":{"code":"ERR_BOT_NOT_FOUND","message":"x"}}', "does not have the bot helpdesk"),
        ("502 Bad Gateway", "", "the proxy cannot reach the bot"),
        ("200 OK", "<html>hello</html>", "expected a stream of AG-UI, got status 200"),
    ],
)
def test_other_answers_are_explained(agent_setup: Any, status: str, body: str, cause: str) -> None:
    agent_setup.serve_response(status, body)
    result = run(agent_setup)["agent accepted"]
    assert (result.ok, cause in result.cause, bool(result.remedy)) == (False, True, True), result


def test_server_that_is_not_there_skips_the_second_line(agent_setup: Any) -> None:
    results = agent_setup.run_checks(url="http://127.0.0.1:9")
    assert results["agent refused"].ok is False
    assert results["agent accepted"].ok is None


def test_unknown_url_skips_the_route() -> None:
    expected = ExpectedAgent(Bot("helpdesk"), "", Secret(TOKEN), "cometbot agents sync")
    results = check_agents([expected], None, CheckClient())
    assert [result.ok for result in results] == [None] * 3
    assert "COMETBOT_PUBLIC_URL" in results[1].cause
