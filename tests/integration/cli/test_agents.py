"""``cometbot agents`` against a simulated CometChat over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cometbot.loading import load_bots
from cometbot.settings import Settings
from cometbot.simulator import Simulator
from cometbot.simulator.records import AgentRecord
from cometbot.simulator.server import LoopbackServer
from cometbot.web.app import create_app

ECHO = """
from cometbot import Bot

bot = Bot("echo", callback_username="cc", callback_password="s3cret-word")
bot.fallback(lambda ctx: f"You said: {ctx.text}")
"""
Call = Callable[..., Result]
Write = Callable[..., str]
URL = "http://127.0.0.1:9000"
ICON = "https://example.com/agent.png"
TOKEN = "t0ken-" * 8
BEARER = f"Bearer {TOKEN}"


@pytest.fixture
def environ(environ: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    environ.setenv("AGUI_TOKEN", f"{TOKEN},{'old-' * 10}")
    environ.setenv("COMETBOT_CHANNELS", "cometchat,agui")
    return environ


@pytest.fixture
def add_agent(simulator: Simulator) -> Callable[..., AgentRecord]:
    """Adds an agent as the dashboard would."""

    def add(url: str = f"{URL}/agui/shop", **changes: Any) -> AgentRecord:
        uid = f"agent{len(simulator.world.agents)}"
        settings = {"url": url, "headers": {"Authorization": BEARER}}
        record = AgentRecord(
            **{"uid": uid, "name": "Shop", "icon": ICON, "provider": "ag-ui", "settings": settings, **changes}
        )
        simulator.world.agents[uid] = record
        simulator.add_user(uid, record.name)
        return record

    return add


def agents_of(simulator: Simulator) -> list[AgentRecord]:
    return list(simulator.world.agents.values())


def changes(simulator: Simulator) -> list[str]:
    return [f"{entry.method} {entry.path}" for entry in simulator.requests if entry.method != "GET"]


def sentence(result: Result) -> str:
    """The one sentence that a command ended with, which must be all that it said."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


def test_list_without_agents_says_how_to_register_one(cometbot: Call) -> None:
    result = cometbot("agents", "list")
    assert (result.exit_code, "cometbot agents sync" in result.stdout) == (0, True)
    assert json.loads(cometbot("agents", "list", "--json").stdout) == []


def test_list_shows_each_agent_and_no_token(cometbot: Call, add_agent: Callable[..., AgentRecord]) -> None:
    add_agent()
    add_agent("https://a.example/x", provider="mastra", is_active=False, name="Answers")
    lines = [line.split() for line in cometbot("agents", "list").stdout.splitlines()]
    assert ["agent0", "Shop", "ag-ui", "yes", "Authorization", f"{URL}/agui/shop"] in lines
    shown = cometbot("agents", "list", "--json").stdout
    assert [(agent["name"], agent["isActive"]) for agent in json.loads(shown)] == [("Answers", False), ("Shop", True)]
    assert "t0ken" not in shown + cometbot("agents", "list").output


def test_sync_registers_a_bot(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    result = cometbot("agents", "sync", write_bot(), "--url", URL, "--icon", ICON, answers="y\n")
    assert result.exit_code == 0, result.output
    (agent,) = agents_of(simulator)
    assert (agent.name, agent.icon, agent.is_active, agent.provider) == ("Shop", ICON, True, "ag-ui")
    assert (agent.url, agent.headers) == (f"{URL}/agui/shop", {"Authorization": BEARER})
    assert f"shop is now in sync, as the agent {agent.uid}." in result.stdout
    assert "t0ken" not in result.output


def test_sync_warns_of_a_server_that_does_not_answer(
    cometbot: Call, write_bot: Write, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_CHANNELS", "cometchat")
    result = cometbot("agents", "sync", write_bot(), "--url", URL, "--icon", ICON, "--yes")
    assert result.exit_code == 0
    assert "agui is not in COMETBOT_CHANNELS" in result.stderr


def test_agent_that_was_synced_answers(cometbot: Call, folder: Path, simulator: Simulator) -> None:
    (folder / "echo_shop.py").write_text(ECHO)
    app = create_app(load_bots("echo_shop:bot"), Settings.from_environment())
    running = app.extensions["cometbot"]
    running.start()
    server = LoopbackServer(app, 0)
    try:
        url = f"http://127.0.0.1:{server.port}"
        assert cometbot("agents", "sync", "echo_shop:bot", "--url", url, "--icon", ICON, "--yes").exit_code == 0
        (agent,) = agents_of(simulator)
        simulator.user("maria").say("Hi", to=agent.uid)
        (answer,) = simulator.wait_for(lambda _: [item for item in simulator.messages() if item.sender == agent.uid])
        assert answer.text == "You said: Hi"
        simulator.wait_idle()
        assert [(entry.status, entry.error) for entry in simulator.callbacks] == [(200, "")]
    finally:
        server.stop()
        server.server_close()
        running.stop()


def test_sync_again_changes_nothing(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    spec = write_bot()
    cometbot("agents", "sync", spec, "--url", URL, "--icon", ICON, "--yes")
    before = len(changes(simulator))
    result = cometbot("agents", "sync", spec, "--url", URL)
    assert (result.exit_code, result.stdout) == (0, "shop is in sync.\n")
    assert len(changes(simulator)) == before
    assert cometbot("agents", "sync", spec, "--url", URL, "--dry-run").exit_code == 0


def test_sync_takes_the_picture_of_the_bots_user(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    simulator.add_user("shop", avatar="https://example.com/shop.png")
    assert cometbot("agents", "sync", write_bot(), "--url", URL, "--yes").exit_code == 0
    assert agents_of(simulator)[0].icon == "https://example.com/shop.png"


def test_sync_moves_the_agent_with_the_bots_path(
    cometbot: Call, write_bot: Write, simulator: Simulator, add_agent: Callable[..., AgentRecord]
) -> None:
    add_agent("https://old.example/agui/shop", is_active=False)
    result = cometbot("agents", "sync", write_bot(), "--url", URL, "--yes")
    assert result.exit_code == 0, result.output
    (agent,) = agents_of(simulator)
    assert (agent.url, agent.is_active) == (f"{URL}/agui/shop", True)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["URL", "https://old.example/agui/shop", f"{URL}/agui/shop"] in rows
    assert ["enabled", "no", "yes"] in rows


def test_sync_replaces_an_old_token(
    cometbot: Call, write_bot: Write, simulator: Simulator, add_agent: Callable[..., AgentRecord]
) -> None:
    add_agent(settings={"url": f"{URL}/agui/shop", "headers": {"X-API-Key": "old-" * 10, "X-Client": "c"}})
    result = cometbot("agents", "sync", write_bot(), "--url", URL, "--yes")
    assert agents_of(simulator)[0].headers == {"X-Client": "c", "Authorization": BEARER}
    assert ["token", "***", "the", "first", "of", "AGUI_TOKEN"] in [line.split() for line in result.stdout.splitlines()]


def test_sync_of_the_agent_that_is_named(
    cometbot: Call, write_bot: Write, simulator: Simulator, add_agent: Callable[..., AgentRecord]
) -> None:
    add_agent("https://a.example/mine")
    assert cometbot("agents", "sync", write_bot(), "--url", URL, "--uid", "agent0", "--yes").exit_code == 0
    assert [agent.url for agent in agents_of(simulator)] == [f"{URL}/agui/shop"]


def test_dry_run_shows_differences_and_changes_nothing(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    result = cometbot("agents", "sync", write_bot(), "--url", URL, "--icon", ICON, "--dry-run", "--json")
    assert result.exit_code == 1
    (plan,) = json.loads(result.stdout)
    assert (plan["bot"], plan["uid"], plan["agrees"]) == ("shop", "", False)
    assert [item["what"] for item in plan["differences"]] == ["agent", "picture", "URL", "token"]
    assert changes(simulator) == []


def test_sync_that_is_not_confirmed_changes_nothing(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    result = cometbot("agents", "sync", write_bot(), "--url", URL, "--icon", ICON, answers="n\n")
    assert (result.exit_code, changes(simulator)) == (1, [])


def test_sync_without_token_url_or_picture_says_what_to_do(
    cometbot: Call, write_bot: Write, environ: pytest.MonkeyPatch
) -> None:
    spec = write_bot()
    assert "--icon" in sentence(cometbot("agents", "sync", spec, "--url", URL))
    assert "COMETBOT_PUBLIC_URL" in sentence(cometbot("agents", "sync", spec))
    environ.delenv("AGUI_TOKEN")
    assert "AGUI_TOKEN" in sentence(cometbot("agents", "sync", spec, "--url", URL))


def test_sync_of_two_bots_at_once(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    module = write_bot('other = Bot("other")').partition(":")[0]
    both = f"{module}:bot,{module}:other"
    assert cometbot("agents", "sync", both, "--url", URL, "--icon", ICON, "--yes").exit_code == 0
    assert [agent.url for agent in agents_of(simulator)] == [f"{URL}/agui/shop", f"{URL}/agui/other"]
    assert "--uid" in cometbot("agents", "sync", both, "--url", URL, "--uid", "x").stderr


def test_delete_asks_and_deletes(cometbot: Call, simulator: Simulator, add_agent: Callable[..., AgentRecord]) -> None:
    add_agent()
    assert cometbot("agents", "delete", "agent0", answers="n\n").exit_code == 1
    assert len(agents_of(simulator)) == 1
    result = cometbot("agents", "delete", "agent0", answers="y\n")
    assert (result.exit_code, result.stdout) == (0, "Deleted Shop.\n")
    assert agents_of(simulator) == []


def test_delete_of_an_unknown_agent_names_the_list(cometbot: Call) -> None:
    assert "cometbot agents list" in sentence(cometbot("agents", "delete", "nothing", "--yes"))


def test_refusal_of_cometchat_is_one_sentence(cometbot: Call, write_bot: Write, simulator: Simulator) -> None:
    simulator.misbehave.fail(403, code="AUTH_ERR_NO_ACCESS", routes=["POST /ai-agents/agents"])
    told = sentence_of_sync(cometbot, write_bot())
    assert "COMETCHAT_API_KEY" in told
    assert "t0ken" not in told


def sentence_of_sync(cometbot: Call, spec: str) -> str:
    result = cometbot("agents", "sync", spec, "--url", URL, "--icon", ICON, "--yes")
    assert result.exit_code == 2
    return result.stderr
